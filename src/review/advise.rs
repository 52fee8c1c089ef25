//! Proving advice: what is proposed is tried with the pod's own credentials before it is said.

use super::{Bench, ImageReview, SecretAnswer};
use crate::advice::{Advice, AdviceKind, rank_known_tags};
use crate::credential::Keyring;
use crate::health::{Freshness, Visibility};
use crate::image::ImageReference;
use crate::policy::Decision;
use crate::pull::{Attempt, Cause, Verdict, meaning};

/// Candidates of one kind that are tried at most.
const MAX_TRIES: usize = 3;

/// Adds what can be proven in time.
pub(super) async fn advise(bench: Bench<'_>, review: &mut ImageReview) {
    let Ok(reference) = review.reference.clone() else { return };
    let settings = bench.subject.policy.spec().advice;
    if !settings.enabled || review.ruling.decision == Decision::Allow {
        return;
    }
    let Some(cause) = review.assessment.cause else { return };
    if settings.tags && matches!(cause, Cause::TagNotFound | Cause::PlatformMismatch) {
        let advice = known_tag(bench, &reference).await;
        review.advice.extend(advice);
    }
    if settings.pull_secrets
        && matches!(cause, Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing)
    {
        let advice = pull_secret(bench, &reference).await;
        review.advice.extend(advice);
    }
}

/// A tag of the same repository that runs here and that the pod's credentials can pull.
async fn known_tag(bench: Bench<'_>, wanted: &ImageReference) -> Option<Advice> {
    let history = bench.history(Some(wanted), &bench.visibility().await);
    if history.freshness != Freshness::Current {
        return None;
    }
    for known in rank_known_tags(wanted, &history.known_tags).into_iter().take(MAX_TRIES) {
        let Some(tag) = known.reference.tag() else { continue };
        if bench.pullable(&known.reference).await {
            let pods = if known.pods == 1 { "1 pod" } else { &format!("{} pods", known.pods) };
            let place = if known.in_namespace { "here" } else { "in this cluster" };
            return Some(Advice {
                kind: AdviceKind::KnownGoodTag,
                value: tag.into(),
                message: format!("tag `{tag}` runs {place} ({pods}) and can be pulled"),
            });
        }
    }
    None
}

/// A secret that pods of the same namespace name already, and that can pull the image.
async fn pull_secret(bench: Bench<'_>, wanted: &ImageReference) -> Option<Advice> {
    let namespace = bench.subject.namespace;
    if !bench.visibility().await.includes(namespace) {
        return None;
    }
    let in_use = bench.sources.health.pull_secrets_in_use(namespace);
    let others = in_use.into_iter().filter(|name| !bench.secrets.names.contains(name));
    for name in others.take(MAX_TRIES) {
        let deadline = bench.subject.deadline;
        let answer = bench.sources.cluster.pull_secret(namespace, &name, deadline).await;
        let SecretAnswer::Found(secret) = answer else { continue };
        let Ok(keyring) = Keyring::from_secrets(&[secret]) else { continue };
        for credential in keyring.lookup(wanted).into_iter().take(MAX_TRIES) {
            if works(&bench.attempt(wanted, Some(credential), None).await) {
                return Some(Advice {
                    kind: AdviceKind::PullSecret,
                    value: name.clone(),
                    message: format!(
                        "secret `{name}` here was tried and works: add it to imagePullSecrets"
                    ),
                });
            }
        }
    }
    None
}

fn works(attempt: &Attempt) -> bool {
    meaning(&attempt.lookup.outcome).0 == Verdict::Works
}

impl Bench<'_> {
    /// Of which namespaces the asker may be told.
    async fn visibility(self) -> Visibility {
        let own = || Visibility::Namespaces(vec![self.subject.namespace.into()]);
        let super::Subject { asker, namespace, deadline, policy, .. } = self.subject;
        if !policy.trusts(asker) {
            return own();
        }
        let access = self.sources.access;
        if access.may_list_pods(asker, None, deadline).await {
            Visibility::Cluster
        } else if access.may_list_pods(asker, Some(namespace), deadline).await {
            own()
        } else {
            Visibility::nobody()
        }
    }

    /// Whether one of the pod's own credentials gets this image.
    async fn pullable(self, reference: &ImageReference) -> bool {
        let Ok(keyring) = &self.secrets.keyring else { return false };
        let credentials = keyring.lookup(reference);
        if credentials.is_empty() {
            return works(&self.attempt(reference, None, None).await);
        }
        for credential in credentials {
            if works(&self.attempt(reference, Some(credential), None).await) {
                return true;
            }
        }
        false
    }
}
