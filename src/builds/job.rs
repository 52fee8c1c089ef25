//! What builds an image: as it is observed, with what its containers are told, and as it is told of. To
//! people go names and closed lists only, never a text that a tenant wrote.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// What may build an image.
#[derive(Debug, Clone)]
pub struct BuildView {
    pub(super) metadata: ObjectMeta,
    pub(super) steps: Steps,
    pub(super) state: BuildState,
}

/// Its containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Steps {
    pub(super) init_containers: Vec<Step>,
    pub(super) containers: Vec<Step>,
}

/// What one container is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) image: Box<str>,
    pub(super) command: Vec<Box<str>>,
    pub(super) args: Vec<Box<str>>,
    /// What a step of Tekton runs instead.
    pub(super) script: Box<str>,
    pub(super) env: Vec<Variable>,
}

/// A variable; without a value it comes from somewhere else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
}

/// What builds: a Job, a pod of its own, a run of Tekton, in whose arguments, environment or
/// parameters an image stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildJob {
    /// What it is.
    pub kind: BuildKind,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Whether the image stands where builders are told what to push. Otherwise it is only named.
    pub pushes: bool,
    /// How far it is.
    pub state: BuildState,
    /// The CronJob that makes such Jobs, and a name that none of them has: this one, or the one that
    /// made this Job.
    pub rerun_as: Option<JobRerun>,
}

/// How a Job is made of its CronJob once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRerun {
    /// The CronJob.
    pub cron_job: Box<str>,
    /// A name for the new Job.
    pub name: Box<str>,
}

/// The kinds that build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BuildKind {
    /// A Job.
    Job,
    /// A pod without a controller.
    Pod,
    /// Tekton's run of a Pipeline.
    PipelineRun,
    /// Tekton's run of a Task.
    TaskRun,
    /// A CronJob.
    CronJob,
}

impl BuildKind {
    /// Whether its pods end, so that something can be wrong with them.
    const fn has_pods(self) -> bool {
        !matches!(self, Self::CronJob)
    }
}

impl BuildJob {
    /// Whether its pods may say why it is not done.
    pub(crate) const fn is_unfinished(&self) -> bool {
        let waits = matches!(self.state, BuildState::NeverRun { suspended: false });
        self.kind.has_pods()
            && (matches!(self.state, BuildState::Failed { .. } | BuildState::Running { .. })
                || (waits && matches!(self.kind, BuildKind::Pod)))
    }
}

/// How a container of a build ended, as its status says. Nothing of its log: of a message only what
/// it wrote itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Its name.
    pub container: Box<str>,
    /// The kubelet's or the runtime's word, such as `Error` or `OOMKilled`.
    pub reason: Box<str>,
    /// Its exit code.
    pub exit_code: i32,
    /// The last line of what it wrote as its termination message.
    pub message: Option<Box<str>>,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildState {
    /// It has failed for good.
    Failed {
        /// When.
        at: Option<Timestamp>,
        /// Whether it took longer than it may.
        too_long: bool,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Option<Timestamp>,
        /// Attempts that have failed.
        failed: u32,
    },
    /// It has never been started.
    NeverRun {
        /// Whether it is suspended.
        suspended: bool,
    },
    /// It succeeded.
    Completed {
        /// When.
        at: Option<Timestamp>,
    },
    /// A CronJob that ran; what came of it is not known any more.
    Ran {
        /// When it was last started.
        at: Timestamp,
    },
}
