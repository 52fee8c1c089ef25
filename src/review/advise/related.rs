//! What stands beside the image in the cluster, within the user's rights: its registry's Service,
//! the job that pushes it, the pods that run already, what its tag means elsewhere.

use std::sync::atomic::Ordering::Relaxed;

use super::{AdviceContext, visible_history};
use crate::advice::Advice;
use crate::builds::BuildState;
use crate::history::{RegistryService, Visibility};
use crate::image::ImageReference;
use crate::pull::{Attempt, Cause, Verdict, meaning};
use crate::review::visibility::SharedVisibility;
use crate::review::{ImageReview, ReviewContext, ReviewRequest};
use crate::workload::ImagePullPolicy;

/// The tag that everybody moves.
const LATEST: &str = "latest";

impl ReviewContext<'_> {
    /// The Service of the registry, if the registry is inside the cluster, it cannot be asked, no
    /// endpoint is ready, and the user may hear of it.
    pub(in crate::review) async fn service_that_is_down(
        self,
        reference: Option<&ImageReference>,
        attempts: &[Attempt],
        shown: SharedVisibility<'_>,
    ) -> Option<RegistryService> {
        let unreachable = attempts.iter().any(|attempt| {
            matches!(
                meaning(&attempt.lookup.outcome).1,
                Some(
                    Cause::DnsFailure
                        | Cause::ConnectionRefused
                        | Cause::Timeout
                        | Cause::TlsFailure
                        | Cause::RegistryError
                        | Cause::ForbiddenAddress
                        | Cause::TooLate
                )
            )
        });
        let host = reference.filter(|reference| unreachable && !self.is_off(reference))?.host();
        let cluster = self.sources.cluster;
        let service = cluster.registry_service(host, self.subject.deadline).await?;
        (service.is_down() && self.may_hear_of(&service.namespace, shown).await).then_some(service)
    }

    /// Whether the user may be shown a Service in this namespace. At most a few namespaces are
    /// asked about that were not before.
    async fn may_hear_of(self, namespace: &str, shown: SharedVisibility<'_>) -> bool {
        let ReviewRequest { user, deadline, policy, .. } = *self.subject;
        if shown.await.includes(namespace) {
            return true;
        }
        let left = self.more_reviews.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        policy.trusts(user)
            && left.is_ok()
            && self.sources.access.may_list_pods(user, Some(namespace), deadline).await
    }
}

impl AdviceContext<'_> {
    pub(super) fn down_service(self, enabled: bool) -> Option<Advice> {
        self.service.filter(|_| enabled).and_then(Advice::registry_service)
    }

    /// The job that was to push the missing image: before other advice, or behind it if the job
    /// is not what is wrong.
    pub(super) async fn builds(self) -> (Option<Advice>, Option<Advice>) {
        let missing = matches!(
            self.cause,
            Cause::TagNotFound | Cause::RepositoryNotFound | Cause::AccessDeniedOrMissing
        );
        if !missing {
            return (None, None);
        }
        let context = self.context;
        for job in &context.sources.cluster.build_jobs(self.wanted) {
            if !self.visibility.includes(&job.namespace) {
                continue;
            }
            let trouble = if job.is_unfinished() {
                let cluster = context.sources.cluster;
                cluster.build_trouble(job, context.subject.deadline).await
            } else {
                None
            };
            let advice = Advice::build_job(job, trouble, context.subject.now);
            let explains =
                !matches!(job.state, BuildState::Completed { .. } | BuildState::Ran { .. });
            return if explains && job.pushes {
                (Some(advice), None)
            } else {
                (None, Some(advice))
            };
        }
        (None, self.other_builds().await)
    }

    /// Who pushes another tag of the repository; that nobody does, where the registry is one of this
    /// cluster, the whole repository is missing, and the user may see who would.
    async fn other_builds(self) -> Option<Advice> {
        let cluster = self.context.sources.cluster;
        let others = cluster.builds_of_other_tags(self.wanted);
        let others: Vec<_> = others
            .into_iter()
            .filter(|(job, _)| self.visibility.includes(&job.namespace))
            .collect();
        if let (Some((job, built)), Some(wanted)) = (others.first(), self.wanted.tag()) {
            return Some(Advice::builds_other_tag(job, built, wanted));
        }
        let all = *self.visibility == Visibility::Cluster;
        if !all || !others.is_empty() || !cluster.knows_all_builds() {
            return None;
        }
        let deadline = self.context.subject.deadline;
        cluster.registry_service(self.wanted.host(), deadline).await?;
        self.repository_is_missing().await.then(Advice::nobody_builds)
    }

    /// What becomes of the pods that run already.
    pub(super) fn keeps_running(self, enabled: bool) -> Option<Advice> {
        let subject = self.context.subject;
        let rollout = subject.rollout.filter(|_| enabled)?;
        if !self.visibility.includes(subject.namespace) {
            return None;
        }
        let mut object = subject.workload.object.clone();
        object.namespace = subject.namespace.into();
        Advice::keeps_running(self.context.sources.health.running_pods(&object), rollout)
    }
}

/// Notes a tag that moves, of an image that can be pulled: pods have several images under it, or
/// it is `latest` and nodes do not look again.
pub(in crate::review) async fn note_mutable_tag(
    context: ReviewContext<'_>,
    review: &mut ImageReview,
    shown: SharedVisibility<'_>,
) {
    let Ok(wanted) = review.reference.clone() else { return };
    let works = review.assessment.verdict == Verdict::Works && review.assessment.cause.is_none();
    let (Some(tag), Some(digest)) = (wanted.tag(), review.assessment.digest.clone()) else {
        return;
    };
    // A template is where the person is.
    let of_controller = context.subject.workload.controller.is_some();
    if !works || wanted.digest().is_some() || of_controller {
        return;
    }
    let visibility = shown.await;
    // How many there are is known of the whole cluster only.
    let contents = match &visibility {
        Visibility::Cluster => visible_history(context, &wanted, &visibility).contents,
        Visibility::Namespaces(_) => 0,
    };
    let keeps =
        review.places.iter().any(|place| place.pull_policy == ImagePullPolicy::IfNotPresent);
    if contents > 1 {
        review.advice.push(Advice::tag_differs(tag, contents, &digest));
    } else if tag == LATEST && keeps {
        review.advice.push(Advice::tag_moves(&digest));
    }
}
