//! Whose pods had an image before they went: a scope that outlives its pods.

use super::HealthIndex;
use super::interner::{Id, Marks, NONE};
use super::record::{PodName, PodRecord, Seconds, State, timestamp};
use super::seen::Visible;
use super::workloads::Workload;
use crate::history::report::RememberedLine;

/// Workloads that are remembered of one image; the one that went first is forgotten first.
pub(super) const MAX: usize = 4;

/// A workload that had an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone {
    workload: Workload,
    /// When its last pod with the image went.
    pub(super) at: Seconds,
    /// Whether that pod had the image, or could not get it.
    pub(super) ran: bool,
}

impl Gone {
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
    pub(super) fn gone_lines(&self, gone: &[Gone]) -> Vec<GoneLine> {
        let text = |id| self.text(id).to_owned();
        gone.iter()
            .map(|Gone { workload, at, ran }| {
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
                image.gone.push(Gone { workload, at: at.min(now), ran });
            }
        }
        if let Some(image) = self.images.get_mut(image) {
            image.gone.sort_by_key(|gone| gone.at);
            let beyond = image.gone.len().saturating_sub(MAX);
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
            if image.gone.len() >= MAX {
                image.gone.remove(0);
            }
            image.gone.push(Gone { workload, at: now, ran });
        }
    }

    /// Whose pods had these images and are gone, the latest first; without those that have pods
    /// now.
    pub(super) fn remembered(&self, images: &[Id], visible: &Visible) -> Vec<RememberedLine> {
        let known = images.iter().filter_map(|image| self.images.get(*image));
        let mut gone: Vec<Gone> = known
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
