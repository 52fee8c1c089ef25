//! What is watched of the cluster, or listed once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::WatchError;
use super::progress::WatchProgress;
use super::stores::{ControllerKind, ControllerStore, EventStore, Events, PodStore};
use super::watch::{self, Store};
use super::{Cluster, Watch};

/// Objects that are taken in alike.
#[derive(Debug, Clone, Copy)]
pub(super) enum Objects {
    Nodes,
    Namespaces,
    Pods,
    Controllers(ControllerKind),
    Events(Events),
}

/// Objects that are watched.
pub(super) struct Watched {
    /// The watch's name.
    pub(super) name: &'static str,
    /// Whether nothing may be believed without them; the others only add detail.
    pub(super) needed: bool,
    objects: Objects,
}

const fn needed(name: &'static str, objects: Objects) -> Watched {
    Watched { name, needed: true, objects }
}

const fn detail(name: &'static str, objects: Objects) -> Watched {
    Watched { name, needed: false, objects }
}

/// All that is watched.
pub(super) const WATCHED: [Watched; 14] = [
    needed("nodes", Objects::Nodes),
    needed("namespaces", Objects::Namespaces),
    needed("pods", Objects::Pods),
    needed("replicasets", Objects::Controllers(ControllerKind::REPLICA_SET)),
    needed("jobs", Objects::Controllers(ControllerKind::JOB)),
    detail("events_pod_warnings", Objects::Events(Events::PodWarnings)),
    detail("events_pulled", Objects::Events(Events::Pulled)),
    detail("events_failed_create", Objects::Events(Events::FailedCreate)),
    detail("cronjobs", Objects::Controllers(ControllerKind::CRON_JOB)),
    detail("pipelineruns", Objects::Controllers(ControllerKind::PIPELINE_RUN)),
    detail("taskruns", Objects::Controllers(ControllerKind::TASK_RUN)),
    detail("deployments", Objects::Controllers(ControllerKind::DEPLOYMENT)),
    detail("statefulsets", Objects::Controllers(ControllerKind::STATEFUL_SET)),
    detail("daemonsets", Objects::Controllers(ControllerKind::DAEMON_SET)),
];

impl Cluster {
    /// The watches, each to be run in a task that is looked after. To be called once.
    pub fn watches(&self) -> Vec<Watch> {
        let memory = || self.memory.clone();
        let watches =
            WATCHED.iter().zip(&self.progress).map(|(watched, progress)| match watched.objects {
                Objects::Nodes => self.watch(progress, self.nodes.store(memory())),
                Objects::Namespaces => self.watch(progress, Arc::clone(&self.namespaces)),
                Objects::Pods => self.watch(progress, PodStore(memory())),
                Objects::Controllers(kind) => self.watch(progress, ControllerStore(memory(), kind)),
                Objects::Events(events) => self.watch(progress, EventStore(memory(), events)),
            });
        let maintenance = memory().run_maintenance(self.freshness_now(), Arc::clone(&self.metrics));
        watches.chain([("memory", Box::pin(maintenance) as _)]).collect()
    }

    fn watch(&self, progress: &Arc<WatchProgress>, store: impl Store) -> Watch {
        let (connection, tuning) = (self.connection.clone(), self.tuning);
        let task = watch::run(connection, store, Arc::clone(progress), tuning);
        (progress.resource(), Box::pin(task))
    }

    /// Lists these objects once, in one namespace if it is given.
    pub(super) async fn list(
        &self,
        objects: Objects,
        namespace: Option<&str>,
    ) -> Result<(), WatchError> {
        let memory = self.memory.clone();
        match objects {
            Objects::Nodes => self.take_in(self.nodes.store(memory), namespace).await,
            Objects::Namespaces => self.take_in(Arc::clone(&self.namespaces), namespace).await,
            Objects::Pods => self.take_in(PodStore(memory), namespace).await,
            Objects::Controllers(kind) => {
                self.take_in(ControllerStore(memory, kind), namespace).await
            }
            Objects::Events(events) => self.take_in(EventStore(memory, events), namespace).await,
        }
    }

    async fn take_in(
        &self,
        mut store: impl Store,
        namespace: Option<&str>,
    ) -> Result<(), WatchError> {
        let listed = watch::list(&self.connection, &mut store, self.tuning, namespace, None).await;
        listed.map(|_version| ())
    }

    /// Whether everything that may build is known: by the watches, or by one look.
    pub(super) fn all_builds_are_listed(&self) -> bool {
        let builds = |watched: &Watched| match watched.objects {
            Objects::Pods => true,
            Objects::Controllers(kind) => kind.builds(),
            Objects::Nodes | Objects::Namespaces | Objects::Events(_) => false,
        };
        let mut watched = WATCHED.iter().zip(&self.progress).filter(|(one, _)| builds(one));
        self.builds_listed.load(Ordering::Acquire) || watched.all(|(_, one)| one.is_synced())
    }
}
