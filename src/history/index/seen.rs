//! Which namespaces somebody may see, by their numbers in the index.

use super::HealthIndex;
use super::interner::Id;
use crate::history::facts::Visibility;

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
