//! `HealthIndex`: every image that runs or fails to pull anywhere in the cluster, in memory.
//!
//! Fed by watches through `apply_*`, `delete_*` and, after a complete list, `retain_*`; asked through `history`, `report` and `score`. Keeps names once and compact records,
//! never whole objects. It has no clock and no locks of its own: time is an argument, and who
//! shares it guards it.

mod apply;
mod digests;
mod events;
mod images;
mod in_use;
mod retention;
mod interner;
mod node_logins;
mod overview;
mod pods;
mod pull_times;
mod query;
mod record;
mod image_refusals;
mod registries;
mod running;
mod report;
mod accuracy;
mod snapshot;
mod visible;
mod workloads;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

pub use image_refusals::Refusal;
pub use images::Rewrite;
pub use overview::FailingImage;
pub(crate) use overview::{FailingWorkload, KnownImage};
pub(crate) use registries::RegistryCounts;
pub use registries::{Trend, TroubleKind};
pub use snapshot::{Snapshot, SnapshotError};

use super::accuracy::Score;
use super::facts::Freshness;
use crate::image::{Digest, ImageReference};
use crate::kube_views::{EventView, Listed, OwnerView, PodView, Uid, controller};
use images::Images;
use interner::{Id, NONE, Table};
use pods::Pods;
pub(super) use record::{Seconds, seconds, timestamp};
use workloads::{Workload, Workloads};

/// How much the index may remember, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long an image is remembered after the last word of it. Default: 14 days.
    pub retention: std::time::Duration,
    /// Most images that are remembered; those that run or fail now are always kept. Default:
    /// 50,000.
    pub images: usize,
    /// Names under which mirrors serve the content of other registries.
    pub rewrites: Vec<Rewrite>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retention: std::time::Duration::from_secs(14 * 24 * 3600),
            images: 50_000,
            rewrites: Vec::new(),
        }
    }
}

/// How much is in the index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct IndexSize {
    /// Pods.
    pub pods: usize,
    /// Images, remembered ones included.
    pub images: usize,
    /// Names of namespaces, nodes and owners.
    pub names: usize,
}

/// The kinds of object between a pod and what a person wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnerKind {
    /// Owned by a Deployment.
    ReplicaSet,
    /// Owned by a CronJob.
    Job,
}

impl OwnerKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
        }
    }
}

/// The memory of the cluster.
#[derive(Debug, Clone)]
pub struct HealthIndex {
    limits: Limits,
    freshness: Freshness,
    names: Table<Arc<str>>,
    digests: Digests,
    workloads: Workloads,
    pods: Pods,
    uses: Table<in_use::PodUse>,
    pull_secrets: in_use::SecretCounts,
    images: Images,
    pending: events::Pending,
    nodes: running::Nodes,
    refusals: image_refusals::Refusals,
    score: Score,
    judged: Seconds,
    swept: Seconds,
}

impl Default for HealthIndex {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl HealthIndex {
    /// An empty index, still learning.
    pub fn new(limits: Limits) -> Self {
        let images = Images::with_rewrites(limits.rewrites.clone());
        Self {
            limits,
            freshness: Freshness::Learning,
            names: Table::default(),
            digests: Digests::default(),
            workloads: Workloads::default(),
            pods: Pods::default(),
            uses: Table::default(),
            pull_secrets: in_use::SecretCounts::default(),
            images,
            pending: events::Pending::default(),
            nodes: running::Nodes::default(),
            refusals: image_refusals::Refusals::default(),
            score: Score::default(),
            judged: 0,
            swept: 0,
        }
    }

    /// Says how long an image is remembered after the last word of it.
    pub(crate) fn remember_for(&mut self, retention: std::time::Duration) {
        self.limits.retention = retention;
    }

    /// Says whether the watches are in contact; until then nothing is told.
    pub fn set_freshness(&mut self, freshness: Freshness) {
        self.freshness = freshness;
    }

    /// Whether what the index says may be believed.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// How much is in it.
    pub fn size(&self) -> IndexSize {
        IndexSize { pods: self.pods.len(), images: self.images.len(), names: self.names.len() }
    }

    /// A pod was listed, added or changed.
    pub fn apply_pod(&mut self, pod: &PodView, now: Timestamp) {
        let now = seconds(now);
        let Some(uid) = apply::uid_of(pod) else { return };
        let record = self.record(pod, uid, now);
        let slot = self.put(record, now);
        self.apply_pending(slot, now);
        self.score_pod(slot, now);
        self.judge_due(now);
    }

    /// A pod is gone.
    pub fn delete_pod(&mut self, uid: &str, now: Timestamp) {
        let bytes = Uid::of(uid);
        if let Some(slot) = self.pods.slot(&bytes) {
            self.remove_pod(slot, seconds(now));
        }
        self.judge_due(seconds(now));
    }

