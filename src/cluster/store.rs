//! What outlives a process and a look-up: the memory as a snapshot, and the score of verdicts.
//!
//! Whoever wires this up reads and writes the file, and repeats look-ups; here is only what the
//! index hands out and takes back, each under a short lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cluster, progress};
use crate::history::{Freshness, Recheck, RegistryScoreSummary, Snapshot};

impl Cluster {
    /// What tells this cluster from others: the uid of `kube-system`. Nothing before namespaces
    /// were listed.
    pub fn id(&self) -> Option<&str> {
        self.namespaces.cluster()
    }

    /// Says how long an image is remembered after the last word of it.
    pub fn remember_for(&self, retention: Duration) {
        self.memory.lock().index.remember_for(retention);
    }

    /// From here on the index counts as learning, until [`Self::recall`]: what an earlier process
    /// remembered may still come, and a denial must not be made without it.
    pub fn expect_memory(&self) {
        self.recalling.store(true, Ordering::Release);
    }

    /// Adds what an earlier process remembered, or gives it up.
    pub fn recall(&self, snapshot: Option<Snapshot>, now: Timestamp) {
        if let Some(snapshot) = snapshot {
            self.memory.lock().index.restore(snapshot, now);
        }
        self.recalling.store(false, Ordering::Release);
    }

    /// What is remembered, for a later process.
    pub fn snapshot(&self) -> Snapshot {
        self.memory.lock().index.snapshot()
    }

    /// Whether what is known may be believed, for tasks that outlive a borrow.
    pub(super) fn freshness_now(&self) -> impl Fn() -> Freshness + Send + use<> {
        let (watches, recalling) = (self.progress.clone(), Arc::clone(&self.recalling));
        let surveyed = Arc::clone(&self.surveyed);
        move || match progress::freshness(&watches) {
            _ if surveyed.load(Ordering::Acquire) => Freshness::Current,
            Freshness::Current if recalling.load(Ordering::Acquire) => Freshness::Learning,
            freshness => freshness,
        }
    }

    /// The suspicions that wait for a repeated look-up; they are handed out once.
    pub fn take_rechecks(&self) -> Vec<Recheck> {
        self.memory.lock().index.score_mut().take_rechecks()
    }

    /// What a repeated look-up came to: whether the registry still calls it missing or forbidden.
    pub fn rechecked(&self, recheck: &Recheck, still_refused: bool, now: Timestamp) {
        self.memory.lock().index.score_mut().rechecked(recheck, still_refused, now);
    }

    /// How verdicts compare with what nodes did, by registry; a bounded number of them.
    pub fn score(&self, now: Timestamp) -> Vec<RegistryScoreSummary> {
        self.memory.lock().index.score().summary(now)
    }
}
