//! Names that many records share, kept once and known by a small number; and which namespaces somebody
//! may see, by theirs.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use super::HealthIndex;
use crate::history::facts::Visibility;
use crate::text::cut;

/// The number of a name; the same name has the same number until it is swept.
pub(super) type Id = u32;
/// No name.
pub(super) const NONE: Id = Id::MAX;

/// A table of values that are kept once.
#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    /// Found by the hash of their values; the values themselves stand in one place only.
    ids: HashTable<Id>,
    hasher: RandomState,
    values: Vec<Option<T>>,
    free: Vec<Id>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            ids: HashTable::new(),
            hasher: RandomState::new(),
            values: Vec::new(),
            free: Vec::new(),
        }
    }
}

/// The hash of the value with this number.
fn hash_of<T: Hash>(hasher: &RandomState, values: &[Option<T>], id: Id) -> u64 {
    values.get(id as usize).and_then(Option::as_ref).map_or(0, |value| hasher.hash_one(value))
}

impl<T: Eq + Hash> Table<T> {
    /// The number of a value that is there already.
    pub(super) fn find<Q>(&self, value: &Q) -> Option<Id>
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let is_it = |id: &Id| self.get(*id).is_some_and(|known| known.borrow() == value);
        self.ids.find(self.hasher.hash_one(value), is_it).copied()
    }

    /// The number of a value, which is put into the table if it is new.
    pub(super) fn intern<Q>(&mut self, value: &Q, make: impl FnOnce(&Q) -> T) -> Id
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(id) = self.find(value) {
            return id;
        }
        let entry = Some(make(value));
        let id = if let Some(id) = self.free.pop() {
            self.values[id as usize] = entry;
            id
        } else {
            self.values.push(entry);
            Id::try_from(self.values.len() - 1).unwrap_or(NONE)
        };
        let Self { ids, hasher, values, .. } = self;
        ids.insert_unique(hasher.hash_one(value), id, |id| hash_of(hasher, values, *id));
        id
    }

    /// The value with this number.
    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.values.get(id as usize)?.as_ref()
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter().flatten()
    }

    /// How many values are in the table.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// One more than the highest number ever given.
    pub(super) fn bound(&self) -> usize {
        self.values.len()
    }

    /// Forgets what is not in use; `used` has an entry for every number.
    pub(super) fn sweep(&mut self, used: &[bool]) {
        let Self { ids, hasher, values, free } = self;
        for (at, slot) in values.iter_mut().enumerate() {
            let id = Id::try_from(at).unwrap_or(NONE);
            if !used.get(at).copied().unwrap_or(true)
                && let Some(value) = slot.take()
                && let Ok(entry) = ids.find_entry(hasher.hash_one(&value), |known| *known == id)
            {
                entry.remove();
                free.push(id);
            }
        }
        ids.shrink_to_fit(|id| hash_of(hasher, values, *id));
    }
}

/// Texts are kept up to so many bytes: names of objects have 253, images less than a thousand. What is
/// longer somebody made up.
pub(super) const LONGEST: usize = 1024;

impl Table<Arc<str>> {
    /// The number of a name.
    pub(super) fn name(&mut self, name: &str) -> Id {
        self.intern(cut(name, LONGEST), |name: &str| name.into())
    }
}

/// A list with a mark for every number, to find out what is in use.
#[derive(Debug)]
pub(super) struct Marks(Vec<bool>);

impl Marks {
    pub(super) fn new(bound: usize) -> Self {
        Self(vec![false; bound])
    }

    pub(super) fn set(&mut self, id: Id) {
        if let Some(mark) = self.0.get_mut(id as usize) {
            *mark = true;
        }
    }

    pub(super) fn as_slice(&self) -> &[bool] {
        &self.0
    }
}

/// A [`Visibility`] by the numbers of the namespaces.
pub(super) enum Visible {
    All,
    Some(Vec<Id>),
}

impl Visible {
    pub(super) fn new(index: &HealthIndex, visibility: &Visibility) -> Self {
        match visibility {
            Visibility::Cluster => Self::All,
            Visibility::Namespaces(names) => {
                Self::Some(names.iter().filter_map(|name| index.names.find(&**name)).collect())
            }
        }
    }

    /// Whether nothing of anybody may be shown.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Some(ids) if ids.is_empty())
    }

    pub(super) fn includes(&self, namespace: Id) -> bool {
        match self {
            Self::All => true,
            Self::Some(ids) => ids.contains(&namespace),
        }
    }
}
