//! Controllers whose pods the API server refuses: the other way in which a rollout stands still.
//!
//! From `FailedCreate` events on ReplicaSets, Jobs and their like. The text is not kept: it is
//! whatever an admission webhook or a quota said.

use std::collections::HashMap;

use jiff::Timestamp;

use super::HealthIndex;
use super::interner::Visible;
use super::interner::{LONGEST, Marks};
use super::record::{Seconds, seconds, timestamp};
use super::workloads::Workload;
use crate::history::facts::{Freshness, Visibility};
use crate::kube_views::EventView;
use crate::text::cut;

/// Most controllers that are remembered.
const MAX: usize = 1000;
/// How long a refusal is remembered after the last one, in seconds: events live an hour.
const REMEMBERED: Seconds = 3600;

/// A controller whose pods are refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refusal {
    /// `Deployment`, `Job`, …: the uppermost controller that is known.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// How often, as far as the events say.
    pub times: u32,
    /// When last.
    pub last: Timestamp,
    /// Whether an admission webhook refused them (a quota may, too).
    pub by_webhook: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    times: u32,
    last: Seconds,
    by_webhook: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(HashMap<Workload, Entry>);

impl Refusals {
    pub(super) fn forget_old(&mut self, now: Seconds) {
        self.0.retain(|_, entry| entry.last.saturating_add(REMEMBERED) >= now);
    }

    pub(super) fn mark(&self, names: &mut Marks) {
        for workload in self.0.keys() {
            names.set(workload.kind);
            names.set(workload.namespace);
            names.set(workload.name);
        }
    }
}

impl HealthIndex {
    /// Takes in a `FailedCreate` event.
    pub(super) fn take_refusal(&mut self, event: &EventView, now: Seconds) {
        let last = event.at().map_or(now, seconds).min(now);
        if last.saturating_add(REMEMBERED) < now {
            return;
        }
        let object = &event.involved_object;
        let find = |text: &str| self.names.find(cut(text, LONGEST));
        let known = find(&object.kind).zip(find(&object.namespace)).zip(find(&object.name));
        let known = known.map(|((kind, namespace), name)| Workload { kind, namespace, name });
        let is_known = known.is_some_and(|known| self.refusals.0.contains_key(&known));
        if self.refusals.0.len() >= MAX && !is_known {
            self.refusals.forget_old(now);
            if self.refusals.0.len() >= MAX {
                return;
            }
        }
        let workload = Workload {
            kind: self.names.name(&object.kind),
            namespace: self.names.name(&object.namespace),
            name: self.names.name(&object.name),
        };
        let by_webhook = event.message.contains("admission webhook");
        let entry = self.refusals.0.entry(workload).or_insert(Entry { times: 0, last, by_webhook });
        entry.times = entry.times.max(event.times());
        entry.last = entry.last.max(last);
        entry.by_webhook |= by_webhook;
    }

    /// The uppermost controller that is known of an object, as kind, namespace and name: the object
    /// itself where none is.
    pub(crate) fn owner_of(&self, [kind, namespace, name]: [&str; 3]) -> [String; 3] {
        let find = |text: &str| self.names.find(text);
        let known = find(kind).zip(find(namespace)).zip(find(name));
        let Some(((kind_id, namespace_id), name_id)) = known else {
            return [kind, namespace, name].map(str::to_owned);
        };
        let own = Workload { kind: kind_id, namespace: namespace_id, name: name_id };
        let top = self.workloads.top_of(own);
        [top.kind, top.namespace, top.name].map(|id| self.text(id).to_owned())
    }

    /// The controllers whose pods were refused within the last hour, in namespaces that may be
    /// told of; the latest first.
    pub fn refusals(&self, visibility: &Visibility, now: Timestamp) -> Vec<Refusal> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let visible = Visible::new(self, visibility);
        let now = seconds(now);
        let mut list: Vec<Refusal> = self
            .refusals
            .0
            .iter()
            .filter(|(workload, entry)| {
                visible.includes(workload.namespace) && entry.last.saturating_add(REMEMBERED) >= now
            })
            .map(|(workload, entry)| {
                let top = self.workloads.top_of(*workload);
                Refusal {
                    kind: self.text(top.kind).to_owned(),
                    namespace: self.text(top.namespace).to_owned(),
                    name: self.text(top.name).to_owned(),
                    times: entry.times,
                    last: timestamp(entry.last),
                    by_webhook: entry.by_webhook,
                }
            })
            .collect();
        list.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.name.cmp(&b.name)));
        list
    }
}
