//! Lists and watches one kind of object, for ever.
//!
//! Written out rather than taken from a watcher library for what that hides: bookmarks and renewed
//! connections are contact too, a 410 at the start of a watch must lead to a new list, a page of a
//! list has a time limit, and one object that does not decode must not end the stream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use jiff::Timestamp;
use kube::api::WatchParams;
use kube::core::Request;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::client::Connection;
use super::error::ApiError;
use super::error::WatchError;
use super::pages::Pages;
use super::pages::WatchTuning;
use super::pages::{Identified, Line, StatusLine, Versioned};
use super::progress::WatchProgress;
use crate::kube_views::{Listed, Uid};
use crate::telemetry::{now, random_between};

/// No object is larger (etcd takes about 1.5 MiB; a request 3 MiB).
const LONGEST_LINE: u64 = 16 << 20;
/// So many failures in a row from one version, then a new list.
const PATIENCE: u32 = 3;

/// Where objects are listed and watched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    /// The collection, such as `/api/v1/nodes`.
    pub(super) path: &'static str,
    /// Whether the metadata alone is enough.
    pub(super) metadata_only: bool,
    /// A field selector, where not all objects are wanted.
    pub(super) fields: Option<&'static str>,
}

/// After the API server did not know such objects.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// Every so many failures in a row one is logged.
const REPEATED: u32 = 20;

/// What is kept of one kind of object: told of each as it is listed and watched.
pub(super) trait Store: Send + 'static {
    /// An object as far as it is decoded.
    type Object<'a>: Deserialize<'a>;
    /// Where the objects are.
    fn source(&self) -> Source;
    /// The one object that is wanted, where not all are.
    fn name(&self) -> Option<&str> {
        None
    }
    /// Whether the API server may not know such objects. Then there are none, and it is asked again
    /// now and then.
    fn may_be_unknown(&self) -> bool {
        false
    }
    /// A list or watch failed; another follows.
    fn failed(&mut self, _error: &WatchError) {}
    /// The object's uid; none where nothing is kept that a list could show to be gone.
    fn uid(object: &Self::Object<'_>) -> Option<Uid>;
    /// An object is listed, new or has changed. `raw` is the whole object, for what is decoded only
    /// of some.
    fn apply(&mut self, object: Self::Object<'_>, raw: &str) -> Result<(), serde_json::Error>;
    /// An object is gone.
    fn delete(&mut self, object: Self::Object<'_>);
    /// A complete list was taken in that began then: what it did not show is gone. A list that breaks
    /// off says nothing of what is gone.
    fn retain(&mut self, listed: &Listed, began: Timestamp);
}

/// Pauses that grow, and differ between processes.
struct Backoff {
    tuning: WatchTuning,
    failures: u32,
}

impl Backoff {
    async fn pause(&mut self) {
        let doubled = self.tuning.first_pause * 2_u32.saturating_pow(self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(self.tuning.longest_pause);
        tokio::time::sleep(random_between(pause / 2, pause)).await;
    }
}

/// Lists, then watches, and begins again whenever that ends. Never returns.
pub(super) async fn run<S: Store>(
    connection: Connection,
    mut store: S,
    progress: Arc<WatchProgress>,
    tuning: WatchTuning,
) {
    let mut backoff = Backoff { tuning, failures: 0 };
    loop {
        let version = match list(&connection, &mut store, tuning, None, Some(&progress)).await {
            Ok(version) => version,
            Err(error) if store.may_be_unknown() && error.status() == Some(404) => {
                store.retain(&Listed::default(), now());
                progress.listed();
                tokio::time::sleep(UNKNOWN_FOR).await;
                continue;
            }
            Err(error) => {
                log_failure(&progress, &error);
                store.failed(&error);
                backoff.pause().await;
                continue;
            }
        };
        progress.listed();
        backoff.failures = 0;
        watch_from(&connection, &mut store, version, &progress, tuning).await;
        // Not at once: a server that loses every watch must not be listed in a tight loop.
        backoff.pause().await;
    }
}

/// Counts a failure; says it at first, and then about every ten minutes.
fn log_failure(progress: &WatchProgress, error: &WatchError) {
    let failures = progress.failed();
    if failures % REPEATED == 1 {
        tracing::warn!(
            resource = progress.resource(),
            failures,
            error = error as &dyn std::error::Error,
            "a watch failed, retrying"
        );
    }
}

/// Takes in a complete list, page by page, of one namespace if it is given; returns the version to
/// watch from.
pub(super) async fn list<S: Store>(
    connection: &Connection,
    store: &mut S,
    tuning: WatchTuning,
    namespace: Option<&str>,
    progress: Option<&WatchProgress>,
) -> Result<String, WatchError> {
    let source = store.source();
    let path = match (namespace, source.path.rsplit_once('/')) {
        (Some(namespace), Some((group, resource))) => {
            format!("{group}/namespaces/{namespace}/{resource}")
        }
        _ => source.path.to_owned(),
    };
    let pages = Pages::of(connection, &path, fields(store), tuning);
    let mut pages = pages.metadata_only(source.metadata_only);
    let began = now();
    let mut shown = Vec::new();
    while let Some(objects) = pages.next().await? {
        progress.inspect(|progress| progress.contact());
        for object in objects {
            if let Err(error) = take_listed(store, object.get(), &mut shown) {
                progress.inspect(|progress| progress.undecodable());
                undecodable(source.path, &error);
            }
        }
    }
    let version = pages.version()?;
    store.retain(&shown.into_iter().collect(), began);
    Ok(version)
}

/// Takes in one object of a list. One that cannot be read is there all the same: it keeps what was
/// last known of it.
fn take_listed<S: Store>(
    store: &mut S,
    raw: &str,
    shown: &mut Vec<Uid>,
) -> Result<(), serde_json::Error> {
    match serde_json::from_str::<S::Object<'_>>(raw) {
        Ok(object) => {
            if let Some(uid) = S::uid(&object) {
                shown.push(uid);
            }
            store.apply(object, raw)
        }
        Err(error) => {
            if let Ok(object) = serde_json::from_str::<Identified<'_>>(raw) {
                shown.push(Uid::of(&object.metadata.uid));
            }
            Err(error)
        }
    }
}

/// The objects that are wanted, where not all are.
fn fields(store: &impl Store) -> Option<String> {
    let by_name = store.name().map(|name| format!("metadata.name={name}"));
    by_name.or_else(|| store.source().fields.map(str::to_owned))
}

/// The kind of fault and its place, never the text: it could quote the object.
fn undecodable(path: &str, error: &serde_json::Error) {
    tracing::warn!(
        path,
        kind = ?error.classify(),
        column = error.column(),
        "an object of the API server could not be read and is left out"
    );
}

/// Watches from a version on, renewing the watch whenever it ends, until a new list is needed.
async fn watch_from<S: Store>(
    connection: &Connection,
    store: &mut S,
    mut version: String,
    progress: &WatchProgress,
    tuning: WatchTuning,
) {
    let mut backoff = Backoff { tuning, failures: 0 };
    while backoff.failures < PATIENCE {
        let began = Instant::now();
        let ended = watch_once(connection, store, &mut version, progress, tuning).await;
        if let Err(error) = &ended {
            log_failure(progress, error);
            if error.is_gone() {
                return;
            }
        }
        // A watch that ran for a while was a good one, however it ended.
        if began.elapsed() >= tuning.watch_time / 4 {
            backoff.failures = 0;
        }
        if ended.is_err() || began.elapsed() < tuning.watch_time / 4 {
            backoff.pause().await;
        }
    }
}

/// One watch, until the API server ends it or the connection is lost.
async fn watch_once<S: Store>(
    connection: &Connection,
    store: &mut S,
    version: &mut String,
    progress: &WatchProgress,
    tuning: WatchTuning,
) -> Result<(), WatchError> {
    let time = random_between(tuning.watch_time, tuning.watch_time.mul_f64(1.25));
    let source = store.source();
    let params = WatchParams {
        timeout: Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)),
        bookmarks: true,
        field_selector: fields(store),
        ..WatchParams::default()
    };
    let path = Request::new(source.path);
    let request = if source.metadata_only {
        path.watch_metadata(&params, version)
    } else {
        path.watch(&params, version)
    };
    let request = request.map_err(|error| WatchError::Request(Box::new(error)))?;
    let opened = timeout(tuning.page_time, connection.client().request_stream(request));
    let stream = opened
        .await
        .map_err(|_late| WatchError::Late)?
        .map_err(|error| WatchError::Api(ApiError::of(error)))?;
    progress.contact();
    let mut stream = pin!(stream);
    let mut line = Vec::new();
    // The API server ends the watch in time; if not even that is heard, nobody is there.
    let last_call = Instant::now() + time + tuning.page_time;
    loop {
        line.clear();
        let read = tokio::time::timeout_at(last_call, read_line(&mut stream, &mut line));
        let Ok(read) = read.await else { return Ok(()) };
        if !read? {
            return Ok(());
        }
        progress.contact();
        take(store, &line, version, progress)?;
    }
}

