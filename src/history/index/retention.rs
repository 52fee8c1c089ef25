//! What passes with time: registries are judged, images forgotten, names swept; and whose pods had an
//! image before they went, since a scope outlives its pods.

use std::collections::HashSet;

use jiff::Timestamp;

use super::interner::Visible;
use super::interner::{Id, Marks, NONE};
use super::record::{PodName, PodRecord, Seconds, State, seconds, timestamp};
use super::registries::{MAX_LOOKED_AT, SAMPLED, Spread, TroubleKind};
use super::workloads::Workload;
use super::{HealthIndex, pods};
use crate::history::report::RememberedLine;

/// How often unused names are swept out, in seconds.
const SWEEP: Seconds = 3600;

impl HealthIndex {
    /// To be called every few seconds: judges registries and the score, forgets what is old.
    pub fn tick(&mut self, now: Timestamp) {
        let now = seconds(now);
        let registries: Vec<Id> = self.images.registries().map(|(id, _)| id).collect();
        for id in registries {
            let trouble = self.images.registry(id).is_some_and(|registry| {
                registry.trouble.is_some() || registry.changed || registry.failing > 0
            });
            if trouble {
                self.judge(id, now);
            }
            if let Some(registry) = self.images.registry_mut(id) {
                registry.sample(now);
            }
        }
        self.score.tick(now);
        if now >= self.swept.saturating_add(SWEEP) {
            self.swept = now;
            self.forget_old(now);
            self.refusals.forget_old(now);
            self.sweep();
        }
    }

