//! Which taints a pod puts up with, and what a `RuntimeClass` adds to the pods that name it.
//!
//! The API server puts that into pods as they are created
//! (<https://kubernetes.io/docs/concepts/containers/runtime-class/#scheduling>), so pods have it
//! and templates do not.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::node::{Taint, TaintEffect};
use super::quantity::Quantity;
use super::view::{Seq, TolerationView, plain, text};
use crate::kube_views::Text;

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
        let [effect, operator] = [&view.effect, &view.operator].map(|field| plain(field.as_ref()));
        Self {
            key: text(view.key.as_ref()),
            exists: operator == "Exists",
            value: text(view.value.as_ref()),
            effect: match effect {
                "NoSchedule" => Some(TaintEffect::NoSchedule),
                "NoExecute" => Some(TaintEffect::NoExecute),
                _ => None,
            },
            irrelevant: effect == "PreferNoSchedule",
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

/// Where pods of a `RuntimeClass` may land, and what they need besides their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeClass {
    pub(super) selector: Vec<(Box<str>, Box<str>)>,
    pub(super) tolerations: Vec<Toleration>,
    /// By resource; nothing if the amount could not be read.
    pub(super) overhead: Vec<(Box<str>, Option<Quantity>)>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ClassView<'a> {
    #[serde(borrow)]
    overhead: Option<OverheadView<'a>>,
    #[serde(borrow)]
    scheduling: Option<SchedulingView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverheadView<'a> {
    #[serde(borrow)]
    pod_fixed: Option<BTreeMap<Text<'a>, &'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchedulingView<'a> {
    #[serde(borrow)]
    node_selector: Option<BTreeMap<Text<'a>, Option<Text<'a>>>>,
    #[serde(borrow)]
    tolerations: Seq<TolerationView<'a>>,
}

impl RuntimeClass {
    /// Reads the object as the API server sends it; the error is that of its JSON.
    pub fn parse(object: &str) -> Result<Self, serde_json::Error> {
        let view: ClassView<'_> = serde_json::from_str(object)?;
        let fixed = view.overhead.and_then(|overhead| overhead.pod_fixed).unwrap_or_default();
        let amount = |raw: &RawValue| Quantity::parse(raw.get().trim_matches('"'));
        let overhead = fixed.iter().map(|(name, raw)| (name.boxed(), amount(raw))).collect();
        let Some(scheduling) = view.scheduling else {
            return Ok(Self { overhead, ..Self::default() });
        };
        let selector = scheduling.node_selector.iter().flatten();
        Ok(Self {
            selector: selector.map(|(key, value)| (key.boxed(), text(value.as_ref()))).collect(),
            tolerations: scheduling.tolerations.iter().flatten().map(Toleration::of).collect(),
            overhead,
        })
    }
}
