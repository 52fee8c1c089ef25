//! Image names in what a job's containers are told.
//!
//! Kaniko's `--destination` first; every other builder by the same rule: the reference stands in
//! the command, the arguments or the environment. What stands behind a word for pushing is pushed;
//! what stands behind a word for building from something is not; the rest is named.

use super::job::{Step, Steps};
use crate::image::ImageReference;

/// Image names of one job.
const MAX_NAMES: usize = 8;
/// Text of one job that is looked at, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// The longest image name.
const MAX_LENGTH: usize = 512;

/// Words behind which stands what is pushed: flags of Kaniko, Docker, Buildah, Podman, BuildKit,
/// Buildpacks, Jib and ko, and customary variables.
const PUSH: &[&str] = &[
    "destination",
    "d",
    "dest",
    "t",
    "tag",
    "tags",
    "name",
    "image",
    "push",
    "publish",
    "target",
    "output-image",
    "image_name",
    "image_tag",
    "target_image",
    "dest_image",
    "destination_image",
    "docker_image",
    "docker_tag",
    "output_image",
    "ko_docker_repo",
    "img",
    "app_image",
];
/// Words behind which stands what is only read.
const READ: &[&str] = &[
    "build-arg",
    "opt",
    "from",
    "cache-from",
    "cache-to",
    "cache-repo",
    "pull",
    "base",
    "base_image",
    "run-image",
    "run_image",
    "builder",
    "run",
    "context",
    "import-cache",
    "export-cache",
    "registry-mirror",
    "previous-image",
    "src",
    "source",
    "source_image",
    "copy",
];

/// An image name that a job was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    /// The canonical reference.
    pub(super) image: Box<str>,
    /// Whether it stands where builders are told what to push.
    pub(super) pushed: bool,
}

/// The image names in a job that are not the images of its own containers.
pub(super) fn destinations(all: &Steps) -> Vec<Destination> {
    let steps = || all.init_containers.iter().chain(&all.containers);
    let own: Vec<String> = steps().filter_map(|step| canonical(&step.image)).collect();
    let mut found: Vec<Destination> = Vec::new();
    let mut left = MAX_TEXT;
    for step in steps() {
        let mut before = [""; 2];
        let texts: Vec<String> = step
            .command
            .iter()
            .chain(&step.args)
            .chain([&step.script])
            .map(|text| expanded(text, step))
            .chain(
                step.env.iter().map(|var| format!("{}={}", var.name, expanded(&var.value, step))),
            )
            .collect();
        for text in &texts {
            if text.len() > left {
                return found;
            }
            left -= text.len();
            for word in words(text) {
                if let Some(image) = image_like(word).filter(|image| !own.contains(image)) {
                    note(&mut found, &image, before);
                }
                before = [before[1], word];
            }
        }
    }
    found
}

fn note(found: &mut Vec<Destination>, image: &str, before: [&str; 2]) {
    let before = before.map(|word| word.trim_start_matches('-').to_ascii_lowercase());
    let one_of = |list: &[&str]| before.iter().any(|word| list.contains(&word.as_str()));
    if one_of(READ) {
        return;
    }
    let pushed = PUSH.contains(&before[1].as_str());
    let room = found.len() < MAX_NAMES;
    match found.iter_mut().find(|one| *one.image == *image) {
        Some(known) => known.pushed |= pushed,
        None if room => found.push(Destination { image: image.into(), pushed }),
        None => {}
    }
}

/// The words of a text, as far as image names are concerned.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "=,;'\"|&()<>".contains(c))
        .filter(|word| !word.is_empty())
}

/// The canonical form of a word that looks like an image rather than a path: a registry's host in
/// front or a tag behind.
fn image_like(word: &str) -> Option<String> {
    let word = ["docker://", "oci://"].iter().find_map(|p| word.strip_prefix(p)).unwrap_or(word);
    if word.len() > MAX_LENGTH || word.starts_with(['/', '.', '-']) || word.contains('@') {
        return None;
    }
    let (first, rest) = word.split_once('/')?;
    let hostlike = first.contains(['.', ':']) || first == "localhost";
    (hostlike || rest.contains(':')).then(|| canonical(word)).flatten()
}

fn canonical(image: &str) -> Option<String> {
    ImageReference::parse(image).ok().map(|image| image.canonical())
}

/// The text with `$(NAME)` filled in from the container's own variables, as the kubelet does, and
/// `$NAME` and `${NAME}` as a shell would.
fn expanded(text: &str, step: &Step) -> String {
    let mut text = text.chars().take(MAX_TEXT).collect::<String>();
    if !text.contains('$') {
        return text;
    }
    for var in step.env.iter().filter(|var| !var.name.is_empty() && !var.value.is_empty()) {
        for form in [format!("$({})", var.name), format!("${{{}}}", var.name)] {
            if text.len() < MAX_TEXT {
                text = text.replace(&form, &var.value);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn found(container: &Value) -> Vec<(String, bool)> {
        let steps: Steps = serde_json::from_value(json!({"containers": [container]})).unwrap();
        destinations(&steps).into_iter().map(|one| (one.image.into(), one.pushed)).collect()
    }

    #[rstest]
    #[case(&["--dockerfile=/x/Dockerfile", "--context=dir:///workspace", "--destination=reg.example.com/app:1"], &[("reg.example.com/app:1", true)])]
    #[case(&["-d", "team/app:1"], &[("docker.io/team/app:1", true)])]
    #[case(&["build", "--output", "type=image,name=reg.example.com/app:1,push=true"], &[("reg.example.com/app:1", true)])]
    #[case(&["sh", "-c", "docker build -t reg.example.com/app:1 --build-arg BASE=reg.example.com/base:2 . && docker push 'reg.example.com/app:1'"], &[("reg.example.com/app:1", true)])]
    #[case(&["buildah", "push", "img", "docker://reg.example.com:5000/app:1"], &[("reg.example.com:5000/app:1", true)])]
    #[case(&["--destination=$(REPO)/app:${TAG}"], &[("reg.example.com/app:7", true)])]
    #[case(&["--destination=reg.example.com/app:$TAG"], &[])]
    #[case(&["--context=git://github.com/o/r.git#refs/heads/main", "/kaniko/executor", "src/app"], &[])]
    #[case(&["copy", "x.example.com/a:1"], &[])]
    fn what_is_pushed(#[case] args: &[&str], #[case] images: &[(&str, bool)]) {
        let env = json!([{"name": "REPO", "value": "reg.example.com"}, {"name": "TAG", "value": "7"},
            {"name": "FROM_ELSEWHERE", "valueFrom": {}}]);
        let got = found(&json!({"image": "gcr.io/kaniko:1", "args": args, "env": env}));
        let want: Vec<_> = images.iter().map(|(i, p)| ((*i).to_owned(), *p)).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn variables_name_images_and_own_images_do_not_count() {
        let got = found(&json!({"image": "reg.example.com/builder:1",
            "args": ["reg.example.com/builder:1"],
            "env": [{"name": "IMAGE", "value": "reg.example.com/app:1"}]}));
        assert_eq!(got, [("reg.example.com/app:1".to_owned(), true)]);
    }

    #[test]
    fn a_job_of_any_size_costs_little() {
        let many: Vec<String> =
            (0..1000).map(|n| format!("--tag=reg.example.com/app:{n}")).collect();
        assert_eq!(found(&json!({"args": many})).len(), MAX_NAMES);
        let long = "x".repeat(MAX_TEXT + 1);
        assert!(found(&json!({"args": [long, "--tag=reg.example.com/app:1"]})).len() <= 1);
    }
}