    /// Everything was listed once, at a time that stands still: registries are judged, and how many
    /// failed a quarter of an hour ago is taken from since when each of them fails. What has
    /// recovered meanwhile is not known then.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let then = seconds(now).saturating_sub(SAMPLED);
        let registries: Vec<Id> = self.images.registries().map(|(id, _)| id).collect();
        for id in registries {
            let before = self.failing_since(id, then);
            if let Some(registry) = self.images.registry_mut(id) {
                registry.sampled_before(then, before);
            }
        }
        self.judge_afresh(Timestamp::UNIX_EPOCH, now);
        self.tick(now);
    }

    /// A list is complete that began at `since`: what was judged while only a part of it was known
    /// counts as never judged, since a registry that is in trouble stays so longer than it would
    /// take to get there.
    pub(crate) fn judge_afresh(&mut self, since: Timestamp, now: Timestamp) {
        let (since, now) = (seconds(since), seconds(now));
        let registries: Vec<Id> = self.images.registries().map(|(id, _)| id).collect();
        for id in registries {
            if let Some(registry) = self.images.registry_mut(id) {
                registry.trouble = registry.trouble.filter(|trouble| trouble.since < since);
            }
            self.judge(id, now);
        }
    }

    /// Containers of a registry that fail now and did so at this time already.
    fn failing_since(&self, id: Id, then: Seconds) -> u32 {
        let Some(registry) = self.images.registry(id) else { return 0 };
        let pods = registry.failing_pods.keys().filter_map(|slot| self.pods.get(*slot));
        let failing = pods.flat_map(|pod| pod.containers.as_slice()).filter(|container| {
            container.state == State::Failing
                && container.at <= then
                && self.images.registry_of(container.image) == Some(id)
        });
        u32::try_from(failing.count()).unwrap_or(u32::MAX)
    }

    /// Judges the registries in which something changed, each at most once a second.
    pub(super) fn judge_due(&mut self, now: Seconds) {
        if now <= self.judged {
            return;
        }
        self.judged = now;
        // Names that come and go fast must not wait for the hourly round.
        if self.images.len() > self.limits.images.saturating_add(self.limits.images / 4) {
            self.forget_old(now);
        }
        let due: Vec<Id> = self
            .images
            .registries()
            .filter(|(_, registry)| registry.is_due(now))
            .map(|(id, _)| id)
            .collect();
        for id in due {
            self.judge(id, now);
        }
    }

    fn judge(&mut self, id: Id, now: Seconds) {
        let kinds = self.spread(id);
        let nodes = self.nodes.len();
        if let Some(registry) = self.images.registry_mut(id) {
            registry.judge(&kinds, nodes, now);
        }
    }

    /// How widespread the failures of a registry are, by kind of trouble.
    pub(super) fn spread(&self, id: Id) -> Vec<(TroubleKind, Spread)> {
        let Some(registry) = self.images.registry(id) else { return Vec::new() };
        if registry.failing == 0 {
            return Vec::new();
        }
        let mut seen: [Sets; 3] = Default::default();
        for slot in registry.failing_pods.keys().take(MAX_LOOKED_AT) {
            self.look_at(*slot, id, &mut seen);
        }
        [TroubleKind::Outage, TroubleKind::Limit, TroubleKind::Login]
            .into_iter()
            .zip(seen)
            .map(|(kind, sets)| (kind, sets.spread()))
            .filter(|(_, spread)| spread.containers > 0)
            .collect()
    }

    fn look_at(&self, slot: pods::Slot, registry: Id, seen: &mut [Sets; 3]) {
        let Some(pod) = self.pods.get(slot) else { return };
        for container in pod.containers.as_slice() {
            if container.state != State::Failing {
                continue;
            }
            let Some(kind) = container.cause().and_then(TroubleKind::of) else { continue };
            let Some(image) = self.images.get(container.image) else { continue };
            let Some(repository) = self.images.repository(image.repository) else { continue };
            if repository.registry != registry {
                continue;
            }
            let sets = &mut seen[kind as usize];
            sets.containers += 1;
            sets.namespaces.insert(pod.namespace);
            if pod.node != NONE {
                sets.nodes.insert(pod.node);
            }
            if sets.repositories.insert(image.repository)
                && repository.images.iter().any(|image| {
                    self.images.get(*image).is_some_and(|image| image.last_success() > 0)
                })
            {
                sets.proven += 1;
            }
        }
    }

    /// Forgets images of which nothing was heard for the retention, and the oldest beyond the
    /// bound: first those that never ran, since whoever writes an Event can name any. Those with pods
    /// stay.
    pub(super) fn forget_old(&mut self, now: Seconds) {
        let retention = self.retention();
        let mut idle: Vec<(bool, Seconds, Id)> = self
            .images
            .iter()
            .filter(|(_, image)| image.pods.is_empty())
            .map(|(id, image)| (image.last_success() > 0, image.heard, id))
            .collect();
        idle.sort_unstable();
        let excess = self.images.len().saturating_sub(self.limits.images);
        let gone: Vec<Id> = idle
            .into_iter()
            .enumerate()
            .filter(|(nth, (_, heard, _))| *nth < excess || heard.saturating_add(retention) < now)
            .map(|(_, (_, _, id))| id)
            .collect();
        self.pending.forget_images(&gone);
        self.images.forget(&gone);
    }

    /// Forgets names, digests and workloads that nothing uses any more.
    pub(super) fn sweep(&mut self) {
        let mut names = Marks::new(self.names.bound());
        let mut workloads = Marks::new(self.workloads.bound());
        let mut digests = Marks::new(self.digests.0.bound());
        let mut uses = Marks::new(self.uses.bound());
        for (_, pod) in self.pods.iter() {
            names.set(pod.namespace);
            names.set(pod.node);
            workloads.set(pod.workload);
            uses.set(pod.used);
            if let PodName::Whole(name) = pod.name {
                names.set(name);
            }
            for container in pod.containers.as_slice() {
                digests.set(container.digest);
            }
        }
        for (_, image) in self.images.iter() {
            digests.set(image.started_digest);
            image.digests.iter().for_each(|used| digests.set(used.digest));
            image.gone.iter().for_each(|gone| gone.mark(&mut names));
            image.times.iter().flat_map(|times| times.nodes()).for_each(|node| names.set(node));
        }
        self.nodes.ids().for_each(|node| names.set(node));
        self.refusals.mark(&mut names);
        self.workloads.sweep(&workloads, &mut names);
        self.uses.sweep(uses.as_slice());
        self.uses.values().for_each(|used| used.mark(&mut names));
        self.names.sweep(names.as_slice());
        self.digests.0.sweep(digests.as_slice());
    }
}

/// Whom one kind of trouble meets.
#[derive(Default)]
struct Sets {
    containers: u32,
    proven: usize,
    repositories: HashSet<Id>,
    namespaces: HashSet<Id>,
    nodes: HashSet<Id>,
}

impl Sets {
    fn spread(&self) -> Spread {
        Spread {
            containers: self.containers,
            repositories: self.repositories.len(),
            proven_repositories: self.proven,
            namespaces: self.namespaces.len(),
            nodes: self.nodes.len(),
        }
    }
}

