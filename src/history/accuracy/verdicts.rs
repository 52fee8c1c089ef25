//! What was said about a pod's images at admission, and what a node can have done with them.
//!
//! Plain values that the score is kept from; they know nothing of counting.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::credential::CredentialIdentity;
use crate::image::ImageReference;
use crate::pull::{Cause, Escape, Verdict};

/// What the nodes did with a verdict's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeOutcome {
    /// A node pulled it freshly.
    PulledFreshly,
    /// It ran from a node's disk.
    RanFromCache,
    /// No node could get it.
    Failed,
    /// The pod went before any node had spoken.
    Gone,
    /// The pod was denied: nobody will ever know.
    Denied,
}

impl NodeOutcome {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PulledFreshly => "pulled_freshly",
            Self::RanFromCache => "ran_from_cache",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Denied => "denied",
        }
    }
}

/// A verdict given at admission.
#[derive(Debug, Clone)]
pub struct RecordedVerdict {
    /// The image.
    pub reference: ImageReference,
    /// What was said.
    pub verdict: Verdict,
    /// Why.
    pub cause: Option<Cause>,
    /// The pod's own credentials for it at that time, in the kubelet's order.
    pub credentials: Box<[CredentialIdentity]>,
    /// Whether it would be denied if everything were vouched for and the namespace enforced.
    pub would_deny: bool,
    /// The escapes that are open for it as things are.
    pub escapes: Vec<Escape>,
}

impl RecordedVerdict {
    /// Whether it was called missing or forbidden: what a node that pulls it contradicts.
    pub(super) fn is_refusal(&self) -> bool {
        self.verdict == Verdict::Fails && self.cause.is_some_and(is_refusal)
    }
}

/// Whether a cause is the registry's word that an image is missing or may not be read.
pub const fn is_refusal(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::TagNotFound
            | Cause::RepositoryNotFound
            | Cause::AccessDeniedOrMissing
            | Cause::Unauthorized
            | Cause::Forbidden
    )
}

/// What was said about the images of one pod.
#[derive(Debug, Clone)]
pub struct PodVerdicts<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's uid.
    pub uid: &'a str,
    /// The pull secrets that it names.
    pub secrets: &'a [Box<str>],
    /// Whether it was denied.
    pub denied: bool,
    /// The verdicts.
    pub verdicts: Vec<RecordedVerdict>,
}

/// A suspicion: look the image up again with the credentials that the pod had, and report back
/// with `Score::rechecked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The namespace of the pod, whose pull secrets the look-up needs.
    pub namespace: Box<str>,
    /// The pod's uid.
    pub uid: Box<str>,
    /// The pull secrets that the pod names.
    pub secrets: Box<[Box<str>]>,
    /// The image.
    pub reference: ImageReference,
    /// The pod's own credentials when the verdict was given: with others it is another question.
    pub credentials: Box<[CredentialIdentity]>,
    /// When a node pulled it: only a look-up after that counts.
    pub pulled: Timestamp,
}
