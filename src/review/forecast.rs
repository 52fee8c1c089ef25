//! Whether what is left of Docker Hub's limit is enough for a rollout: an estimate, and a note at most.
//!
//! Nothing is asked for it: Docker Hub says with every answer what is left. A pull is counted for each
//! node that fetches a manifest, so a rollout needs one for each image and node that lacks it.

use std::collections::{HashMap, HashSet};

use super::context::is_listed;
use super::visibility::SharedVisibility;
use super::{ImageReview, ReviewContext, ReviewRequest};
use crate::advice::Advice;
use crate::credential::{CredentialOrigin, CredentialSource};
use crate::history::Visibility;
use crate::message::QuotaForecast;
use crate::policy::{Decision, Reason};
use crate::pull::PullsLeft;
use crate::workload::{ImagePullPolicy, Node, PodCount, Rollout};

/// Whether it is worth an estimate: what a controller is told nobody reads, and what is not replaced
/// pulls nothing.
pub(super) fn is_due(context: ReviewContext<'_>) -> bool {
    let ReviewRequest { workload, policy, rollout, .. } = *context.subject;
    workload.controller.is_none() && policy.notes_quota() && rollout != Some(Rollout::KeepsAll)
}

/// Notes at the first image of each account, or of those without one, that its pulls will not fit.
pub(super) async fn note(
    context: ReviewContext<'_>,
    images: &mut [ImageReview],
    shown: SharedVisibility<'_>,
) {
    let counted = |image: &ImageReview| counted(context, image);
    let mut done: Vec<Option<CredentialSource>> = Vec::new();
    for at in 0..images.len() {
        let Some((whose, left)) = images.get(at).and_then(counted) else { continue };
        if done.contains(&whose) {
            continue;
        }
        let same: Vec<usize> = (0..images.len())
            .filter(|nth| {
                let one = images.get(*nth).and_then(counted);
                one.is_some_and(|(source, _)| source == whose)
            })
            .collect();
        let needs = |known: Option<&Visibility>| -> u32 {
            // An image is pulled once, however often and with whichever pull policies it is named.
            let mut each: HashMap<String, u32> = HashMap::new();
            for image in same.iter().filter_map(|nth| images.get(*nth)) {
                let Ok(reference) = &image.reference else { continue };
                let most = each.entry(reference.canonical()).or_default();
                *most = pulls(context, image, known).max(*most);
            }
            each.values().fold(0, |sum: u32, one| sum.saturating_add(*one))
        };
        done.push(whose.clone());
        // What nodes have is looked at, and who may know of it asked, only where it makes a difference.
        if needs(None) <= left.remaining {
            continue;
        }
        let needed = needs(Some(&shown.clone().await));
        if needed <= left.remaining {
            continue;
        }
        let of_account = whose.is_some();
        if let Some(image) = images.get_mut(at) {
            image.quota = Some(QuotaForecast { needed, left: left.remaining, of_account });
            image.advice.push(Advice::pull_quota(left, of_account));
        }
    }
}

/// With which pull secret an image is pulled from Docker Hub, and what is left; nothing of one of which
/// more is said already.
///
/// Nor of a login that is not of a pull secret: how much of the nodes' own is left is not everybody's to
/// know, and with a person's own no node pulls. And without a login only where the policy says that nodes
/// are treated as Pullgate is: the address of a person or of a pipeline is not theirs.
fn counted(
    context: ReviewContext<'_>,
    image: &ImageReview,
) -> Option<(Option<CredentialSource>, PullsLeft)> {
    let works = image.ruling.reason == Reason::Works && image.ruling.decision == Decision::Allow;
    let left = image.pulls_left.filter(|_| works && image.nodes_failing.is_none())?;
    let attempt = image.attempts.get(image.assessment.decisive?)?;
    let is_told = match &attempt.source {
        Some(source) => matches!(source.origin, CredentialOrigin::Secret(_)),
        None => !context.subject.patient && shares_address(context, image),
    };
    is_told.then_some((attempt.source.clone(), left))
}

/// Whether the policy says that nodes reach registries as Pullgate does.
fn shares_address(context: ReviewContext<'_>, image: &ImageReview) -> bool {
    let ReviewRequest { policy, namespace, workload, .. } = *context.subject;
    let reference = image.reference.as_ref().ok();
    policy.vouches(reference, namespace, context.facts, Some(&workload.placement)).same_network
}

/// How many nodes may pull an image for this workload; those that have it count as far as the user may
/// know it: what all nodes list, and where pods run it that they may list. 0 where it cannot be told.
fn pulls(context: ReviewContext<'_>, image: &ImageReview, known: Option<&Visibility>) -> u32 {
    let Ok(wanted) = &image.reference else { return 0 };
    let asks = image.places.iter().any(|place| place.pull_policy == ImagePullPolicy::Always);
    if image.places.iter().all(|place| place.pull_policy == ImagePullPolicy::Never) {
        return 0;
    }
    // One that asks at each start pulls what it does not have by digest.
    let digest = image.assessment.digest.as_ref().or(wanted.digest());
    let by_digest = digest.map(|digest| format!("{}@{digest}", wanted.name()));
    let name = wanted.canonical();
    // A kubelet lists no more than some of its images: what runs there it has, too.
    let running = match (known, asks, digest) {
        (None, ..) | (_, true, None) => Some(HashSet::new()),
        (Some(visible), ..) => {
            let only = digest.filter(|_| asks);
            context.sources.health.nodes_running(wanted, only, visible)
        }
    };
    let Some(running) = running else { return 0 };
    let lists = |node: &Node| {
        let has_content = by_digest.as_ref().is_some_and(|name| is_listed(node, name));
        has_content || (!asks && is_listed(node, &name))
    };
    let may_know_lists = known == Some(&Visibility::Cluster);
    let has = |node: &Node| running.contains(&*node.name) || (may_know_lists && lists(node));
    let nodes = &context.eligible.nodes;
    let lack = nodes.iter().filter(|node| !has(node)).count();
    let lack = u32::try_from(lack).unwrap_or(u32::MAX);
    match context.subject.workload.pods {
        // Where no node is known each pod may come to one of its own.
        PodCount::Count(pods) if context.eligible.known.is_empty() => pods,
        PodCount::Count(pods) => pods.min(lack),
        PodCount::OnePerNode => lack,
        PodCount::Paused | PodCount::Unknown => 0,
    }
}
