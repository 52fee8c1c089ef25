//! What stands beside an image in the cluster: the Service of an in-cluster registry, and what is wrong
//! with the pods behind it. Names and closed lists only, never a text that a tenant wrote.

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
    pub(crate) const fn is_down(&self) -> bool {
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
