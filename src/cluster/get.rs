//! Objects asked for by name: one call at a time for each, kept for a moment, within a bound.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::client::{CALL_TIME, Connection};
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::review::{Fetched, ObjectQuery, Reading};
use crate::telemetry::{ApiCall, Metrics};

/// Calls under way at a time, of each kind.
const CALLS: usize = 32;

/// The namespace and the name of an object.
pub(super) type ObjectKey = (Box<str>, Box<str>);

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
    async fn get_now<F>(&self, key: K, deadline: Instant, ask: F) -> Fetched<V>
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
            metrics.api_call(call, outcome_label(&entry.answer));
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

impl<V: Clone + Send + Sync + 'static> Named<ObjectKey, V> {
    /// An object of a namespace by name, by the answer of `ask`; one that cannot be called so is
    /// missing, and nobody is asked.
    pub(super) async fn object<F>(
        &self,
        wanted: ObjectQuery<'_>,
        deadline: Instant,
        ask: impl FnOnce(ObjectKey) -> F,
    ) -> Fetched<V>
    where
        F: Future<Output = CacheEntry<V>> + Send + 'static,
    {
        let ObjectQuery { namespace, name, reading } = wanted;
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return Fetched::Missing;
        }
        let key: ObjectKey = (namespace.into(), name.into());
        let ask = ask(key.clone());
        match reading {
            Reading::Kept => self.get(key, deadline, ask).await,
            Reading::Now => self.get_now(key, deadline, ask).await,
        }
    }
}

const UNAVAILABLE_FOR: Duration = Duration::from_millis(500);

const fn outcome_label<V>(answer: &Fetched<V>) -> &'static str {
    match answer {
        Fetched::Found(_) => "ok",
        Fetched::Missing => "missing",
        Fetched::Unavailable | Fetched::NotInFiles => "failed",
    }
}

impl<V> CacheEntry<V> {
    /// No answer; asked again soon.
    pub(super) const fn unavailable() -> Self {
        Self { answer: Fetched::Unavailable, bytes: 64, lifetime: UNAVAILABLE_FOR }
    }

    /// What `decode` makes of an object's text, kept for so long; no answer where it makes nothing
    /// of it.
    pub(super) fn decoded(
        text: Fetched<String>,
        lifetime: Duration,
        decode: impl FnOnce(&str) -> Option<V>,
    ) -> Self {
        match text {
            Fetched::Found(text) => decode(&text).map_or_else(Self::unavailable, |found| {
                let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
                Self { answer: Fetched::Found(found), bytes, lifetime }
            }),
            Fetched::Missing => Self { answer: Fetched::Missing, bytes: 64, lifetime },
            Fetched::Unavailable | Fetched::NotInFiles => Self::unavailable(),
        }
    }
}

/// Gets one object as text: found, missing (404), or unavailable for any other reason. The text
/// is not decoded here and never logged: it may be a secret.
pub(super) async fn get_text(
    connection: &Connection,
    namespace: &str,
    resource: &'static str,
    name: &str,
) -> Fetched<String> {
    get_at(connection, format!("/api/v1/namespaces/{namespace}/{resource}"), resource, name).await
}

/// The same, of an object that belongs to no namespace, below this path.
pub(super) async fn get_cluster_text(
    connection: &Connection,
    path: &'static str,
    name: &str,
) -> Fetched<String> {
    get_at(connection, path.to_owned(), path, name).await
}

async fn get_at(
    connection: &Connection,
    path: String,
    resource: &'static str,
    name: &str,
) -> Fetched<String> {
    let request = kube::core::Request::new(path).get(name, &kube::api::GetParams::default());
    match connection.call(request, CALL_TIME).await {
        Ok(text) => Fetched::Found(text),
        Err(error) => match error.status() {
            Some(404) => Fetched::Missing,
            Some(status) => {
                tracing::warn!(resource, status, "the API server refused a read by name");
                Fetched::Unavailable
            }
            None => {
                tracing::warn!(resource, "the API server could not be asked by name");
                Fetched::Unavailable
            }
        },
    }
}
