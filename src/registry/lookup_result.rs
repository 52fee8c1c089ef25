//! What came of one look-up, before it is kept.

use crate::pull::Outcome;

/// What one look-up came to.
#[derive(Debug, Clone)]
pub(super) struct LookupResult {
    pub(super) outcome: Outcome,
    /// The mirror that decided, if one did.
    pub(super) mirror: Option<Box<str>>,
    /// Whether it was asked with the login of the nodes' runtime.
    pub(super) node_login: bool,
}
