//! What is kept of pods, of what makes them, and of events: all in the one index.
//!
//! Locked for one object or one question at a time, never across an await.

use jiff::Timestamp;

use super::shared_index::{IndexState, SharedIndex};
use super::templates::{Template, TemplateKind};
use super::watch::{Source, Store};
use crate::builds::{BuildKind, BuildView};
use crate::history::OwnerKind;
use crate::kube_views::{EventView, Listed, OwnerView, PodView, Uid, controller};
use crate::telemetry::now;

/// Takes in what is watched of pods.
pub(super) struct PodStore(pub(super) SharedIndex);

impl Store for PodStore {
    type Object<'a> = PodView;

    fn source(&self) -> Source {
        Source { path: "/api/v1/pods", metadata_only: false, fields: None }
    }

    fn uid(pod: &PodView) -> Option<Uid> {
        Some(Uid::of_object(&pod.metadata))
    }

    fn apply(&mut self, pod: PodView, raw: &str) -> Result<(), serde_json::Error> {
        let mut memory = self.0.lock();
        memory.index.apply_pod(&pod, now());
        // What all others build is told of by their owners.
        if controller(&pod.metadata).is_none()
            && let Ok(Some(build)) = BuildView::read(BuildKind::Pod, raw)
        {
            memory.builds.apply(BuildKind::Pod, &build);
        }
        Ok(())
    }

    fn delete(&mut self, pod: PodView) {
        let mut memory = self.0.lock();
        memory.index.delete_pod(pod.metadata.uid.as_deref().unwrap_or_default(), now());
        memory.builds.delete(BuildKind::Pod, &pod.metadata);
    }

    fn retain(&mut self, listed: &Listed, began: Timestamp) {
        let mut memory = self.0.lock();
        memory.index.retain_pods(listed, now());
        memory.index.judge_afresh(began, now());
        memory.builds.retain(BuildKind::Pod, listed);
    }
}

/// A kind of object that makes pods, and what is kept of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ControllerKind {
    path: &'static str,
    /// Whose its pods are, where something else may have made it.
    owner: Option<OwnerKind>,
    /// What it is told to build.
    build: Option<BuildKind>,
    /// What it will pull some day, while it has no pods.
    template: Option<TemplateKind>,
}

impl ControllerKind {
    const fn at(path: &'static str) -> Self {
        Self { path, owner: None, build: None, template: None }
    }

    pub(super) const REPLICA_SET: Self =
        Self { owner: Some(OwnerKind::ReplicaSet), ..Self::at("/apis/apps/v1/replicasets") };
    pub(super) const JOB: Self = Self {
        owner: Some(OwnerKind::Job),
        build: Some(BuildKind::Job),
        template: Some(TemplateKind::Job),
        ..Self::at("/apis/batch/v1/jobs")
    };
    pub(super) const CRON_JOB: Self = Self {
        build: Some(BuildKind::CronJob),
        template: Some(TemplateKind::CronJob),
        ..Self::at("/apis/batch/v1/cronjobs")
    };
    pub(super) const PIPELINE_RUN: Self = Self {
        build: Some(BuildKind::PipelineRun),
        ..Self::at("/apis/tekton.dev/v1/pipelineruns")
    };
    pub(super) const TASK_RUN: Self =
        Self { build: Some(BuildKind::TaskRun), ..Self::at("/apis/tekton.dev/v1/taskruns") };
    pub(super) const DEPLOYMENT: Self =
        Self { template: Some(TemplateKind::Deployment), ..Self::at("/apis/apps/v1/deployments") };
    pub(super) const STATEFUL_SET: Self = Self {
        template: Some(TemplateKind::StatefulSet),
        ..Self::at("/apis/apps/v1/statefulsets")
    };
    pub(super) const DAEMON_SET: Self =
        Self { template: Some(TemplateKind::DaemonSet), ..Self::at("/apis/apps/v1/daemonsets") };

