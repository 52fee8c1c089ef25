//! Workloads of which pods fail to pull now, each with one pod that shows it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::HealthIndex;
use super::interner::NONE;
use super::record::{PodRecord, State, seconds};
use crate::history::facts::Freshness;
use crate::pull::Cause;

/// Pods that are looked at.
const MAX_LOOKED_AT: usize = 4096;

/// A workload of which pods fail to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingWorkload {
    /// `Deployment`, `StatefulSet`, …, or `Pod` for one that nobody owns.
    pub kind: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// One of its pods that fail.
    pub pod: Box<str>,
    /// Why, as the nodes say.
    pub cause: Cause,
}

impl HealthIndex {
    /// The workloads of which a pod has failed to pull for at least so many seconds and says why;
    /// each once.
    pub fn failing_now(&self, at_least: u32, now: Timestamp) -> Vec<FailingWorkload> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let then = seconds(now).saturating_sub(at_least);
        let mut found: BTreeMap<[Box<str>; 3], FailingWorkload> = BTreeMap::new();
        let registries = self.images.registries();
        let slots = registries.flat_map(|(_, registry)| registry.failing_pods.keys());
        for pod in slots.take(MAX_LOOKED_AT).filter_map(|slot| self.pods.get(*slot)) {
            let fails = pod
                .containers
                .as_slice()
                .iter()
                .filter(|container| container.state == State::Failing && container.at <= then);
            let said = fails.filter_map(super::record::ContainerRecord::cause);
            let Some(cause) = said.into_iter().find(|cause| *cause != Cause::BackOff) else {
                continue;
            };
            let [kind, namespace, name] = self.who(pod);
            let key = [kind.clone(), namespace.clone(), name.clone()];
            found.entry(key).or_insert_with(|| FailingWorkload {
                pod: self.pod_name(pod).into(),
                kind,
                namespace,
                name,
                cause,
            });
        }
        found.into_values().collect()
    }

    fn who(&self, pod: &PodRecord) -> [Box<str>; 3] {
        let top = (pod.workload != NONE).then(|| self.workloads.top(pod.workload)).flatten();
        match top {
            Some(top) => [top.kind, top.namespace, top.name].map(|id| self.text(id).into()),
            None => ["Pod".into(), self.text(pod.namespace).into(), self.pod_name(pod).into()],
        }
    }
}
