//! The continuous audit: every image in use is looked at again, registry by registry, at a pace
//! that each of them can bear, so that a deleted tag or an expired login is known before the next
//! node needs it. Only the leader does it, and stops when it no longer leads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::pull::Cause;
use crate::review::{ImageUse, ProbeResult, Reviewer, audit_pace, still_there};
use crate::telemetry::Metrics;

/// Registries that are audited at the same time; those beyond wait until one is in use no more.
const REGISTRIES: usize = 100;
/// How often is looked for registries that are new.
const NEW_REGISTRIES: Duration = Duration::from_secs(15);
/// Ways in which one image is used that are looked at.
const USES: usize = 16;
/// How long one look may take; it is nobody's deadline.
const LOOK: Duration = Duration::from_secs(20);
/// A registry that says 429 is left alone for so long; the client honours longer ones.
const THROTTLED: Duration = Duration::from_secs(60);
/// Images that are logged in one pass of a registry; all are counted.
const LOGGED: usize = 50;

/// What is audited, and how fast.
#[derive(Clone)]
pub(super) struct Audit {
    pub(super) cluster: Arc<Cluster>,
    pub(super) reviewer: Arc<Reviewer>,
    pub(super) metrics: Arc<Metrics>,
    /// How long a look at all images of one registry takes.
    pub(super) pass: Duration,
}

impl Audit {
    /// Audits while this replica leads. Never ends.
    pub(super) async fn run(self, mut leads: watch::Receiver<bool>) {
        loop {
            if leads.wait_for(|leads| *leads).await.is_err() {
                std::future::pending::<()>().await;
            }
            tracing::info!(pass_seconds = self.pass.as_secs(), "auditing the images in use");
            tokio::select! {
                _lost = leads.wait_for(|leads| !*leads) => {}
                () = self.all() => {}
            }
            self.metrics.forget_pullable();
        }
    }

    /// Every registry in use, each by itself.
    async fn all(&self) {
        let mut under_way: HashSet<Box<str>> = HashSet::new();
        let mut lanes = FuturesUnordered::new();
        loop {
            for registry in self.registries() {
                if under_way.len() < REGISTRIES && under_way.insert(registry.clone()) {
                    lanes.push(self.registry(registry));
                }
            }
            tokio::select! {
                Some(done) = lanes.next() => { under_way.remove(&done); }
                () = tokio::time::sleep(jittered(NEW_REGISTRIES)) => {}
            }
        }
    }

    fn registries(&self) -> HashSet<Box<str>> {
        let policy = self.reviewer.policy.load();
        self.cluster.in_use().iter().filter_map(|used| used.registry(&policy)).collect()
    }

    /// The images of a registry that are in use, each with the ways in which it is used.
    fn images(&self, registry: &str) -> BTreeMap<Box<str>, Vec<ImageUse>> {
        let policy = self.reviewer.policy.load();
        let mut images: BTreeMap<Box<str>, Vec<ImageUse>> = BTreeMap::new();
        for used in self.cluster.in_use() {
            if used.registry(&policy).as_deref() == Some(registry) {
                images.entry(used.image.clone()).or_default().push(used);
            }
        }
        images
    }

    /// One registry, pass after pass, until no image of it is in use; then its name.
    async fn registry(&self, registry: Box<str>) -> Box<str> {
        let mut tally = Tally { metrics: &self.metrics, registry: &registry, last: HashMap::new() };
        loop {
            let images = self.images(&registry);
            tally.last.retain(|image, found| {
                let stays = images.contains_key(image);
                if !stays {
                    self.metrics.pullable(&registry, found.cause(), -1);
                }
                stays
            });
            if images.is_empty() {
                break;
            }
            let budget = self.reviewer.policy.load().budget(&registry).cloned();
            let per_minute = budget.and_then(|budget| budget.requests_per_minute);
            let pace = audit_pace(images.len(), self.pass, per_minute);
            let mut logged = 0;
            for (image, uses) in &images {
                let (began, _) = clock();
                let found = self.image(uses).await;
                if let Some((found, namespace)) = found
                    && tally.note(image, found)
                    && logged < LOGGED
                {
                    logged += 1;
                    told(image, namespace, found);
                }
                let throttled = found.is_some_and(|(f, _)| f.cause() == Some(Cause::RateLimited));
                let pause = if throttled { pace.max(THROTTLED) } else { pace };
                tokio::time::sleep(jittered(pause).saturating_sub(began.elapsed())).await;
            }
        }
        registry
    }

    /// The worst that any use of an image gets, and in which namespace.
    async fn image<'u>(&self, uses: &'u [ImageUse]) -> Option<(ProbeResult, &'u str)> {
        let mut worst: Option<(ProbeResult, &str)> = None;
        for used in uses.iter().take(USES) {
            let (began, now) = clock();
            let policy = self.reviewer.policy.load_full();
            let sources = self.reviewer.sources();
            let runtime = self.reviewer.runtime;
            let look = still_there(sources, &policy, runtime, used, now, began + LOOK);
            let Ok(Some(found)) = tokio::time::timeout(LOOK, look).await else { continue };
            self.metrics.audited();
            if worst.is_none_or(|(worst, _)| found > worst) {
                worst = Some((found, &used.namespace));
            }
        }
        worst
    }
}

/// What was last found of each image of a registry; counted in the metrics while it stands.
struct Tally<'a> {
    metrics: &'a Metrics,
    registry: &'a str,
    last: HashMap<Box<str>, ProbeResult>,
}

impl Tally<'_> {
    /// Notes what was found; says whether it is worth telling.
    fn note(&mut self, image: &str, found: ProbeResult) -> bool {
        let before = self.last.insert(image.into(), found);
        if before == Some(found) {
            return false;
        }
        if let Some(before) = before {
            self.metrics.pullable(self.registry, before.cause(), -1);
        }
        self.metrics.pullable(self.registry, found.cause(), 1);
        let is_refused = |found: ProbeResult| matches!(found, ProbeResult::Refused(_));
        is_refused(found) || before.is_some_and(is_refused)
    }
}

fn told(image: &str, namespace: &str, found: ProbeResult) {
    match found {
        ProbeResult::Refused(cause) => {
            let cause = cause.as_str();
            tracing::warn!(image, namespace, cause, "an image in use can no longer be pulled");
        }
        ProbeResult::Pullable => {
            tracing::info!(image, namespace, "an image in use can be pulled again");
        }
        ProbeResult::Unclear(cause) => {
            let cause = cause.as_str();
            tracing::info!(image, namespace, cause, "whether an image can be pulled is unclear");
        }
    }
}

/// A time, a fifth more or less: not all replicas and registries keep step.
fn jittered(time: Duration) -> Duration {
    let random = u16::try_from(RandomState::new().hash_one(0_u8) & 0xffff).unwrap_or_default();
    time.mul_f64(0.8 + 0.4 * f64::from(random) / 65535.0)
}

#[expect(clippy::disallowed_methods, reason = "the wiring reads the clock")]
fn clock() -> (Instant, Timestamp) {
    (Instant::now(), Timestamp::now())
}
