//! The Service behind an in-cluster registry and its endpoints, and what is wrong with pods:
//! asked when a pull is in trouble, never watched, kept for a moment.
//!
//! Reads Services by name (or, where an image names an address, lists those with it) and
//! EndpointSlices by the Service's label. Nothing is kept but names, counts and words of closed
//! lists.

mod address;
mod network_policies;
mod pods;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::Cluster;
use super::client::{CALL_TIME, Connection};
use super::error::CallError;
use super::get::{CacheEntry, Named, get_text};
use super::pages::Page;
use crate::builds::{BuildJob, BuildKind, ContainerEnd};
use crate::history::{PodTrouble, RegistryService, SelectingNetworkPolicy, ServiceState};
use crate::review::Fetched;
use crate::telemetry::{ApiCall, Metrics};
use address::Address;

/// Long enough for the pods of a rollout, short enough to see a registry come back.
const LIFETIME: Duration = Duration::from_secs(10);
const BYTES: u64 = 1 << 20;
/// What one answer is held to weigh.
const WEIGHT: u32 = 256;
/// Pages of Services that are looked through for a port.
const MAX_PAGES: usize = 4;
const PAGE: u32 = 500;
/// EndpointSlices of one Service that are read.
const MAX_SLICES: u32 = 100;
const SERVICES: &str = "/api/v1/services";
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ownership>
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Set on the pods of a Job by its controller.
const JOB_LABEL: &str = "job-name";
/// Set on the pods of its runs by Tekton (<https://tekton.dev/docs/pipelines/labels/>).
const PIPELINE_RUN_LABEL: &str = "tekton.dev/pipelineRun";
const TASK_RUN_LABEL: &str = "tekton.dev/taskRun";
/// No value of a label is longer.
const LONGEST_LABEL: usize = 63;

/// Asks about neighbours.
pub(super) struct RelatedObjects {
    connection: Connection,
    services: Named<Address, RegistryService>,
    pods: Named<(BuildKind, Box<str>, Box<str>), PodTrouble>,
}

impl RelatedObjects {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        Self {
            connection: connection.clone(),
            services: Named::new(ApiCall::Service, BYTES, metrics),
            pods: Named::new(ApiCall::Pod, BYTES, metrics),
        }
    }

    /// The Service that this host of an image name leads to; nothing if it is none of the
    /// cluster's, or if that could not be found out in time. `is_node` says whether a name or
    /// address is a node's.
    pub(super) async fn service(
        &self,
        host: &str,
        is_node: impl Fn(&str) -> bool,
        deadline: Instant,
    ) -> Option<RegistryService> {
        let address = Address::of(host, is_node)?;
        let ask = service(self.connection.clone(), address.clone());
        self.services.get(address, deadline, ask).await.found()
    }

    /// The network policies that select the pods behind a Service; nothing if they could not be read
    /// in time.
    pub(super) async fn network_policies(
        &self,
        namespace: &str,
        service: &str,
        deadline: Instant,
    ) -> Option<Vec<SelectingNetworkPolicy>> {
        let ask = network_policies::of_service(&self.connection, namespace, service);
        tokio::time::timeout_at(deadline.into(), ask).await.ok().flatten()
    }

    /// What is wrong with the pods of a build, as far as one of them says.
    pub(super) async fn build_trouble(
        &self,
        build: &BuildJob,
        deadline: Instant,
    ) -> Option<PodTrouble> {
        let params = pods_of(build)?;
        let key = (build.kind, build.namespace.clone(), build.name.clone());
        let (connection, namespace) = (self.connection.clone(), build.namespace.clone());
        let ask = async move {
            match pods::trouble(&connection, &namespace, params).await {
                Some(trouble) => kept(Fetched::Found(trouble)),
                None => kept(Fetched::Missing),
            }
        };
        self.pods.get(key, deadline, ask).await.found()
    }
}

/// Which pods are a build's.
fn pods_of(build: &BuildJob) -> Option<ListParams> {
    let name = &build.name;
    let labelled = |label: &str| {
        (name.len() <= LONGEST_LABEL)
            .then(|| ListParams::default().labels(&format!("{label}={name}")))
    };
    match build.kind {
        BuildKind::Job => labelled(JOB_LABEL),
        BuildKind::PipelineRun => labelled(PIPELINE_RUN_LABEL),
        BuildKind::TaskRun => labelled(TASK_RUN_LABEL),
        BuildKind::Pod => Some(ListParams::default().fields(&format!("metadata.name={name}"))),
        BuildKind::CronJob => None,
    }
}

impl Cluster {
    /// How a container of a build ended that did not succeed, in the youngest of its pods; nothing
    /// if that could not be read in time.
    pub async fn build_end(&self, build: &BuildJob, deadline: Instant) -> Option<ContainerEnd> {
        let ask = pods::end(&self.connection, &build.namespace, pods_of(build)?);
        tokio::time::timeout_at(deadline.into(), ask).await.ok().flatten()
    }
}

const fn kept<V>(answer: Fetched<V>) -> CacheEntry<V> {
    CacheEntry { answer, bytes: WEIGHT, lifetime: LIFETIME }
}

