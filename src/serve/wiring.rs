//! Everything that `pullgate serve` consists of, built from the configuration field by field.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::audit::Audit;
use super::certificates::{ManagedCertificates, first_certificate};
use super::events::{self, BoundedEventQueue, Waiting};
use super::findings::Findings;
use super::pages::ServePages;
use super::policy::{self, ActivePolicy};
use super::reload::open;
use super::snapshot::{self, MemoryFile};
use super::{DRAIN, Ended, Stops};
use super::{callers, cluster_tasks, reports};
use crate::cluster::{Cluster, ClusterTarget, Connection, ReportKind, WatchTuning};
use crate::history;
use crate::node::{FollowedNodeFiles, NodeFilePaths};
use crate::node_config::RegistryHosts;
use crate::pki::SelfSigned;
use crate::policy::{GivenFiles, PullgatePolicy};
use crate::pull::Runtime;
use crate::registry::{HostsSource, RegistryClient};
use crate::review::{BlindRegistryNotices, Reviewer, SharedAnswers};
use crate::serve::registries;
use crate::serve::{Config, NodeSettings, OwnSettings, PolicyPlace, RegistrySettings, TlsSource};
use crate::server::{
    AdmissionRoutes, Bound, Callers, FrontProxy, Limits, Readiness, ServingTls, TlsFiles,
    WatchState, WatchedFiles, admin_router,
};
use crate::telemetry::{Metrics, Otlp, clock};
use crate::web::web_router;

/// How often it is looked whether a certificate of our own must be renewed.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(12 * 3600);
/// Where a pod finds the name of its namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The parts, built and bound, not yet running.
pub(super) struct App {
    pub(super) ca_bundle: Option<String>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) memory: Option<Arc<MemoryFile>>,
    metrics: Arc<Metrics>,
    cluster: Arc<Cluster>,
    registry: Arc<RegistryClient>,
    mirrors: Option<HostsSource>,
    nodes: Arc<FollowedNodeFiles>,
    reviewer: Arc<Reviewer>,
    event_requests: Waiting,
    callers: Callers,
    token_file: Option<WatchedFiles>,
    policies: policy::Sources,
    tls: ServingTls,
    tls_source: TlsSource,
    own: Option<(ManagedCertificates, Option<Vec<u8>>)>,
    front_proxy: Option<(kube::Client, FrontProxy)>,
    leads: Option<watch::Receiver<bool>>,
    audit: Option<Duration>,
    findings: Findings,
    reports: Option<(Connection, ReportKind)>,
    pages: bool,
    otlp: Option<Arc<Otlp>>,
    given: GivenFiles,
    reload: Duration,
    reviews: Bound,
    admin: Bound,
}

