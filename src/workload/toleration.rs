//! Which taints a pod puts up with.

use super::node::{Taint, TaintEffect};
use super::view::{TolerationView, text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toleration {
    key: Box<str>,
    exists: bool,
    value: Box<str>,
    effect: Option<TaintEffect>,
    /// An effect or operator that keeps nothing away here.
    irrelevant: bool,
}

impl Toleration {
    pub(super) fn of(view: &TolerationView<'_>) -> Self {
        let effect = text(view.effect.as_ref());
        let operator = text(view.operator.as_ref());
        Self {
            key: text(view.key.as_ref()),
            exists: &*operator == "Exists",
            value: text(view.value.as_ref()),
            effect: match &*effect {
                "NoSchedule" => Some(TaintEffect::NoSchedule),
                "NoExecute" => Some(TaintEffect::NoExecute),
                _ => None,
            },
            irrelevant: &*effect == "PreferNoSchedule",
        }
    }

    /// As in <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>: an
    /// empty key with `Exists` tolerates everything, an empty effect every effect.
    pub(super) fn covers(&self, taint: &Taint) -> bool {
        !self.irrelevant
            && self.effect.is_none_or(|effect| effect == taint.effect)
            && (if self.key.is_empty() { self.exists } else { self.key == taint.key })
            && (self.exists || self.value == taint.value)
    }
}
