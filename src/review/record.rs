//! What is recorded of one review: one log line, and metrics.

use super::shared_answers::Told;
use crate::policy::Decision;
use crate::pull::{Cause, Verdict};

/// What is recorded of one review: one log line, and metrics. Names only, never objects.
#[derive(Debug, Clone, Default)]
pub struct ReviewRecord {
    /// The request's uid.
    pub uid: String,
    /// The object's kind.
    pub kind: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name, or its `generateName`.
    pub name: String,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Why it was not judged, if it was not.
    pub skipped: Option<Skip>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Verdict and cause of each distinct image, as words.
    pub images: Vec<(Verdict, Option<Cause>)>,
    /// The exceptions that let an image through, by name.
    pub exceptions: Vec<Box<str>>,
    /// Who got past a denial by break-glass, if anybody did.
    pub break_glass: Option<String>,
}

impl ReviewRecord {
    /// Notes what came of it, and who or what got past the policy.
    pub(super) fn note(&mut self, told: &Told, username: &str) {
        self.decision = Some(told.decision);
        self.images.clone_from(&told.images);
        self.exceptions.clone_from(&told.exceptions);
        self.break_glass = told.broke_glass.then(|| username.to_owned());
    }
}

/// Why an object is let through unjudged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Neither created nor changed.
    Operation,
    /// A kind without pods, or a subresource without images.
    Kind,
    /// A namespace that is never judged, or whose mode is off.
    Namespace,
    /// A mirror of a static pod.
    MirrorPod,
    /// Nothing about pulling changed.
    Unchanged,
    /// The object could not be read.
    Unreadable,
    /// No image in it.
    NoImages,
    /// A dry run that asks what is remembered.
    Explained,
    /// The mutating webhook was asked, and nothing is to be changed in such an object.
    NothingAsked,
}

impl Skip {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::Kind => "kind",
            Self::Namespace => "namespace",
            Self::MirrorPod => "mirror_pod",
            Self::Unchanged => "unchanged",
            Self::Unreadable => "unreadable",
            Self::NoImages => "no_images",
            Self::Explained => "explained",
            Self::NothingAsked => "nothing_asked",
        }
    }
}
