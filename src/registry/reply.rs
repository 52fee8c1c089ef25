//! What came of a request, redirects and challenges behind it.

use super::challenge::Challenge;
use super::classify::{AuthUsed, RegistryVendor};
use super::http::Answer;

/// The last answer, and what is needed to judge it.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) proof: AuthUsed,
    pub(super) family: RegistryVendor,
    pub(super) challenges: Vec<Challenge>,
    /// Whether it came from the registry itself, and not from where a redirect led.
    pub(super) home: bool,
}

impl Reply {
    /// Whether the registry showed in the headers that the answer is its own.
    pub(super) fn is_challenged(&self) -> bool {
        !self.challenges.is_empty()
    }
}
