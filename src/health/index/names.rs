//! Names that many records share, kept once and known by a small number.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// The number of a name; the same name has the same number until it is swept.
pub(super) type Id = u32;
/// No name.
pub(super) const NONE: Id = Id::MAX;

/// A table of values that are kept once.
#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    ids: HashMap<T, Id>,
    values: Vec<Option<T>>,
    free: Vec<Id>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { ids: HashMap::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Table<T> {
    /// The number of a value that is there already.
    pub(super) fn find<Q>(&self, value: &Q) -> Option<Id>
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.ids.get(value).copied()
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
        let entry = make(value);
        let id = if let Some(id) = self.free.pop() {
            self.values[id as usize] = Some(entry.clone());
            id
        } else {
            self.values.push(Some(entry.clone()));
            Id::try_from(self.values.len() - 1).unwrap_or(NONE)
        };
        self.ids.insert(entry, id);
        id
    }

    /// The value with this number.
    pub(super) fn get(&self, id: Id) -> Option<&T> {
        self.values.get(id as usize)?.as_ref()
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
        let Self { ids, values, free } = self;
        for (at, slot) in values.iter_mut().enumerate() {
            if !used.get(at).copied().unwrap_or(true)
                && let Some(value) = slot.take()
            {
                ids.remove(&value);
                free.push(Id::try_from(at).unwrap_or(NONE));
            }
        }
        ids.shrink_to_fit();
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
