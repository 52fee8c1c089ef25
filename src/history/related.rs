//! What stands beside an image in the cluster: the Service of an in-cluster registry, the job that
//! builds and pushes the image. Names and closed lists only, never a text that a tenant wrote.

use jiff::Timestamp;

use crate::pull::Cause;

/// The Service behind which a registry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryService {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// What stands behind it.
    pub state: ServiceState,
}

/// What stands behind a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// There is no such Service.
    Missing,
    /// No pod.
    NoPods,
    /// Pods of which none is ready.
    NotReady {
        /// How many.
        pods: u32,
        /// What is wrong with one of them, where it is known.
        trouble: Option<PodTrouble>,
    },
    /// So many endpoints are ready: the Service is not what is wrong.
    Ready(u32),
}

impl RegistryService {
    /// Whether nobody can pull through it.
    pub const fn is_down(&self) -> bool {
        !matches!(self.state, ServiceState::Ready(_))
    }
}

/// A network policy that selects the pods behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectingNetworkPolicy {
    /// Its name; it is in the Service's namespace.
    pub name: Box<str>,
    /// Whom it lets in. Where several select a pod, who is let in by one gets in.
    pub allowed: AllowedSources,
}

/// Whom a network policy lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedSources {
    /// Nobody.
    Nobody,
    /// Those that it names.
    Some,
    /// Everybody, at some port at least.
    Everybody,
}

/// What is wrong with a pod, as its status says in words of closed lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodTrouble {
    /// It cannot pull an image of its own.
    CannotPull(Cause),
    /// A container does not stay up.
    Crashing,
    /// A container used more memory than it may.
    OutOfMemory,
    /// A container ended with this code.
    ExitCode(i32),
    /// It was evicted.
    Evicted,
    /// No node takes it.
    Unschedulable,
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
    pub const fn is_unfinished(&self) -> bool {
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
