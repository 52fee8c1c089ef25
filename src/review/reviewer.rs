//! What answers admission reviews, and workloads that were warned of, handed on to whoever writes Events.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{
    AccessSource, BlindRegistryNotices, ClusterSource, HealthSource, ManifestSource,
    NodeCredentialSource, SharedAnswers,
};
use crate::policy::PullgatePolicy;
use crate::pull::Runtime;
use crate::workload::{ObjectRef, Workload};

/// Everything that answers admission reviews.
pub struct Reviewer {
    /// The registries.
    pub registry: Arc<dyn ManifestSource>,
    /// The API server.
    pub cluster: Arc<dyn ClusterSource>,
    /// The nodes' own credentials.
    pub nodes: Arc<dyn NodeCredentialSource>,
    /// What was observed in this cluster.
    pub health: Arc<dyn HealthSource>,
    /// Who may see what.
    pub access: Arc<dyn AccessSource>,
    /// The policy in force.
    pub policy: Arc<ArcSwap<PullgatePolicy>>,
    /// Pullgate's own namespace, which it never judges.
    pub own_namespace: Option<Box<str>>,
    /// The runtime of the nodes, where the platform team says it.
    pub runtime: Option<Runtime>,
    /// Where what was warned of goes to become an Event, if the policy wants that.
    pub event_queue: Option<Arc<dyn EventQueue>>,
    /// Who was told of registries that cannot be reached.
    pub blindness: BlindRegistryNotices,
    /// What pods were told within the last second.
    pub shared_answers: SharedAnswers,
}

/// An object that was warned of, or denied.
#[derive(Debug, Clone)]
pub struct EventRequest {
    /// The object, reduced.
    pub workload: Workload,
    /// Its namespace.
    pub namespace: Box<str>,
}

/// Where concerns go. Taking one never waits; one too many is dropped.
pub trait EventQueue: Send + Sync {
    /// Takes a concern.
    fn offer(&self, event_request: EventRequest);
}

impl EventRequest {
    /// What an Event would be about, with its uid: the controller, else the object. Nothing if it
    /// has no uid yet.
    pub fn about(&self) -> Option<(ObjectRef, Box<str>)> {
        let namespace = self.namespace.clone();
        let (about, uid) = if let Some(owner) = &self.workload.controller {
            let (api_version, kind) = (owner.api_version.clone(), owner.kind.clone());
            let name = owner.name.clone();
            (ObjectRef { api_version, kind, namespace, name }, owner.uid.clone())
        } else {
            let object = self.workload.object.clone();
            (ObjectRef { namespace, ..object }, self.workload.uid.clone())
        };
        (!uid.is_empty() && !about.name.is_empty()).then_some((about, uid))
    }
}