    /// Whether it may be told to build images.
    pub(super) const fn builds(self) -> bool {
        self.build.is_some()
    }
}

/// Takes in what is watched of what makes pods: of ReplicaSets the metadata alone.
pub(super) struct ControllerStore(pub(super) SharedIndex, pub(super) ControllerKind);

impl Store for ControllerStore {
    type Object<'a> = OwnerView;

    fn source(&self) -> Source {
        let metadata_only = self.1.build.is_none() && self.1.template.is_none();
        Source { path: self.1.path, metadata_only, fields: None }
    }

    fn may_be_unknown(&self) -> bool {
        matches!(self.1.build, Some(BuildKind::PipelineRun | BuildKind::TaskRun))
    }

    fn uid(object: &OwnerView) -> Option<Uid> {
        Some(Uid::of_object(&object.metadata))
    }

    fn apply(&mut self, object: OwnerView, raw: &str) -> Result<(), serde_json::Error> {
        // Not under the lock: objects are large.
        let uid = Uid::of_object(&object.metadata);
        let template = self.1.template.and_then(|kind| Template::read(kind, uid, raw));
        let build = self.1.build.map(|kind| (kind, BuildView::read(kind, raw)));
        let mut memory = self.0.lock();
        if let Some(kind) = self.1.owner {
            memory.index.apply_owner(kind, &object);
        }
        if let Some(template) = template {
            memory.templates.apply(template);
        }
        // One of which this cannot be read still owns its pods.
        if let Some((kind, build)) = build
            && let Some(build) = build?
        {
            memory.builds.apply(kind, &build);
        }
        Ok(())
    }

    fn delete(&mut self, object: OwnerView) {
        let mut memory = self.0.lock();
        let IndexState { index, builds, templates } = &mut *memory;
        let meta = &object.metadata;
        if let Some(kind) = self.1.owner {
            index.delete_owner(kind, &object);
        }
        if let Some(kind) = self.1.build {
            builds.delete(kind, meta);
        }
        if let (Some(kind), Some(namespace), Some(name)) =
            (self.1.template, meta.namespace.as_deref(), meta.name.as_deref())
        {
            templates.delete(kind, namespace, name);
        }
    }

    fn retain(&mut self, listed: &Listed, _: Timestamp) {
        let mut memory = self.0.lock();
        if let Some(kind) = self.1.owner {
            memory.index.retain_owners(kind, listed);
        }
        if let Some(kind) = self.1.build {
            memory.builds.retain(kind, listed);
        }
        if let Some(kind) = self.1.template {
            memory.templates.retain(kind, listed);
        }
    }
}

/// Which events are watched: what the API server can select, so that a busy cluster's other
/// events are never sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Events {
    /// Warnings about pods.
    PodWarnings,
    /// `Pulled`: proves a pull, or presence.
    Pulled,
    /// `FailedCreate` of controllers.
    FailedCreate,
}

/// Takes in events.
pub(super) struct EventStore(pub(super) SharedIndex, pub(super) Events);

impl Store for EventStore {
    type Object<'a> = EventView;

    fn source(&self) -> Source {
        let fields = match self.1 {
            Events::PodWarnings => "type=Warning,involvedObject.kind=Pod",
            Events::Pulled => "reason=Pulled,involvedObject.kind=Pod",
            Events::FailedCreate => "reason=FailedCreate",
        };
        Source { path: "/api/v1/events", metadata_only: false, fields: Some(fields) }
    }

    /// An event that is gone has happened all the same.
    fn uid(_: &EventView) -> Option<Uid> {
        None
    }

    fn apply(&mut self, event: EventView, _: &str) -> Result<(), serde_json::Error> {
        self.0.lock().index.apply_event(&event, now());
        Ok(())
    }

    fn delete(&mut self, _: EventView) {}

    fn retain(&mut self, _: &Listed, began: Timestamp) {
        self.0.lock().index.judge_afresh(began, now());
    }
}
