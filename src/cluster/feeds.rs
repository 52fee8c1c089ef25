//! The health index of this cluster, and the feeds that fill it.
//!
//! Locked for one object or one question at a time, never across an await.

use super::shared_index::{IndexState, SharedIndex, now};
use super::templates::{Template, TemplateKind};
use super::watch::{Feed, Source};
use crate::history::{BuildKind, BuildView, OwnerKind};
use crate::kube_views::{EventView, OwnerView, PodView};
use jiff::Timestamp;

/// Takes in what is watched of pods.
pub(super) struct PodFeed(pub(super) SharedIndex);

impl Feed for PodFeed {
    fn source(&self) -> Source {
        Source { path: "/api/v1/pods", metadata_only: false, fields: None }
    }

    fn list_begins(&mut self) {
        let mut memory = self.0.lock();
        memory.index.begin_pods();
        memory.secrets.list_begins();
        memory.builds.begin(BuildKind::Pod);
    }

    fn listed(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let pod: PodView = serde_json::from_str(object)?;
        let mut memory = self.0.lock();
        memory.index.apply_pod(&pod, now());
        memory.secrets.listed(&pod);
        memory.bare_pod(&pod, object);
        Ok(())
    }

    fn list_ends(&mut self, began: Timestamp) {
        let mut memory = self.0.lock();
        memory.index.end_pods(now());
        memory.index.judge_afresh(began, now());
        memory.secrets.list_ends();
        memory.builds.end(BuildKind::Pod);
    }

    fn added(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let pod: PodView = serde_json::from_str(object)?;
        let mut memory = self.0.lock();
        memory.index.apply_pod(&pod, now());
        memory.secrets.added(&pod);
        memory.bare_pod(&pod, object);
        Ok(())
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let pod: PodView = serde_json::from_str(object)?;
        let mut memory = self.0.lock();
        memory.index.apply_pod(&pod, now());
        memory.bare_pod(&pod, object);
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let pod: PodView = serde_json::from_str(object)?;
        let mut memory = self.0.lock();
        memory.index.delete_pod(pod.metadata.uid.as_deref().unwrap_or_default(), now());
        memory.secrets.deleted(&pod);
        memory.builds.delete(BuildKind::Pod, &pod.metadata);
        Ok(())
    }
}

/// Takes in what is watched of what owns pods: of ReplicaSets the metadata alone, of Jobs also
/// what they are told to build.
pub(super) struct OwnerFeed(pub(super) SharedIndex, pub(super) OwnerKind);

impl Feed for OwnerFeed {
    fn source(&self) -> Source {
        let path = match self.1 {
            OwnerKind::ReplicaSet => "/apis/apps/v1/replicasets",
            OwnerKind::Job => "/apis/batch/v1/jobs",
        };
        Source { path, metadata_only: self.1 == OwnerKind::ReplicaSet, fields: None }
    }

    fn list_begins(&mut self) {
        let mut memory = self.0.lock();
        memory.index.begin_owners(self.1);
        memory.created.list_begins(self.1);
        if self.1 == OwnerKind::Job {
            memory.builds.begin(BuildKind::Job);
            memory.templates.begin(TemplateKind::Job);
        }
    }

    fn listed(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let owner: OwnerView = serde_json::from_str(object)?;
        let template = self.template(object);
        let mut memory = self.0.lock();
        memory.index.apply_owner(self.1, &owner);
        memory.created.listed(self.1, &owner);
        self.built(&mut memory, object, template);
        Ok(())
    }

    fn list_ends(&mut self, _: Timestamp) {
        let mut memory = self.0.lock();
        memory.index.end_owners(self.1);
        memory.created.list_ends(self.1);
        if self.1 == OwnerKind::Job {
            memory.builds.end(BuildKind::Job);
            memory.templates.end(TemplateKind::Job);
        }
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let owner: OwnerView = serde_json::from_str(object)?;
        let template = self.template(object);
        let mut memory = self.0.lock();
        memory.index.apply_owner(self.1, &owner);
        memory.created.applied(self.1, &owner);
        self.built(&mut memory, object, template);
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let owner: OwnerView = serde_json::from_str(object)?;
        let template = self.template(object);
        let mut memory = self.0.lock();
        memory.index.delete_owner(self.1, &owner);
        memory.created.deleted(self.1, &owner);
        if self.1 == OwnerKind::Job {
            memory.builds.delete(BuildKind::Job, &owner.metadata);
            if let Some(template) = &template {
                memory.templates.delete(template);
            }
        }
        Ok(())
    }
}

