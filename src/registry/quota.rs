//! How many pulls a registry has left for a credential, in the words of Docker Hub.

use std::time::Duration;

use tokio::time::Instant;

/// What Docker Hub gives, and for how long, where it does not say.
const USUAL_LIMIT: u32 = 100;
const USUAL_WINDOW: Duration = Duration::from_secs(6 * 3600);
/// How long a number is good enough to forecast from: nodes pull, and pulls come back one by one.
const RECENT: Duration = Duration::from_secs(600);

/// What is left, as it was last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) remaining: u32,
    limit: u32,
    /// How long the limit is counted for.
    pub(super) window: Duration,
    /// Until when that holds.
    until: Instant,
}

impl Quota {
    /// From headers such as `ratelimit-remaining: 76;w=21600`.
    pub(super) fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let (remaining, window) = parse(header("ratelimit-remaining")?)?;
        let limit = header("ratelimit-limit").and_then(parse);
        let limit = limit.map_or(USUAL_LIMIT, |(limit, _)| limit);
        let window = window.unwrap_or(USUAL_WINDOW).min(24 * USUAL_WINDOW);
        Some(Self { remaining, limit, window, until: Instant::now() + window })
    }

    /// Whether less than 30 % are left: those are for the nodes.
    pub(super) fn is_short(&self, now: Instant) -> bool {
        now < self.until && u64::from(self.remaining) * 10 < u64::from(self.limit) * 3
    }

    /// Whether it was said so recently that a forecast can be made of it.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        self.holds(now) && now + self.window < self.until + RECENT
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// A number and the seconds of its window.
fn parse(value: &str) -> Option<(u32, Option<Duration>)> {
    let mut parts = value.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, window.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("76;w=21600", Some("100;w=21600"), Some((76, false)))]
    #[case("30;w=21600", Some("100;w=21600"), Some((30, false)))]
    #[case("29;w=21600", Some("100;w=21600"), Some((29, true)))]
    #[case("29", None, Some((29, true)))]
    #[case("29", Some("junk"), Some((29, true)))]
    #[case("50 ; w=60", Some("200"), Some((50, true)))]
    #[case("0;w=99999999999999999", Some("0"), Some((0, false)))]
    #[case("-1", Some("100"), None)]
    #[case("", None, None)]
    #[tokio::test]
    async fn reads_what_docker_hub_says(
        #[case] remaining: &str,
        #[case] limit: Option<&str>,
        #[case] expected: Option<(u32, bool)>,
    ) {
        let quota = Quota::read(|name| match name {
            "ratelimit-remaining" => Some(remaining),
            _ => limit,
        });
        let now = Instant::now();
        assert_eq!(quota.map(|quota| (quota.remaining, quota.is_short(now))), expected);
    }

    #[tokio::test]
    async fn a_forecast_is_made_of_what_was_said_in_the_last_ten_minutes() {
        let read = |remaining| Quota::read(|_| Some(remaining)).unwrap();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let quota = read("3;w=21600");
        assert!(quota.is_recent(now) && quota.is_recent(after(599)));
        assert!(!quota.is_recent(after(601)) && quota.holds(after(601)));
        assert!(!read("3;w=60").is_recent(after(61)), "its window is over");
    }
}
