//! How long nodes took to pull, as the kubelet's `Pulled` events say: `Successfully pulled image "…" in
//! 12.3s (12.4s including waiting). Image size: 1234 bytes.`
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/image_manager.go>; the size
//! from 1.29 on).

use std::collections::BTreeMap;

use super::super::report::{ForecastBasis, NodePulls, PullForecast, PullSummary};
use super::HealthIndex;
use super::interner::{Id, NONE};
use crate::duration::parse_go;
use crate::history::facts::Freshness;
use crate::image::ImageReference;

/// Pulls of one image that are kept, the latest.
const KEPT: usize = 8;
/// Most nodes that a summary names.
const MAX_NODES: usize = 10;
/// Most images by which the speed of a registry is estimated.
const MAX_RATES: usize = 1000;

/// What an event said of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PullTime {
    /// Milliseconds that the runtime took, without the wait for its turn; 0 if it is not said.
    pub(super) took: u32,
    /// Bytes of the image; 0 if it is not said.
    pub(super) size: u64,
}

impl PullTime {
    /// Reads it from the event's message, behind the name of the image.
    pub(super) fn read(message: &str) -> Self {
        let behind = message.rsplit_once('"').map_or("", |(_, behind)| behind);
        let took = behind.strip_prefix(" in ").map(|rest| {
            let end = rest.find([' ', '(']).unwrap_or(rest.len());
            rest[..end].trim_end_matches('.')
        });
        let took = took.and_then(parse_go).map(|took| took.as_millis());
        let size = behind.split_once("Image size: ").and_then(|(_, rest)| rest.split(' ').next());
        Self {
            took: took.and_then(|took| u32::try_from(took).ok()).unwrap_or_default(),
            size: size.and_then(|size| size.parse().ok()).unwrap_or_default(),
        }
    }
}

/// The latest pulls of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PullTimes {
    /// Milliseconds, and the node.
    took: Vec<(u32, Id)>,
    size: u64,
}

impl PullTimes {
    pub(super) fn add(&mut self, pull: PullTime, node: Id) {
        if pull.size > 0 {
            self.size = pull.size;
        }
        if pull.took == 0 {
            return;
        }
        if self.took.len() == KEPT {
            self.took.remove(0);
        }
        self.took.push((pull.took, node));
    }

    /// The nodes that it names.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Id> {
        self.took.iter().map(|(_, node)| *node)
    }

    /// The pulls of several images together; nothing, if none says how long it took.
    pub(super) fn summary<'a>(
        all: impl Iterator<Item = &'a Self>,
        name: impl Fn(Id) -> String,
    ) -> Option<PullSummary> {
        let mut by_node: BTreeMap<Id, Vec<u32>> = BTreeMap::new();
        let (mut took, mut sizes) = (Vec::new(), Vec::new());
        for times in all {
            for (milliseconds, node) in &times.took {
                took.push(*milliseconds);
                by_node.entry(*node).or_default().push(*milliseconds);
            }
            sizes.extend((times.size > 0).then_some(times.size));
        }
        let slowest = *took.iter().max()?;
        by_node.remove(&NONE);
        let mut nodes: Vec<NodePulls> = by_node
            .into_iter()
            .filter_map(|(node, mut took)| {
                let median_milliseconds = median(&mut took)?;
                Some(NodePulls { node: name(node), pulls: took.len(), median_milliseconds })
            })
            .collect();
        nodes.sort_unstable_by(|a, b| {
            let slower = b.median_milliseconds.cmp(&a.median_milliseconds);
            slower.then_with(|| a.node.cmp(&b.node))
        });
        nodes.truncate(MAX_NODES);
        Some(PullSummary {
            pulls: took.len(),
            median_milliseconds: median(&mut took)?,
            slowest_milliseconds: slowest,
            largest_bytes: sizes.into_iter().max(),
            nodes,
        })
    }

    /// Its size and the median of its pulls, if both are known.
    fn speed(&self) -> Option<(u64, u64)> {
        let mut took: Vec<u32> = self.took.iter().map(|(took, _)| *took).collect();
        let took = median(&mut took)?;
        (self.size > 0).then(|| (self.size, u64::from(took)))
    }
}

/// The middle one, of an even number the upper.
fn median<T: Copy + Ord>(values: &mut [T]) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