    fn remove_pod(&mut self, slot: pods::Slot, now: Seconds) {
        if let Some(record) = self.take(slot) {
            self.remember_owner(&record, now);
            self.score.gone(&record.uid, now);
        }
    }

    /// A complete list of all pods was taken in: those that it did not show are gone. Returns how
    /// many.
    pub(crate) fn retain_pods(&mut self, listed: &Listed, now: Timestamp) -> usize {
        let gone = self.pods.iter().filter(|(_, pod)| !listed.contains(pod.uid));
        let gone: Vec<_> = gone.map(|(slot, _)| slot).collect();
        for slot in &gone {
            self.remove_pod(*slot, seconds(now));
        }
        self.judge_due(seconds(now));
        gone.len()
    }

    /// A core/v1 event was listed, added or changed. Those about pods and
    /// images count, and those that say that a controller's pods are refused.
    pub fn apply_event(&mut self, event: &EventView, now: Timestamp) {
        self.take_event(event, seconds(now));
        self.judge_due(seconds(now));
    }

    /// A ReplicaSet or Job was listed, added or changed.
    pub(crate) fn apply_owner(&mut self, kind: OwnerKind, owner: &OwnerView) {
        let child = self.workload(kind, owner);
        let parent = controller(&owner.metadata).map(|parent| Workload {
            kind: self.names.name(parent.kind.as_str()),
            namespace: child.namespace,
            name: self.names.name(parent.name.as_str()),
        });
        let uid = Uid::of_object(&owner.metadata);
        let created = owner.metadata.creation_timestamp.as_ref().map(|time| seconds(time.0));
        self.workloads.apply(uid, kind, created, child, parent);
    }

    /// A ReplicaSet or Job is gone.
    pub(crate) fn delete_owner(&mut self, kind: OwnerKind, owner: &OwnerView) {
        let child = self.workload(kind, owner);
        let uid = Uid::of_object(&owner.metadata);
        self.workloads.delete(uid, child);
    }

    /// A complete list of all ReplicaSets or Jobs was taken in: those that it did not show are gone.
    pub(crate) fn retain_owners(&mut self, kind: OwnerKind, listed: &Listed) {
        let name = self.names.name(kind.as_str());
        self.workloads.retain(kind, name, listed);
    }

    /// When the controller of this kind and uid was created, if it is one that is known.
    pub(crate) fn owner_created(&self, kind: &str, uid: &str) -> Option<Timestamp> {
        let kind =
            [OwnerKind::ReplicaSet, OwnerKind::Job].into_iter().find(|one| one.as_str() == kind)?;
        self.workloads.created(kind, Uid::of(uid)).map(timestamp)
    }

    fn workload(&mut self, kind: OwnerKind, owner: &OwnerView) -> Workload {
        let meta = &owner.metadata;
        let mut intern = |text: Option<&str>| self.names.name(text.unwrap_or_default());
        Workload {
            kind: intern(Some(kind.as_str())),
            namespace: intern(meta.namespace.as_deref()),
            name: intern(meta.name.as_deref()),
        }
    }

    /// A node was listed or changed: the images that it lists (`status.images`, names and
    /// digests). They prove presence; absence proves nothing.
    pub(crate) fn apply_node<'n>(&mut self, name: &str, images: impl IntoIterator<Item = &'n str>) {
        let node = self.names.name(name);
        self.nodes.apply(node, images);
    }

    /// A node is gone.
    pub(crate) fn delete_node(&mut self, name: &str) {
        if let Some(node) = self.names.find(name) {
            self.nodes.delete(node);
        }
    }

    /// How many nodes list this image among theirs.
    pub(crate) fn nodes_listing(&self, reference: &ImageReference) -> u32 {
        self.nodes.listing(reference)
    }

    /// How verdicts compare with what nodes did.
    pub fn score(&self) -> &Score {
        &self.score
    }

    /// The same, to remember verdicts and the answers of repeated look-ups.
    pub(crate) fn score_mut(&mut self) -> &mut Score {
        &mut self.score
    }
}

/// Digests, found by their text.
#[derive(Debug, Clone, Default)]
struct Digests(Table<DigestKey>);

/// A digest that is looked up by its text.
#[derive(Debug, Clone)]
struct DigestKey(Digest);

impl PartialEq for DigestKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for DigestKey {}

impl std::hash::Hash for DigestKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl std::borrow::Borrow<str> for DigestKey {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl Digests {
    /// The number of a digest; none if the text is not one.
    fn intern(&mut self, text: &str) -> Id {
        if let Some(id) = self.0.find(text) {
            return id;
        }
        match Digest::parse(text) {
            Ok(digest) => self.0.intern(text, |_| DigestKey(digest)),
            Err(_) => NONE,
        }
    }

    fn get(&self, id: Id) -> Option<&Digest> {
        self.0.get(id).map(|key| &key.0)
    }
}
