//! A tag that means another digest now than what pods of the namespace run under it.

use super::super::context::is_listed;
use crate::advice::Advice;
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::message::DigestDrift;
use crate::pull::Verdict;
use crate::review::visibility::SharedVisibility;
use crate::review::{ImageReview, ReviewContext, drifted};
use crate::workload::{ImagePullPolicy, Node};

/// Notes that the pods to come run another digest than those of the same workload, else of the same
/// namespace, if they would pull it and the user may list those pods. Nothing is asked for it: the
/// digest is that of this review's own answer.
pub(in crate::review) async fn note_digest_drift(
    context: ReviewContext<'_>,
    review: &mut ImageReview,
    shown: SharedVisibility<'_>,
) {
    let Ok(wanted) = &review.reference else { return };
    let works = review.assessment.verdict == Verdict::Works && review.assessment.cause.is_none();
    let Some(now) = review.assessment.digest.as_ref().filter(|_| works) else { return };
    // A listed mirror may lag behind the registry that is spoken of.
    let decisive = review.assessment.decisive.and_then(|at| review.attempts.get(at));
    let of_mirror = decisive.is_none_or(|attempt| attempt.lookup.mirror.is_some());
    if wanted.tag().is_none() || wanted.digest().is_some() || of_mirror {
        return;
    }
    let namespace = context.subject.namespace;
    let own = Visibility::Namespaces(vec![namespace.into()]);
    let others = context.sources.health.other_digests(wanted, &own, Some(now));
    let others = drifted(context.sources.registry, &context.resolved(wanted), others, now);
    // Whether it may be told is asked last: mostly there is nothing to tell.
    if others.is_empty() {
        return;
    }
    let visibility = shown.await;
    if !visibility.includes(namespace) {
        return;
    }
    let Some(how) = will_pull(context, review, wanted, &visibility) else { return };
    let object = &context.subject.workload.object;
    let of_workload: u32 = others
        .iter()
        .flat_map(|one| &one.workloads)
        .filter(|user| *user.kind == *object.kind && *user.name == *object.name)
        .map(|user| user.pods)
        .sum();
    let all = others.iter().map(|one| one.pods).sum();
    let pods = if of_workload > 0 { of_workload } else { all };
    let now = now.clone();
    review.drift = Some(DigestDrift { pods, of_workload: of_workload > 0 });
    review.advice.push(match how {
        Pull::AtEveryStart => Advice::next_start_differs(&now),
        Pull::WhereItIsMissing => Advice::some_nodes_differ(&now),
    });
}

/// Where the pods to come pull.
#[derive(Clone, Copy)]
enum Pull {
    AtEveryStart,
    WhereItIsMissing,
}

/// Where the pods to come would pull the image; nothing if nowhere, as far as the user may know: what nodes
/// list tells of the pods of others.
fn will_pull(
    context: ReviewContext<'_>,
    review: &ImageReview,
    wanted: &ImageReference,
    visibility: &Visibility,
) -> Option<Pull> {
    let is = |policy| review.places.iter().any(|place| place.pull_policy == policy);
    if is(ImagePullPolicy::Always) {
        return Some(Pull::AtEveryStart);
    }
    if !is(ImagePullPolicy::IfNotPresent) {
        return None;
    }
    let running = context.sources.health.nodes_running(wanted, None, visibility)?;
    let (name, may_know_lists) = (wanted.canonical(), *visibility == Visibility::Cluster);
    let has_it =
        |node: &Node| running.contains(&*node.name) || (may_know_lists && is_listed(node, &name));
    let lacks = context.eligible.nodes.iter().any(|node| !has_it(node));
    lacks.then_some(Pull::WhereItIsMissing)
}
