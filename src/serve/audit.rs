//! The continuous audit: every image in use is looked at again, registry by registry, at a pace
//! that each of them can bear, so that a deleted tag or an expired login is known before the next
//! node needs it. Only the leader does it, and stops when it no longer leads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::drift::{self, DriftSeen, DriftTally};
use super::findings::Findings;
use crate::cluster::Cluster;
use crate::pull::Cause;
use crate::review::{
    Compared, ImageUse, ProbeResult, Reviewer, audit_pace, check_in_use, compare_use,
};
use crate::telemetry::{Metrics, clock, random_between};

/// Registries that are audited at the same time; those beyond wait until one is in use no more.
const REGISTRIES: usize = 100;
/// The same of registries that only templates name: everybody can write down as many as they like.
const RESTING_REGISTRIES: usize = 25;
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
        let mut resting: HashSet<Box<str>> = HashSet::new();
        let mut lanes = FuturesUnordered::new();
        loop {
            let of_pods = self.registries(&self.cluster.in_use());
            for registry in &of_pods {
                resting.remove(registry);
                if under_way.len() < REGISTRIES + resting.len()
                    && under_way.insert(registry.clone())
                {
                    lanes.push(self.registry(registry.clone()));
                }
            }
            for registry in self.registries(&self.cluster.resting()) {
                let room = resting.len() < RESTING_REGISTRIES && !of_pods.contains(&registry);
                if room && under_way.insert(registry.clone()) {
                    resting.insert(registry.clone());
                    lanes.push(self.registry(registry));
                }
            }
            tokio::select! {
                Some(done) = lanes.next() => {
                    under_way.remove(&done);
                    resting.remove(&done);
                }
                () = tokio::time::sleep(jittered(NEW_REGISTRIES)) => {}
            }
        }
    }

    fn registries(&self, uses: &[ImageUse]) -> HashSet<Box<str>> {
        let policy = self.reviewer.policy.load();
        uses.iter().filter_map(|used| used.registry(&policy)).collect()
    }

    /// The images of a registry that pods use or templates name, each with the ways in which it is.
    fn images(&self, registry: &str) -> BTreeMap<Box<str>, Uses> {
        let policy = self.reviewer.policy.load();
        let mut images: BTreeMap<Box<str>, Uses> = BTreeMap::new();
        let of_registry = |used: &ImageUse| used.registry(&policy).as_deref() == Some(registry);
        for used in self.cluster.in_use().into_iter().filter(of_registry) {
            images.entry(used.image.clone()).or_default().pods.push(used);
        }
        for used in self.cluster.resting().into_iter().filter(of_registry) {
            images.entry(used.image.clone()).or_default().templates.push(used);
        }
        images
    }

    /// One registry, pass after pass, until no image of it is in use; then its name.
    async fn registry(&self, registry: Box<str>) -> Box<str> {
        let mut tally = Tally::new(&self.metrics, &registry);
        let mut drifts = DriftTally::new(&self.metrics, &registry);
        loop {
            let images = self.images(&registry);
            tally.keep(&images);
            drifts.keep(&images);
            self.findings.keep(&registry, |namespace, image| {
                let mut uses = images.get(image).into_iter().flat_map(|uses| &uses.pods);
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
                let (_, began) = clock();
                let found = self.image(&registry, image, uses).await;
                if uses.rest() {
                    drifts.compare(image, Some(false), false);
                } else {
                    let among = drift::among_pods(&self.cluster, &*self.reviewer.registry, image);
                    let compared = found.as_ref().and_then(|found| found.drift.differs());
                    let is_new = drifts.compare(image, compared, among);
                    let told = found.as_ref().filter(|_| is_new && logged < LOGGED);
                    if told.is_some_and(|found| found.drift.log(image)) {
                        logged += 1;
                    }
                }
                if let Some(found) = &found {
                    let news = tally.note(image, found.result, uses.loaded(), uses.rest());
                    if let Some(news) = news.filter(|_| logged < LOGGED) {
                        logged += 1;
                        news.log(image, found.namespace, uses.rest());
                    }
                }
                let cause = found.and_then(|found| found.result.cause());
                let throttled = cause == Some(Cause::RateLimited);
                let pause = if throttled { pace.max(THROTTLED) } else { pace };
                tokio::time::sleep(jittered(pause).saturating_sub(began.elapsed())).await;
            }
        }
        registry
    }

    /// The worst that any pod's use of an image gets, else any template's.
    async fn image<'u>(
        &self,
        registry: &str,
        image: &str,
        uses: &'u Uses,
    ) -> Option<WorstResult<'u>> {
        let mut worst: BTreeMap<&str, (ProbeResult, bool, Compared)> = BTreeMap::new();
        let told = if uses.rest() { &uses.templates } else { &uses.pods };
        for used in told.iter().take(USES) {
            let (now, began) = clock();
            let policy = self.reviewer.policy.load_full();
            let sources = self.reviewer.sources();
            let runtime = self.reviewer.runtime;
            let look = check_in_use(sources, &policy, runtime, used, now, began + LOOK);
            let Ok(Some(found)) = tokio::time::timeout(LOOK, look).await else { continue };
            self.metrics.audited();
            let drift = compare_use(sources, used, &found);
            let found = found.result;
            let first = (found, used.loaded, Compared::Not);
            let here = worst.entry(&used.namespace).or_insert(first);
            here.0 = here.0.max(found);
            here.2.add(drift);
        }
        let (now, _) = clock();
        // Who may list pods may not know of templates: of these nothing goes to reports and the page.
        for (namespace, (found, loaded, drift)) in worst.iter().filter(|_| !uses.rest()) {
            let (place, found) = ((registry, *namespace, image), (*found, *loaded));
            self.findings.note(place, found, drift.clone(), now);
        }
        let mut drift = DriftSeen::default();
        for (namespace, (.., compared)) in &worst {
            drift.add(namespace, compared);
        }
        let worst = worst.into_iter().max_by_key(|(_, (found, ..))| *found);
        worst.map(|(namespace, (result, ..))| WorstResult { result, namespace, drift })
    }
}