#[derive(Deserialize)]
struct ServiceWire {
    metadata: MetaWire,
    #[serde(default)]
    spec: ServiceSpecWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MetaWire {
    namespace: Box<str>,
    name: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpecWire {
    #[serde(rename = "type")]
    kind: Box<str>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Box<str>,
    ports: Vec<PortWire>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PortWire {
    node_port: u16,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SliceWire {
    endpoints: Option<Vec<EndpointWire>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct EndpointWire {
    conditions: ConditionsWire,
    target_ref: Option<TargetWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionsWire {
    ready: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TargetWire {
    kind: Box<str>,
    name: Box<str>,
}

/// What is behind an address.
async fn service(connection: Connection, address: Address) -> CacheEntry<RegistryService> {
    let found = match &address {
        Address::Named { namespace, name, .. } => by_name(&connection, namespace, name).await,
        Address::ClusterIp(ip) => by_cluster_ip(&connection, *ip).await,
        Address::NodePort(port) => by_node_port(&connection, *port).await,
    };
    let (namespace, name) = match (found, address) {
        (Fetched::Unavailable | Fetched::NotInFiles, _) => return CacheEntry::unavailable(),
        // A name of the cluster's own domain leads nowhere else.
        (Fetched::Missing, Address::Named { namespace, name, certain: true }) => {
            let state = ServiceState::Missing;
            return kept(Fetched::Found(RegistryService { namespace, name, state }));
        }
        (Fetched::Missing, _) => return kept(Fetched::Missing),
        (Fetched::Found(service), _) if &*service.spec.kind == "ExternalName" => {
            return kept(Fetched::Missing);
        }
        (Fetched::Found(service), _) => (service.metadata.namespace, service.metadata.name),
    };
    match state(&connection, &namespace, &name).await {
        Some(state) => kept(Fetched::Found(RegistryService { namespace, name, state })),
        None => CacheEntry::unavailable(),
    }
}

async fn by_name(connection: &Connection, namespace: &str, name: &str) -> Fetched<ServiceWire> {
    match get_text(connection, namespace, "services", name).await {
        Fetched::Found(text) => match serde_json::from_str(&text) {
            Ok(service) => Fetched::Found(service),
            Err(_) => Fetched::Unavailable,
        },
        Fetched::Missing => Fetched::Missing,
        Fetched::Unavailable | Fetched::NotInFiles => Fetched::Unavailable,
    }
}

async fn by_cluster_ip(connection: &Connection, ip: IpAddr) -> Fetched<ServiceWire> {
    let has_it = |service: &ServiceWire| service.spec.cluster_ip.parse() == Ok(ip);
    select(connection, &format!("spec.clusterIP={ip}"), has_it).await
}

async fn by_node_port(connection: &Connection, port: u16) -> Fetched<ServiceWire> {
    let has_it = |service: &ServiceWire| service.spec.ports.iter().any(|p| p.node_port == port);
    for kind in ["NodePort", "LoadBalancer"] {
        match select(connection, &format!("spec.type={kind}"), has_it).await {
            Fetched::Missing => {}
            other => return other,
        }
    }
    Fetched::Missing
}

/// The Service that has it, of those with this field. Before Kubernetes 1.31 the API server knows
/// no such fields of Services and refuses: then all are looked through.
async fn select(
    connection: &Connection,
    field: &str,
    has_it: impl Fn(&ServiceWire) -> bool,
) -> Fetched<ServiceWire> {
    match look_through(connection, ListParams::default().fields(field), &has_it).await {
        Fetched::Unavailable => look_through(connection, ListParams::default(), has_it).await,
        other => other,
    }
}

async fn look_through(
    connection: &Connection,
    params: ListParams,
    wanted: impl Fn(&ServiceWire) -> bool,
) -> Fetched<ServiceWire> {
    let mut params = params.limit(PAGE);
    for _ in 0..MAX_PAGES {
        let Some(text) = list(connection, SERVICES, &params).await else {
            return Fetched::Unavailable;
        };
        let Ok(page) = serde_json::from_str::<Page<'_>>(&text) else { return Fetched::Unavailable };
        for object in page.items.unwrap_or_default() {
            if let Ok(service) = serde_json::from_str::<ServiceWire>(object.get())
                && wanted(&service)
            {
                return Fetched::Found(service);
            }
        }
        match page.metadata.continue_token.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token.into_owned()),
            None => return Fetched::Missing,
        }
    }
    Fetched::Unavailable
}

/// What the EndpointSlices of a Service say; nothing if they could not be read.
async fn state(connection: &Connection, namespace: &str, name: &str) -> Option<ServiceState> {
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    let params = ListParams::default().labels(&format!("{SERVICE_LABEL}={name}")).limit(MAX_SLICES);
    let text = list(connection, &path, &params).await?;
    let page: Page<'_> = serde_json::from_str(&text).ok()?;
    let (mut ready, mut pods, mut unready) = (0_u32, 0_u32, None);
    for slice in page.items.unwrap_or_default() {
        let slice: SliceWire = serde_json::from_str(slice.get()).ok()?;
        for endpoint in slice.endpoints.unwrap_or_default() {
            // "nil should be interpreted as true" (discovery/v1 types).
            if endpoint.conditions.ready != Some(false) {
                ready += 1;
                continue;
            }
            pods += 1;
            unready = unready.or(endpoint.target_ref.filter(|target| &*target.kind == "Pod"));
        }
    }
    if ready > 0 {
        return Some(ServiceState::Ready(ready));
    }
    if pods == 0 {
        return Some(ServiceState::NoPods);
    }
    let trouble = match unready {
        Some(pod) => {
            let params = ListParams::default().fields(&format!("metadata.name={}", pod.name));
            pods::trouble(connection, namespace, params).await
        }
        None => None,
    };
    Some(ServiceState::NotReady { pods, trouble })
}

/// One page of a list as text.
async fn list(connection: &Connection, path: &str, params: &ListParams) -> Option<String> {
    let answer = connection.call(Request::new(path).list(params), CALL_TIME).await;
    let log = |error: &CallError| {
        if let Some(status) = error.status() {
            tracing::warn!(path, status, "the API server refused a list");
        } else {
            tracing::warn!(path, "the API server could not be asked for a list");
        }
    };
    answer.inspect_err(log).ok()
}
