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

use super::findings::Findings;
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
    /// Where findings go besides.
    pub(super) findings: Findings,
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
            self.findings.begin();
            tracing::info!(pass_seconds = self.pass.as_secs(), "auditing the images in use");
            tokio::select! {
                _lost = leads.wait_for(|leads| !*leads) => {}
                () = self.all() => {}
            }
            self.metrics.forget_pullable();
            self.findings.forget();
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
        let mut tally = Tally::new(&self.metrics, &registry);
        loop {
            let images = self.images(&registry);
            tally.keep(&images);
            self.findings.keep(&registry, |namespace, image| {
                let mut uses = images.get(image).into_iter().flatten();
                uses.any(|used| &*used.namespace == namespace)
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
                let found = self.image(&registry, image, uses).await;
                if let Some((found, namespace)) = found {
                    let loaded = uses.iter().all(|used| used.loaded);
                    let news = tally.note(image, found, loaded);
                    if let Some(news) = news.filter(|_| logged < LOGGED) {
                        logged += 1;
                        news.tell(image, namespace);
                    }
                }
                let throttled = found.is_some_and(|(f, _)| f.cause() == Some(Cause::RateLimited));
                let pause = if throttled { pace.max(THROTTLED) } else { pace };
                tokio::time::sleep(jittered(pause).saturating_sub(began.elapsed())).await;
            }
        }
        registry
    }

    /// The worst that any use of an image gets, and in which namespace.
    async fn image<'u>(
        &self,
        registry: &str,
        image: &str,
        uses: &'u [ImageUse],
    ) -> Option<(ProbeResult, &'u str)> {
        let mut worst: BTreeMap<&str, (ProbeResult, bool)> = BTreeMap::new();
        for used in uses.iter().take(USES) {
            let (began, now) = clock();
            let policy = self.reviewer.policy.load_full();
            let sources = self.reviewer.sources();
            let runtime = self.reviewer.runtime;
            let look = still_there(sources, &policy, runtime, used, now, began + LOOK);
            let Ok(Some(found)) = tokio::time::timeout(LOOK, look).await else { continue };
            self.metrics.audited();
            let here = worst.entry(&used.namespace).or_insert((found, used.loaded));
            here.0 = here.0.max(found);
        }
        let (_, now) = clock();
        for (namespace, (found, loaded)) in &worst {
            self.findings.note((registry, namespace, image), *found, *loaded, now);
        }
        let worst = worst.into_iter().max_by_key(|(_, (found, _))| *found);
        worst.map(|(namespace, (found, _))| (found, namespace))
    }
}

/// What was last found of each image of a registry; counted in the metrics while it stands.
struct Tally<'a> {
    metrics: &'a Metrics,
    registry: &'a str,
    last: HashMap<Box<str>, ProbeResult>,
    /// Images that nodes have and no registry: told of once, and counted nowhere.
    loaded: HashSet<Box<str>>,
}

/// What is worth telling of an image.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// It can no longer be pulled.
    Lost(Cause),
    /// It can be pulled again.
    Back,
    /// It could not be pulled, and whether it can now is not clear.
    Unclear(Cause),
    /// It was put onto nodes without a registry.
    Loaded(Cause),
}

impl<'a> Tally<'a> {
    fn new(metrics: &'a Metrics, registry: &'a str) -> Self {
        Self { metrics, registry, last: HashMap::new(), loaded: HashSet::new() }
    }

    /// Forgets what is no longer in use.
    fn keep<T>(&mut self, in_use: &BTreeMap<Box<str>, T>) {
        self.loaded.retain(|image| in_use.contains_key(image));
        self.last.retain(|image, found| {
            let stays = in_use.contains_key(image);
            if !stays {
                self.metrics.pullable(self.registry, found.cause(), -1);
            }
            stays
        });
    }

