//! Which images the nodes list: a number for each name, not the names.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::interner::Id;
use crate::image::ImageReference;

/// Most names of one node that are taken: fifty images of five names, and some more.
const MAX_NAMES: usize = 512;

/// The images that nodes list.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    lists: HashMap<Id, Box<[u64]>>,
    /// How many nodes list it.
    counts: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The numbers of the nodes' names.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.lists.keys().copied()
    }

    pub(super) fn apply<'n>(&mut self, node: Id, images: impl IntoIterator<Item = &'n str>) {
        self.delete(node);
        let mut list: Vec<u64> = images
            .into_iter()
            .take(MAX_NAMES)
            .filter_map(|image| ImageReference::parse(image).ok())
            .map(|reference| self.hash(&reference))
            .collect();
        list.sort_unstable();
        list.dedup();
        for hash in &list {
            *self.counts.entry(*hash).or_default() += 1;
        }
        self.lists.insert(node, list.into());
    }

    pub(super) fn delete(&mut self, node: Id) {
        for hash in self.lists.remove(&node).unwrap_or_default() {
            if let Some(count) = self.counts.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&hash);
                }
            }
        }
    }

    pub(super) fn listing(&self, reference: &ImageReference) -> u32 {
        self.counts.get(&self.hash(reference)).copied().unwrap_or(0)
    }

    fn hash(&self, reference: &ImageReference) -> u64 {
        self.hasher.hash_one(reference.canonical())
    }
}