impl App {
    /// Builds everything; what cannot be used is named.
    pub(super) async fn build(config: Config, otlp: Option<Arc<Otlp>>) -> anyhow::Result<Self> {
        let (now, started) = clock();
        let (policy_file, policy_name) = policy_places(config.policy)?;
        let Registries { policy, limits, given, nodes, client: registry } =
            registries_of(policy_file.as_ref(), &config.registry, config.nodes.clone())?;
        let metrics = Arc::new(Metrics::including(|all| registry.metrics().register(all)));
        let (own, tls) = (config.own, config.tls);
        let aggregated = config.callers.aggregated;
        let client_authorities = config.callers.client_authorities.clone();
        let (token_file, callers, front_proxy) = callers::callers(config.callers)?;
        let kept = own.as_ref().filter(|_| tls == TlsSource::Kept);
        let Serving { tls: serving, authorities, ca_bundle } =
            serving((&tls, kept), client_authorities, front_proxy.as_ref(), now, &metrics)?;
        let own_namespace = own_namespace(own.as_ref(), &config.cluster);
        let connection = Connection::to(config.cluster).await?;
        let front_proxy = front_proxy.map(|known| (connection.client().clone(), known));
        let places = (policy_file, policy_name);
        let policies = policy::Sources::new(places, &connection, own.as_ref(), &metrics);
        let kept = (tls == TlsSource::Kept, aggregated);
        let own = own.map(|own| ManagedCertificates::new(&connection, own, kept, &metrics));
        let reports = config.policy_reports.map(|kind| (connection.clone(), kind));
        let cluster = Cluster::within(limits, connection, WatchTuning::default(), &metrics);
        let cluster = Arc::new(cluster);
        let memory = config.snapshot.map(|path| MemoryFile::open(path, &cluster, &metrics));
        let (sink, event_requests) = BoundedEventQueue::new(&metrics);
        let reviews = (Arc::new(ArcSwap::from_pointee(policy)), own_namespace, sink);
        let reviewer = reviewer(&cluster, &registry, &nodes, reviews, config.nodes.runtime);
        Ok(Self {
            ca_bundle,
            readiness: Arc::new(Readiness::new(started, watch_states(&cluster, own.as_ref()))),
            memory: memory.transpose()?.map(Arc::new),
            metrics,
            cluster,
            registry,
            mirrors: config.registry.mirrors,
            nodes,
            reviewer: Arc::new(reviewer),
            event_requests,
            callers,
            token_file,
            policies,
            tls: serving,
            tls_source: tls,
            leads: own.as_ref().map(ManagedCertificates::leads),
            own: own.map(|own| (own, authorities)),
            front_proxy,
            audit: config.audit,
            findings: Findings::new(reports.is_some()),
            reports,
            pages: config.pages,
            otlp,
            given,
            reload: config.reload,
            reviews: bind(config.listen)?,
            admin: bind(config.admin_listen)?,
        })
    }

    /// Whether there is anything in the cluster that is its own.
    pub(super) fn keeps_its_own(&self) -> bool {
        self.own.is_some()
    }

    /// The audit, if there is to be one.
    fn audit(&self) -> Option<Audit> {
        self.audit.map(|pass| Audit {
            cluster: self.cluster.clone(),
            reviewer: self.reviewer.clone(),
            metrics: self.metrics.clone(),
            findings: self.findings.clone(),
            pass,
        })
    }

    fn admin_routes(&self) -> axum::Router {
        let admin = admin_router(Arc::clone(&self.readiness), Arc::clone(&self.metrics));
        if !self.pages {
            return admin;
        }
        let audits = self.audit.is_some() && self.leads.is_some();
        let (cluster, policy) = (&self.cluster, &self.reviewer.policy);
        let pages = ServePages::new(cluster, policy, &self.findings, audits);
        admin.merge(web_router(Arc::new(pages)))
    }

    /// The policy in force, which has been put to work.
    fn in_force(&self) -> ActivePolicy {
        let in_force = ActivePolicy {
            policy: Arc::clone(&self.reviewer.policy),
            registry: self.registry.clone(),
            given: self.given,
            metrics: self.metrics.clone(),
            accepted: Arc::default(),
        };
        let document = self.policies.document();
        in_force.put(PullgatePolicy::clone(&in_force.policy.load()), document);
        in_force
    }