/// Reads a line; `false` at the end of the stream, or if it breaks off within a line.
async fn read_line(
    stream: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> Result<bool, WatchError> {
    let mut bounded = stream.take(LONGEST_LINE);
    bounded.read_until(b'\n', line).await.map_err(WatchError::Read)?;
    if line.len() as u64 >= LONGEST_LINE {
        return Err(WatchError::TooLong);
    }
    Ok(line.ends_with(b"\n"))
}

/// Takes in one line of a watch, and notes its version.
fn take<S: Store>(
    store: &mut S,
    line: &[u8],
    version: &mut String,
    progress: &WatchProgress,
) -> Result<(), WatchError> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(WatchError::Decode)?;
    let object = line.object.get();
    let taken = match line.kind.as_ref() {
        "ADDED" | "MODIFIED" => {
            serde_json::from_str(object).and_then(|new| store.apply(new, object))
        }
        "DELETED" => serde_json::from_str(object).map(|gone| store.delete(gone)),
        "BOOKMARK" => Ok(()),
        _ => {
            let status: StatusLine = serde_json::from_str(object).unwrap_or_default();
            return Err(WatchError::Ended(status.code));
        }
    };
    if let Err(error) = taken {
        progress.undecodable();
        undecodable(store.source().path, &error);
    }
    if let Ok(versioned) = serde_json::from_str::<Versioned<'_>>(object) {
        version.clear();
        version.push_str(&versioned.metadata.resource_version);
    }
    Ok(())
}
