//! What is checked: what `-f` names, as files (directories walked, sizes bounded, standard input read once;
//! what has to be rendered first, a Helm chart or a kustomization, is named and passed over), and images
//! that stand in no object, those of `--image` and of the lists of `--images-from`.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SubjectFlags;
use super::manifest::Found;
use crate::report::IMAGE_KIND;
use crate::text::clean;
use crate::workload::{ObjectRef, Workload};
use crate::yaml::{InputError, Position};

/// Bytes of one file.
const MAX_FILE: u64 = 64 << 20;
/// Files in all.
const MAX_FILES: usize = 20_000;
/// Directories within directories.
const MAX_NESTING: usize = 32;
/// Endings of files that are read in a directory.
const ENDINGS: &[&str] = &["yaml", "yml", "json"];
/// The name of standard input on the command line.
const STDIN: &str = "-";
/// The file that makes a directory a Helm chart.
pub(super) const CHART: &str = "Chart.yaml";
/// The files that make a directory a kustomization.
pub(super) const KUSTOMIZATIONS: &[&str] =
    &["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// In a file of such a name: Flux's object, which is no kustomization.
const FLUX: &str = "kustomize.toolkit.fluxcd.io";

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// Standard input.
    Stdin,
    /// A file that was named.
    Named(PathBuf),
    /// A file that was found in a directory: what is no object of Kubernetes in it is passed over.
    Found(PathBuf),
}

/// A directory whose files are no manifests until a program has rendered them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unrendered {
    Chart(PathBuf),
    Kustomization(PathBuf),
}

/// What there is to read, and what there is not.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) files: Vec<Input>,
    /// What was named or found and cannot be read.
    pub(super) faults: Vec<InputError>,
    /// What was passed over.
    pub(super) unrendered: Vec<Unrendered>,
    /// What was named and is nothing before it is rendered.
    pub(super) waiting: Vec<InputError>,
}

impl Unrendered {
    /// What a directory is, if it is to be rendered.
    fn of(directory: &Path) -> Option<Self> {
        if directory.join(CHART).is_file() {
            return Some(Self::Chart(directory.to_owned()));
        }
        let file =
            KUSTOMIZATIONS.iter().map(|name| directory.join(name)).find(|file| file.is_file())?;
        let text = Input::Named(file).read(&mut io::empty()).unwrap_or_default();
        let is_flux = text.windows(FLUX.len()).any(|window| window == FLUX.as_bytes());
        (!is_flux).then(|| Self::Kustomization(directory.to_owned()))
    }

    /// What it is, in words.
    pub(super) fn message(&self) -> String {
        let (noun, directory) = match self {
            Self::Chart(directory) => ("Helm chart", directory),
            Self::Kustomization(directory) => ("kustomization", directory),
        };
        format!("the {noun} {}", clean(&directory.display().to_string()))
    }

    /// The command that renders it into a check.
    pub(super) fn command(&self) -> String {
        match self {
            Self::Chart(directory) => render_chart(Some(directory)),
            Self::Kustomization(directory) => {
                format!("kubectl kustomize {} | pullgate check -f -", shell_word(directory))
            }
        }
    }
}

/// The command that renders a chart into a check; of a chart that nobody knows, if none is given.
pub(super) fn render_chart(chart: Option<&Path>) -> String {
    let chart = chart.map_or_else(|| "CHART".to_owned(), shell_word);
    format!("helm template {chart} | pullgate check -f -")
}

/// The chart that a file belongs to.
pub(super) fn chart_of(file: &Path) -> Option<&Path> {
    file.ancestors()
        .skip(1)
        .find(|directory| directory.join(CHART).is_file())
        .map(|directory| if directory.as_os_str().is_empty() { Path::new(".") } else { directory })
}