    /// Starts every task; returns the name of the one that ends when reviews are drained.
    pub(super) fn run(self, tasks: &mut JoinSet<Ended>, stops: &Stops) -> &'static str {
        let (reload, leads, audit) = (self.reload, self.leads.clone(), self.audit());
        let (admin_routes, in_force) = (self.admin_routes(), self.in_force());
        let (cluster, reviewer, metrics) = (&self.cluster, &self.reviewer, &self.metrics);
        let mut tasks = Tasks(tasks);
        tasks.all(cluster.watches());
        let (found, spots) =
            (cluster_tasks::Contradictions::default(), cluster_tasks::BlindSpots::default());
        let to = (&found, &spots);
        tasks.all(cluster_tasks::tasks(cluster, reviewer, &self.registry, metrics, to));
        let to = (reviewer.clone(), cluster.clone());
        let telling = events::write_requested(self.event_requests, to.0, to.1, metrics.clone());
        tasks.forever("events", telling);
        let failing =
            events::write_of_failing_pods(cluster.clone(), reviewer.clone(), leads.clone());
        tasks.forever("failing workloads", failing);
        let scored = self.cluster.clone();
        if let Some(memory) = self.memory {
            tasks.forever("snapshot", memory.keep());
        }
        if let Some((own, authorities)) = self.own {
            let kept = self.tls_source == TlsSource::Kept;
            let taker = kept.then(|| (self.tls.taker(), authorities));
            let leading = stops.leading.clone();
            let (keeper, follower) = own.tasks(self.callers.clone(), taker, leading);
            tasks.forever("installation", keep(keeper, stops.stepped_down.clone()));
            tasks.forever("installation's news", follower);
        }
        if self.tls_source != TlsSource::Kept {
            tasks.forever("certificate", self.tls.keep_fresh(reload));
        }
        if let TlsSource::SelfSigned { directory, names } = self.tls_source {
            tasks.forever("self-signed certificate", renew(directory, names));
        }
        if let Some((client, front_proxy)) = self.front_proxy {
            tasks.forever("aggregation layer", callers::follow_front_proxy(client, front_proxy));
        }
        if let Some(file) = self.token_file {
            let (callers, metrics) = (self.callers.clone(), self.metrics.clone());
            tasks.forever("path token", callers::follow_path_token(file, reload, callers, metrics));
        }
        let score = move || policy::score(&scored);
        let news = (found, spots);
        tasks.all(self.policies.tasks((in_force, reload), news, self.leads, score));
        tasks.all(reports::tasks(audit.zip(leads), self.reports, self.otlp, &self.metrics));
        if let Some(mirrors) = self.mirrors {
            tasks.forever("mirrors", mirrors.follow(self.registry, reload));
        }
        tasks.forever("nodes' credential files", self.nodes.follow(reload));
        let limits = Limits::default();
        let routes =
            AdmissionRoutes::new(self.reviewer, self.callers, Arc::clone(&self.metrics), limits);
        let routes = routes.close_when_stopping(self.readiness).router();
        tasks.serve(
            (self.admin, admin_routes),
            (self.reviews, routes),
            (self.tls, self.metrics),
            stops,
        )
    }
}

/// The tasks of the program, none of which ends by itself.
struct Tasks<'t>(&'t mut JoinSet<Ended>);

impl Tasks<'_> {
    fn forever(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(async move {
            task.await;
            (name, Ok(()))
        });
    }

    fn all(&mut self, tasks: impl IntoIterator<Item = (&'static str, BoxFuture<'static, ()>)>) {
        for (name, task) in tasks {
            self.forever(name, task);
        }
    }

    /// Starts both servers; returns the name of the one that ends when reviews are drained.
    fn serve(
        &mut self,
        (admin, admin_routes): (Bound, axum::Router),
        (reviews, routes): (Bound, axum::Router),
        (tls, metrics): (ServingTls, Arc<Metrics>),
        stops: &Stops,
    ) -> &'static str {
        tracing::info!(
            reviews = %reviews.address(),
            admin = %admin.address(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        let admin = admin.serve_admin(admin_routes, stops.admin.clone());
        self.0.spawn(async move { ("admin server", admin.await.map_err(Into::into)) });
        let stop = stops.reviews.clone();
        self.0.spawn(async move {
            let serving = reviews.serve_reviews(routes, &tls, metrics, stop, DRAIN);
            (REVIEW_SERVER, serving.await.map_err(Into::into))
        });
        REVIEW_SERVER
    }
}

