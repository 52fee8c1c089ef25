//! What answers admission reviews.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::event_queue::EventQueue;
use super::{
    AccessSource, BlindnessTold, ClusterSource, HealthSource, ManifestSource, NodeCredentialSource,
};
use crate::policy::PullgatePolicy;
use crate::pull::Runtime;

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
    pub blindness: BlindnessTold,
}
