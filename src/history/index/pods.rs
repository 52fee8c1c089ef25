//! Where the pod records live: in chunks that never move, found by uid.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

use super::record::PodRecord;
use crate::kube_views::Uid;

/// Records of a chunk: growing by chunks never needs twice the memory.
const CHUNK: usize = 1024;

/// The number of a pod's place.
pub(super) type Slot = u32;

/// All pods.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    chunks: Chunks,
    free: Vec<Slot>,
    /// Found by the hash of their uids, which stand in the records only.
    by_uid: HashTable<Slot>,
    hasher: RandomState,
}

type Chunks = Vec<Vec<Option<PodRecord>>>;

fn at(chunks: &Chunks, slot: Slot) -> Option<&PodRecord> {
    chunks.get(slot as usize / CHUNK)?.get(slot as usize % CHUNK)?.as_ref()
}

impl Pods {
    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    pub(super) fn slot(&self, uid: &Uid) -> Option<Slot> {
        let is_it = |slot: &Slot| self.get(*slot).is_some_and(|pod| pod.uid == *uid);
        self.by_uid.find(self.hasher.hash_one(uid), is_it).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&PodRecord> {
        at(&self.chunks, slot)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut PodRecord> {
        self.chunks.get_mut(slot as usize / CHUNK)?.get_mut(slot as usize % CHUNK)?.as_mut()
    }

    /// Puts a new pod in; its uid must not be there yet.
    pub(super) fn insert(&mut self, record: PodRecord) -> Slot {
        let uid = record.uid;
        let slot = if let Some(slot) = self.free.pop() {
            if let Some(place) = self
                .chunks
                .get_mut(slot as usize / CHUNK)
                .and_then(|chunk| chunk.get_mut(slot as usize % CHUNK))
            {
                *place = Some(record);
            }
            slot
        } else {
            if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                self.chunks.push(Vec::with_capacity(CHUNK));
            }
            let before = (self.chunks.len() - 1) * CHUNK;
            let within = self.chunks.last_mut().map_or(0, |chunk| {
                chunk.push(Some(record));
                chunk.len() - 1
            });
            Slot::try_from(before + within).unwrap_or(Slot::MAX)
        };
        let Self { chunks, by_uid, hasher, .. } = self;
        by_uid.insert_unique(hasher.hash_one(uid), slot, |slot| {
            at(chunks, *slot).map_or(0, |pod| hasher.hash_one(pod.uid))
        });
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<PodRecord> {
        let chunk = self.chunks.get_mut(slot as usize / CHUNK)?;
        let record = chunk.get_mut(slot as usize % CHUNK)?.take()?;
        let hash = self.hasher.hash_one(record.uid);
        if let Ok(entry) = self.by_uid.find_entry(hash, |known| *known == slot) {
            entry.remove();
        }
        self.free.push(slot);
        Some(record)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &PodRecord)> {
        self.chunks.iter().flatten().enumerate().filter_map(|(at, record)| {
            Some((Slot::try_from(at).unwrap_or(Slot::MAX), record.as_ref()?))
        })
    }
}
