//! The three verdicts, and the ways in which a node may know more than Pullgate.

use std::fmt;

/// What will become of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The nodes can pull it.
    Works,
    /// Nothing, or not enough, is known.
    CannotTell,
    /// The registry's own word, given to exactly the credentials of this pod and confirmed, or a
    /// reference that no runtime parses, or a secret so broken that the kubelet gives up.
    Fails,
}

impl Verdict {
    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Fails => "fails",
            Self::CannotTell => "cannot_tell",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A way in which a node could still succeed where Pullgate's look-up failed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// A mirror on the node that Pullgate was not told of may have the image.
    NodeMirror,
    /// The node may hold credentials of its own for this registry.
    NodeCredentials,
    /// The image may already be on the node, and the pull policy allows to use it.
    ImageOnNode,
    /// The node may reach the registry by another way: from another address, through another
    /// proxy, with another DNS.
    NodeNetwork,
    /// The pod may land on a node of another platform than those that are known.
    NodePlatform,
}

impl Escape {
    /// Every escape.
    pub const ALL: &'static [Self] = &[
        Self::NodeMirror,
        Self::NodeCredentials,
        Self::ImageOnNode,
        Self::NodeNetwork,
        Self::NodePlatform,
    ];

    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeMirror => "node_mirror",
            Self::NodeCredentials => "node_credentials",
            Self::ImageOnNode => "image_on_node",
            Self::NodeNetwork => "node_network",
            Self::NodePlatform => "node_platform",
        }
    }
}

impl fmt::Display for Escape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
