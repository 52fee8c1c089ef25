//! The page of a running server: what its index knows and its audit has found, for people who sign in
//! with a token of the cluster. No page asks a registry.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::findings::Findings;
use crate::cluster::{Cluster, IdentityError};
use crate::history::{KnownImage, RegistryScoreSummary, Report, ReportTarget, Scope, Visibility};
use crate::image::ImageReference;
use crate::message::{as_sentence, observed, sentence};
use crate::policy::PullgatePolicy;
use crate::pull::Verdict;
use crate::review::{AccessSource as _, Drift, HealthSource as _, ProbeResult};
use crate::telemetry::clock;
use crate::user::UserInfo;
use crate::web::{
    AuditSummary, Explanation, LostImage, MovedTag, NotFound, Overview, PageSource, PageTarget,
    SignInRefused, UnpullableImages,
};

/// Images that fail, and images that are lost, on one page.
const MAX_ROWS: usize = 100;
/// Images of one workload.
const MAX_IMAGES: usize = 20;

/// What the pages of a server are made of.
#[derive(Clone)]
pub(super) struct ServePages {
    cluster: Arc<Cluster>,
    /// What says which images are looked at.
    policy: Arc<ArcSwap<PullgatePolicy>>,
    findings: Findings,
    /// Whether images in use are looked at again at all.
    audits: bool,
}

impl ServePages {
    pub(super) fn new(
        cluster: &Arc<Cluster>,
        policy: &Arc<ArcSwap<PullgatePolicy>>,
        findings: &Findings,
        audits: bool,
    ) -> Self {
        let (cluster, policy) = (Arc::clone(cluster), Arc::clone(policy));
        Self { cluster, policy, findings: findings.clone(), audits }
    }

