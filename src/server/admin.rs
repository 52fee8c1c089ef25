//! The admin port: `/livez`, `/readyz`, `/startupz`, `/metrics`. Read-only, and it tells of no image, no
//! namespace and no secret.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::telemetry::Metrics;

/// After this long the server is ready even if a watch is not: reviews are answered without
/// history until then, which is better than not at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long `/startupz` is answered at the latest; the probe of the chart waits longer.
const STARTUP: Duration = Duration::from_secs(25);
/// Between two looks meanwhile.
const STARTUP_LOOK: Duration = Duration::from_millis(50);

/// The state of one watch, for `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchState {
    /// What is watched, such as `pods`.
    pub resource: &'static str,
    /// Whether its first list is in.
    pub synced: bool,
}

type Watches = Box<dyn Fn() -> Vec<WatchState> + Send + Sync>;

/// Whether reviews should be sent here.
pub struct Readiness {
    started: Instant,
    stopping: AtomicBool,
    watches: Watches,
}

impl Readiness {
    /// Ready once all watches are synced, or a minute after `started`.
    pub fn new(
        started: Instant,
        watches: impl Fn() -> Vec<WatchState> + Send + Sync + 'static,
    ) -> Self {
        Self { started, stopping: AtomicBool::new(false), watches: Box::new(watches) }
    }

    /// From now on not ready: the server is about to stop.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the server is about to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether it is ready, and why not.
    pub fn check(&self) -> (bool, String) {
        let mut page = String::new();
        let mut synced = true;
        for watch in (self.watches)() {
            synced &= watch.synced;
            let word = if watch.synced { "ok" } else { "still learning" };
            let _infallible = writeln!(page, "{} {word}", watch.resource);
        }
        if self.is_stopping() {
            page.push_str("stopping\n");
            return (false, page);
        }
        let patience_is_over = self.started.elapsed() >= PATIENCE;
        if !synced && patience_is_over {
            page.push_str("ready without history\n");
        }
        (synced || patience_is_over, page)
    }
}

#[derive(Clone)]
struct Admin {
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
}

/// The routes of the admin port.
pub fn admin_router(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/metrics", get(page))
        .with_state(Admin { readiness, metrics })
}

async fn ready(State(admin): State<Admin>) -> Response {
    let (ready, page) = admin.readiness.check();
    admin.metrics.ready(ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, page).into_response()
}

/// Answers when it has become ready, or after a while: a probe that asks this once at the start
/// never fails, so no start is told of as a failure. How it stands is said by `/readyz`.
async fn started(State(admin): State<Admin>) -> &'static str {
    let look = async {
        while !admin.readiness.check().0 && !admin.readiness.is_stopping() {
            tokio::time::sleep(STARTUP_LOOK).await;
        }
    };
    match tokio::time::timeout(STARTUP, look).await {
        Ok(()) => "ok\n",
        Err(_late) => "not ready yet\n",
    }
}

async fn page(State(admin): State<Admin>) -> Response {
    admin.metrics.ready(admin.readiness.check().0);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.render()).into_response()
}