/// Reads every file that the configuration names, as a start would; what cannot be used is named.
/// A self-signed certificate is made at the start, so none is asked for here.
pub(super) fn check(config: Config) -> anyhow::Result<()> {
    let (policy_file, _) = policy_places(config.policy)?;
    let Registries { client, .. } =
        registries_of(policy_file.as_ref(), &config.registry, config.nodes)?;
    let client_authorities = config.callers.client_authorities.clone();
    let (_, _, front_proxy) = callers::callers(config.callers)?;
    if matches!(config.tls, TlsSource::SelfSigned { .. }) {
        return Ok(());
    }
    let kept = config.own.as_ref().filter(|_| config.tls == TlsSource::Kept);
    let metrics = Arc::new(Metrics::including(|all| client.metrics().register(all)));
    let (now, _) = clock();
    serving((&config.tls, kept), client_authorities, front_proxy.as_ref(), now, &metrics)?;
    Ok(())
}

/// How registries are asked, and by which policy at first.
struct Registries {
    policy: PullgatePolicy,
    limits: history::Limits,
    given: GivenFiles,
    nodes: Arc<FollowedNodeFiles>,
    client: Arc<RegistryClient>,
}

fn registries_of(
    policy_file: Option<&WatchedFiles>,
    registry: &RegistrySettings,
    nodes: NodeSettings,
) -> anyhow::Result<Registries> {
    let policy = policy_file.map_or_else(|| Ok(PullgatePolicy::default()), policy::parse)?;
    let hosts = registry.hosts()?;
    let limits = snapshot::limits(&policy, hosts.as_ref());
    let given = GivenFiles { mirrors: registry.mirrors.is_some(), credentials: nodes.has_files() };
    let nodes = node_files(nodes)?;
    let client = registry_client(registry.clone(), hosts, &policy, nodes.clone())?;
    Ok(Registries { policy, limits, given, nodes, client })
}

fn reviewer(
    cluster: &Arc<Cluster>,
    registry: &Arc<RegistryClient>,
    nodes: &Arc<FollowedNodeFiles>,
    (policy, own_namespace, events): (
        Arc<ArcSwap<PullgatePolicy>>,
        Option<Box<str>>,
        BoundedEventQueue,
    ),
    runtime: Option<Runtime>,
) -> Reviewer {
    Reviewer {
        registry: registry.clone(),
        cluster: cluster.clone(),
        nodes: nodes.clone(),
        health: cluster.clone(),
        access: cluster.clone(),
        policy,
        own_namespace,
        runtime,
        event_queue: Some(Arc::new(events)),
        blindness: BlindRegistryNotices::default(),
        shared_answers: SharedAnswers::default(),
    }
}

/// Keeps what is its own until it has stepped down, and tells so. Never ends.
async fn keep(keeper: impl Future<Output = ()>, stepped_down: CancellationToken) {
    keeper.await;
    stepped_down.cancel();
    std::future::pending::<()>().await;
}

/// The file of the policy, and the name of its object: at most one of them.
fn policy_places(
    place: Option<PolicyPlace>,
) -> anyhow::Result<(Option<WatchedFiles>, Option<String>)> {
    Ok(match place {
        Some(PolicyPlace::File(path)) => (Some(open("policy", path)?), None),
        Some(PolicyPlace::Cluster(name)) => (None, Some(name)),
        None => (None, None),
    })
}

const REVIEW_SERVER: &str = "review server";

fn bind(address: std::net::SocketAddr) -> anyhow::Result<Bound> {
    Bound::bind(address).with_context(|| format!("failed to listen on {address}"))
}

/// The namespace of the pod that this is, if it is one.
fn own_namespace(own: Option<&OwnSettings>, target: &ClusterTarget) -> Option<Box<str>> {
    if let Some(own) = own {
        return Some(own.namespace.as_str().into());
    }
    if *target != ClusterTarget::InCluster {
        return None;
    }
    let name = std::fs::read_to_string(OWN_NAMESPACE).ok()?;
    Some(name.trim().into())
}

