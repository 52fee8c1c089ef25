//! The one use case: from a workload to a decision about each of its images.
//!
//! The webhook and the command line share [`review`]. It defines what it needs of the outside as
//! traits and never reaches out itself; time is an argument.

mod webhook;
mod advise;
mod confirm;
mod audit;
mod event;
mod gather;
mod mutate;
mod source;
mod visibility;

use std::borrow::Cow;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use futures::future::join_all;
use jiff::Timestamp;

use crate::advice::Advice;
use crate::history::{Freshness, History, HistoryQuestion, Visibility};
use crate::image::{ImageReference, ReferenceError};
use crate::message::{FailureStats, Finding};
use crate::policy::{Decision, DecisionInput, PullgatePolicy, Ruling};
use crate::pull::{Assessment, Attempt, HistoryFacts, Observation, Runtime, Verdict, assess};
use crate::user::UserInfo;
use crate::workload::{ContainerImage, Eligible, ImagePullPolicy, Rollout, Workload};

pub use audit::{ImageUse, StillThere, audit_pace, still_there};
pub use confirm::ProbeResult;
pub use event::{EventQueue, EventRequest, WorkloadEvent};
use gather::Gathered;
pub use gather::{PodSecrets, SecretsOrigin};
pub use mutate::MUTATE_ANNOTATION;
pub use source::{
    AccessSource, ClusterSource, HealthSource, ManifestSource, NodeCredentialSource,
    NodeCredentials, SecretAnswer, ServiceAccountAnswer, ServiceAccountFacts,
};
use visibility::Shown;
pub use webhook::{
    AdmissionOutcome, Endpoint, HELD_BACK, REOPENED, ReviewRecord, Reviewer, Skip, denied_under,
    label_words, learning_words,
};

/// Where a review gets its evidence.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The registries.
    pub registry: &'a dyn ManifestSource,
    /// The API server.
    pub cluster: &'a dyn ClusterSource,
    /// The nodes' own credentials.
    pub nodes: &'a dyn NodeCredentialSource,
    /// What this cluster has lived through.
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
    /// One entry for each distinct image and pull policy, in the order of the spec.
    pub images: Vec<ImageReview>,
    /// What became of the pull secrets.
    pub secrets: PodSecrets,
    /// The worst decision about any image.
    pub decision: Decision,
    /// Whether the workload is a pod.
    pub is_pod: bool,
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
    /// What this cluster has lived through with it.
    pub history: History,
    /// What will become of the pull.
    pub assessment: Assessment,
    /// What to do about it, proven.
    pub advice: Vec<Advice>,
    /// What the policy makes of it.
    pub ruling: Ruling,
    /// Whether the asker may know that this very image ran here.
    pub seen_here: bool,
    /// How the image and its registry fare here, as far as the asker may know.
    pub picture: Option<FailureStats>,
}

impl ImageReview {
    /// Whether something is to be said of it although it is let through without a word.
    pub fn is_noted(&self) -> bool {
        self.ruling.decision == Decision::Allow && !self.advice.is_empty()
    }
}

impl Review {
    /// What is to be said about one of its images.
    pub fn finding<'a>(&'a self, image: &'a ImageReview) -> Finding<'a> {
        Finding {
            image: image.places.first().map_or("", |place| &place.image),
            reference_error: image.reference.as_ref().err(),
            assessment: &image.assessment,
            attempts: &image.attempts,
            advice: &image.advice,
            broken_secret: self.secrets.broken(),
            secrets_unread: self.secrets.unread,
            ruling: &image.ruling,
            is_pod: self.is_pod,
            seen_here: image.seen_here,
            picture: image.picture,
        }
    }
}

