//! What the audit of images in use comes to.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{IntGauge, MAX_REGISTRIES, Metrics};
use crate::pull::Cause;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PullableLabels {
    registry: String,
    cause: &'static str,
}

/// The metrics of images in use.
#[derive(Debug, Default)]
pub(super) struct ImageMetrics {
    pullable: Family<PullableLabels, IntGauge>,
    resting: Family<PullableLabels, IntGauge>,
    /// The registries that have names in each of the two; who writes templates uses up no others'.
    registries: Mutex<[HashSet<Box<str>>; 2]>,
    audited: Counter,
}

impl ImageMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "image_pullable",
            "Images in use by what a look at them last came to; the cause `none` can be pulled",
            self.pullable.clone(),
        );
        r.register(
            "template_image_pullable",
            "Images that only templates without pods name, by what a look at them last came to",
            self.resting.clone(),
        );
        r.register("audit_looks", "Looks at images in use", self.audited.clone());
    }
}

impl Metrics {
    /// Counts an image by what a look at it came to, or no longer (`by` is 1 or -1); apart, if only
    /// templates name it.
    pub fn pullable(&self, registry: &str, cause: Option<Cause>, rests: bool, by: i64) {
        let mut known = self.images.registries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut known[usize::from(rests)];
        let listed = known.contains(registry)
            || (known.len() < MAX_REGISTRIES && known.insert(registry.into()));
        let registry = if listed { registry } else { "other" }.to_owned();
        let cause = cause.map_or("none", Cause::as_str);
        let family = if rests { &self.images.resting } else { &self.images.pullable };
        family.get_or_create(&PullableLabels { registry, cause }).inc_by(by);
    }

    /// Forgets what is known of images in use: another replica looks at them now.
    pub fn forget_pullable(&self) {
        let mut known = self.images.registries.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter_mut().for_each(HashSet::clear);
        self.images.pullable.clear();
        self.images.resting.clear();
    }

    /// Counts a look at an image in use.
    pub fn audited(&self) {
        self.images.audited.inc();
    }
}