/// A path as a shell reads it.
fn shell_word(path: &Path) -> String {
    let path = clean(&path.display().to_string());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if !path.is_empty() && !path.starts_with('-') && path.chars().all(plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

impl Input {
    /// What a person named, if it is no directory.
    pub(super) fn named(path: &Path) -> Self {
        if path.as_os_str() == STDIN { Self::Stdin } else { Self::Named(path.to_owned()) }
    }

    /// How it is called in messages.
    pub(super) fn name(&self) -> String {
        self.path().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string())
    }

    /// Where it is, if it is a file.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdin => None,
            Self::Named(path) | Self::Found(path) => Some(path),
        }
    }

    /// Its bytes, at most [`MAX_FILE`]. Nothing on standard input is a fault, as with kubectl: a pipe
    /// whose first command failed must not pass.
    pub(super) fn read(&self, stdin: &mut dyn Read) -> Result<Vec<u8>, InputError> {
        let mut bytes = Vec::new();
        match self.path() {
            None => stdin.take(MAX_FILE + 1).read_to_end(&mut bytes),
            Some(path) => fs::File::open(path)
                .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)),
        }
        .map_err(|error| fault(self.name(), error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(fault(self.name(), "it is larger than 64 MiB"));
        }
        if self.path().is_none() && bytes.trim_ascii().is_empty() {
            return Err(fault(self.name(), "nothing came: did the command before it fail?"));
        }
        Ok(bytes)
    }
}

fn fault(name: impl AsRef<str>, problem: impl Into<String>) -> InputError {
    InputError::new(name.as_ref(), Position::UNKNOWN, problem)
}

/// The files behind what was named, in that order; those of a directory sorted by their path.
pub(super) fn inputs(named: &[PathBuf]) -> Inputs {
    let mut found = Inputs::default();
    for path in named {
        if !path.is_dir() {
            found.files.push(Input::named(path));
            continue;
        }
        let (files, unrendered) = (found.files.len(), found.unrendered.len());
        found.walk(path, 0, false);
        if found.files.len() == files {
            let shown = path.display().to_string();
            if let Some(first) = found.unrendered.get(unrendered) {
                let problem =
                    format!("nothing here is checked before it is rendered: {}", first.command());
                found.waiting.push(fault(shown, problem));
            } else {
                let problem = "no file named *.yaml, *.yml or *.json in this directory";
                found.faults.push(fault(shown, problem));
            }
        }
    }
    if found.files.len() > MAX_FILES {
        found.files.truncate(MAX_FILES);
        found.faults.push(fault("-f", format!("more than {MAX_FILES} files")));
    }
    found
}

impl Inputs {
    /// Of a kustomization only what else is to be rendered below it is of interest: its own files
    /// are resources and patches of it.
    fn walk(&mut self, directory: &Path, nesting: usize, in_kustomization: bool) {
        if nesting > MAX_NESTING || self.files.len() > MAX_FILES {
            return;
        }
        let unrendered = Unrendered::of(directory);
        let is_chart = matches!(unrendered, Some(Unrendered::Chart(_)));
        let in_kustomization = in_kustomization || unrendered.is_some();
        self.unrendered.extend(unrendered);
        if is_chart {
            return;
        }
        let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.faults.push(fault(directory.display().to_string(), error.to_string()));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            // Not one that a link leads to.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&path, nesting + 1, in_kustomization);
            } else if !in_kustomization && ENDINGS.contains(&ending) && path.is_file() {
                self.files.push(Input::Found(path));
            }
        }
    }
}

/// Images in one list.
const MAX_IMAGES: usize = 100_000;

/// An image by itself, as a pod of that namespace would have it.
pub(super) fn alone(flags: &SubjectFlags, image: &str, namespace: &str) -> Found {
    let workload = Workload {
        object: ObjectRef { kind: IMAGE_KIND.into(), name: image.into(), ..ObjectRef::default() },
        pull_secrets: flags.pull_secret.iter().map(|name| name.as_str().into()).collect(),
        service_account: Some(flags.service_account.as_str().into()),
        ..Workload::of_image(image)
    };
    Found { workload, namespace: namespace.into(), file: None, places: Vec::new() }
}

