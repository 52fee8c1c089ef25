//! Proving advice: what is proposed is tried with the pod's own credentials before it is said.
//!
//! Proving shares the review's deadline; kinds are tried side by side, within each the best
//! candidate first, and what is not proven in time is left out.

mod drift;
mod related;
mod proof;
mod secrets;
mod sources;
mod tags;

use std::sync::Arc;

use futures::join;

use super::visibility::SharedVisibility;
use super::{ImageReview, ReviewContext};
use crate::advice::{Advice, AdviceKind, corrections, fitting_nodes};
use crate::history::{Freshness, History, RegistryService, Visibility};
use crate::image::ImageReference;
use crate::message::{FailureStats, NodesFailing, StatsScope};
use crate::policy::{AdviceSettings, Reason};
use crate::pull::{Cause, Content, Outcome, Verdict};
use proof::Whose;

pub(super) use drift::note_digest_drift;
pub(super) use related::note_mutable_tag;

/// What every kind of advice about one image starts from.
#[derive(Clone, Copy)]
struct AdviceContext<'a> {
    context: ReviewContext<'a>,
    review: &'a ImageReview,
    wanted: &'a ImageReference,
    cause: Cause,
    settings: AdviceSettings,
    /// Of which namespaces the user may be shown.
    visibility: &'a Visibility,
    /// What may be shown this image's history; empty if it cannot be believed.
    history: &'a History,
    /// The Service of the registry, if nobody answers behind it and the user may know.
    service: Option<&'a RegistryService>,
}

/// Adds what can be proven in time, if there is a way out among it; else nothing.
pub(super) async fn advise_if_proven(
    context: ReviewContext<'_>,
    review: &mut ImageReview,
    shown: SharedVisibility<'_>,
) {
    advise(context, review, shown, None).await;
    if !review.advice.iter().any(|advice| is_way_out(advice.kind)) {
        review.advice.clear();
    }
}

/// Whether it was tried, and gets the image.
const fn is_way_out(kind: AdviceKind) -> bool {
    matches!(
        kind,
        AdviceKind::ImageOnNodes
            | AdviceKind::OtherSource
            | AdviceKind::KnownGoodTag
            | AdviceKind::LastGoodDigest
            | AdviceKind::NearestTag
            | AdviceKind::PullSecret
            | AdviceKind::PullPolicy
    )
}

/// Whether it is to be noted, of an image that can be pulled, that nodes fail to reach its registry:
/// of the cluster as a whole, so that nobody's rights are asked about for nothing.
pub(super) fn is_note_due(context: ReviewContext<'_>, review: &ImageReview) -> bool {
    let works = review.assessment.verdict == Verdict::Works && review.assessment.cause.is_none();
    works
        && context.subject.policy.spec().advice.enabled
        && review.ruling.reason == Reason::Works
        && review.reference.as_ref().is_ok_and(|wanted| {
            context.sources.health.registry_fails_on_nodes(wanted.host(), context.subject.now)
        })
}

/// Notes that nodes fail to reach its registry, as far as the user may know, and the way out.
pub(super) async fn note_nodes_failing(
    context: ReviewContext<'_>,
    review: &mut ImageReview,
    shown: SharedVisibility<'_>,
) {
    let Ok(wanted) = review.reference.clone() else { return };
    let visibility = shown.await;
    let history = visible_history(context, &wanted, &visibility);
    let Some(cause) = history.registry.unreachable_from_nodes() else { return };
    let (failing, pulled) = (history.registry.failing, history.registry.recent_pulls);
    review.nodes_failing = Some(NodesFailing { failing, recent: failing + pulled, cause });
    let sought = AdviceContext::new(context, review, &wanted, cause, (&visibility, &history));
    let mut advice = sought.other_sources().await;
    advice.extend(sought.keeps_running(true));
    review.advice = advice;
}

/// Adds what can be proven in time.
pub(super) async fn advise(
    context: ReviewContext<'_>,
    review: &mut ImageReview,
    shown: SharedVisibility<'_>,
    service: Option<&RegistryService>,
) {
    let Some(cause) = review.assessment.cause.filter(|_| !review.ruling.refused) else { return };
    let Ok(wanted) = review.reference.clone() else {
        if context.subject.policy.spec().advice.enabled {
            review.advice = correct_name(context, review).await;
        }
        return;
    };
    let visibility = shown.await;
    let history = visible_history(context, &wanted, &visibility);
    let ran = history.known_tags.iter().any(|known| known.names(&wanted));
    let sought = AdviceContext::new(context, review, &wanted, cause, (&visibility, &history));
    let advice = AdviceContext { service, ..sought }.advice().await;
    review.advice = advice;
    review.seen_here = ran;
    review.stats = failure_stats(&history, &visibility, context.subject.namespace);
}

