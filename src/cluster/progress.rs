//! How far a watch has got, and whether it is still in contact.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::history::Freshness;
use crate::telemetry::{Metrics, now};

/// A watch that has not heard of the API server for so long is stale. Bookmarks come about every
/// minute, and every watch is renewed after a few minutes.
const STALE_AFTER: Duration = Duration::from_secs(6 * 60);

/// How far one watch has got.
#[derive(Debug)]
pub struct WatchProgress {
    resource: &'static str,
    needed: bool,
    started: Instant,
    synced: AtomicBool,
    /// Milliseconds from `started` to the last contact.
    contact: AtomicU64,
    /// Failures since then.
    failures: AtomicU32,
    metrics: Arc<Metrics>,
}

impl WatchProgress {
    /// A watch that has not begun. One that is not needed adds detail: nothing waits for it.
    pub fn new(resource: &'static str, needed: bool, metrics: Arc<Metrics>) -> Self {
        metrics.watch_synced(resource, false);
        let (synced, contact) = (AtomicBool::new(false), AtomicU64::new(0));
        let failures = AtomicU32::new(0);
        Self { resource, needed, started: Instant::now(), synced, contact, failures, metrics }
    }

    /// What is watched, such as `nodes`.
    pub fn resource(&self) -> &'static str {
        self.resource
    }

    /// Whether nothing may be believed without it.
    pub(crate) fn is_needed(&self) -> bool {
        self.needed
    }

    /// Whether the first list was taken in.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// How long ago the API server was last heard of.
    fn silent_for(&self) -> Duration {
        let contact = Duration::from_millis(self.contact.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(contact)
    }

    /// The API server was heard of.
    pub(super) fn contact(&self) {
        let since = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.contact.store(since, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.metrics.watch_contact(self.resource, now().as_duration().as_secs_f64());
    }

    /// A complete list was taken in.
    pub(super) fn listed(&self) {
        self.contact();
        self.synced.store(true, Ordering::Release);
        self.metrics.watch_synced(self.resource, true);
        self.metrics.watch_listed(self.resource);
    }

    /// The watch failed; returns how often it has since the API server was last heard of.
    pub(super) fn failed(&self) -> u32 {
        self.metrics.watch_failed(self.resource);
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// An object could not be decoded.
    pub(super) fn undecodable(&self) {
        self.metrics.watch_undecodable(self.resource);
    }
}

/// Whether what all these watches told may be believed.
pub(super) fn freshness(watches: &[Arc<WatchProgress>]) -> Freshness {
    let mut needed = watches.iter().filter(|watch| watch.needed);
    if needed.clone().any(|watch| !watch.is_synced()) {
        Freshness::Learning
    } else if needed.any(|watch| watch.silent_for() > STALE_AFTER) {
        Freshness::Stale
    } else {
        Freshness::Current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn learning_until_all_lists_are_in_then_current_then_stale_when_one_is_silent() {
        let metrics = Arc::new(Metrics::new());
        let watches = ["a", "b", "extra"].map(|resource| {
            let needed = resource != "extra";
            Arc::new(WatchProgress::new(resource, needed, Arc::clone(&metrics)))
        });
        watches[0].listed();
        assert_eq!(freshness(&watches), Freshness::Learning);
        watches[1].listed();
        assert_eq!(freshness(&watches), Freshness::Current);
        tokio::time::advance(STALE_AFTER).await;
        watches[0].contact();
        assert_eq!(freshness(&watches), Freshness::Current);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(freshness(&watches), Freshness::Stale);
        watches[1].contact();
        assert_eq!(freshness(&watches), Freshness::Current);
    }
}
