//! What to do about a pull that will fail: kinds of advice, candidates, and their ranking.
//!
//! Pure: it proposes candidates, best first; proving them is the review's work, and only what was
//! proven is ever said.

mod tag;

pub use tag::rank_known_tags;

/// One thing to do, proven before it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What kind of thing.
    pub kind: AdviceKind,
    /// The tag, secret, reference or selector itself, to be used as it is.
    pub value: Box<str>,
    /// The words for a person, continuing a line: no capital, no full stop.
    pub message: String,
}

/// The kinds of advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AdviceKind {
    /// A tag of the same repository that runs in this cluster and can be pulled.
    KnownGoodTag,
    /// A pull secret of the same namespace that can pull the image.
    PullSecret,
}

impl AdviceKind {
    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KnownGoodTag => "known_good_tag",
            Self::PullSecret => "pull_secret",
        }
    }
}
