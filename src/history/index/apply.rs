//! From an observed pod to its record, and in and out of all counts.

use super::interner::{Id, NONE};
use super::pods::Slot;
use super::record::{ContainerRecord, Containers, PodName, PodRecord, Seconds, State, seconds};
use super::workloads::Workload;
use super::{Digests, HealthIndex};
use crate::failure::classify;
use crate::image::ImageReference;
use crate::kube_views::{ContainerStatusView, ContainerView, PodView, Uid, controller};
use crate::pull::Cause;

/// Waiting reasons of a container that has its image.
const HAS_IMAGE: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "PostStartHookError",
];
/// Waiting reasons that say nothing.
const STARTING: &[&str] = &["ContainerCreating", "PodInitializing"];
/// Most containers of a pod that are looked at.
const MAX_CONTAINERS: usize = 64;

impl HealthIndex {
    /// The record of a pod, with everything that it names put into the tables.
    pub(super) fn record(&mut self, pod: &PodView, uid: Uid, now: Seconds) -> PodRecord {
        let namespace_name = pod.metadata.namespace.as_deref().unwrap_or_default();
        let namespace = self.names.name(namespace_name);
        let node = match pod.spec.node_name.as_deref() {
            Some(node) if !node.is_empty() => self.names.name(node),
            _ => NONE,
        };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let owner = controller(&pod.metadata);
        let workload = owner.map_or(NONE, |owner| {
            let workload = Workload {
                kind: self.names.name(owner.kind.as_str()),
                namespace,
                name: self.names.name(owner.name.as_str()),
            };
            self.workloads.intern(&workload, |workload| *workload)
        });
        let name = owner
            .and_then(|owner| PodName::suffix_of(name, &owner.name))
            .unwrap_or_else(|| PodName::Whole(self.names.name(name)));
        let mut list = Vec::with_capacity(2);
        let kinds = [
            (&pod.spec.containers, &pod.status.container_statuses),
            (&pod.spec.init_containers, &pod.status.init_container_statuses),
            (&pod.spec.ephemeral_containers, &pod.status.ephemeral_container_statuses),
        ];
        for (containers, statuses) in kinds {
            for container in containers.iter().take(MAX_CONTAINERS.saturating_sub(list.len())) {
                let status = statuses.iter().find(|status| status.name == container.name);
                list.push(self.container(pod, container, status, now));
            }
        }
        self.add_volumes(&mut list, pod, now);
        PodRecord {
            uid,
            namespace,
            node,
            workload,
            name,
            containers: Containers::new(&list),
            used: self.use_of(pod, namespace),
            without_secrets: pod.spec.image_pull_secrets.is_empty(),
        }
    }

    /// The images of volumes. The kubelet says nothing of them, but no container starts before all
    /// of them are there.
    fn add_volumes(&mut self, list: &mut Vec<ContainerRecord>, pod: &PodView, now: Seconds) {
        let ran = |record: &&ContainerRecord| {
            matches!(record.state, State::Running | State::Crashing | State::Done)
        };
        let first_start = list.iter().filter(ran).map(|record| record.at).min();
        let images = pod.spec.volumes.iter().filter_map(|volume| volume.image.as_ref());
        for volume in images.take(MAX_CONTAINERS.saturating_sub(list.len())) {
            let image = self.images.intern(&volume.reference, now);
            let state = if first_start.is_some() { State::Done } else { State::Waiting };
            let mut record = ContainerRecord::new(image, state, first_start.unwrap_or(now));
            record.set_always(volume.pull_policy.as_deref() == Some("Always"));
            list.push(record);
        }
    }

