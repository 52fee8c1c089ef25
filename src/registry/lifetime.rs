//! How long answers are kept. Failures are kept, too: who asks again at once learns nothing new and
//! costs the registry a request.

use std::time::Duration;

use super::options::CacheLimits;
use crate::pull::{Outcome, Step};

/// How long an outcome holds; `failures` in a row, this one included, make it hold longer.
pub(super) fn lifetime(
    outcome: &Outcome,
    by_digest: bool,
    failures: u32,
    limits: &CacheLimits,
) -> Duration {
    match outcome {
        Outcome::Exists(_) if by_digest => limits.by_digest,
        Outcome::Exists(_) => limits.by_tag,
        Outcome::TagMissing { .. }
        | Outcome::RepositoryMissing { .. }
        | Outcome::MissingOrDenied
        | Outcome::Unauthorized
        | Outcome::Forbidden
        | Outcome::AddressRefused
        | Outcome::PasswordMissing
        | Outcome::MirrorRefused
        | Outcome::RedirectRefused
        | Outcome::RefusedByStranger => limits.negative,
        Outcome::Throttled { retry_after } => retry_after.unwrap_or(limits.odd),
        // Our own bounds say nothing about the registry, and the next try gets further: what was
        // learned on the way is kept.
        Outcome::TooLate
        | Outcome::Overloaded
        | Outcome::LoginWithheld
        | Outcome::Timeout(Step::Whole) => Duration::ZERO,
        outcome if is_unreachable(outcome) => limits
            .unreachable
            .saturating_mul(1 << failures.saturating_sub(1).min(10))
            .min(limits.unreachable_longest),
        _ => limits.odd,
    }
}

/// Whether there was no answer, or none of a registry that works.
pub(super) fn is_unreachable(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Network(_) | Outcome::Tls(_) | Outcome::RegistryError { .. } => true,
        Outcome::Timeout(step) => *step != Step::Whole,
        _ => false,
    }
}
