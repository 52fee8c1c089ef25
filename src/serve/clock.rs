//! The clock, read at the edge.

use std::time::Instant;

use jiff::Timestamp;

#[expect(clippy::disallowed_methods, reason = "an edge reads the clock")]
pub(super) fn clock() -> (Timestamp, Instant) {
    (Timestamp::now(), Instant::now())
}
