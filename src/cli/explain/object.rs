//! The object that an image is explained with: the one that was named, else one that has it.

use std::time::Instant;

use anyhow::Context as _;
use serde_json::value::RawValue;

use crate::cluster::{Connection, read_object};
use crate::history::Report;
use crate::image::ImageReference;
use crate::text::clean;
use crate::workload::{ContainerImage, Workload, WorkloadKind, built_in_kinds, extract, pod_path};

/// An object with a pod template, or a pod.
#[derive(Debug, Clone)]
pub(super) struct ChosenObject {
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) workload: Workload,
}

impl ChosenObject {
    /// Reads an object by name; nothing if it does not exist.
    pub(super) async fn read(
        connection: &Connection,
        kind: &WorkloadKind,
        (namespace, name): (&str, &str),
        deadline: Instant,
    ) -> anyhow::Result<Option<Self>> {
        let group = match kind.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        let collection = (group.as_str(), kind.resource);
        let object = read_object(connection, collection, namespace, name, deadline)
            .await
            .with_context(|| format!("failed to read {} {}", kind.kind, clean(name)))?;
        let Some(object) = object else { return Ok(None) };
        let path = pod_path(kind.group, kind.kind).context("a kind without pods")?;
        let raw = RawValue::from_string(object).context("the API server sent no JSON")?;
        let workload = extract(&raw, &path)?;
        let kind = kind.kind.to_owned();
        Ok(Some(Self { kind, namespace: namespace.into(), name: name.into(), workload }))
    }

    /// The object with an image that a report knows of: a failing pod first, since it has the pull
    /// secrets that count, then the first workload. Without any, a pod that names nothing but the
    /// image.
    pub(super) async fn with(
        image: &ImageReference,
        report: &Report,
        connection: &Connection,
        namespace: &str,
        deadline: Instant,
    ) -> Self {
        let pods = report.failures.pods.iter().take(3);
        let pods = pods.filter_map(|pod| Some(("Pod", pod.split_once('/')?)));
        let workloads = report.scope.workloads.iter().take(3);
        let workloads = workloads.map(|line| (&*line.kind, (&*line.namespace, &*line.name)));
        for (kind, place) in pods.chain(workloads) {
            let Some(kind) = built_in_kinds().iter().find(|known| known.kind == kind) else {
                continue;
            };
            if let Ok(Some(found)) = Self::read(connection, kind, place, deadline).await
                && found.images().any(|(_, named)| named.is_same_image(image))
            {
                return found;
            }
        }
        Self::alone(image, namespace)
    }

    fn alone(image: &ImageReference, namespace: &str) -> Self {
        let workload = Workload::of_image(&image.to_string());
        Self { kind: "Pod".into(), namespace: namespace.into(), name: String::new(), workload }
    }

    /// Its images whose names parse.
    pub(super) fn images(&self) -> impl Iterator<Item = (&ContainerImage, ImageReference)> {
        let images = self.workload.images.iter();
        images.filter_map(|image| Some((image, ImageReference::parse(&image.image).ok()?)))
    }

    /// What it is called in the answer.
    pub(super) fn message(&self) -> String {
        if self.name.is_empty() {
            return format!("a new pod in {} that names no pull secret", self.namespace);
        }
        let kind = self.kind.to_ascii_lowercase();
        format!("{kind}/{} in {}", clean(&self.name), self.namespace)
    }
}