impl HealthIndex {
    /// How long a node is likely to take for this image: by its own pulls, by those of its
    /// repository, or by the speed of its registry where its size is known. Nothing where none was
    /// seen, or while the index may not be believed.
    pub(crate) fn pull_forecast(
        &self,
        reference: &ImageReference,
        compressed_bytes: Option<u64>,
    ) -> Option<PullForecast> {
        if self.freshness != Freshness::Current {
            return None;
        }
        let times = |image: Id| self.images.get(image)?.times.as_deref();
        let of = |images: &mut dyn Iterator<Item = Id>, basis| {
            let mut took: Vec<u32> =
                images.filter_map(times).flat_map(|times| &times.took).map(|one| one.0).collect();
            let milliseconds = median(&mut took)?;
            Some(PullForecast { milliseconds, pulls: took.len(), basis })
        };
        let own = self.images.find(reference);
        if let Some(found) = of(&mut own.into_iter(), ForecastBasis::Image) {
            return Some(found);
        }
        let repository = self.images.repository_named(&self.images.repository_name(reference));
        let mut beside = repository.into_iter().flat_map(|found| found.images.iter().copied());
        if let Some(found) = of(&mut beside, ForecastBasis::Repository) {
            return Some(found);
        }
        let registry = self.images.find_registry(reference.host())?;
        let from_it = self.images.iter().filter(|(_, image)| {
            let repository = self.images.repository(image.repository);
            repository.is_some_and(|repository| repository.registry == registry)
        });
        let speeds = from_it.filter_map(|(_, image)| image.times.as_deref()?.speed());
        // All together: of small images the time is hardly that of their bytes.
        let (mut size, mut took, mut pulls) = (0_u64, 0_u64, 0);
        for (bytes, milliseconds) in speeds.take(MAX_RATES) {
            size = size.saturating_add(bytes);
            took = took.saturating_add(milliseconds);
            pulls += 1;
        }
        let wanted = compressed_bytes.filter(|bytes| *bytes > 0)?;
        let milliseconds = wanted.saturating_mul(took).checked_div(size)?;
        let milliseconds = u32::try_from(milliseconds).ok()?;
        Some(PullForecast { milliseconds, pulls, basis: ForecastBasis::Registry })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::whole(
        "Successfully pulled image \"r.io/a:1\" in 12.3s (12.4s including waiting). Image size: 1234 bytes.",
        12_300,
        1234
    )]
    #[case::before_1_29(
        "Successfully pulled image \"r.io/a:1\" in 1m2s (1m3s including waiting)",
        62_000,
        0
    )]
    #[case::old("Successfully pulled image \"r.io/a:1\" in 501.2ms", 501, 0)]
    #[case::stop("Successfully pulled image \"r.io/a:1\" in 2s.", 2_000, 0)]
    #[case::silent("Successfully pulled image \"r.io/a:1\"", 0, 0)]
    #[case::odd("Successfully pulled image \"r.io/a:1\" in no time. Image size: x bytes.", 0, 0)]
    #[case::endless("Successfully pulled image \"r.io/a:1\" in 99999999h", 0, 0)]
    fn what_an_event_says(#[case] message: &str, #[case] took: u32, #[case] size: u64) {
        assert_eq!(PullTime::read(message), PullTime { took, size });
    }

    #[test]
    fn the_latest_pulls_count() {
        let mut times = PullTimes::default();
        let name = |node: Id| format!("node-{node}");
        assert_eq!(PullTimes::summary([&times].into_iter(), name), None);
        for took in [90_000, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000] {
            times.add(PullTime { took, size: 10 }, took % 2_000 / 1_000);
        }
        times.add(PullTime { took: 0, size: 0 }, 0);
        let other = PullTimes { took: vec![(60_000, 7), (70_000, NONE)], size: 99 };
        let mut both = PullTimes::summary([&times, &other].into_iter(), name).unwrap();
        assert_eq!((both.pulls, both.slowest_milliseconds), (10, 70_000));
        let nodes = std::mem::take(&mut both.nodes);
        let nodes: Vec<_> =
            nodes.iter().map(|one| (&*one.node, one.pulls, one.median_milliseconds)).collect();
        assert_eq!(nodes, [("node-7", 1, 60_000), ("node-0", 4, 6_000), ("node-1", 4, 5_000)]);
        let other = PullTimes { took: vec![(60_000, 7)], size: 99 };
        let both = PullTimes::summary([&times, &other].into_iter(), name).unwrap();
        assert_eq!((both.pulls, both.median_milliseconds), (9, 5_000));
        assert_eq!((both.slowest_milliseconds, both.largest_bytes), (60_000, Some(99)));
    }
}