impl<'a> AdviceContext<'a> {
    /// Without a Service behind which nobody answers.
    fn new(
        context: ReviewContext<'a>,
        review: &'a ImageReview,
        wanted: &'a ImageReference,
        cause: Cause,
        (visibility, history): (&'a Visibility, &'a History),
    ) -> Self {
        let settings = context.subject.policy.spec().advice;
        Self { context, review, wanted, cause, settings, visibility, history, service: None }
    }
}

impl AdviceContext<'_> {
    /// All advice, best first.
    async fn advice(self) -> Vec<Advice> {
        let AdviceSettings { enabled, tags, pull_secrets, .. } = self.settings;
        let tags = async { if enabled && tags { self.tags().await } else { Vec::new() } };
        let secrets = async {
            let proven =
                if enabled && pull_secrets { self.secret_that_works().await } else { None };
            let mut advice: Vec<Advice> = proven.into_iter().collect();
            advice.extend(self.secrets_to_fix());
            advice
        };
        let sources = async { if enabled { self.other_sources().await } else { Vec::new() } };
        let rest = async { if enabled { self.settings_of_the_pod().await } else { Vec::new() } };
        let builds = async { if enabled { self.builds().await } else { (None, None) } };
        let (tags, secrets, sources, rest, (build, done)) =
            join!(tags, secrets, sources, rest, builds);
        let before = [self.down_service(enabled), build].into_iter().flatten().collect();
        let after = [done, self.keeps_running(enabled)].into_iter().flatten().collect();
        [before, rest, tags, secrets, sources, after].concat()
    }

    /// Whether the trouble is one of access.
    fn is_about_access(self) -> bool {
        matches!(self.cause, Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing)
    }

    /// What to change in the pod itself: its node selector, its pull policy.
    async fn settings_of_the_pod(self) -> Vec<Advice> {
        let advice = match self.cause {
            Cause::PlatformMismatch => self.fitting_nodes(),
            Cause::ImageNeverPull => self.pull_it().await,
            _ => None,
        };
        advice.into_iter().collect()
    }

    fn fitting_nodes(self) -> Option<Advice> {
        let attempt = self.review.attempts.get(self.review.assessment.decisive?)?;
        let Outcome::Exists(found) = &attempt.lookup.outcome else { return None };
        let platforms = match &found.content {
            Content::Platforms(entries) => Arc::clone(entries),
            Content::Config(platform, _) => Arc::from([Some(platform.clone())]),
            Content::Unread | Content::NoPlatform | Content::Artifact => return None,
        };
        let nodes = self.context.sources.cluster.nodes()?;
        fitting_nodes(&platforms, &self.context.subject.workload.placement, &nodes)
    }

    /// Never pulled, though it could be.
    async fn pull_it(self) -> Option<Advice> {
        self.context.prove(self.wanted, Whose::Kubelet).await?;
        Some(Advice::pull_it())
    }
}

/// How the image and its registry fare, in numbers of what may be shown.
fn failure_stats(history: &History, visibility: &Visibility, own: &str) -> Option<FailureStats> {
    if history.freshness != Freshness::Current {
        return None;
    }
    let view = match visibility {
        Visibility::Cluster => StatsScope::Cluster,
        Visibility::Namespaces(names) => match names.as_slice() {
            [] => return None,
            [one] if **one == *own => StatsScope::OwnNamespace,
            _ => StatsScope::SomeNamespaces,
        },
    };
    let failing: u32 = history.failures.iter().map(|(_, containers)| containers).sum();
    Some(FailureStats {
        view,
        failing_workloads: history.failing_workloads,
        failing_containers: failing,
        registry_failing: history.registry.failing,
        registry_healthy: history.registry.healthy,
    })
}

/// What history may be shown; nothing if it cannot be believed.
fn visible_history(
    context: ReviewContext<'_>,
    wanted: &ImageReference,
    visibility: &Visibility,
) -> History {
    let history = context.history(Some(wanted), visibility);
    if history.freshness == Freshness::Current { history } else { History::default() }
}

/// A name that was most likely meant, made of what was written, that can be pulled.
async fn correct_name(context: ReviewContext<'_>, review: &ImageReview) -> Vec<Advice> {
    let written = review.places.first().map_or("", |place| &place.image);
    let candidates = corrections(written);
    let proven = context.first_proven(&candidates, |candidate| candidate, Whose::Kubelet).await;
    proven.map(|(correct, _)| Advice::correct_name(correct, written)).into_iter().collect()
}
