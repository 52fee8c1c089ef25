//! Who owns a pod: its controller, and the controller's controller.

use std::collections::HashMap;

use super::interner::{Id, Marks, Table};

/// A controller, by the numbers of its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Workload {
    pub(super) kind: Id,
    pub(super) namespace: Id,
    pub(super) name: Id,
}

/// The controllers of pods, and what is known of theirs.
#[derive(Debug, Clone, Default)]
pub(super) struct Workloads {
    table: Table<Workload>,
    /// ReplicaSet to Deployment, Job to CronJob.
    parents: HashMap<Workload, Parent>,
}

#[derive(Debug, Clone, Copy)]
struct Parent {
    workload: Workload,
    /// Whether the list that is being read has shown it.
    seen: bool,
}

impl Workloads {
    pub(super) fn intern(
        &mut self,
        workload: &Workload,
        make: impl FnOnce(&Workload) -> Workload,
    ) -> Id {
        self.table.intern(workload, make)
    }

    /// The controller itself.
    pub(super) fn own(&self, workload: Id) -> Option<Workload> {
        self.table.get(workload).copied()
    }

    /// The uppermost controller that is known.
    pub(super) fn top(&self, workload: Id) -> Option<Workload> {
        Some(self.top_of(*self.table.get(workload)?))
    }

    /// The uppermost controller that is known of this one.
    pub(super) fn top_of(&self, workload: Workload) -> Workload {
        let mut at = workload;
        // A Deployment or a CronJob is two steps up at most; a cycle ends all the same.
        for _ in 0..4 {
            match self.parents.get(&at) {
                Some(parent) => at = parent.workload,
                None => break,
            }
        }
        at
    }

    pub(super) fn set_parent(&mut self, child: Workload, parent: Option<Workload>) {
        match parent {
            Some(workload) => {
                self.parents.insert(child, Parent { workload, seen: true });
            }
            None => {
                self.parents.remove(&child);
            }
        }
    }

    /// A list of this kind starts.
    pub(super) fn begin(&mut self, kind: Id) {
        for (child, parent) in &mut self.parents {
            parent.seen &= child.kind != kind;
        }
    }

    /// The list of this kind is complete: what it did not show is gone.
    pub(super) fn end(&mut self, kind: Id) {
        self.parents.retain(|child, parent| child.kind != kind || parent.seen);
    }

    /// Marks all names in use and forgets workloads without pods.
    pub(super) fn sweep(&mut self, used: &Marks, names: &mut Marks) {
        self.table.sweep(used.as_slice());
        let owners = (0..self.table.bound())
            .filter_map(|at| self.table.get(Id::try_from(at).unwrap_or(Id::MAX)).copied());
        let known = self.parents.iter().flat_map(|(child, parent)| [*child, parent.workload]);
        for workload in owners.chain(known) {
            names.set(workload.kind);
            names.set(workload.namespace);
            names.set(workload.name);
        }
    }

    pub(super) fn bound(&self) -> usize {
        self.table.bound()
    }
}
