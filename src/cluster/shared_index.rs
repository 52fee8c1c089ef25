//! What is remembered of the cluster, shared by watches and questions.
//!
//! Locked for one object or one question at a time, never across an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::templates::Templates;
use crate::builds::Builds;
use crate::history::{Freshness, HealthIndex, Limits, RegistryCounts, TroubleKind};
use crate::telemetry::{FailingContainers, Metrics, RegistryNumbers, now};
use crate::workload::Node;

/// How often the index looks after itself: judges registries and verdicts, forgets what is too
/// old. What it looks at then is what fails or waits, so it costs little.
const TICK: Duration = Duration::from_secs(5);

/// What is remembered of the cluster.
#[derive(Default)]
pub(super) struct IndexState {
    /// Which images run, and which fail.
    pub(super) index: HealthIndex,
    /// Which jobs build which images.
    pub(super) builds: Builds,
    /// What has no pods now and will pull some day.
    pub(super) templates: Templates,
}

/// What is remembered, shared by watches and questions.
#[derive(Clone, Default)]
pub(super) struct SharedIndex(Arc<Mutex<IndexState>>);

impl SharedIndex {
    /// An empty memory within these bounds.
    pub(super) fn new(limits: Limits) -> Self {
        let index = HealthIndex::new(limits);
        Self(Arc::new(Mutex::new(IndexState { index, ..IndexState::default() })))
    }

    /// For one object or one question.
    pub(super) fn lock(&self) -> MutexGuard<'_, IndexState> {
        // A watch that panicked ends the process; until then an answer is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node is new or has changed.
    pub(super) fn node(&self, node: &Node) {
        let images = node.images.iter().map(AsRef::as_ref);
        self.lock().index.apply_node(&node.name, images);
    }

    /// A node is gone.
    pub(super) fn node_gone(&self, name: &str) {
        self.lock().index.delete_node(name);
    }

    /// A task that lets the index look after itself. Never ends.
    pub(super) async fn run_maintenance(
        self,
        freshness: impl Fn() -> Freshness + Send,
        metrics: Arc<Metrics>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            metrics.index_freshness(freshness().as_str());
            let mut memory = self.lock();
            memory.index.tick(now());
            let registries = memory.index.registry_counts(now()).into_iter().map(numbers).collect();
            metrics.registries(registries);
            let size = memory.index.size();
            metrics.index_size(size.pods, size.images);
            for (verdict, outcome, count) in memory.index.score().judged() {
                metrics.verdicts_judged(verdict.as_str(), outcome.as_str(), count);
            }
            for (registry, cause, count) in memory.index.score().would_deny() {
                metrics.would_deny(registry, cause.as_str(), count);
            }
        }
    }
}

fn numbers(counts: RegistryCounts) -> RegistryNumbers {
    let RegistryCounts { host, healthy, failing, trouble, last_pull, recent_pulls } = counts;
    let failing = failing.into_iter();
    RegistryNumbers {
        host: host.as_ref().into(),
        healthy,
        failing: failing
            .map(|(cause, containers, nodes)| FailingContainers { cause, containers, nodes })
            .collect(),
        trouble: trouble.map(TroubleKind::as_str),
        last_pull: last_pull.into(),
        recent_pulls,
    }
}
