//! The ways in which a node could still succeed, and what closes each: a word of the platform
//! team, and evidence where it can be had.

use super::content::could_take;
use super::evidence::lists;
use super::runtime::could_run;
use super::vouches::{NodeLogin, Vouch, Vouches};
use super::{Assessment, Cause, Content, Escape, Observation, Outcome, Verdict};
use crate::image::Platform;
use crate::workload::ImagePullPolicy;

/// The escapes that are open for this cause.
pub(super) fn with_escapes(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let (Verdict::Fails, Some(cause)) = (assessment.verdict, assessment.cause) else {
        return assessment;
    };
    let vouches = (seen.vouches)();
    let asks_registry = cause != Cause::ImageNeverPull && cause != Cause::BrokenPullSecret;
    let was_read = matches!(cause, Cause::PlatformMismatch | Cause::UnsupportedManifest);
    let is_open = |escape: Escape| match escape {
        Escape::NodeMirror => {
            asks_registry
                && (!is_closed(seen, vouches.mirrors)
                    || (vouches.mirrors == Vouch::Listed && seen.has_other_mirrors()))
        }
        // Whoever may read it sees the same content, but a registry that hides what one may not
        // see answers 404 too: only what was found leaves no room for other credentials.
        Escape::NodeCredentials => asks_registry && !was_read && nodes_may_log_in(seen, &vouches),
        Escape::ImageOnNode => may_be_on_node(seen, &vouches),
        Escape::NodeNetwork => {
            asks_registry && (!vouches.same_network || seen.history.escapes_reopened)
        }
        Escape::NodePlatform => was_read && other_nodes_may_take_it(seen, &vouches, &assessment),
    };
    let escapes = Escape::ALL.iter().copied().filter(|escape| is_open(*escape)).collect();
    Assessment { escapes, ..assessment }
}

fn is_closed(seen: &Observation<'_>, vouch: Vouch) -> bool {
    vouch != Vouch::Unknown && !seen.history.escapes_reopened
}

fn nodes_may_log_in(seen: &Observation<'_>, vouches: &Vouches) -> bool {
    !is_closed(seen, vouches.credentials)
        || seen.history.node_login != NodeLogin::NotSeen
        || (vouches.credentials == Vouch::Listed && seen.nodes_unclear)
}

/// Whether its pods may land on a node that takes what the known ones do not. A node of another
/// platform may come at any time, unless somebody vouches that none can; one with a runtime of
/// another version may come whatever is vouched for.
fn other_nodes_may_take_it(
    seen: &Observation<'_>,
    vouches: &Vouches,
    assessment: &Assessment,
) -> bool {
    let read = assessment.decisive.and_then(|index| seen.attempts.get(index));
    let Some(Outcome::Exists(found)) = read.map(|attempt| &attempt.lookup.outcome) else {
        return true;
    };
    let Content::Platforms(entries) = &found.content else { return true };
    let (platforms, eligible) = (&vouches.platforms, seen.eligible);
    let is_vouched_for =
        |platform: &Platform| platforms.iter().any(|one| one.is_same_machine(platform));
    platforms.is_empty()
        || platforms.iter().any(|platform| could_run(platform, entries))
        || !eligible.known.iter().all(|node| is_vouched_for(&node.platform))
        || eligible.may_need_others
        || eligible.kept_away.iter().any(|node| could_take(node, entries))
}

/// Whether the image may already be on a node, and the node would use it. So it does with broken pull
/// secrets, too, whatever its version: a kubelet that verifies images leaves the secrets alone where
/// anybody on the node may use the image (kubernetes/kubernetes#133114), and others never read them.
fn may_be_on_node(seen: &Observation<'_>, vouches: &Vouches) -> bool {
    let is_listed = seen.images_of_nodes
        && seen
            .reference
            .is_ok_and(|image| seen.eligible.where_it_may_run().any(|node| lists(node, image)));
    let ruled_out = vouches.preloaded_images != Vouch::Unknown
        && !seen.history.seen_here
        && !is_listed
        // A node that lists no more than it may can have what it does not list.
        && !seen.eligible.where_it_may_run().any(|node| vouches.may_have_more_images(node));
    seen.pull_policy != ImagePullPolicy::Always && !ruled_out
}
