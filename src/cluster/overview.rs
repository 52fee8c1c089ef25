//! What is kept of the cluster in memory, as far as somebody may see it: asked about, and handed out and
//! taken back as a snapshot. Whoever wires this up reads and writes the file, and repeats look-ups; here
//! each is done under a short lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::{Cluster, progress};
use crate::history::{
    Freshness, HealthIndex, Recheck, RegistryScoreSummary, RunningDigest, Scope, Snapshot,
    Visibility,
};
use crate::image::ImageReference;

impl Cluster {
    /// Asks the index, which is told before whether it may be believed.
    pub fn index<T>(&self, ask: impl FnOnce(&HealthIndex) -> T) -> T {
        let freshness = self.freshness_now()();
        let mut memory = self.memory.lock();
        memory.index.set_freshness(freshness);
        ask(&memory.index)
    }

    /// Who has an image, written so: nobody, if it is not known.
    pub(crate) fn scope_of(&self, image: &str, visibility: &Visibility) -> Scope {
        let image = ImageReference::parse(image);
        image.map_or_else(
            |_| Scope::default(),
            |image| self.index(|index| index.scope_of(&image, visibility)),
        )
    }

    /// The digests that pods run under this name now.
    pub(crate) fn running_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
    ) -> Vec<RunningDigest> {
        self.index(|index| index.running_digests(image, visibility))
    }

    /// The images that pods of a workload (kind, namespace, name) have or want.
    pub(crate) fn images_of_workload(
        &self,
        workload: [&str; 3],
        visibility: &Visibility,
    ) -> Vec<ImageReference> {
        self.index(|index| index.images_of_workload(workload, visibility))
    }
}

impl Cluster {
    /// What tells this cluster from others: the uid of `kube-system`. Nothing before namespaces
    /// were listed.
    pub fn id(&self) -> Option<&str> {
        self.namespaces.cluster()
    }

    /// Says how long an image is remembered after the last word of it.
    pub(crate) fn remember_for(&self, retention: Duration) {
        self.memory.lock().index.remember_for(retention);
    }

    /// From here on the index counts as learning, until [`Self::recall`]: what an earlier process
    /// remembered may still come, and a denial must not be made without it.
    pub(crate) fn expect_memory(&self) {
        self.recalling.store(true, Ordering::Release);
    }

    /// Adds what an earlier process remembered, or gives it up.
    pub(crate) fn recall(&self, snapshot: Option<Snapshot>, now: Timestamp) {
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
    pub(crate) fn take_rechecks(&self) -> Vec<Recheck> {
        self.memory.lock().index.score_mut().take_rechecks()
    }

    /// What a repeated look-up came to: whether the registry still calls it missing or forbidden.
    pub(crate) fn rechecked(&self, recheck: &Recheck, still_refused: bool, now: Timestamp) {
        self.memory.lock().index.score_mut().rechecked(recheck, still_refused, now);
    }

    /// How verdicts compare with what nodes did, by registry; a bounded number of them.
    pub fn score(&self, now: Timestamp) -> Vec<RegistryScoreSummary> {
        self.memory.lock().index.score().summary(now)
    }
}
