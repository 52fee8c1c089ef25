//! What events add to what statuses say: fresh pulls, and causes that a status no longer names.
//!
//! An event counts only together with its pod: who may write events could otherwise claim pulls
//! that never were. "Successfully pulled" counts once that pod has the image; a failure only
//! gives a name to one that the status shows. For some minutes, though, it may be true of a pod that
//! nobody saw: nodes list an image later than they have it, and pods end in the meantime.

use std::collections::{HashMap, HashSet, VecDeque};

use super::HealthIndex;
use super::interner::Id;
use super::pods::Slot;
use super::pull_times::PullTime;
use super::record::{Seconds, State, seconds};
use crate::failure::classify;
use crate::kube_views::{EventView, Uid};
use crate::pull::Cause;

/// What the kubelet says of an image that it need not pull
/// (<https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/images/image_manager.go>).
const PRESENT: &str = "already present on machine";
/// How long an event may be ahead of what a node lists: a kubelet looks at its images every 30 s
/// (`pkg/kubelet/images/image_gc_manager.go`) and reports them with its next status, by default within
/// 10 s, at most every few minutes.
pub(super) const LISTED_WITHIN: Seconds = 300;
/// Most facts that wait for their pod.
const MAX_PENDING: usize = 4096;

/// What an event said of an image of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// It was freshly pulled then, in so much time.
    Pulled(Seconds, PullTime),
    /// The node had it already.
    Present(Seconds),
    /// It could not be pulled.
    Failed(Cause),
}

/// Facts whose pod has not been seen yet, or does not have the image yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    facts: HashMap<Uid, Vec<(Id, Fact)>>,
    order: VecDeque<Uid>,
}

impl Pending {
    fn add(&mut self, uid: Uid, image: Id, fact: Fact) {
        while self.order.len() >= MAX_PENDING {
            if let Some(oldest) = self.order.pop_front() {
                self.facts.remove(&oldest);
            }
        }
        let facts = self.facts.entry(uid).or_insert_with(|| {
            self.order.push_back(uid);
            Vec::new()
        });
        facts.retain(|(known, other)| {
            *known != image || std::mem::discriminant(other) != std::mem::discriminant(&fact)
        });
        if facts.len() < 16 {
            facts.push((image, fact));
        }
    }

    fn take(&mut self, uid: &Uid) -> Vec<(Id, Fact)> {
        let Some(facts) = self.facts.remove(uid) else { return Vec::new() };
        self.order.retain(|other| other != uid);
        facts
    }

    pub(super) fn forget_images(&mut self, gone: &[Id]) {
        let gone: HashSet<Id> = gone.iter().copied().collect();
        self.facts.values_mut().for_each(|facts| facts.retain(|(image, _)| !gone.contains(image)));
    }
}

impl HealthIndex {
    /// Takes in an event about a pod, or that a controller's pods are refused. Others say nothing
    /// about images and are left out.
    pub(super) fn take_event(&mut self, event: &EventView, now: Seconds) {
        if &*event.reason == "FailedCreate" {
            self.take_refusal(event, now);
            return;
        }
        if &*event.involved_object.kind != "Pod" || event.involved_object.uid.is_empty() {
            return;
        }
        let fact = match &*event.reason {
            "Pulled" if event.message.starts_with("Successfully pulled image") => {
                let at = event.at().map_or(now, seconds).min(now);
                Fact::Pulled(at, PullTime::read(&event.message))
            }
            "Pulled" if event.message.contains(PRESENT) => {
                Fact::Present(event.at().map_or(now, seconds).min(now))
            }
            "Failed" | "InspectFailed" => {
                let cause = classify(Some(&event.reason), &event.message).cause;
                if matches!(cause, Cause::BackOff | Cause::NotAnImageFailure) {
                    return;
                }
                Fact::Failed(cause)
            }
            _ => return,
        };
        let Some(name) = quoted(&event.message) else { return };
        let image = self.images.intern(name, now);
        let Some(entry) = self.images.get_mut(image) else { return };
        if let Fact::Pulled(at, _) | Fact::Present(at) = fact {
            entry.claimed = entry.claimed.max(at);
        }
        let uid = Uid::of(&event.involved_object.uid);
        let used = self.pods.slot(&uid).is_some_and(|slot| self.apply_fact(slot, image, fact, now));
        if !used && !matches!(fact, Fact::Present(_)) {
            self.pending.add(uid, image, fact);
        }
    }

    /// Applies what was waiting for this pod; what does not fit yet waits on.
    pub(super) fn apply_pending(&mut self, slot: Slot, now: Seconds) {
        let Some(uid) = self.pods.get(slot).map(|pod| pod.uid) else { return };
        for (image, fact) in self.pending.take(&uid) {
            if !self.apply_fact(slot, image, fact, now) {
                self.pending.add(uid, image, fact);
            }
        }
    }

    fn apply_fact(&mut self, slot: Slot, image: Id, fact: Fact, now: Seconds) -> bool {
        match fact {
            Fact::Pulled(at, time) => self.apply_pull(slot, image, at, time),
            Fact::Present(_) => true,
            Fact::Failed(cause) => self.apply_hint(slot, image, cause, now),
        }
    }

    fn apply_pull(&mut self, slot: Slot, image: Id, at: Seconds, time: PullTime) -> bool {
        let Some(pod) = self.pods.get_mut(slot) else { return false };
        let (uid, node, without_secrets) = (pod.uid, pod.node, pod.without_secrets);
        let namespace = self.names.get(pod.namespace).cloned();
        let mut has_it = false;
        let (mut fresh, mut is_news) = (true, true);
        for container in pod.containers.as_mut_slice() {
            let ran = matches!(container.state, State::Running | State::Crashing | State::Done);
            if container.image != image || !ran {
                continue;
            }
            has_it = true;
            // The same event comes again with every list, and a start that asked the registry was
            // counted with its container.
            is_news &= at > container.pulled;
            fresh &= at > container.pulled && !(container.always() && at <= container.at);
            container.pulled = container.pulled.max(at);
        }
        if !has_it {
            return false;
        }
        if let Some(entry) = self.images.get_mut(image) {
            entry.pulled = entry.pulled.max(at);
            entry.heard = entry.heard.max(at);
            if is_news {
                entry.times.get_or_insert_default().add(time, node);
            }
        }
        if let Some((registry, repository)) = self.images.owners_of(image) {
            if fresh {
                registry.count_pull(at);
            }
            if let Some(namespace) = namespace.as_deref().filter(|_| without_secrets) {
                registry.secretless.add(repository, namespace, at);
            }
        }
        self.score_pull(uid, image, at);
        true
    }

    fn apply_hint(&mut self, slot: Slot, image: Id, cause: Cause, now: Seconds) -> bool {
        let Some(mut pod) = self.pods.get(slot).cloned() else { return false };
        let mut hit = false;
        for container in pod.containers.as_mut_slice() {
            if container.image == image
                && matches!(container.state, State::Failing | State::Waiting)
                && container.hint() != Some(cause)
            {
                container.set_hint(cause);
                hit = true;
            }
        }
        if hit && let Some(before) = self.pods.get(slot).cloned() {
            self.detach(slot, &before);
            if let Some(place) = self.pods.get_mut(slot) {
                *place = pod;
            }
            self.attach(slot, now);
        }
        // A pod that does not fail (any more) has no use for it.
        true
    }
}

/// The text in the first pair of quotes; Go's `%q` escapes what is not plain, and such a name is
/// no image name.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    (!name.is_empty() && !name.contains('\\')).then_some(name)
}