    fn container(
        &mut self,
        pod: &PodView,
        container: &ContainerView,
        status: Option<&ContainerStatusView>,
        now: Seconds,
    ) -> ContainerRecord {
        let image = self.images.intern(&container.image, now);
        let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| seconds(time.0));
        let mut record = ContainerRecord::new(image, State::Waiting, created);
        record.set_always(container.image_pull_policy.as_deref() == Some("Always"));
        let Some(status) = status else { return record };
        record.digest = intern_digest(&mut self.digests, &status.image_id);
        record.set_own_digest(self.is_own(image, &status.image_id));
        let ended = status.last_state.terminated.as_ref();
        if let Some(running) = &status.state.running {
            record.state = State::Running;
            record.at = running.started_at.map_or(created, seconds);
        } else if status.state.terminated.is_some() {
            match last_start(status) {
                Some(at) => {
                    record.state = State::Done;
                    record.at = if at == 0 { created } else { at };
                }
                None => record.digest = NONE,
            }
        } else if let Some(waiting) = &status.state.waiting {
            let reason = waiting.reason.as_deref().unwrap_or_default();
            if HAS_IMAGE.contains(&reason) {
                record.state = State::Crashing;
                record.at = ended.and_then(|ended| ended.started_at).map_or(created, seconds);
            } else if !reason.is_empty() && !STARTING.contains(&reason) {
                let message = waiting.message.as_deref().unwrap_or_default();
                let cause = classify(Some(reason), message).cause;
                if cause != Cause::NotAnImageFailure {
                    record.state = State::Failing;
                    record.at = ended.and_then(|ended| ended.finished_at).map_or(created, seconds);
                    record.set_cause(cause);
                    // What `imageID` says then is of an earlier run.
                    record.digest = NONE;
                }
            }
        }
        record
    }

    /// Whether an `imageID` names the image's own repository.
    fn is_own(&self, image: Id, image_id: &str) -> bool {
        let Some((name, _)) = image_id.rsplit_once('@') else { return false };
        let Some(known) = self.images.get(image) else { return false };
        let wanted = known.reference.name();
        name == wanted || ImageReference::parse(name).is_ok_and(|name| name.name() == wanted)
    }

    /// Puts a pod in, or in the place of what was known of it.
    pub(super) fn put(&mut self, mut record: PodRecord, now: Seconds) -> Slot {
        let known = self.pods.slot(&record.uid);
        if let Some(slot) = known
            && let Some(before) = self.pods.get(slot).cloned()
        {
            self.detach(slot, &before);
            inherit(&mut record, &before);
            if let Some(place) = self.pods.get_mut(slot) {
                *place = record;
            }
            self.attach(slot, now);
            self.count_starts(slot, before.containers.as_slice());
            return slot;
        }
        let slot = self.pods.insert(record);
        self.attach(slot, now);
        self.count_starts(slot, &[]);
        slot
    }

    /// Counts a pod in everywhere.
    pub(super) fn attach(&mut self, slot: Slot, now: Seconds) {
        let Some(pod) = self.pods.get_mut(slot) else { return };
        if let Some(used) = self.uses.get(pod.used) {
            self.pull_secrets.add(used);
        }
        let namespace = pod.namespace;
        for container in pod.containers.as_mut_slice() {
            let Some(image) = self.images.get_mut(container.image) else { continue };
            container.place = u32::try_from(image.pods.len()).unwrap_or(u32::MAX);
            image.push_pod(slot);
            image.add(namespace, container);
            image.heard = image.heard.max(now);
            let ran = matches!(container.state, State::Running | State::Done);
            if ran && container.at >= image.started {
                image.started = container.at;
                if container.digest != NONE {
                    image.started_digest = container.digest;
                }
            }
            if ran && container.always() {
                image.pulled = image.pulled.max(container.at);
            }
            let cause = container.cause();
            if let Some(cause) = cause {
                image.failed = Some((now, cause));
            }
            let Some(registry) = self
                .images
                .registry_of(container.image)
                .and_then(|registry| self.images.registry_mut(registry))
            else {
                continue;
            };
            match (container.state, cause) {
                (State::Running | State::Crashing, _) => {
                    registry.add_healthy(namespace);
                }
                (_, Some(cause)) => registry.add_failing(slot, namespace, cause),
                _ => {}
            }
        }
    }

    /// With the policy `Always` every start asked the registry: counts those that are new.
    fn count_starts(&mut self, slot: Slot, before: &[ContainerRecord]) {
        let Some(pod) = self.pods.get(slot) else { return };
        let (uid, without_secrets) = (pod.uid, pod.without_secrets);
        let namespace = self.names.get(pod.namespace).cloned();
        let mut pulled = Vec::new();
        let ran = |state| matches!(state, State::Running | State::Done);
        for container in pod.containers.as_slice().iter().filter(|c| c.always() && ran(c.state)) {
            let known = before.iter().any(|old| {
                old.image == container.image && old.at == container.at && ran(old.state)
            });
            if !known {
                pulled.push((container.image, container.at));
            }
            if !known && let Some((registry, repository)) = self.images.owners_of(container.image) {
                registry.count_pull(container.at);
                if let Some(namespace) = namespace.as_deref().filter(|_| without_secrets) {
                    registry.secretless.add(repository, namespace, container.at);
                }
            }
        }
        if self.score.watches_denied() {
            for (image, at) in pulled {
                self.score_pull_for(uid, image, at);
            }
        }
    }

    /// Counts a pod out everywhere.
    pub(super) fn detach(&mut self, slot: Slot, pod: &PodRecord) {
        if let Some(used) = self.uses.get(pod.used) {
            self.pull_secrets.subtract(used);
        }
        let containers = pod.containers.as_slice();
        for container in containers {
            let registry = self.images.registry_of(container.image);
            let Some(image) = self.images.get_mut(container.image) else { continue };
            image.subtract(pod.namespace, container);
            // An image that stands twice in one pod has moved places with itself.
            let place = image
                .pods
                .get(container.place as usize)
                .filter(|at| **at == slot)
                .map(|_| container.place as usize)
                .or_else(|| image.pods.iter().position(|at| *at == slot));
            if let Some(place) = place {
                image.pods.swap_remove(place);
                let moved = image.pods.get(place).copied();
                let from = image.pods.len();
                if let Some(moved) = moved {
                    self.move_place(moved, container.image, from, place, slot);
                }
            }
            let Some(registry) = registry.and_then(|registry| self.images.registry_mut(registry))
            else {
                continue;
            };
            match (container.state, container.cause()) {
                (State::Running | State::Crashing, _) => {
                    registry.subtract_healthy(pod.namespace);
                }
                (_, Some(cause)) => registry.subtract_failing(slot, pod.namespace, cause),
                _ => {}
            }
        }
    }

    /// The last entry of an image's list has moved to `to`: tells the container that it is.
    fn move_place(&mut self, pod: Slot, image: Id, from: usize, to: usize, gone: Slot) {
        if pod == gone {
            return;
        }
        let Some(record) = self.pods.get_mut(pod) else { return };
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        for container in record.containers.as_mut_slice() {
            if container.image == image && container.place == from {
                container.place = u32::try_from(to).unwrap_or(u32::MAX);
                return;
            }
        }
    }

    /// Takes a pod out.
    pub(super) fn take(&mut self, slot: Slot) -> Option<PodRecord> {
        let record = self.pods.get(slot)?.clone();
        self.detach(slot, &record);
        self.pods.remove(slot)
    }
}

