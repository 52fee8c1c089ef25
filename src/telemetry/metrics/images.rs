//! What the audit of images in use comes to.

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
    pub fn drifts(&self, registry: &str, against: DriftAgainst, by: i64) {
        let registry = self.images.name_of(registry, false);
        let labels = DriftLabels { registry, against: against.as_str() };
        self.images.drift.get_or_create(&labels).inc_by(by);
    }

    /// Forgets what is known of images in use: another replica looks at them now.
    pub fn forget_pullable(&self) {
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
