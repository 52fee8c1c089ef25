//! What is counted of the memory of the cluster, how right verdicts were, and what the audit of images in
//! use comes to.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{DriftAgainst, IntGauge, MAX_REGISTRIES, Metrics};
use crate::pull::Cause;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PullableLabels {
    registry: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    registry: String,
    against: &'static str,
}

/// The metrics of images in use.
#[derive(Debug, Default)]
pub(super) struct ImageMetrics {
    pullable: Family<PullableLabels, IntGauge>,
    resting: Family<PullableLabels, IntGauge>,
    drift: Family<DriftLabels, IntGauge>,
    /// The registries that have names in each of the two; who writes templates uses up no others'.
    registries: Mutex<[HashSet<Box<str>>; 2]>,
    audited: Counter,
}

impl ImageMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "image_pullable",
            "Images in use by the result of their last check; cause \"none\" can be pulled",
            self.pullable.clone(),
        );
        r.register(
            "template_image_pullable",
            "Images that only templates without pods name, by the result of their last check",
            self.resting.clone(),
        );
        r.register(
            "image_drift",
            "Tags in use of which pods run another digest than the registry has now, or than other pods",
            self.drift.clone(),
        );
        r.register("audit_looks", "Checks of images in use", self.audited.clone());
    }

    /// The registry's name as a label: beyond so many it is one of the others.
    fn name_of(&self, registry: &str, rests: bool) -> String {
        let mut known = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut known[usize::from(rests)];
        let listed = known.contains(registry)
            || (known.len() < MAX_REGISTRIES && known.insert(registry.into()));
        if listed { registry } else { "other" }.to_owned()
    }
}

impl Metrics {
    /// Counts an image by what a look at it came to, or no longer (`by` is 1 or -1); apart, if only
    /// templates name it.
    pub fn pullable(&self, registry: &str, cause: Option<Cause>, rests: bool, by: i64) {
        let registry = self.images.name_of(registry, rests);
        let cause = cause.map_or("none", Cause::as_str);
        let family = if rests { &self.images.resting } else { &self.images.pullable };
        family.get_or_create(&PullableLabels { registry, cause }).inc_by(by);
    }

    /// Counts a tag of which pods run other digests, or no longer (`by` is 1 or -1).
    pub(crate) fn drifts(&self, registry: &str, against: DriftAgainst, by: i64) {
        let registry = self.images.name_of(registry, false);
        let labels = DriftLabels { registry, against: against.as_str() };
        self.images.drift.get_or_create(&labels).inc_by(by);
    }

    /// Forgets what is known of images in use: another replica looks at them now.
    pub(crate) fn forget_pullable(&self) {
        let mut known = self.images.registries.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter_mut().for_each(HashSet::clear);
        self.images.pullable.clear();
        self.images.resting.clear();
        self.images.drift.clear();
    }

    /// Counts a look at an image in use.
    pub fn audited(&self) {
        self.images.audited.inc();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgedLabels {
    verdict: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WouldDenyLabels {
    registry: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SnapshotLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The metrics of the memory.
#[derive(Debug, Default)]
pub(super) struct IndexMetrics {
    index_pods: IntGauge,
    index_images: IntGauge,
    index_state: Family<StateLabels, IntGauge>,
    judged: Family<JudgedLabels, Counter>,
    would_deny: Family<WouldDenyLabels, Counter>,
    snapshots: Family<SnapshotLabels, Counter>,
}

impl IndexMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("index_pods", "Pods in the history", self.index_pods.clone());
        r.register(
            "index_images",
            "Images in the history, with those whose pods are gone",
            self.index_images.clone(),
        );
        r.register(
            "index_state",
            "1 for what the health index is: learning, current or stale (it tells only while it is current)",
            self.index_state.clone(),
        );
        r.register(
            "verdicts_judged",
            "Verdicts on images of admitted pods, by what the nodes then did",
            self.judged.clone(),
        );
        r.register(
            "would_deny",
            "Images of pods that would be denied under full enforcement: every vouch given, every namespace in enforce",
            self.would_deny.clone(),
        );
        r.register(
            "snapshots",
            "Reads and writes of the snapshot of the history, by result",
            self.snapshots.clone(),
        );
    }
}

impl Metrics {
    /// Notes how much is in the health index.
    pub(crate) fn index_size(&self, pods: usize, images: usize) {
        self.index.index_pods.set(i64::try_from(pods).unwrap_or(i64::MAX));
        self.index.index_images.set(i64::try_from(images).unwrap_or(i64::MAX));
    }

    /// Notes whether the health index may be believed: `learning`, `current` or `stale`.
    pub(crate) fn index_freshness(&self, now: &'static str) {
        for state in ["learning", "current", "stale"] {
            let labels = StateLabels { state };
            self.index.index_state.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// Notes how often a verdict has met an outcome in all.
    pub(crate) fn verdicts_judged(&self, verdict: &'static str, outcome: &'static str, total: u64) {
        let counter = self.index.judged.get_or_create_owned(&JudgedLabels { verdict, outcome });
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Notes how many images of a registry would have been denied for a cause in all.
    pub fn would_deny(&self, registry: &str, cause: &'static str, total: u64) {
        let labels = WouldDenyLabels { registry: registry.to_owned(), cause };
        let counter = self.index.would_deny.get_or_create_owned(&labels);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Counts a read or write of the memory's file; `result` is one of `ok`, `absent`, `refused`,
    /// `failed`.
    pub fn snapshot(&self, operation: &'static str, result: &'static str) {
        self.index.snapshots.get_or_create(&SnapshotLabels { operation, result }).inc();
    }
}
