//! What came of one look-up, before it is kept.

use tokio::time::Instant;

use crate::pull::Outcome;

/// What one look-up came to.
#[derive(Debug, Clone)]
pub(super) struct LookupResult {
    pub(super) outcome: Outcome,
    /// The mirror that decided, if one did.
    pub(super) mirror: Option<Box<str>>,
    /// Whether it was asked with the login of the nodes' runtime.
    pub(super) node_login: bool,
    /// When the request was sent whose answer it is; for what was not asked at all, when that was so.
    pub(super) asked_at: Instant,
}