    fn lost(&self, visibility: &Visibility) -> UnpullableImages {
        let found = self.findings.all(|namespace| visibility.includes(namespace));
        let Some(found) = found else {
            let why = if self.audits {
                "Another replica looks at the images in use: forward a port of the pod that holds \
                 the Lease."
            } else {
                "Images in use are not looked at again (--audit-seconds=0)."
            };
            return UnpullableImages::NotHere(why.to_owned());
        };
        // What the policy leaves alone is not looked at.
        let policy = self.policy.load();
        let in_use: HashSet<Box<str>> = self
            .cluster
            .in_use()
            .into_iter()
            .filter(|used| visibility.includes(&used.namespace))
            .filter(|used| used.registry(&policy).is_some())
            .map(|used| used.image)
            .collect();
        let mut looked = AuditSummary { of: in_use.len(), ..AuditSummary::default() };
        let (mut known, mut unclear) = (HashSet::new(), HashSet::new());
        for (namespace, image, finding) in found {
            if let Some((drift, since)) = finding.drift
                && let Some(pods) = self.still_differ(&image, &namespace, &drift)
            {
                let (image, namespace) = (image.clone(), namespace.clone());
                looked.moved.push(MovedTag { image, namespace, pods, since });
            }
            match finding.found {
                ProbeResult::Pullable => {}
                ProbeResult::Unclear(_) => _ = unclear.insert(image.clone()),
                ProbeResult::Refused(cause) => {
                    let (since, loaded, image) = (finding.at, finding.loaded, image.clone());
                    let scope = Scope::default();
                    let lost = LostImage { image, namespace, cause, since, loaded, scope };
                    looked.images.push(lost);
                }
            }
            known.insert(image);
        }
        looked.looked = known.len();
        looked.unclear = unclear.len();
        looked.goes_on = in_use.iter().any(|image| !known.contains(image));
        looked
            .images
            .sort_by(|a, b| (a.loaded, b.since, &a.image).cmp(&(b.loaded, a.since, &b.image)));
        looked.moved.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.image.cmp(&b.image)));
        looked.more = looked.images.len().saturating_sub(MAX_ROWS);
        looked.images.truncate(MAX_ROWS);
        for lost in &mut looked.images {
            let there = Visibility::Namespaces(vec![lost.namespace.clone()]);
            lost.scope = self.cluster.scope_of(&lost.image, &there);
        }
        UnpullableImages::AuditSummary(looked)
    }

    /// How many of the pods that a look told of still run another digest; nothing if none does.
    fn still_differ(&self, image: &str, namespace: &str, drift: &Drift) -> Option<u32> {
        let image = ImageReference::parse(image).ok()?;
        let there = Visibility::Namespaces(vec![namespace.into()]);
        let others = self.cluster.other_digests(&image, &there, Some(&drift.now));
        let pods = others.iter().map(|one| one.pods).sum::<u32>().min(drift.pods);
        (pods > 0).then_some(pods)
    }

    fn overview_now(&self, seen: &Visibility) -> Overview {
        let (now, _) = clock();
        let trial = (*seen == Visibility::Cluster).then(|| self.cluster.score(now));
        overview(&self.cluster, (seen, now), self.lost(seen), trial)
    }

    fn explain_now(
        &self,
        asked: &PageTarget,
        seen: &Visibility,
    ) -> Result<Vec<Explanation>, NotFound> {
        let (kind, namespace, name) = match asked {
            PageTarget::Image(image) => {
                return Ok(vec![self.explanation(&ReportTarget::Image(image.clone()), seen)]);
            }
            PageTarget::Registry(host) => {
                return Ok(vec![self.explanation(&ReportTarget::Registry(host.clone()), seen)]);
            }
            PageTarget::Workload { kind, namespace, name } => (kind, namespace, name),
        };
        let images = self.cluster.images_of_workload([kind, namespace, name], seen);
        let parts = images.into_iter().take(MAX_IMAGES).map(ReportTarget::Image);
        let parts: Vec<_> = parts.map(|image| self.explanation(&image, seen)).collect();
        if parts.is_empty() {
            // The same whether it does not exist or may not be seen.
            let kind = kind.to_ascii_lowercase();
            return Err(NotFound(format!(
                "No pod of {kind}/{name} in {namespace} is known to you."
            )));
        }
        Ok(parts)
    }

    /// What is known of an image or a registry, without asking anybody.
    fn explanation(&self, subject: &ReportTarget, visibility: &Visibility) -> Explanation {
        let (now, _) = clock();
        let report = self.cluster.index(|index| index.report(subject, visibility, now));
        let (mut facts, mut ask) = (Vec::new(), None);
        if let ReportTarget::Image(image) = subject {
            facts.extend(self.audited(image, visibility));
            ask = Some(command(&report, image));
        }
        let remedy = report.next_step().map_or_else(
            || "Nothing to do by what was observed.".to_owned(),
            |step| as_sentence(&step),
        );
        Explanation {
            cause: as_sentence(&observed(&report)),
            remedy,
            ways: Vec::new(),
            verify: Vec::new(),
            ask,
            facts,
            report,
        }
    }

    /// What the audit last found, in each namespace that may be seen.
    fn audited(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
    ) -> Vec<(&'static str, String)> {
        let found = self.findings.of_image(image, |namespace| visibility.includes(namespace));
        let told = found.into_iter().flat_map(|(namespace, finding)| {
            let words = match finding.found {
                ProbeResult::Pullable => "it could be pulled".to_owned(),
                ProbeResult::Refused(cause) => sentence(cause, Verdict::Fails).to_owned(),
                ProbeResult::Unclear(cause) => sentence(cause, Verdict::CannotTell).to_owned(),
            };
            let since = finding.at.strftime("%Y-%m-%d %H:%M UTC");
            let looked = format!("as pods in {namespace} pull it, since {since}: {words}");
            let drift = finding.drift.and_then(|(drift, since)| {
                let since = since.strftime("%Y-%m-%d %H:%M UTC");
                let pods = self.still_differ(&image.canonical(), &namespace, &drift)?;
                let run = if pods == 1 { "1 pod runs" } else { &format!("{pods} pods run") };
                Some(("Drift", format!("{run} another digest in {namespace} than the registry has, known since {since}")))
            });
            std::iter::once(("Looked at again", looked)).chain(drift)
        });
        told.collect()
    }
}