/// The worst that any use of an image comes to, and in which namespace.
struct WorstResult<'u> {
    result: ProbeResult,
    namespace: &'u str,
    /// What pods run otherwise, in whichever namespace.
    drift: DriftSeen<'u>,
}

/// The ways in which an image is used.
#[derive(Default)]
struct Uses {
    pods: Vec<ImageUse>,
    templates: Vec<ImageUse>,
}

impl Uses {
    /// Whether no pod uses it now.
    const fn rest(&self) -> bool {
        self.pods.is_empty()
    }

    /// Whether it is on nodes only because somebody put it there.
    fn loaded(&self) -> bool {
        let told = if self.rest() { &self.templates } else { &self.pods };
        told.iter().all(|used| used.loaded)
    }
}

/// What was last found of each image of a registry; counted in the metrics while it stands.
struct Tally<'a> {
    metrics: &'a Metrics,
    registry: &'a str,
    /// With whether only templates name it.
    last: HashMap<Box<str>, (ProbeResult, bool)>,
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
        self.last.retain(|image, (found, rests)| {
            let stays = in_use.contains_key(image);
            if !stays {
                self.metrics.pullable(self.registry, found.cause(), *rests, -1);
            }
            stays
        });
    }

    /// Notes what was found; says what is worth telling of it.
    fn note(&mut self, image: &str, found: ProbeResult, loaded: bool, rests: bool) -> Option<News> {
        if let Some(cause) = found.cause().filter(|_| loaded) {
            if let Some((before, rested)) = self.last.remove(image) {
                self.metrics.pullable(self.registry, before.cause(), rested, -1);
            }
            return self.loaded.insert(image.into()).then_some(News::Loaded(cause));
        }
        let before = self.last.insert(image.into(), (found, rests));
        if before == Some((found, rests)) {
            return None;
        }
        if let Some((before, rested)) = before {
            self.metrics.pullable(self.registry, before.cause(), rested, -1);
        }
        self.metrics.pullable(self.registry, found.cause(), rests, 1);
        let was_refused = before.is_some_and(|(found, _)| matches!(found, ProbeResult::Refused(_)));
        match found {
            ProbeResult::Refused(cause) => Some(News::Lost(cause)),
            ProbeResult::Pullable => was_refused.then_some(News::Back),
            ProbeResult::Unclear(cause) => was_refused.then_some(News::Unclear(cause)),
        }
    }
}

impl News {
    fn log(&self, image: &str, namespace: &str, rests: bool) {
        match self {
            Self::Lost(cause) if rests => {
                let cause = cause.as_str();
                tracing::info!(
                    image,
                    namespace,
                    cause,
                    "an image that a template names cannot be pulled"
                );
            }
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
                    "it is unknown whether an image can be pulled"
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

/// A time, a fifth more or less.
fn jittered(time: Duration) -> Duration {
    random_between(time.mul_f64(0.8), time.mul_f64(1.2))
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
        assert_eq!(tally.note("r.example/a:1", ProbeResult::Pullable, false, false), None);
        let lost = Some(News::Lost(Cause::TagNotFound));
        assert_eq!(tally.note("r.example/a:1", MISSING, false, false), lost);
        assert_eq!(tally.note("r.example/a:1", MISSING, false, false), None);
        let unclear = Some(News::Unclear(Cause::DnsFailure));
        assert_eq!(tally.note("r.example/a:1", NO_NAME, false, false), unclear);
        assert_eq!(tally.note("r.example/a:1", MISSING, false, false), lost);
        assert_eq!(
            tally.note("r.example/a:1", ProbeResult::Pullable, false, false),
            Some(News::Back)
        );
        assert!(shown(&metrics).contains(r#"cause="none"} 1"#), "{}", shown(&metrics));
    }

    #[test]
    fn an_image_that_was_loaded_onto_nodes_is_told_of_once_and_raises_no_alert() {
        let metrics = Metrics::new();
        let mut tally = Tally::new(&metrics, "lab");
        let loaded = Some(News::Loaded(Cause::DnsFailure));
        assert_eq!(tally.note("lab/a:1", NO_NAME, true, false), loaded);
        for found in [NO_NAME, MISSING, NO_NAME] {
            assert_eq!(tally.note("lab/a:1", found, true, false), None);
        }
        assert_eq!(shown(&metrics), "");
        // What only templates name is counted apart, and moves when pods use it.
        tally.note("lab/c:1", MISSING, false, true);
        assert_eq!(shown(&metrics), "");
        tally.note("lab/c:1", MISSING, false, false);
        assert!(shown(&metrics).contains(r#"cause="tag_not_found"} 1"#), "{}", shown(&metrics));
        tally.keep(&BTreeMap::<Box<str>, u8>::new());
        tally.note("lab/a:1", NO_NAME, true, false);
        // What a registry has is like any other image.
        assert_eq!(tally.note("lab/b:1", ProbeResult::Pullable, true, false), None);
        assert!(shown(&metrics).contains(r#"cause="none"} 1"#), "{}", shown(&metrics));
        tally.keep(&BTreeMap::<Box<str>, u8>::new());
        assert_eq!(tally.note("lab/a:1", NO_NAME, true, false), loaded);
    }
}
