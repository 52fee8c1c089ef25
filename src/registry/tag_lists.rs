//! Kept lists of tags, and those under way. A list that cannot be had is kept as well: many
//! registries have none, and every review would ask again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use super::cache::Key;
use super::metrics::RegistryMetrics;
use super::options::CacheLimits;
use super::options::{is_unreachable, lifetime};
use super::queue::Places;
use crate::pull::{ListRequest, Listing, Outcome, TagList};

/// How long a list is kept.
const LIFETIME: Duration = Duration::from_secs(60);
/// The longest that anything is kept.
const LONGEST: Duration = Duration::from_secs(900);
/// About how much is kept: hundreds of tags, and one more for each list.
const CAPACITY: u64 = 2000;
/// Lists that are read at once, over all registries; one namespace may have three quarters. Those
/// beyond are turned away, since nobody waits for advice; where somebody is patient, each registry's
/// own limit is enough.
const MOST_UNDER_WAY: usize = 256;

/// The name under which a list is kept.
pub(super) fn kept_as(wanted: &ListRequest) -> Box<str> {
    match wanted.listing {
        Listing::Tags => wanted.reference.name().into(),
        // No repository has such a name: kept apart from the lists of tags.
        Listing::Repositories => format!("{}/_catalog", wanted.reference.host()).into(),
    }
}

/// The lists of tags.
pub(super) struct TagLists {
    kept: Cache<Key, Entry>,
    limits: CacheLimits,
    under_way: Arc<Places>,
    metrics: Arc<RegistryMetrics>,
}

#[derive(Clone)]
struct Entry {
    listed: Result<Arc<TagList>, Outcome>,
    expires: Instant,
    /// Failures to reach the registry in a row.
    failures: u32,
}

impl Entry {
    fn new(
        listed: Result<Arc<TagList>, Outcome>,
        failures_before: u32,
        limits: &CacheLimits,
    ) -> Self {
        let failures = match &listed {
            Err(outcome) if is_unreachable(outcome) => failures_before.saturating_add(1),
            _ => 0,
        };
        let lifetime = match &listed {
            Ok(_) => LIFETIME,
            Err(outcome) => lifetime(outcome, false, failures, limits).min(LONGEST),
        };
        Self { listed, expires: Instant::now() + lifetime, failures }
    }

    fn serves(&self) -> bool {
        Instant::now() < self.expires
    }
}

impl TagLists {
    pub(super) fn new(limits: CacheLimits, patient: bool, metrics: Arc<RegistryMetrics>) -> Self {
        let most = if patient { usize::MAX } else { MOST_UNDER_WAY };
        let weigh = |_: &Key, entry: &Entry| {
            let tags = entry.listed.as_ref().map_or(0, |list| list.tags.len());
            u32::try_from(1 + tags / 100).unwrap_or(u32::MAX)
        };
        Self {
            kept: Cache::builder()
                .max_capacity(CAPACITY)
                .weigher(weigh)
                .time_to_live(LONGEST)
                .build(),
            limits,
            under_way: Arc::new(Places::new(most)),
            metrics,
        }
    }

    /// Forgets every list: they came from hosts that are no longer listed.
    pub(super) fn forget(&self) {
        self.kept.invalidate_all();
    }

    /// A kept list, one that is under way, or a new one by `read`, which goes on in the background
    /// when the deadline comes first. No namespace can take all places.
    pub(super) async fn get(
        &self,
        key: Key,
        namespace: Arc<str>,
        deadline: Instant,
        read: impl Future<Output = Result<Arc<TagList>, Outcome>> + Send + 'static,
    ) -> Result<Arc<TagList>, Outcome> {
        let earlier = self.kept.get(&key).await;
        if let Some(entry) = earlier.as_ref().filter(|entry| entry.serves()) {
            return entry.listed.clone();
        }
        let failures = earlier.map_or(0, |entry| entry.failures);
        let (kept, limits) = (self.kept.clone(), self.limits.clone());
        let (under_way, metrics) = (Arc::clone(&self.under_way), Arc::clone(&self.metrics));
        let task = tokio::spawn(async move {
            let read = async {
                let listed = if let Some(_place) = under_way.take(namespace) {
                    read.await
                } else {
                    metrics.shed();
                    Err(Outcome::Overloaded)
                };
                Entry::new(listed, failures, &limits)
            };
            // Equal questions at the same time are asked once.
            kept.entry(key)
                .or_insert_with_if(Box::pin(read), |old| !old.serves())
                .await
                .into_value()
        });
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(entry)) => entry.listed,
            Ok(Err(_)) => {
                tracing::error!("reading a list of tags panicked");
                Err(Outcome::Overloaded)
            }
            Err(_) => Err(Outcome::TooLate),
        }
    }
}