/// Reviews a workload: gather, assess, advise, decide. Every image at the same time.
pub async fn review(sources: Sources<'_>, subject: ReviewRequest<'_>) -> Review {
    let secrets = gather::secrets(sources, subject).await;
    let nodes = sources.cluster.nodes();
    let eligible = match nodes.as_deref() {
        Some(nodes) => subject.workload.placement.eligible(nodes),
        None => Eligible::not_asked(),
    };
    let more_reviews = AtomicUsize::new(visibility::FOR_SERVICES);
    let (secrets_of, more) = (&secrets, &more_reviews);
    let bench = ReviewContext {
        sources,
        subject,
        secrets: secrets_of,
        eligible: &eligible,
        more_reviews: more,
    };
    let groups = distinct(&subject.workload.images);
    let named =
        groups.iter().filter_map(|places| ImageReference::parse(&places.first()?.image).ok());
    let shown = visibility::shown(sources, subject, named.collect());
    let images = join_all(groups.into_iter().map(|p| bench.review(p, shown.clone()))).await;
    let decision =
        images.iter().map(|image| image.ruling.decision).max().unwrap_or(Decision::Allow);
    Review { images, secrets, decision, is_pod: subject.workload.is_pod }
}

/// What the images of one workload share while they are reviewed.
#[derive(Clone, Copy)]
struct ReviewContext<'a> {
    sources: Sources<'a>,
    subject: ReviewRequest<'a>,
    secrets: &'a PodSecrets,
    eligible: &'a Eligible<'a>,
    /// Access reviews that may still be made for Services.
    more_reviews: &'a AtomicUsize,
}

/// A denial is never made from an answer that is older.
const FRESH: std::time::Duration = std::time::Duration::from_secs(1);

