//! How many reviews are under way, and for which namespace: one that sends many leaves room for
//! those of others.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places for reviews.
pub(super) struct Shares {
    most: usize,
    taken: Mutex<HashMap<Box<str>, usize>>,
}

/// One place; given back when dropped.
pub(super) struct Share {
    shares: Arc<Shares>,
    namespace: Box<str>,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// A place for a review in this namespace: while it has less than three times what is free.
    /// One alone gets three quarters, and however many there are, the next finds room.
    pub(super) fn take(self: &Arc<Self>, namespace: &str) -> Option<Share> {
        let mut taken = self.taken();
        let free = self.most.saturating_sub(taken.values().sum());
        let own = taken.get(namespace).copied().unwrap_or(0);
        if own >= free.saturating_mul(3) {
            return None;
        }
        taken.insert(namespace.into(), own + 1);
        Some(Share { shares: Arc::clone(self), namespace: namespace.into() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        if let Some(own) = taken.get_mut(&self.namespace) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("most", &self.most).finish_non_exhaustive()
    }
}