    /// Notes what was found; says what is worth telling of it.
    fn note(&mut self, image: &str, found: ProbeResult, loaded: bool) -> Option<News> {
        if let Some(cause) = found.cause().filter(|_| loaded) {
            if let Some(before) = self.last.remove(image) {
                self.metrics.pullable(self.registry, before.cause(), -1);
            }
            return self.loaded.insert(image.into()).then_some(News::Loaded(cause));
        }
        let before = self.last.insert(image.into(), found);
        if before == Some(found) {
            return None;
        }
        if let Some(before) = before {
            self.metrics.pullable(self.registry, before.cause(), -1);
        }
        self.metrics.pullable(self.registry, found.cause(), 1);
        let was_refused = before.is_some_and(|found| matches!(found, ProbeResult::Refused(_)));
        match found {
            ProbeResult::Refused(cause) => Some(News::Lost(cause)),
            ProbeResult::Pullable => was_refused.then_some(News::Back),
            ProbeResult::Unclear(cause) => was_refused.then_some(News::Unclear(cause)),
        }
    }
}

impl News {
    fn tell(&self, image: &str, namespace: &str) {
        match self {
            Self::Lost(cause) => {
                let cause = cause.as_str();
                tracing::warn!(image, namespace, cause, "an image in use can no longer be pulled");
            }
            Self::Back => {
                tracing::info!(image, namespace, "an image in use can be pulled again");
            }
            Self::Unclear(cause) => {
                let cause = cause.as_str();
                tracing::info!(
                    image,
                    namespace,
                    cause,
                    "whether an image can be pulled is unclear"
                );
            }
            Self::Loaded(cause) => {
                let cause = cause.as_str();
                tracing::info!(
                    image,
                    namespace,
                    cause,
                    "an image in use was loaded onto nodes, not pulled, and no registry has it: \
                     nodes that lack it cannot get it"
                );
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: ProbeResult = ProbeResult::Refused(Cause::TagNotFound);
    const NO_NAME: ProbeResult = ProbeResult::Unclear(Cause::DnsFailure);

    fn shown(metrics: &Metrics) -> String {
        let page = metrics.render();
        page.lines().filter(|line| line.starts_with("pullgate_image_pullable{")).collect()
    }

    #[test]
    fn a_change_is_told_once() {
        let metrics = Metrics::new();
        let mut tally = Tally::new(&metrics, "r.example");
        assert_eq!(tally.note("r.example/a:1", ProbeResult::Pullable, false), None);
        let lost = Some(News::Lost(Cause::TagNotFound));
        assert_eq!(tally.note("r.example/a:1", MISSING, false), lost);
        assert_eq!(tally.note("r.example/a:1", MISSING, false), None);
        let unclear = Some(News::Unclear(Cause::DnsFailure));
        assert_eq!(tally.note("r.example/a:1", NO_NAME, false), unclear);
        assert_eq!(tally.note("r.example/a:1", MISSING, false), lost);
        assert_eq!(tally.note("r.example/a:1", ProbeResult::Pullable, false), Some(News::Back));
        assert!(shown(&metrics).contains(r#"cause="none"} 1"#), "{}", shown(&metrics));
    }

    #[test]
    fn an_image_that_was_loaded_onto_nodes_is_told_of_once_and_raises_no_alert() {
        let metrics = Metrics::new();
        let mut tally = Tally::new(&metrics, "lab");
        let loaded = Some(News::Loaded(Cause::DnsFailure));
        assert_eq!(tally.note("lab/a:1", NO_NAME, true), loaded);
        for found in [NO_NAME, MISSING, NO_NAME] {
            assert_eq!(tally.note("lab/a:1", found, true), None);
        }
        assert_eq!(shown(&metrics), "");
        // What a registry has is like any other image.
        assert_eq!(tally.note("lab/b:1", ProbeResult::Pullable, true), None);
        assert!(shown(&metrics).contains(r#"cause="none"} 1"#), "{}", shown(&metrics));
        tally.keep(&BTreeMap::<Box<str>, u8>::new());
        assert_eq!(tally.note("lab/a:1", NO_NAME, true), loaded);
    }
}