impl ReviewContext<'_> {
    async fn review(self, places: Vec<ContainerImage>, shown: Shown<'_>) -> ImageReview {
        let image = places.first().map_or("", |place| &*place.image);
        let parsed = ImageReference::parse(image);
        let reference = parsed.as_ref().ok();
        let elsewhere = reference.and_then(|short| self.elsewhere(image, short));
        let asked = ResolvedName { written: &parsed, elsewhere: elsewhere.as_ref() };
        let history = self.history(reference, &Visibility::nobody());
        let mut gathered = self.ask(&places, asked, None).await;
        let mut judged = self.judge(&places, asked, &gathered, &history, false);
        let stale = gathered.attempts.iter().any(|attempt| attempt.lookup.age > FRESH);
        if judged.1.decision == Decision::Deny && stale {
            gathered = self.ask(&places, asked, Some(FRESH)).await;
            judged = self.judge(&places, asked, &gathered, &history, false);
        }
        let service = self.service_that_is_down(reference, &judged.0, shown.clone()).await;
        if service.is_some() {
            judged = self.judge(&places, asked, &gathered, &history, true);
        }
        let (assessment, ruling) = judged;
        let mut review = ImageReview {
            places,
            reference: parsed,
            attempts: gathered.attempts,
            history,
            assessment,
            advice: Vec::new(),
            ruling,
            seen_here: false,
            picture: None,
        };
        // Of what a short name means elsewhere nothing is suggested: a node may have an alias.
        if elsewhere.is_some() {
            return review;
        }
        if review.ruling.decision != Decision::Allow {
            advise::advise(self, &mut review, shown, service.as_ref()).await;
        } else if self.subject.policy.spec().advice.notes_mutable_tags() {
            advise::note_mutable_tag(self, &mut review, shown).await;
        }
        review
    }

    /// Where the policy says that runtimes look for a short name, unless the nodes' own files say
    /// it.
    fn elsewhere(self, written: &str, short: &ImageReference) -> Option<ImageReference> {
        let open = matches!(self.as_asked(short), Cow::Borrowed(_));
        self.subject.policy.completed(written, short).filter(|_| open)
    }

    fn history(self, reference: Option<&ImageReference>, visibility: &Visibility) -> History {
        let health = self.sources.health;
        let Some(reference) = reference else {
            return History { freshness: health.freshness(), ..History::default() };
        };
        let question = HistoryQuestion { reference, namespace: self.subject.namespace, visibility };
        health.history(&question, self.subject.now)
    }

    fn judge(
        self,
        places: &[ContainerImage],
        asked: ResolvedName<'_>,
        gathered: &Gathered,
        history: &History,
        service_is_down: bool,
    ) -> (Assessment, Ruling) {
        let ReviewRequest { workload, namespace, user, policy, now, .. } = self.subject;
        let facts = self.sources.cluster.namespace(namespace);
        let reference = asked.meant();
        let meant = reference.ok().map(|reference| self.as_asked(reference));
        let meant = meant.as_deref();
        let mut assessment = assess(&Observation {
            reference: reference.map(|reference| meant.unwrap_or(reference)),
            pull_policy: places.first().map_or(ImagePullPolicy::Always, |place| place.pull_policy),
            secrets: self.secrets.state(asked.written.as_ref().ok()),
            attempts: &gathered.attempts,
            nodes_unclear: gathered.nodes_unclear,
            eligible: self.eligible,
            runtime: self.subject.runtime,
            vouches: policy.vouches(meant, namespace, facts.as_ref()),
            lived: self.lived(history),
        });
        if asked.elsewhere.is_some() {
            assessment = doubt_elsewhere(assessment);
        }
        let controller = workload.controller.as_ref();
        let ruling = policy.judge(&DecisionInput {
            verdict: assessment.verdict,
            cause: assessment.cause,
            escapes: &assessment.escapes,
            reference: meant,
            namespace,
            facts: facts.as_ref(),
            is_pod: workload.is_pod,
            created_by_controller: controller.is_some(),
            owner_created: controller
                .and_then(|owner| self.sources.health.created(&owner.kind, &owner.uid)),
            annotations: &workload.annotations,
            user,
            secret_missing: !self.secrets.missing.is_empty(),
            registry_in_trouble: assessment.softened.is_some() || service_is_down,
            history_current: matches!(history.freshness, Freshness::Current | Freshness::Absent),
            now,
        });
        (assessment, ruling)
    }

    /// What history says, if it may be believed; its warnings count even when it is stale.
    fn lived(self, history: &History) -> HistoryFacts {
        let window = self.subject.policy.spec().history.window.get();
        let recent = history.last_success.as_ref().is_some_and(|success| {
            self.subject.now.duration_since(success.at).unsigned_abs() < window
        });
        HistoryFacts {
            recent_success: recent,
            seen_here: history.last_success.is_some(),
            registry_in_trouble: history.registry.in_trouble,
            nodes_log_in: history.registry.pulls_without_secret,
            escapes_reopened: history.registry.escapes_reopened,
        }
    }
}

/// An image's name: as it was written, and where runtimes look for it if that is elsewhere.
#[derive(Clone, Copy)]
struct ResolvedName<'a> {
    written: &'a Result<ImageReference, ReferenceError>,
    elsewhere: Option<&'a ImageReference>,
}

impl<'a> ResolvedName<'a> {
    /// What the runtimes ask for.
    fn meant(self) -> Result<&'a ImageReference, &'a ReferenceError> {
        self.elsewhere.map_or(self.written.as_ref(), Ok)
    }
}

/// A short name that was not found in the policy's default registry may have an alias on a node,
/// and one that was found there is not to be pinned.
fn doubt_elsewhere(mut assessment: Assessment) -> Assessment {
    let broken = assessment.cause == Some(crate::pull::Cause::BrokenPullSecret);
    if assessment.verdict == Verdict::Fails && !broken {
        assessment.verdict = Verdict::CannotTell;
        assessment.escapes.clear();
    }
    assessment.digest = None;
    assessment
}

/// The images of a workload, those with the same name and pull policy together.
fn distinct(images: &[ContainerImage]) -> Vec<Vec<ContainerImage>> {
    let mut groups: Vec<Vec<ContainerImage>> = Vec::new();
    for image in images {
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
    groups
}
