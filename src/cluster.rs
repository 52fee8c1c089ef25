//! The API server: what is watched of the cluster, and what is asked of it by name.
//!
//! Watched objects are decoded slim and never kept whole. Secrets are read by name alone, never
//! listed or watched, and nothing of them is logged. Whoever asks by name says until when; a late
//! answer is "unavailable" to them, and serves the next who asks.

mod access;
mod by_name;
mod client;
mod error;
mod events;
mod stores;
mod get;
mod health;
mod namespaces;
mod related;
mod reports;
mod rewriters;
mod pullers;
mod nodes;
mod overview;
mod owners;
mod pages;
mod policies;
mod refused_pods;
mod serve_history;
mod progress;
mod settings;
mod seen_pods;
mod list_once;
mod shared_index;
mod templates;
mod dry_run;
mod watched;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use futures::future::BoxFuture;
use ipnet::IpNet;
use jiff::Timestamp;

use crate::builds::BuildJob;
use crate::credential::PullSecret;
use crate::history::{
    Freshness, History, HistoryQuestion, KnownTag, Limits, PodTrouble, PodVerdicts, PullForecast,
    RegistryService, RememberedHistory, ReportTarget, SelectingNetworkPolicy, Visibility,
    VisibleHistory,
};
use crate::image::ImageReference;
use crate::review::{
    AccessSource, ClusterSource, Fetched, HealthSource, ImageUse, ObjectQuery, SeenPod,
    ServiceAccountFacts, WorkloadEvent,
};
use crate::telemetry::Metrics;
use crate::user::UserInfo;
use crate::workload::{NamespaceFacts, Node, ObjectRef, Placement, RuntimeClass};

pub(crate) use access::IdentityError;
pub(crate) use client::read_kubeconfig;
pub use client::{ClusterTarget, Connection};
pub(crate) use dry_run::{TriedOut, try_out};
pub use error::{ApiError, ClusterError};
pub use list_once::Survey;
pub(crate) use list_once::read_object;
pub use pages::WatchTuning;
pub(crate) use policies::{KeptPolicy, ListedPolicy, PolicyNews, PolicySource, list_policies};
pub use progress::WatchProgress;
pub(crate) use refused_pods::RefusedPods;
pub use reports::ReportKind;
pub(crate) use reports::ReportWriter;
pub use serve_history::{ServeHistory, remembered};

use access::Accesses;
use by_name::ByName;
use events::EventWriter;
use namespaces::Namespaces;
use nodes::Nodes;
use related::RelatedObjects;
use rewriters::Rewriters;
use seen_pods::SeenPods;
use shared_index::SharedIndex;
use watched::{WATCHED, Watched};

/// A watch to run: what it watches, and the task, which never ends by itself.
pub type Watch = (&'static str, BoxFuture<'static, ()>);

/// The cluster as one API server shows it. Cheap to share.
pub struct Cluster {
    connection: Connection,
    tuning: WatchTuning,
    metrics: Arc<Metrics>,
    nodes: Arc<Nodes>,
    namespaces: Arc<Namespaces>,
    by_name: ByName,
    accesses: Accesses,
    related: RelatedObjects,
    rewriters: Rewriters,
    events: EventWriter,
    memory: SharedIndex,
    seen_pods: SeenPods,
    /// Whether what an earlier process remembered is still being looked for.
    recalling: Arc<AtomicBool>,
    /// Whether everything that may build was listed once, by who does not watch.
    builds_listed: AtomicBool,
    /// Whether everything was listed once, by who does not watch.
    surveyed: Arc<AtomicBool>,
    progress: [Arc<WatchProgress>; WATCHED.len()],
}

impl Cluster {
    /// A cluster of which nothing is known yet.
    pub fn new(connection: Connection, tuning: WatchTuning, metrics: &Arc<Metrics>) -> Self {
        Self::within(Limits::default(), connection, tuning, metrics)
    }

    /// The same, with bounds to what is remembered.
    pub fn within(
        limits: Limits,
        connection: Connection,
        tuning: WatchTuning,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let progress = WATCHED.map(|Watched { name, needed, .. }| {
            Arc::new(WatchProgress::new(name, needed, Arc::clone(metrics)))
        });
        Self {
            by_name: ByName::new(&connection, metrics),
            accesses: Accesses::new(&connection, metrics),
            related: RelatedObjects::new(&connection, metrics),
            rewriters: Rewriters::new(&connection, metrics),
            events: EventWriter::new(&connection, metrics),
            connection,
            tuning,
            metrics: Arc::clone(metrics),
            nodes: Arc::default(),
            namespaces: Arc::default(),
            memory: SharedIndex::new(limits),
            seen_pods: SeenPods::default(),
            recalling: Arc::default(),
            builds_listed: AtomicBool::default(),
            surveyed: Arc::default(),
            progress,
        }
    }

    /// Writes an Event about a workload; what cannot be written is counted and left.
    pub(crate) async fn write_event(&self, event: &WorkloadEvent, now: Timestamp) {
        self.events.write(event, now).await;
    }

