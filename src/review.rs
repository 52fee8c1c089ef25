//! The one use case: from a workload to a decision about each of its images.
//!
//! The webhook and the command line share [`review`]. It defines what it needs of the outside as
//! traits and never reaches out itself; time is an argument.

mod webhook;
mod advise;
mod accuracy;
mod context;
mod drift;
mod audit;
mod blindness;
mod event;
mod forecast;
mod gather;
mod judge;
mod mutate;
mod probe;
mod recall;
mod record;
mod restart;
mod restricted;
mod reviewer;
mod shared_answers;
mod source;
mod visibility;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::{join_all, join3};
use jiff::Timestamp;

use crate::advice::Advice;
use crate::history::History;
use crate::image::{ImageReference, ReferenceError};
use crate::message::{DigestDrift, FailureStats, Finding, NodesFailing, QuotaForecast};
use crate::policy::{Decision, PullgatePolicy, Ruling};
use crate::pull::{Assessment, Attempt, PullsLeft, Purpose, Runtime};
use crate::user::UserInfo;
use crate::workload::{ContainerImage, Eligible, Rollout, Workload};

pub use audit::{AuditResult, ImageUse, is_refused_to_anybody, recheck};
pub(crate) use audit::{audit_pace, check_in_use};
pub use blindness::BlindRegistryNotices;
use context::{FRESH, ResolvedName, ReviewContext};
pub use context::{PodSecrets, SecretsOrigin};
pub(crate) use drift::{Compared, Drift, compare_use, drifted, pods_differ};
pub use event::WorkloadEvent;
pub use probe::ProbeResult;
pub(crate) use recall::{EXPLAIN_ANNOTATION, memory_of_warnings};
pub use record::{ReviewRecord, Skip};
pub(crate) use restricted::WithoutSecrets;
pub use reviewer::{EventQueue, EventRequest, Reviewer};
pub use shared_answers::SharedAnswers;
pub use source::{
    AccessSource, ClusterSource, Fetched, HealthSource, ManifestSource, NodeCredentialSource,
    NodeCredentials, ObjectQuery, Reading, SeenPod, ServiceAccountFacts,
};
pub(crate) use visibility::FixedAccess;
pub use webhook::{AdmissionOutcome, Endpoint, Proof};

/// Where a review gets its evidence.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The registries.
    pub registry: &'a dyn ManifestSource,
    /// The API server.
    pub cluster: &'a dyn ClusterSource,
    /// The nodes' own credentials.
    pub nodes: &'a dyn NodeCredentialSource,
    /// What was observed in this cluster.
    pub health: &'a dyn HealthSource,
    /// Who may see what.
    pub access: &'a dyn AccessSource,
}

/// What is reviewed, for whom, under which policy, and until when.
#[derive(Clone, Copy)]
pub struct ReviewRequest<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// Its namespace.
    pub namespace: &'a str,
    /// Who asks.
    pub user: &'a UserInfo,
    /// The policy.
    pub policy: &'a PullgatePolicy,
    /// The runtime of the nodes, if the person says it.
    pub runtime: Option<Runtime>,
    /// Whether the ServiceAccount's pull secrets are in the pod already, as after admission.
    pub account_applied: bool,
    /// Whether whoever asks can wait a second for a refusal to be confirmed; nobody who answers an
    /// API server can.
    pub patient: bool,
    /// How the object replaces its pods, if it is there already and is being changed.
    pub rollout: Option<Rollout>,
    /// The time.
    pub now: Timestamp,
    /// When the answer is needed.
    pub deadline: Instant,
}

/// What was found about a workload.
#[derive(Debug)]
pub struct Review {
    /// The workload's namespace.
    pub namespace: Box<str>,
    /// One entry for each distinct image and pull policy, in the order of the spec.
    pub images: Vec<ImageReview>,
    /// What became of the pull secrets.
    pub secrets: Arc<PodSecrets>,
    /// The worst decision about any image.
    pub decision: Decision,
    /// Whether the workload is a pod.
    pub is_pod: bool,
    /// Whether somebody else may put other images into the pods of this workload.
    pub pods_rewritten: bool,
}

/// What was found about one image.
#[derive(Debug)]
pub struct ImageReview {
    /// The places where the workload names it.
    pub places: Vec<ContainerImage>,
    /// The name, parsed.
    pub reference: Result<ImageReference, ReferenceError>,
    /// What each credential got.
    pub attempts: Vec<Attempt>,
    /// What was observed of it in this cluster.
    pub history: History,
    /// What will become of the pull.
    pub assessment: Assessment,
    /// What to do about it, proven.
    pub advice: Vec<Advice>,
    /// What the policy makes of it.
    pub ruling: Ruling,
    /// Whether it would be denied if everything were vouched for and the namespace enforced.
    pub would_deny: bool,
    /// Whether the user may know that this very image ran here.
    pub seen_here: bool,
    /// How the image and its registry fare here, as far as the user may know.
    pub stats: Option<FailureStats>,
    /// Of an image that can be pulled: that nodes fail to reach its registry.
    pub nodes_failing: Option<NodesFailing>,
    /// Of an image that can be pulled: that pods run another digest of its tag.
    pub drift: Option<DigestDrift>,
    /// What its registry last said is left of its pull limit for what got it.
    pub pulls_left: Option<PullsLeft>,
    /// That the rollout needs more pulls than are left; at one of its images.
    pub quota: Option<QuotaForecast>,
}

