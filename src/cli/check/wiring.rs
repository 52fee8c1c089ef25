//! What the check needs of the outside, built from its flags.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::CheckFlags;
use crate::cli::context::KubeContext;
use crate::cli::output::say;
use crate::cluster::{Cluster, WatchTuning};
use crate::node::NodeFiles;
use crate::node_config::RegistryHosts;
use crate::policy::{GivenFiles, PullgatePolicy};
use crate::registry::{HostsSource, RegistryClient, RegistryOptions};
use crate::review::{ClusterSource, ManifestSource};
use crate::serve::registries;
use crate::serve::{MirrorFiles, NodeSettings, RegistrySettings};
use crate::telemetry::Metrics;
use anyhow::Context as _;

/// How long the lists of nodes and namespaces may take.
const PATIENCE: Duration = Duration::from_secs(30);

const NOT_LISTED: &str = "you may not list nodes or namespaces there: platforms are not compared, \
                          and modes of namespaces are not known";

/// The context that was named, if one was: no kubeconfig is touched otherwise.
pub(super) fn context(flags: &CheckFlags) -> anyhow::Result<Option<KubeContext>> {
    let (path, context) = (flags.kubeconfig.clone(), flags.context.clone());
    if path.is_none() && context.is_none() {
        return Ok(None);
    }
    KubeContext::read(path, context).map(Some)
}

/// Connects, and lists nodes and namespaces. Who may not list them goes on without.
pub(super) async fn cluster(context: KubeContext) -> anyhow::Result<Arc<dyn ClusterSource>> {
    let connection = context.connect().await?;
    let cluster = Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()));
    match cluster.list_once(start() + PATIENCE).await {
        Ok(()) => {}
        Err(error) if error.is_forbidden() => say(NOT_LISTED),
        Err(error) => return Err(error).context("failed to read from the cluster"),
    }
    Ok(Arc::new(cluster))
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
fn start() -> Instant {
    Instant::now()
}

/// The registries, as the flags say that they are reached. A person checks for themselves, so
/// loopback is open; metadata services never are.
pub(super) fn registry(
    flags: &CheckFlags,
    policy: &PullgatePolicy,
    nodes: Arc<NodeFiles>,
) -> anyhow::Result<Arc<dyn ManifestSource>> {
    let settings: RegistrySettings = flags.registry.clone().into();
    let hosts = match settings.mirrors.clone() {
        Some(MirrorFiles::Containerd(path)) => HostsSource::Containerd(path).load()?,
        Some(MirrorFiles::K3s(path)) => HostsSource::K3s(path).load()?,
        Some(MirrorFiles::Crio(path)) => HostsSource::Crio(path).load()?,
        None => RegistryHosts::default(),
    };
    let options = RegistryOptions {
        contact_loopback: true,
        hosts,
        mirror_logins: Some(nodes),
        ..registries::options(settings, policy)
    };
    Ok(RegistryClient::new(options)?)
}

/// Which files of the nodes were given.
pub(super) fn given_files(flags: &CheckFlags) -> GivenFiles {
    let registry: RegistrySettings = flags.registry.clone().into();
    let nodes: NodeSettings = flags.nodes.clone().into();
    GivenFiles { mirrors: registry.mirrors.is_some(), credentials: nodes.has_files() }
}

/// What the nodes hold themselves, as far as their files were given.
pub(super) fn nodes(flags: &CheckFlags) -> anyhow::Result<Arc<NodeFiles>> {
    let NodeSettings { credential_providers, docker_config, runtime: _ } =
        flags.nodes.clone().into();
    let providers = credential_providers.as_ref();
    let providers = providers.map(|(config, plugins)| (config.as_path(), plugins.as_path()));
    Ok(Arc::new(NodeFiles::read(docker_config.as_deref(), providers)?))
}
