//! The metrics of the process, as typed handles that edges are given.
//!
//! Names start with `pullgate_`, times are in seconds, labels come from closed lists or are hosts
//! of registries under a cap. Each subject has a file of its own.

mod images;
mod nodes;
mod process;
mod reviews;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::text;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub(crate) use nodes::SecretEnd;
pub use nodes::{FailingContainers, RegistryNumbers};
pub use reviews::{ApiCall, DriftAgainst, FailOpenReason, Refusal, Rejection};

/// The most registries that appear as labels of one metric; the rest are `other`.
const MAX_REGISTRIES: usize = 100;

type FloatGauge = Gauge<f64, AtomicU64>;
type IntGauge = Gauge<i64, AtomicI64>;

/// All metrics of the process. Shared by reference; every method is cheap and never waits.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    reviews: reviews::ReviewMetrics,
    process: process::ProcessMetrics,
    index: images::IndexMetrics,
    installation: process::InstallationMetrics,
    images: images::ImageMetrics,
    nodes: nodes::NodeMetrics,
}

impl Metrics {
    /// Registers every metric once.
    pub fn new() -> Self {
        Self::including(|_| ())
    }

    /// Registers every metric once, and those of another module.
    pub fn including(register: impl FnOnce(&mut Registry)) -> Self {
        let mut registry = Registry::with_prefix("pullgate");
        let mut metrics = Self::default();
        metrics.reviews.register(&mut registry);
        metrics.process.register(&mut registry);
        metrics.index.register(&mut registry);
        metrics.installation.register(&mut registry);
        metrics.images.register(&mut registry);
        metrics.nodes.register(&mut registry);
        register(&mut registry);
        metrics.registry = registry;
        metrics
    }

    /// The text of all metrics in the `OpenMetrics` format.
    pub fn render(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        if text::encode(&mut page, &self.registry).is_err() {
            page.clear();
            let _infallible = writeln!(page, "# EOF");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_and_labels_are_words() {
        let metrics = Metrics::new();
        metrics.review("validate", "deny", 0.2);
        metrics.refused(Refusal::Token);
        metrics.cut_short(FailOpenReason::Panic);
        metrics.watch_contact("pods", 1.5);
        drop(metrics.review_begins());
        let page = metrics.render();
        for line in [
            r#"pullgate_reviews_total{endpoint="validate",decision="deny"} 1"#,
            r#"pullgate_callers_refused_total{reason="token"} 1"#,
            r#"pullgate_reviews_cut_short_total{reason="panic"} 1"#,
            r#"pullgate_watch_last_contact_timestamp_seconds{resource="pods"} 1.5"#,
            "pullgate_reviews_in_flight 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        for line in page.lines().filter(|l| !l.starts_with('#')) {
            assert!(line.starts_with("pullgate_"), "{line}");
        }
    }
}