    /// The images that pods use now and that have run here, with the pull secrets that they name.
    pub fn in_use(&self) -> Vec<ImageUse> {
        let used = self.memory.lock().index.images_in_use();
        used.into_iter()
            .map(|used| ImageUse {
                image: used.image.as_ref().into(),
                namespace: used.namespace.as_ref().into(),
                pull_secrets: used.pull_secrets.iter().map(|name| name.as_ref().into()).collect(),
                service_account: None,
                placement: Placement::not_yet_known(),
                loaded: used.loaded,
            })
            .collect()
    }

    /// The images that templates without pods will have theirs pull.
    pub fn resting(&self) -> Vec<ImageUse> {
        let memory = self.memory.lock();
        let mut uses = memory.templates.uses();
        for used in &mut uses {
            used.loaded = memory.index.was_loaded(&used.image);
        }
        uses
    }

    /// The kinds of `OpenShift`'s objects that give nodes mirrors, as far as there are any.
    pub async fn mirror_sets(&self) -> Vec<&'static str> {
        settings::mirror_sets(&self.connection).await
    }

    /// The addresses that the cluster gives to its Services: none where it does not tell, nothing
    /// where it could not be asked.
    pub(crate) async fn service_ranges(&self) -> Option<Vec<IpNet>> {
        settings::service_ranges(&self.connection).await
    }

    /// The addresses of the nodes' pods; nothing while the nodes are not known.
    pub(crate) fn pod_ranges(&self) -> Option<Vec<IpNet>> {
        self.nodes().map(|nodes| settings::pod_ranges(&nodes))
    }

    /// Which of these programs runs here, given as part of a repository's path with a name for it.
    pub(crate) fn running_programs(
        &self,
        programs: &[(&'static str, &'static str)],
    ) -> Vec<&'static str> {
        self.memory.lock().index.running_programs(programs)
    }

    /// Whether containers run images of this registry.
    pub(crate) fn runs_images_of(&self, host: &str) -> bool {
        let host = crate::image::registry_of_host(host);
        self.memory.lock().index.registry_health(host, Timestamp::UNIX_EPOCH).healthy > 0
    }

    /// The next image that pods got without a pull secret and of which it is not known whether
    /// anybody may have it.
    pub(crate) fn next_secretless(&self, now: Timestamp) -> Option<ImageReference> {
        self.memory.lock().index.next_secretless(now)
    }

    /// Whether it was refused to who does not log in.
    pub(crate) fn note_anonymous(&self, asked: &ImageReference, refused: bool, now: Timestamp) {
        self.memory.lock().index.note_anonymous(asked, refused, now);
    }

    /// The network policies that select the pods behind a Service; nothing if they could not be read.
    pub(crate) async fn network_policies(
        &self,
        namespace: &str,
        service: &str,
        deadline: Instant,
    ) -> Option<Vec<SelectingNetworkPolicy>> {
        self.related.network_policies(namespace, service, deadline).await
    }

    /// How far each watch has got.
    pub fn progress(&self) -> &[Arc<WatchProgress>] {
        &self.progress
    }
}

impl ClusterSource for Cluster {
    fn pull_secret<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        Box::pin(self.by_name.pull_secret(wanted, deadline))
    }

    fn list_pull_secrets<'a>(
        &'a self,
        namespace: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Box<str>>> {
        Box::pin(self.by_name.pull_secret_names(namespace, deadline))
    }

    fn service_account<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        Box::pin(self.by_name.service_account(wanted, deadline))
    }

    fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        self.namespaces.get(name)
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        Some(self.nodes.all())
    }

    fn pods_are_rewritten(&self, deadline: Instant) -> BoxFuture<'_, Option<bool>> {
        Box::pin(self.rewriters.exist(deadline))
    }

    fn runtime_class<'a>(
        &'a self,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<RuntimeClass>> {
        Box::pin(self.by_name.runtime_class(name, deadline))
    }

    fn registry_service<'a>(
        &'a self,
        host: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<RegistryService>> {
        let nodes = self.nodes.all();
        let is_node = move |name: &str| {
            let mut all = nodes.iter();
            all.any(|node| &*node.name == name || node.addresses.iter().any(|one| **one == *name))
        };
        Box::pin(self.related.service(host, is_node, deadline))
    }

    fn build_jobs(&self, image: &ImageReference) -> Vec<BuildJob> {
        self.memory.lock().builds.of(image)
    }

    fn builds_of_other_tags(&self, image: &ImageReference) -> Vec<(BuildJob, Box<str>)> {
        self.memory.lock().builds.of_other_tags(image)
    }

    fn knows_all_builds(&self) -> bool {
        self.all_builds_are_listed()
    }

    fn build_trouble<'a>(
        &'a self,
        build: &'a BuildJob,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<PodTrouble>> {
        Box::pin(self.related.build_trouble(build, deadline))
    }
}

impl AccessSource for Cluster {
    fn may_list_pods<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: Option<&'a str>,
        deadline: Instant,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.accesses.may_list_pods(user, namespace, deadline))
    }

    fn may_read_secret<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, bool> {
        Box::pin(self.accesses.may_read_secret(user, namespace, name, deadline))
    }
}
