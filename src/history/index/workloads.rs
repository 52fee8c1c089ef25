//! Who owns a pod: its controller, and the controller's controller.

use std::collections::HashMap;

use super::interner::{Id, Marks, Table};
use super::{OwnerKind, Seconds};
use crate::kube_views::{Listed, Uid};

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
    /// When ReplicaSets and Jobs were created.
    created: HashMap<Uid, (OwnerKind, Seconds)>,
}

#[derive(Debug, Clone, Copy)]
struct Parent {
    workload: Workload,
    /// Of the child.
    uid: Uid,
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

    /// A ReplicaSet or Job was listed, added or changed.
    pub(super) fn apply(
        &mut self,
        uid: Uid,
        kind: OwnerKind,
        created: Option<Seconds>,
        child: Workload,
        parent: Option<Workload>,
    ) {
        self.created.extend(created.map(|created| (uid, (kind, created))));
        match parent {
            Some(workload) => self.parents.insert(child, Parent { workload, uid }),
            None => self.parents.remove(&child),
        };
    }

    /// A ReplicaSet or Job is gone.
    pub(super) fn delete(&mut self, uid: Uid, child: Workload) {
        self.created.remove(&uid);
        self.parents.remove(&child);
    }

    /// Of this kind, which has this name, no others are left than those that were listed.
    pub(super) fn retain(&mut self, kind: OwnerKind, name: Id, listed: &Listed) {
        self.created.retain(|uid, (one, _)| *one != kind || listed.contains(*uid));
        self.parents.retain(|child, parent| child.kind != name || listed.contains(parent.uid));
    }

    /// When the controller of this kind and uid was created.
    pub(super) fn created(&self, kind: OwnerKind, uid: Uid) -> Option<Seconds> {
        self.created.get(&uid).filter(|(one, _)| *one == kind).map(|(_, created)| *created)
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