/// Workloads that are remembered of one image; the one that went first is forgotten first.
pub(super) const MAX_LINES: usize = 4;

/// A workload that had an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeletedWorkload {
    workload: Workload,
    /// When its last pod with the image went.
    pub(super) at: Seconds,
    /// Whether that pod had the image, or could not get it.
    pub(super) ran: bool,
}

impl DeletedWorkload {
    pub(super) fn namespace(&self) -> Id {
        self.workload.namespace
    }

    pub(super) fn mark(&self, names: &mut Marks) {
        names.set(self.workload.kind);
        names.set(self.workload.namespace);
        names.set(self.workload.name);
    }
}

/// The same for a file: kind, namespace and name, when, and whether it had the image.
pub(super) type GoneLine = (String, String, String, Seconds, bool);

impl HealthIndex {
    /// Whose pods had this image and are gone.
    pub(super) fn gone_lines(&self, gone: &[DeletedWorkload]) -> Vec<GoneLine> {
        let text = |id| self.text(id).to_owned();
        gone.iter()
            .map(|DeletedWorkload { workload, at, ran }| {
                let Workload { kind, namespace, name } = *workload;
                (text(kind), text(namespace), text(name), *at, *ran)
            })
            .collect()
    }

    /// Adds what a file remembers; what has happened since it was written holds.
    pub(super) fn restore_gone(&mut self, image: Id, lines: Vec<GoneLine>, now: Seconds) {
        for (kind, namespace, name, at, ran) in lines {
            let mut intern = |text: &str| self.names.name(text);
            let (kind, namespace) = (intern(&kind), intern(&namespace));
            let workload = Workload { kind, namespace, name: intern(&name) };
            let Some(image) = self.images.get_mut(image) else { return };
            if image.gone.iter().all(|known| known.workload != workload) {
                image.gone.push(DeletedWorkload { workload, at: at.min(now), ran });
            }
        }
        if let Some(image) = self.images.get_mut(image) {
            image.gone.sort_by_key(|gone| gone.at);
            let beyond = image.gone.len().saturating_sub(MAX_LINES);
            image.gone.drain(..beyond);
        }
    }

    /// Notes whose a pod was that goes now.
    pub(super) fn remember_owner(&mut self, pod: &PodRecord, now: Seconds) {
        let owner = (pod.workload != NONE).then(|| self.workloads.top(pod.workload)).flatten();
        let workload = match (owner, pod.name) {
            (Some(workload), _) => workload,
            (None, PodName::Whole(name)) => {
                let kind = self.names.name("Pod");
                Workload { kind, namespace: pod.namespace, name }
            }
            (None, PodName::Suffix(..)) => return,
        };
        for container in pod.containers.as_slice() {
            let ran = match container.state {
                State::Running | State::Crashing | State::Done => true,
                State::Failing => false,
                State::Waiting => continue,
            };
            let Some(image) = self.images.get_mut(container.image) else { continue };
            image.gone.retain(|known| known.workload != workload);
            if image.gone.len() >= MAX_LINES {
                image.gone.remove(0);
            }
            image.gone.push(DeletedWorkload { workload, at: now, ran });
        }
    }

    /// Whose pods had these images and are gone, the latest first; without those that have pods
    /// now.
    pub(super) fn remembered(&self, images: &[Id], visible: &Visible) -> Vec<RememberedLine> {
        let known = images.iter().filter_map(|image| self.images.get(*image));
        let mut gone: Vec<DeletedWorkload> = known
            .flat_map(|image| image.gone.iter().copied())
            .filter(|gone| visible.includes(gone.workload.namespace))
            .collect();
        gone.sort_by_key(|gone| std::cmp::Reverse(gone.at));
        let mut lines: Vec<RememberedLine> = Vec::new();
        for gone in gone {
            let line = RememberedLine {
                kind: self.text(gone.workload.kind).to_owned(),
                namespace: self.text(gone.workload.namespace).to_owned(),
                name: self.text(gone.workload.name).to_owned(),
                last: timestamp(gone.at),
                ran: gone.ran,
            };
            let same = |other: &RememberedLine| {
                (&other.kind, &other.namespace, &other.name)
                    == (&line.kind, &line.namespace, &line.name)
            };
            if !lines.iter().any(same) {
                lines.push(line);
            }
        }
        lines
    }
}