/// The command that asks the registry, too.
fn command(report: &Report, image: &ImageReference) -> String {
    let namespace = report.scope.namespaces.first().map(|one| one.name.as_str());
    let place = namespace.map(|name| format!(" -n {name}")).unwrap_or_default();
    format!("pullgate explain {image}{place}")
}

/// The cluster at a glance, with what its source knows of lost images and of would-be denials.
pub(crate) fn overview(
    cluster: &Cluster,
    (seen, at): (&Visibility, Timestamp),
    lost: UnpullableImages,
    trial: Option<Vec<RegistryScoreSummary>>,
) -> Overview {
    let (failing, failing_in_all) = cluster.index(|index| index.failing_images(seen, MAX_ROWS));
    Overview {
        freshness: cluster.freshness(),
        at,
        registries: cluster.index(|index| index.registries_seen(seen, at)),
        failing,
        failing_in_all,
        refused: cluster.refusals(seen, at),
        lost,
        trial,
    }
}

impl PageSource for ServePages {
    fn sign_in_help(&self) -> (&'static str, &'static str) {
        (
            "Enter a token of this cluster: your own, or one of a ServiceAccount. It is asked once \
             whose it is, and not kept. You see what that user may list.",
            "kubectl create token NAME -n NAMESPACE",
        )
    }

    fn sign_in<'a>(
        &'a self,
        secret: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<UserInfo, SignInRefused>> {
        async move {
            if secret.is_empty() {
                return Err(SignInRefused::Nobody);
            }
            self.cluster.who_presents(secret, deadline).await.map_err(|error| match error {
                IdentityError::Nobody => SignInRefused::Nobody,
                error => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "nobody can sign in to the page");
                    SignInRefused::Unknown
                }
            })
        }
        .boxed()
    }

    fn visibility<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: Option<&'a str>,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<Visibility>> {
        async move {
            if self.cluster.may_list_pods(user, None, deadline).await {
                return Some(Visibility::Cluster);
            }
            let namespace = namespace?;
            let may = self.cluster.may_list_pods(user, Some(namespace), deadline).await;
            may.then(|| Visibility::Namespaces(vec![namespace.into()]))
        }
        .boxed()
    }

    fn overview<'a>(&'a self, visible: &'a Visibility) -> BoxFuture<'a, Overview> {
        let seen = visible.clone();
        aside(self.clone(), move |own| own.overview_now(&seen)).boxed()
    }

    fn refresh(&self) -> bool {
        // The audit does, at its own pace.
        false
    }

    fn images<'a>(
        &'a self,
        words: &'a str,
        visible: &'a Visibility,
        most: usize,
    ) -> BoxFuture<'a, (Vec<KnownImage>, usize)> {
        let (words, seen) = (words.to_owned(), visible.clone());
        aside(self.clone(), move |own| {
            own.cluster.index(|index| index.images_named(&words, &seen, most))
        })
        .boxed()
    }

    fn explain<'a>(
        &'a self,
        asked: &'a PageTarget,
        visible: &'a Visibility,
        _: Instant,
    ) -> BoxFuture<'a, Result<Vec<Explanation>, NotFound>> {
        let (asked, seen) = (asked.clone(), visible.clone());
        aside(self.clone(), move |own| own.explain_now(&asked, &seen)).boxed()
    }
}

/// Does what takes a while beside the threads that answer reviews. A panic goes on to who waits.
async fn aside<T: Send + 'static>(
    own: ServePages,
    ask: impl FnOnce(&ServePages) -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(move || ask(&own)).await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}