impl ImageReview {
    /// Whether something is to be said of it although it is let through without a word.
    pub fn is_noted(&self) -> bool {
        self.ruling.decision == Decision::Allow
            && (!self.advice.is_empty() || self.nodes_failing.is_some())
    }
}

impl Review {
    /// What is to be said about one of its images.
    pub fn finding<'a>(&'a self, image: &'a ImageReview) -> Finding<'a> {
        Finding {
            image: image.places.first().map_or("", |place| &place.image),
            reference: image.reference.as_ref(),
            assessment: &image.assessment,
            attempts: &image.attempts,
            advice: &image.advice,
            broken_secret: self.secrets.broken(),
            missing_secret: self.secrets.missing.first().map(|name| (&**name, &*self.namespace)),
            secrets_unread: self.secrets.unread,
            ruling: &image.ruling,
            is_pod: self.is_pod,
            pods_rewritten: self.pods_rewritten,
            seen_here: image.seen_here,
            stats: image.stats,
            nodes_failing: image.nodes_failing,
            drift: image.drift,
            quota: image.quota,
        }
    }
}

/// Reviews a workload: gather, assess, decide, again before a denial, and advise. Every image at
/// the same time.
pub async fn review(sources: Sources<'_>, subject: ReviewRequest<'_>) -> Review {
    let is_pod = subject.workload.is_pod;
    let rewritten = async {
        if is_pod {
            Some(false)
        } else {
            sources.cluster.pods_are_rewritten(subject.deadline).await
        }
    };
    let (secrets, pods_rewritten, placed) = join3(
        gather::secrets(sources, subject, Reading::Kept),
        rewritten,
        gather::with_runtime_class(sources, subject),
    )
    .await;
    let subject =
        ReviewRequest { workload: placed.as_ref().unwrap_or(subject.workload), ..subject };
    let secrets = Arc::new(secrets);
    // Read once for all images, and only if one of them is to be denied.
    let secrets_now = async { Arc::new(gather::secrets(sources, subject, Reading::Now).await) };
    let secrets_now = secrets_now.boxed().shared();
    let nodes = sources.cluster.nodes();
    let eligible = match nodes.as_deref() {
        Some(nodes) => subject.workload.placement.eligible(nodes),
        None => Eligible::not_asked(),
    };
    let facts = sources.cluster.namespace(subject.namespace);
    let more_reviews = AtomicUsize::new(visibility::FOR_SERVICES);
    let context = ReviewContext {
        sources: &sources,
        subject: &subject,
        secrets: &secrets,
        eligible: &eligible,
        facts: facts.as_deref(),
        pods_rewritten,
        more_reviews: &more_reviews,
        purpose: Purpose::Verdict,
    };
    let groups = distinct(&subject.workload.images);
    let named = move || {
        let groups = distinct(&subject.workload.images);
        let names = groups.iter().filter_map(|places| places.first());
        names.filter_map(|place| ImageReference::parse(&place.image).ok()).collect()
    };
    let shown = visibility::shown(sources, subject, named);
    // Boxed where they begin: what is large is not to be moved.
    let review = |places| Box::pin(context.review(places, secrets_now.clone(), shown.clone()));
    let mut images = joined(groups.into_iter().map(review)).await;
    if forecast::is_due(context) {
        Box::pin(forecast::note(context, &mut images, shown)).await;
    }
    let decision =
        images.iter().map(|image| image.ruling.decision).max().unwrap_or(Decision::Allow);
    let secrets = secrets_now.peek().cloned().unwrap_or(secrets);
    let pods_rewritten = pods_rewritten == Some(true);
    let namespace = subject.namespace.into();
    Review { namespace, images, secrets, decision, is_pod, pods_rewritten }
}

/// What comes of each, all at the same time. Most pods have one image, and it waits for no others.
async fn joined<F: Future>(mut futures: impl ExactSizeIterator<Item = F>) -> Vec<F::Output> {
    match (futures.len(), futures.next()) {
        (1, Some(only)) => vec![only.await],
        (_, first) => join_all(first.into_iter().chain(futures)).await,
    }
}

/// The images of a workload, those with the same name and pull policy together. One with the
/// policy `Never` that another container pulls belongs to that one: it is there by then.
fn distinct(images: &[ContainerImage]) -> Vec<Vec<ContainerImage>> {
    let mut groups: Vec<Vec<ContainerImage>> = Vec::new();
    let (brought, pulled): (Vec<_>, Vec<_>) =
        images.iter().partition(|image| images.iter().any(|other| other.brings(image)));
    for image in pulled {
        let alike = |group: &&mut Vec<ContainerImage>| {
            group.first().is_some_and(|first| {
                first.image == image.image && first.pull_policy == image.pull_policy
            })
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(image.clone()),
            None => groups.push(vec![image.clone()]),
        }
    }
    for image in brought {
        let brings = |group: &&mut Vec<ContainerImage>| group.iter().any(|one| one.brings(image));
        if let Some(group) = groups.iter_mut().find(brings) {
            group.push(image.clone());
        }
    }
    groups
}
