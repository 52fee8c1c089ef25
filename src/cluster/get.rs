//! Objects asked for by name: one call at a time for each, kept for a moment, within a bound.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::CALL_TIME;
use crate::telemetry::{ApiCall, Metrics};

/// Calls under way at a time, of each kind.
const CALLS: usize = 32;

/// What came of a call.
#[derive(Debug, Clone)]
pub(super) enum Fetched<V> {
    /// It is there.
    Found(V),
    /// It is not there.
    Missing,
    /// It could not be found out.
    Unavailable,
}

/// An answer, its weight in bytes, and how long it is kept.
#[derive(Debug, Clone)]
pub(super) struct CacheEntry<V> {
    pub(super) answer: Fetched<V>,
    pub(super) bytes: u32,
    pub(super) lifetime: Duration,
}

struct ByEntry;

impl<K, V> Expiry<K, CacheEntry<V>> for ByEntry {
    fn expire_after_create(&self, _: &K, kept: &CacheEntry<V>, _: Instant) -> Option<Duration> {
        Some(kept.lifetime)
    }
}

/// Answers of the API server to one kind of question.
pub(super) struct Named<K, V> {
    kept: Cache<K, CacheEntry<V>>,
    slots: Arc<Semaphore>,
    call: ApiCall,
    metrics: Arc<Metrics>,
}

impl<K, V> Named<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps answers of at most so many bytes.
    pub(super) fn new(call: ApiCall, bytes: u64, metrics: &Arc<Metrics>) -> Self {
        let kept = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, kept: &CacheEntry<V>| kept.bytes)
            .expire_after(ByEntry)
            .build();
        let slots = Arc::new(Semaphore::new(CALLS));
        Self { kept, slots, call, metrics: Arc::clone(metrics) }
    }

    /// The kept answer, or that of `ask`, which goes on in the background if it is late.
    pub(super) async fn get<F>(&self, key: K, deadline: Instant, ask: F) -> Fetched<V>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        if let Some(kept) = self.kept.get(&key).await {
            return kept.answer;
        }
        let cache = self.kept.clone();
        let bounded = self.bounded(ask);
        self.until(deadline, async move { cache.get_with(key, bounded).await }).await
    }

    /// The answer of `ask`, which begins now: neither what is kept nor what a call that is under
    /// way will say counts, since that may be of a moment before.
    pub(super) async fn get_now<F>(&self, key: K, deadline: Instant, ask: F) -> Fetched<V>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        let cache = self.kept.clone();
        let bounded = self.bounded(ask);
        let asked = async move {
            let entry = bounded.await;
            cache.insert(key, entry.clone()).await;
            entry
        };
        self.until(deadline, asked).await
    }

    /// The call within the bounds on calls and on its own time.
    fn bounded<F>(&self, ask: F) -> BoxFuture<'static, CacheEntry<V>>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        let (slots, call) = (Arc::clone(&self.slots), self.call);
        let metrics = Arc::clone(&self.metrics);
        Box::pin(async move {
            let _slot = slots.acquire_owned().await;
            let entry =
                tokio::time::timeout(CALL_TIME, ask).await.unwrap_or(CacheEntry::unavailable());
            metrics.api_call(call, entry.answer.word());
            entry
        })
    }

    /// The answer if it comes in time; the call goes on in any case.
    async fn until<F>(&self, deadline: Instant, asked: F) -> Fetched<V>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        match tokio::time::timeout_at(deadline.into(), tokio::spawn(asked)).await {
            Ok(Ok(entry)) => entry.answer,
            Ok(Err(_panicked)) => Fetched::Unavailable,
            Err(_late) => {
                self.metrics.api_call(self.call, "late");
                Fetched::Unavailable
            }
        }
    }
}

const UNAVAILABLE_FOR: Duration = Duration::from_millis(500);

impl<V> Fetched<V> {
    fn word(&self) -> &'static str {
        match self {
            Self::Found(_) => "ok",
            Self::Missing => "missing",
            Self::Unavailable => "failed",
        }
    }
}

impl<V> CacheEntry<V> {
    /// No answer; asked again soon.
    pub(super) const fn unavailable() -> Self {
        Self { answer: Fetched::Unavailable, bytes: 64, lifetime: UNAVAILABLE_FOR }
    }
}

/// Gets one object as text: found, missing (404), or unavailable for any other reason. The text
/// is not decoded here and never logged: it may be a secret.
pub(super) async fn get_text(
    client: kube::Client,
    namespace: &str,
    resource: &'static str,
    name: &str,
) -> Fetched<String> {
    get_at(client, format!("/api/v1/namespaces/{namespace}/{resource}"), resource, name).await
}

/// The same, of an object that belongs to no namespace, below this path.
pub(super) async fn get_cluster_text(
    client: kube::Client,
    path: &'static str,
    name: &str,
) -> Fetched<String> {
    get_at(client, path.to_owned(), path, name).await
}

async fn get_at(
    client: kube::Client,
    path: String,
    resource: &'static str,
    name: &str,
) -> Fetched<String> {
    let request = kube::core::Request::new(path).get(name, &kube::api::GetParams::default());
    let Ok(request) = request else { return Fetched::Unavailable };
    match client.request_text(request).await {
        Ok(text) => Fetched::Found(text),
        Err(kube::Error::Api(status)) if status.code == 404 => Fetched::Missing,
        Err(kube::Error::Api(status)) => {
            tracing::warn!(resource, status = status.code, "the API server refused a read by name");
            Fetched::Unavailable
        }
        Err(_) => {
            tracing::warn!(resource, "the API server could not be asked by name");
            Fetched::Unavailable
        }
    }
}
