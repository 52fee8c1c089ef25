//! How long nodes took to pull, as the kubelet's `Pulled` events say: `Successfully pulled image "…" in
//! 12.3s (12.4s including waiting). Image size: 1234 bytes.`
//! (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/image_manager.go>; the size
//! from 1.29 on).

use super::super::report::PullSummary;
use crate::duration::parse_go;

/// Pulls of one image that are kept, the latest.
const KEPT: usize = 8;

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
    took: Vec<u32>,
    size: u64,
}

impl PullTimes {
    pub(super) fn add(&mut self, pull: PullTime) {
        if pull.size > 0 {
            self.size = pull.size;
        }
        if pull.took == 0 {
            return;
        }
        if self.took.len() == KEPT {
            self.took.remove(0);
        }
        self.took.push(pull.took);
    }

    /// The pulls of several images together; nothing, if none says how long it took.
    pub(super) fn summary<'a>(all: impl Iterator<Item = &'a Self>) -> Option<PullSummary> {
        let (mut took, mut sizes) = (Vec::new(), Vec::new());
        for times in all {
            took.extend_from_slice(&times.took);
            sizes.extend((times.size > 0).then_some(times.size));
        }
        took.sort_unstable();
        let (median, slowest) = (*took.get(took.len() / 2)?, *took.last()?);
        Some(PullSummary {
            pulls: took.len(),
            median_milliseconds: median,
            slowest_milliseconds: slowest,
            largest_bytes: sizes.into_iter().max(),
        })
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
        assert_eq!(PullTimes::summary([&times].into_iter()), None);
        for took in [90_000, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000] {
            times.add(PullTime { took, size: 10 });
        }
        times.add(PullTime { took: 0, size: 0 });
        let other = PullTimes { took: vec![60_000], size: 99 };
        let both = PullTimes::summary([&times, &other].into_iter()).unwrap();
        assert_eq!((both.pulls, both.median_milliseconds), (9, 5_000));
        assert_eq!((both.slowest_milliseconds, both.largest_bytes), (60_000, Some(99)));
    }
}
