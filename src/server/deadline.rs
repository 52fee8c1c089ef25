//! The moment by which a review must be answered, from the `?timeout=` of the API server.

use std::time::{Duration, Instant};

use crate::duration::parse_go;

/// What the API server waits when a webhook configuration does not say.
const DEFAULT: Duration = Duration::from_secs(10);
/// The API server allows 1 to 30 seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// Reads `timeout` from a query such as `timeout=10s`. The API server writes Go durations; what
/// cannot be read, or makes no sense, counts as the default of 10 s.
pub(crate) fn timeout_from_query(query: Option<&str>) -> Duration {
    query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(parse_go)
        .filter(|given| !given.is_zero())
        .map_or(DEFAULT, |given| given.min(LONGEST))
}

/// The moment by which the answer must be on its way: a margin before the caller gives up, so
/// that the answer still travels. A third of the time, at least 50 ms, at most a second.
pub(crate) fn deadline_from_query(query: Option<&str>, arrived: Instant) -> Instant {
    let timeout = timeout_from_query(query);
    arrived + timeout.saturating_sub(margin(timeout))
}

/// How long before the caller gives up the answer should leave.
pub(crate) fn margin(timeout: Duration) -> Duration {
    (timeout / 3).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::seconds("timeout=2s", 2_000)]
    #[case::the_api_servers_default("timeout=10s", 10_000)]
    #[case::milliseconds("timeout=500ms", 500)]
    #[case::fraction("timeout=2.5s", 2_500)]
    #[case::sum("timeout=1m0s", 30_000)]
    #[case::among_others("a=b&timeout=3s&c", 3_000)]
    #[case::too_long("timeout=5h", 30_000)]
    #[case::none("", 10_000)]
    #[case::no_unit("timeout=10", 10_000)]
    #[case::zero("timeout=0s", 10_000)]
    #[case::negative("timeout=-1s", 10_000)]
    #[case::word("timeout=soon", 10_000)]
    #[case::empty("timeout=", 10_000)]
    #[case::only_a_unit("timeout=s", 10_000)]
    #[case::dots("timeout=1..5s", 10_000)]
    #[case::overflow("timeout=99999999999999999999999999h", 10_000)]
    #[case::percent("timeout=%31s", 10_000)]
    fn timeouts(#[case] query: &str, #[case] milliseconds: u64) {
        let timeout = timeout_from_query(Some(query));
        assert_eq!(timeout, Duration::from_millis(milliseconds));
    }

    #[rstest]
    #[case(1_000, 333)]
    #[case(3_000, 1_000)]
    #[case(30_000, 1_000)]
    #[case(90, 50)]
    fn margins(#[case] timeout: u64, #[case] expected: u64) {
        assert_eq!(margin(Duration::from_millis(timeout)).as_millis(), u128::from(expected));
    }

    #[test]
    fn a_tiny_timeout_is_a_deadline_at_once_and_never_before_arrival() {
        #[expect(clippy::disallowed_methods, reason = "a test reads the clock")]
        let arrived = Instant::now();
        assert_eq!(deadline_from_query(Some("timeout=1ms"), arrived), arrived);
    }
}
