//! The API server: what is watched of the cluster, and what is asked of it by name.
//!
//! Watched objects are decoded slim and never kept whole. Secrets are read by name alone, never
//! listed or watched, and nothing of them is logged. Whoever asks by name says until when; a late
//! answer is "unavailable" to them, and serves the next who asks.

mod access;
mod client;
mod named;
mod names;
mod namespaces;
mod nodes;
mod progress;
mod secrets;
mod service_accounts;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::health::{Asker, Freshness};
use crate::review::{AccessSource, ClusterSource, SecretAnswer, ServiceAccountAnswer};
use crate::telemetry::Metrics;
use crate::workload::{NamespaceFacts, Node};

pub use client::{ClusterError, Connection, Place};
pub use progress::{STALE_AFTER, WatchProgress};
pub use watch::WatchTuning;

use access::Accesses;
use namespaces::Namespaces;
use nodes::Nodes;
use secrets::Secrets;
use service_accounts::ServiceAccounts;

/// A watch to run: what it watches, and the task, which never ends by itself.
pub type Watch = (&'static str, BoxFuture<'static, ()>);

/// The cluster as one API server shows it. Cheap to share.
pub struct Cluster {
    connection: Connection,
    tuning: WatchTuning,
    metrics: Arc<Metrics>,
    nodes: Arc<Nodes>,
    namespaces: Arc<Namespaces>,
    secrets: Secrets,
    service_accounts: ServiceAccounts,
    accesses: Accesses,
    progress: Vec<Arc<WatchProgress>>,
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(connection: Connection, tuning: WatchTuning, metrics: Arc<Metrics>) -> Self {
        let progress = [Nodes::RESOURCE, Namespaces::RESOURCE]
            .map(|resource| Arc::new(WatchProgress::new(resource, Arc::clone(&metrics))))
            .to_vec();
        Self {
            secrets: Secrets::new(&connection, &metrics),
            service_accounts: ServiceAccounts::new(&connection, &metrics),
            accesses: Accesses::new(&connection, &metrics),
            connection,
            tuning,
            metrics,
            nodes: Arc::default(),
            namespaces: Arc::default(),
            progress,
        }
    }

    /// The watches, each to be run in a task that is looked after. To be called once.
    pub fn watches(&self) -> Vec<Watch> {
        self.progress
            .iter()
            .filter_map(|progress| {
                let (connection, progress) = (self.connection.clone(), Arc::clone(progress));
                let (resource, tuning) = (progress.resource(), self.tuning);
                let task: BoxFuture<'static, ()> = match resource {
                    Nodes::RESOURCE => {
                        let feed = self.nodes.feed();
                        Box::pin(watch::run(connection, feed, progress, tuning))
                    }
                    Namespaces::RESOURCE => {
                        let feed = self.namespaces.feed();
                        Box::pin(watch::run(connection, feed, progress, tuning))
                    }
                    _ => return None,
                };
                Some((resource, task))
            })
            .collect()
    }

    /// Lists nodes and namespaces once, for callers that do not stay to watch.
    pub async fn look_once(&self, deadline: Instant) -> Result<(), ClusterError> {
        let once = async {
            watch::list(&self.connection, &mut self.nodes.feed(), self.tuning, None).await?;
            watch::list(&self.connection, &mut self.namespaces.feed(), self.tuning, None).await
        };
        match tokio::time::timeout_at(deadline.into(), once).await {
            Ok(listed) => listed.map(|_version| ()).map_err(ClusterError::List),
            Err(_late) => Err(ClusterError::Late),
        }
    }

    /// How far each watch has got.
    pub fn progress(&self) -> &[Arc<WatchProgress>] {
        &self.progress
    }

    /// Whether what was watched may be believed.
    pub fn freshness(&self) -> Freshness {
        progress::freshness(&self.progress)
    }

    /// The metrics that this cluster's calls are counted in.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }
}

impl ClusterSource for Cluster {
    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, SecretAnswer> {
        Box::pin(self.secrets.get(namespace, name, deadline))
    }

    fn service_account<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, ServiceAccountAnswer> {
        Box::pin(self.service_accounts.get(namespace, name, deadline))
    }

    fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        self.namespaces.get(name)
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        Some(self.nodes.all())
    }
}

impl AccessSource for Cluster {
    fn may_list_pods<'a>(
        &'a self,
        asker: &'a Asker,
        namespace: Option<&'a str>,
        deadline: Instant,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.accesses.may_list_pods(asker, namespace, deadline))
    }
}

/// How long one call by name may take, whether or not somebody still waits for it.
const CALL_TIME: Duration = Duration::from_secs(10);
