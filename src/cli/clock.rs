//! The clock: the command line is where it is read.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// How long everything that is listed of a cluster may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// Until when lists of a cluster are waited for.
pub(super) fn list_deadline() -> Instant {
    instant() + PATIENCE
}