/// The images of a list: one or more on a line; what stands behind a `#` is a comment.
pub(super) fn listed(
    flags: &SubjectFlags,
    namespace: &str,
    file: &str,
    content: &[u8],
) -> Result<Vec<Found>, InputError> {
    let text = std::str::from_utf8(content)
        .map_err(|_| InputError::new(file, Position::UNKNOWN, "this is not text"))?;
    let name: Arc<str> = file.into();
    let mut found = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        for image in line.split_whitespace() {
            if found.len() == MAX_IMAGES {
                let problem = format!("more than {MAX_IMAGES} images in one list");
                return Err(InputError::new(file, Position { line: number, column: 0 }, problem));
            }
            let places = vec![Position { line: number, column: 0 }];
            let file = Some(name.clone());
            found.push(Found { file, places, ..alone(flags, image, namespace) });
        }
    }
    if found.is_empty() {
        return Err(InputError::new(file, Position::UNKNOWN, "there is no image in this list"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for name in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        directory
    }

    /// What was found, without the directory.
    fn names(found: &Inputs, root: &Path) -> Vec<String> {
        let prefix = format!("{}/", root.display());
        found.files.iter().map(|input| input.name().replace(&prefix, "")).collect()
    }

    #[test]
    fn a_directory_is_walked_in_order() {
        let directory = tree(&[
            "b.yaml",
            "a.yml",
            "c.json",
            "d.txt",
            ".hidden.yaml",
            "sub/e.yaml",
            ".git/f.yaml",
        ]);
        let found = inputs(&[directory.path().to_owned()]);
        assert!(found.faults.is_empty() && found.unrendered.is_empty(), "{found:?}");
        assert_eq!(names(&found, directory.path()), ["a.yml", "b.yaml", "c.json", "sub/e.yaml"]);
    }

    #[test]
    fn what_is_to_be_rendered_is_named_once_and_passed_over() {
        let directory = tree(&[
            "a.yaml",
            "app/Chart.yaml",
            "app/templates/x.yaml",
            "app/charts/below/Chart.yaml",
            "base/kustomization.yaml",
            "base/deployment.yaml",
            "base/patches/p.yaml",
            "base/overlay/kustomization.yml",
        ]);
        let root = directory.path();
        fs::create_dir(root.join("flux")).unwrap();
        fs::write(root.join("flux/kustomization.yaml"), format!("apiVersion: {FLUX}/v1")).unwrap();
        let found = inputs(&[root.to_owned()]);
        assert!(found.faults.is_empty(), "{found:?}");
        assert_eq!(names(&found, root), ["a.yaml", "flux/kustomization.yaml"]);
        let passed_over = [
            Unrendered::Chart(root.join("app")),
            Unrendered::Kustomization(root.join("base")),
            Unrendered::Kustomization(root.join("base/overlay")),
        ];
        assert_eq!(found.unrendered, passed_over);
        let alone = inputs(&[root.join("app")]);
        assert!(alone.files.is_empty());
        assert!(alone.waiting[0].to_string().contains("helm template "), "{alone:?}");
        assert_eq!(chart_of(&root.join("app/templates/x.yaml")), Some(&*root.join("app")));
        assert_eq!(chart_of(&root.join("a.yaml")), None);
    }

    #[test]
    fn commands_can_be_copied() {
        assert_eq!(shell_word(Path::new("charts/app")), "charts/app");
        assert_eq!(shell_word(Path::new("it's $HOME")), r"'it'\''s $HOME'");
        assert_eq!(shell_word(Path::new("-x")), "'-x'");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let found = inputs(&[directory.path().to_owned(), "/nowhere/x.yaml".into()]);
        assert!(found.faults[0].to_string().contains("no file named"), "{found:?}");
        let error = found.files[0].read(&mut io::empty()).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/x.yaml: "), "{error}");
    }

    #[test]
    fn the_size_is_bounded() {
        let error = Input::Stdin.read(&mut io::repeat(b'#')).unwrap_err().to_string();
        assert!(error.contains("64 MiB"), "{error}");
    }
}
