//! What is recorded of one review: one log line, and metrics.

use super::Review;
use crate::policy::{Decision, Reason};
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
    pub(super) fn note(&mut self, rulings: &Rulings, username: &str) {
        self.decision = Some(rulings.decision);
        self.images.clone_from(&rulings.images);
        self.exceptions.clone_from(&rulings.exceptions);
        self.break_glass = rulings.broke_glass.then(|| username.to_owned());
    }
}

/// What is recorded of a review, whoever it is of.
pub(super) struct Rulings {
    pub(super) decision: Decision,
    images: Vec<(Verdict, Option<Cause>)>,
    exceptions: Vec<Box<str>>,
    broke_glass: bool,
}

impl Rulings {
    pub(super) fn of(review: &Review) -> Self {
        let judged = review.images.iter().map(|image| &image.assessment);
        let mut rulings = Self {
            decision: review.decision,
            images: judged.map(|judged| (judged.verdict, judged.cause)).collect(),
            exceptions: Vec::new(),
            broke_glass: false,
        };
        for ruling in review.images.iter().map(|image| &image.ruling) {
            match (ruling.reason, &ruling.exception) {
                (Reason::Exception, Some(used)) if !rulings.exceptions.contains(&used.name) => {
                    rulings.exceptions.push(used.name.clone());
                }
                (Reason::BreakGlass, _) => rulings.broke_glass = true,
                _ => {}
            }
        }
        rulings
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
