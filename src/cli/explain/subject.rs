//! What a person asks about: an image, a registry, or an object of the cluster with its images.

use std::time::Instant;

use anyhow::{Context, anyhow};

use super::object::ChosenObject;
use crate::cluster::Connection;
use crate::history::ReportTarget;
use crate::image::ImageReference;
use crate::text::clean;
use crate::workload::{WorkloadKind, built_in_kinds};

/// Short words for kinds, as kubectl has them.
const SHORT: &[(&str, &str)] = &[
    ("po", "Pod"),
    ("deploy", "Deployment"),
    ("rs", "ReplicaSet"),
    ("sts", "StatefulSet"),
    ("ds", "DaemonSet"),
    ("cj", "CronJob"),
    ("rc", "ReplicationController"),
];

/// What is asked about, as far as the words alone tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// An image or a registry.
    Known(ReportTarget),
    /// An object of this kind and name.
    Object(WorkloadKind, String),
    /// A pod of this name if there is one, else an image.
    PodOrImage(String),
}

impl Target {
    /// Reads a subject. The words of kinds, followed by a slash, win over images of that name.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some((kind, name)) = text.split_once('/')
            && let Some(kind) = kind_of(kind)
            && !name.contains(['/', ':', '@'])
        {
            return Ok(Self::Object(kind, name.to_owned()));
        }
        if !text.contains(['/', ':', '@']) && !text.is_empty() {
            return Ok(Self::PodOrImage(text.to_owned()));
        }
        image(text).map(Self::Known)
    }

    /// A registry by its host, as it stands in image names.
    pub(super) fn registry(host: &str) -> anyhow::Result<Self> {
        let reference: ImageReference = format!("{host}/any/image")
            .parse()
            .map_err(|_| anyhow!("{} is not the host of a registry", clean(host)))?;
        Ok(Self::Known(ReportTarget::Registry(reference.host().into())))
    }

    /// The subjects to report about, with the object that they belong to if one was named.
    pub(super) async fn resolve(
        self,
        connection: &Connection,
        namespace: &str,
        deadline: Instant,
    ) -> anyhow::Result<(Option<ChosenObject>, Vec<ReportTarget>)> {
        let read = async |kind: WorkloadKind, name: &str| -> anyhow::Result<Option<ChosenObject>> {
            ChosenObject::read(connection, &kind, (namespace, name), deadline).await
        };
        match self {
            Self::Known(subject) => Ok((None, vec![subject])),
            Self::Object(kind, name) => {
                let object = read(kind, &name).await?;
                let object = object.with_context(|| {
                    format!("no {} {} in namespace {namespace}", kind.kind, clean(&name))
                })?;
                Ok(with_subjects(object))
            }
            Self::PodOrImage(name) => {
                if let Some(kind) = kind_of("pod")
                    && let Some(object) = read(kind, &name).await?
                {
                    return Ok(with_subjects(object));
                }
                Ok((None, vec![image(&name)?]))
            }
        }
    }
}

fn image(text: &str) -> anyhow::Result<ReportTarget> {
    let reference: ImageReference =
        text.parse().map_err(|error| anyhow!("{} is not an image name: {error}", clean(text)))?;
    Ok(ReportTarget::Image(reference))
}

/// The kind behind a word such as `deployment`, `deployments` or `deploy`.
pub(super) fn kind_of(word: &str) -> Option<WorkloadKind> {
    let word = word.to_ascii_lowercase();
    let short = SHORT.iter().find(|(short, _)| *short == word).map(|(_, kind)| *kind);
    built_in_kinds()
        .iter()
        .find(|kind| {
            Some(kind.kind) == short
                || kind.resource == word
                || kind.kind.eq_ignore_ascii_case(&word)
        })
        .copied()
}

/// The object and its distinct images.
fn with_subjects(object: ChosenObject) -> (Option<ChosenObject>, Vec<ReportTarget>) {
    let mut found: Vec<ReportTarget> = Vec::new();
    for (_, reference) in object.images() {
        let subject = ReportTarget::Image(reference);
        if !found.contains(&subject) {
            found.push(subject);
        }
    }
    (Some(object), found)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("deployment/web", "Deployment web")]
    #[case("deploy/web", "Deployment web")]
    #[case("Pods/web-1", "Pod web-1")]
    #[case("sts/db", "StatefulSet db")]
    #[case("web-1", "pod or image web-1")]
    #[case("nginx:1", "docker.io/library/nginx:1")]
    #[case("job/tool:1", "docker.io/job/tool:1")]
    #[case("ghcr.io/a/b", "ghcr.io/a/b:latest")]
    fn reads_what_is_asked(#[case] text: &str, #[case] expected: &str) {
        let shown = match Target::parse(text).unwrap() {
            Target::Known(ReportTarget::Image(reference)) => reference.canonical(),
            Target::Known(other) => other.to_string(),
            Target::Object(kind, name) => format!("{} {name}", kind.kind),
            Target::PodOrImage(name) => format!("pod or image {name}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn registries_are_hosts() {
        let known = |host: &str| Target::Known(ReportTarget::Registry(host.into()));
        assert_eq!(Target::registry("ghcr.io").unwrap(), known("ghcr.io"));
        assert_eq!(Target::registry("index.docker.io").unwrap(), known("docker.io"));
        assert!(Target::registry("not a host").is_err());
        assert!(Target::parse("UPPER/case:1").is_ok_and(|asked| matches!(asked, Target::Known(_))));
        assert!(Target::parse("a b:1").is_err());
    }
}
