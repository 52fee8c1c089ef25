//! When a conversation must be over.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When a conversation must be over. What was waited for in our own queue puts it off: it says
/// nothing about the registry.
pub(super) struct Deadline(Mutex<Instant>);

impl Deadline {
    pub(super) fn at(when: Instant) -> Self {
        Self(Mutex::new(when))
    }

    pub(super) fn get(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put_off(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}
