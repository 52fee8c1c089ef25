//! The clock, and the chance that spreads load. Everything that judges takes time as an argument.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What the clock says now.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The same to measure time by.
#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Both.
pub(crate) fn clock() -> (Timestamp, Instant) {
    (now(), instant())
}

/// A time from the shortest to the longest, by chance: not all replicas and registries keep step.
pub(crate) fn random_between(shortest: Duration, longest: Duration) -> Duration {
    let chance = u16::try_from(RandomState::new().hash_one(0_u8) & 0xffff).unwrap_or_default();
    shortest + longest.saturating_sub(shortest).mul_f64(f64::from(chance) / 65535.0)
}
