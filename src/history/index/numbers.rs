//! What nodes live with, registry by registry, in numbers.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::HealthIndex;
use super::interner::{Id, NONE};
use super::record::{State, seconds};
use super::registries::{MAX_LOOKED_AT, TroubleKind};
use crate::pull::Cause;

/// One registry in numbers of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryCounts {
    /// Its host.
    pub host: Arc<str>,
    /// Containers that run an image of it.
    pub healthy: u32,
    /// Why containers cannot get theirs: how many, on how many nodes.
    pub failing: Vec<(Cause, u32, u32)>,
    /// What kind of trouble it is in as a whole.
    pub trouble: Option<TroubleKind>,
    /// When a node last pulled freshly from it, in seconds since 1970; 0 for never.
    pub last_pull: u32,
    /// Fresh pulls by nodes in about the last ten minutes.
    pub recent_pulls: u32,
}

impl HealthIndex {
    /// Every registry that is used now or was pulled from, in numbers.
    pub fn registry_counts(&self, now: Timestamp) -> Vec<RegistryCounts> {
        let now = seconds(now);
        let known = self.images.registries().filter(|(_, registry)| {
            registry.healthy > 0 || registry.failing > 0 || registry.pulled > 0
        });
        known
            .map(|(id, registry)| RegistryCounts {
                host: registry.host.clone(),
                healthy: registry.healthy,
                failing: self.failing_by_cause(id),
                trouble: registry.trouble.map(|trouble| trouble.kind),
                last_pull: registry.pulled,
                recent_pulls: registry.recent_pulls(now),
            })
            .collect()
    }

    fn failing_by_cause(&self, id: Id) -> Vec<(Cause, u32, u32)> {
        let Some(registry) = self.images.registry(id) else { return Vec::new() };
        let mut nodes: BTreeMap<Cause, HashSet<Id>> = BTreeMap::new();
        let pods = registry.failing_pods.keys().take(MAX_LOOKED_AT);
        for pod in pods.filter_map(|slot| self.pods.get(*slot)).filter(|pod| pod.node != NONE) {
            for container in pod.containers.as_slice() {
                if container.state == State::Failing
                    && self.images.registry_of(container.image) == Some(id)
                    && let Some(cause) = container.cause()
                {
                    nodes.entry(cause).or_default().insert(pod.node);
                }
            }
        }
        let on = |cause| nodes.get(&cause).map_or(0, HashSet::len);
        let causes = registry.causes.iter();
        causes
            .map(|(cause, containers)| {
                (*cause, *containers, u32::try_from(on(*cause)).unwrap_or(u32::MAX))
            })
            .collect()
    }
}