/// The same containers of the same pod keep what was known of them.
fn inherit(record: &mut PodRecord, before: &PodRecord) {
    let old = before.containers.as_slice();
    for (container, old) in record.containers.as_mut_slice().iter_mut().zip(old) {
        if container.image == old.image {
            container.inherit(old);
        }
    }
}

/// When a container that has ended was last started; nothing if it never was.
///
/// A kubelet also writes `terminated` for a container that it never started: its pod was deleted
/// or evicted before the image came, its node was lost, an earlier init container failed
/// (`ContainerStatusUnknown`, exit code 137; `convertToAPIContainerStatuses` in
/// `pkg/kubelet/kubelet_pods.go`). Such a state has no `startedAt`, and without an earlier run no
/// `imageID`. A runtime that created the container and could not start it gives 1970.
fn last_start(status: &ContainerStatusView) -> Option<Seconds> {
    if status.image_id.is_empty() {
        return None;
    }
    let ended = [&status.state, &status.last_state];
    ended.into_iter().find_map(|state| state.terminated.as_ref()?.started_at).map(seconds)
}

/// The digest in an `imageID`, where it is one of a manifest: behind an `@`.
fn intern_digest(digests: &mut Digests, image_id: &str) -> Id {
    let Some((_, digest)) = image_id.rsplit_once('@') else { return NONE };
    digests.intern(digest)
}

/// The uid of a pod; nothing if it has none.
pub(super) fn uid_of(pod: &PodView) -> Option<Uid> {
    pod.metadata.uid.as_deref().filter(|uid| !uid.is_empty()).map(Uid::of)
}
