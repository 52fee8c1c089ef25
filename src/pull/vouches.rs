//! What the platform team says of its nodes, and what they were seen to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::Platform;
use crate::workload::{LISTED_IMAGES_AT_MOST, Node};

// What is written here stands in the documentation of the policy's kind.
/// What the platform team says that the nodes have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Vouch {
    /// Nobody vouches for anything: the escape stays open.
    #[default]
    Unknown,
    /// The nodes have none.
    None,
    /// The nodes have those that Pullgate was given, and no others.
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

    /// Whether a node lists as many images as it does at most, or as many names of one, so that it may
    /// have others. One that lists none has not looked yet (`nodestatus.Images` in `pkg/kubelet`
    /// writes none until the runtime has answered once), or is told to list none.
    pub(super) fn may_have_more_images(&self, node: &Node) -> bool {
        let most = self.listed_images_at_most.unwrap_or(LISTED_IMAGES_AT_MOST);
        node.names_cut
            || node.listed_images == 0
            || usize::try_from(most).is_ok_and(|most| node.listed_images >= most)
    }
}

/// Whether nodes log in to a registry by themselves, as far as this cluster's pods show it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeLogin {
    /// Nothing shows it.
    #[default]
    #[serde(rename = "unseen")]
    NotSeen,
    /// Pods without pull secrets pulled from it, and nobody knows yet whether anybody may.
    Possible,
    /// Pods without pull secrets pulled what is refused to those who do not log in.
    Proven,
}