impl OwnerFeed {
    /// What a Job will pull once it is resumed.
    fn template(&self, object: &str) -> Option<Template> {
        let is_job = self.1 == OwnerKind::Job;
        is_job.then(|| Template::read(TemplateKind::Job, object)).flatten()
    }

    /// Takes in what a Job builds, and what it will pull; one that cannot be read so far still owns its
    /// pods.
    fn built(&self, memory: &mut IndexState, object: &str, template: Option<Template>) {
        if self.1 == OwnerKind::Job
            && let Ok(Some(job)) = BuildView::read(BuildKind::Job, object)
        {
            memory.builds.apply(BuildKind::Job, &job);
        }
        if let Some(template) = template {
            memory.templates.apply(template);
        }
    }
}

/// Takes in what is watched of CronJobs and of Tekton's runs: what they are told to build, and what
/// CronJobs will pull.
pub(super) struct BuildFeed(pub(super) SharedIndex, pub(super) BuildKind);

impl BuildFeed {
    /// What a CronJob will pull at its next run.
    fn template(&self, object: &str) -> Option<Template> {
        let is_cron_job = self.1 == BuildKind::CronJob;
        is_cron_job.then(|| Template::read(TemplateKind::CronJob, object)).flatten()
    }
}

impl Feed for BuildFeed {
    fn source(&self) -> Source {
        let path = match self.1 {
            BuildKind::PipelineRun => "/apis/tekton.dev/v1/pipelineruns",
            BuildKind::TaskRun => "/apis/tekton.dev/v1/taskruns",
            // The others come by the feeds of pods and of what owns them.
            BuildKind::CronJob | BuildKind::Job | BuildKind::Pod => "/apis/batch/v1/cronjobs",
        };
        Source { path, metadata_only: false, fields: None }
    }

    fn may_be_unknown(&self) -> bool {
        self.1 != BuildKind::CronJob
    }

    fn list_begins(&mut self) {
        let mut memory = self.0.lock();
        memory.builds.begin(self.1);
        if self.1 == BuildKind::CronJob {
            memory.templates.begin(TemplateKind::CronJob);
        }
    }

    fn list_ends(&mut self, _: Timestamp) {
        let mut memory = self.0.lock();
        memory.builds.end(self.1);
        if self.1 == BuildKind::CronJob {
            memory.templates.end(TemplateKind::CronJob);
        }
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        if let Some(template) = self.template(object) {
            self.0.lock().templates.apply(template);
        }
        if let Some(build) = BuildView::read(self.1, object)? {
            self.0.lock().builds.apply(self.1, &build);
        }
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        if let Some(template) = self.template(object) {
            self.0.lock().templates.delete(&template);
        }
        if let Some(build) = BuildView::read(self.1, object)? {
            self.0.lock().builds.delete(self.1, build.metadata());
        }
        Ok(())
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
pub(super) struct EventFeed(pub(super) SharedIndex, pub(super) Events);

impl Feed for EventFeed {
    fn source(&self) -> Source {
        let fields = match self.1 {
            Events::PodWarnings => "type=Warning,involvedObject.kind=Pod",
            Events::Pulled => "reason=Pulled,involvedObject.kind=Pod",
            Events::FailedCreate => "reason=FailedCreate",
        };
        Source { path: "/api/v1/events", metadata_only: false, fields: Some(fields) }
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let event: EventView = serde_json::from_str(object)?;
        self.0.lock().index.apply_event(&event, now());
        Ok(())
    }

    fn list_ends(&mut self, began: Timestamp) {
        self.0.lock().index.judge_afresh(began, now());
    }

    /// An event that is gone has happened all the same.
    fn deleted(&mut self, _object: &str) -> Result<(), serde_json::Error> {
        Ok(())
    }
}
