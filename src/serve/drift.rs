//! Tags in use under which pods run other images than the registry has now, or than other pods of
//! the same workload: counted while that is so.

use std::collections::{BTreeMap, HashMap};

use crate::cluster::Cluster;
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::review::{Compared, Drift, ManifestSource, pods_differ};
use crate::telemetry::{DriftAgainst, Metrics};

/// What looks at one image said of drift, in all namespaces together.
#[derive(Debug, Default)]
pub(super) struct DriftSeen<'n> {
    compared: bool,
    first: Option<(&'n str, Drift)>,
}

impl<'n> DriftSeen<'n> {
    pub(super) fn add(&mut self, namespace: &'n str, compared: &Compared) {
        self.compared |= *compared != Compared::Not;
        if let (None, Compared::Differs(drift)) = (&self.first, compared) {
            self.first = Some((namespace, drift.clone()));
        }
    }

    /// Whether pods run another digest; nothing if it was not compared.
    pub(super) fn differs(&self) -> Option<bool> {
        self.compared.then_some(self.first.is_some())
    }

    /// Tells of it in the log; whether there was something to tell.
    pub(super) fn log(&self, image: &str) -> bool {
        let Some((namespace, Drift { now, pods })) = &self.first else { return false };
        tracing::info!(image, namespace, pods, %now, "pods run another digest than the registry has");
        true
    }
}

/// Whether two pods of one workload run different images under this name.
pub(super) fn among_pods(cluster: &Cluster, registry: &dyn ManifestSource, image: &str) -> bool {
    let Ok(image) = ImageReference::parse(image) else { return false };
    if image.digest().is_some() {
        return false;
    }
    pods_differ(registry, &image, &cluster.running_digests(&image, &Visibility::Cluster))
}

/// The images of one registry that drift, as they are counted.
pub(super) struct DriftTally<'a> {
    metrics: &'a Metrics,
    registry: &'a str,
    /// Whether from the registry, and whether among pods.
    last: HashMap<Box<str>, [bool; 2]>,
}

const AGAINST: [DriftAgainst; 2] = [DriftAgainst::Registry, DriftAgainst::Pods];

impl<'a> DriftTally<'a> {
    pub(super) fn new(metrics: &'a Metrics, registry: &'a str) -> Self {
        Self { metrics, registry, last: HashMap::new() }
    }

    /// Forgets what is no longer in use.
    pub(super) fn keep<T>(&mut self, in_use: &BTreeMap<Box<str>, T>) {
        let gone = self.last.keys().filter(|image| !in_use.contains_key(*image));
        let gone: Vec<Box<str>> = gone.cloned().collect();
        for image in gone {
            self.note(&image, [false; 2]);
        }
    }

    /// Notes what an image differs from now: from the registry's, where it was compared, and among
    /// pods. Whether it differs from the registry's as of now.
    pub(super) fn compare(&mut self, image: &str, registry: Option<bool>, among: bool) -> bool {
        let before = self.last.get(image).copied().unwrap_or_default();
        self.note(image, [registry.unwrap_or(before[0]), among])
    }

    fn note(&mut self, image: &str, now: [bool; 2]) -> bool {
        let before = match now {
            [false, false] => self.last.remove(image),
            now => self.last.insert(image.into(), now),
        };
        let before = before.unwrap_or_default();
        for ((against, before), now) in AGAINST.into_iter().zip(before).zip(now) {
            if before != now {
                self.metrics.drifts(self.registry, against, if now { 1 } else { -1 });
            }
        }
        now[0] && !before[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drifts_is_counted_while_it_does() {
        let metrics = Metrics::new();
        let mut tally = DriftTally::new(&metrics, "r.io");
        let shown = || {
            let page = metrics.render();
            let lines = page.lines().filter(|line| line.starts_with("pullgate_image_drift{"));
            let mut counts: Vec<String> = lines
                .map(|line| line.trim_start_matches("pullgate_image_drift").to_owned())
                .collect();
            counts.sort();
            counts.join(" ")
        };
        assert!(tally.note("r.io/a:1", [true, false]));
        assert!(!tally.note("r.io/a:1", [true, true]), "it was told");
        assert!(!tally.note("r.io/b:1", [false, true]));
        assert_eq!(
            shown(),
            r#"{registry="r.io",against="pods"} 2 {registry="r.io",against="registry"} 1"#
        );
        assert!(
            !tally.compare("r.io/a:1", None, true),
            "nothing was heard, so nothing has changed"
        );
        assert!(shown().ends_with(r#"against="registry"} 1"#));
        tally.note("r.io/a:1", [false, false]);
        tally.keep(&BTreeMap::<Box<str>, u8>::new());
        assert_eq!(
            shown(),
            r#"{registry="r.io",against="pods"} 0 {registry="r.io",against="registry"} 0"#
        );
    }
}
