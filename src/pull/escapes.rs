//! The ways in which a node could still succeed, and what closes each: a word of the platform
//! team, and evidence where it can be had.

use super::assess::lists;
use super::content::could_take;
use super::runtime::{could_run, verifies_images};
use super::{Assessment, Cause, Content, Escape, Observation, Outcome, Verdict};
use crate::image::Platform;
use crate::workload::{ImagePullPolicy, LISTED_IMAGES_AT_MOST, Node};

/// What the platform team vouches for about one property of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Vouch {
    /// Nothing.
    #[default]
    Unknown,
    /// The nodes have none of it.
    None,
    /// Pullgate was given the same files as the nodes.
    Listed,
}

/// What the platform team vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouches {
    /// Mirrors on the nodes.
    pub mirrors: Vouch,
    /// Credentials of the nodes' own.
    pub credentials: Vouch,
    /// Images that are on the nodes without having been pulled through this registry.
    pub preloaded_images: Vouch,
    /// Whether the nodes reach registries by the same way as Pullgate: from addresses that are
    /// treated alike, through the same proxy, with the same DNS.
    pub same_network: bool,
    /// The only platforms that a node of this cluster can ever have; none if nobody vouches.
    pub platforms: Vec<Platform>,
    /// How many images the nodes' kubelets list at most (`nodeStatusMaxImages`); negative without
    /// a limit. Nothing if nobody says it.
    pub listed_images_at_most: Option<i32>,
}

impl Vouches {
    /// The same with a word about everything of which there is none, as somebody would vouch who
    /// knows these platforms only.
    #[must_use]
    pub fn completed<'p>(self, platforms: impl Iterator<Item = &'p Platform>) -> Self {
        let some = |vouch: Vouch| if vouch == Vouch::Unknown { Vouch::None } else { vouch };
        Self {
            mirrors: some(self.mirrors),
            credentials: some(self.credentials),
            preloaded_images: some(self.preloaded_images),
            same_network: true,
            platforms: if self.platforms.is_empty() {
                platforms.map(Platform::normalized).collect()
            } else {
                self.platforms
            },
            listed_images_at_most: self.listed_images_at_most,
        }
    }

    /// Whether a node lists as many images as it does at most, so that it may have others.
    fn may_have_more_images(&self, node: &Node) -> bool {
        let most = self.listed_images_at_most.unwrap_or(LISTED_IMAGES_AT_MOST);
        usize::try_from(most).is_ok_and(|most| node.listed_images >= most)
    }
}

/// Whether nodes log in to a registry by themselves, as far as this cluster's pods show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeLogin {
    /// Nothing shows it.
    #[default]
    Unseen,
    /// Pods without pull secrets pulled from it, and nobody knows yet whether anybody may.
    Possible,
    /// Pods without pull secrets pulled what is refused to those who do not log in.
    Proven,
}

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
        Escape::ImageOnNode => may_be_on_node(seen, &vouches, cause),
        Escape::NodeNetwork => {
            asks_registry && (!vouches.same_network || seen.lived.escapes_reopened)
        }
        Escape::NodePlatform => was_read && other_nodes_may_take_it(seen, &vouches, &assessment),
    };
    let escapes = Escape::ALL.iter().copied().filter(|escape| is_open(*escape)).collect();
    Assessment { escapes, ..assessment }
}

fn is_closed(seen: &Observation<'_>, vouch: Vouch) -> bool {
    vouch != Vouch::Unknown && !seen.lived.escapes_reopened
}

fn nodes_may_log_in(seen: &Observation<'_>, vouches: &Vouches) -> bool {
    !is_closed(seen, vouches.credentials)
        || seen.lived.node_login != NodeLogin::Unseen
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

/// Whether the image may already be on a node, and the node would use it.
fn may_be_on_node(seen: &Observation<'_>, vouches: &Vouches, cause: Cause) -> bool {
    let is_listed = seen.images_of_nodes
        && seen
            .reference
            .is_ok_and(|image| seen.eligible.nodes.iter().any(|node| lists(node, image)));
    let ruled_out = vouches.preloaded_images != Vouch::Unknown
        && !seen.lived.seen_here
        && !is_listed
        // A node that lists no more than it may can have what it does not list.
        && !seen.eligible.nodes.iter().any(|node| vouches.may_have_more_images(node));
    // From 1.35 the kubelet reads the secrets even for an image that is there.
    let secrets_first = cause == Cause::BrokenPullSecret
        && !seen.eligible.nodes.is_empty()
        && seen.eligible.nodes.iter().all(|node| verifies_images(node));
    seen.pull_policy != ImagePullPolicy::Always && !ruled_out && !secrets_first
}