fn watch_states(
    cluster: &Arc<Cluster>,
    own: Option<&ManagedCertificates>,
) -> impl Fn() -> Vec<WatchState> + Send + Sync + use<> {
    let cluster = Arc::clone(cluster);
    let material = own.map(ManagedCertificates::material);
    move || {
        let needed = cluster.progress().iter().filter(|watch| watch.is_needed());
        needed
            .map(|watch| WatchState { resource: watch.resource(), synced: watch.is_synced() })
            .chain(material.iter().map(|material| WatchState {
                resource: "certificates",
                synced: material.borrow().is_some(),
            }))
            .collect()
    }
}

/// What is served with.
struct Serving {
    tls: ServingTls,
    /// The given client authorities, where the certificate is kept.
    authorities: Option<Vec<u8>>,
    /// What a person has to copy, where the certificate is made for trying out.
    ca_bundle: Option<String>,
}

fn serving(
    (source, kept): (&TlsSource, Option<&OwnSettings>),
    client_authorities: Option<PathBuf>,
    front_proxy: Option<&FrontProxy>,
    now: Timestamp,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Serving> {
    let trusting = |tls: ServingTls| match front_proxy {
        Some(front_proxy) => tls.trusting(front_proxy.clone()),
        None => Ok(tls),
    };
    if let Some(own) = kept {
        let (files, first) = first_certificate(own, client_authorities.as_deref(), now)?;
        let authorities = first.get(2).cloned();
        let tls = trusting(ServingTls::with(files, first, now, Arc::clone(metrics))?)?;
        return Ok(Serving { tls, authorities, ca_bundle: None });
    }
    let (files, ca_bundle) = tls_files(source, client_authorities, now)?;
    let tls = trusting(ServingTls::load(files, now, Arc::clone(metrics))?)?;
    Ok(Serving { tls, authorities: None, ca_bundle })
}

fn tls_files(
    source: &TlsSource,
    client_authorities: Option<PathBuf>,
    now: Timestamp,
) -> anyhow::Result<(TlsFiles, Option<String>)> {
    match source {
        TlsSource::Files { certificate, key } => {
            let (certificate, key) = (certificate.clone(), key.clone());
            Ok((TlsFiles { certificate, key, client_authorities }, None))
        }
        TlsSource::SelfSigned { directory, names } => {
            let made = SelfSigned::ensure(directory, names, now)?;
            let (certificate, key) = (made.certificate(), made.key());
            Ok((TlsFiles { certificate, key, client_authorities }, Some(made.ca_bundle()?)))
        }
        TlsSource::Kept => anyhow::bail!("nothing says where the certificate is kept"),
    }
}

fn registry_client(
    settings: RegistrySettings,
    hosts: Option<RegistryHosts>,
    in_force: &PullgatePolicy,
    nodes: Arc<FollowedNodeFiles>,
) -> anyhow::Result<Arc<RegistryClient>> {
    let mut options = registries::options(settings, in_force);
    options.directions = policy::directions(in_force);
    options.hosts = hosts.unwrap_or(options.hosts);
    options.mirror_logins = Some(nodes);
    Ok(RegistryClient::new(options)?)
}

fn node_files(settings: NodeSettings) -> anyhow::Result<Arc<FollowedNodeFiles>> {
    let NodeSettings { credential_providers: providers, docker_config, runtime: _ } = settings;
    let paths = NodeFilePaths { docker_config, providers };
    Ok(Arc::new(FollowedNodeFiles::open(paths)?))
}

/// Renews a certificate of our own in time; the reload takes the new one into use.
async fn renew(directory: PathBuf, names: Vec<String>) {
    loop {
        tokio::time::sleep(LOOK_AT_CERTIFICATE).await;
        let (now, _) = clock();
        if let Err(error) = SelfSigned::ensure(&directory, &names, now) {
            tracing::error!(error = &error as &dyn std::error::Error, "failed to renew");
        }
    }
}
