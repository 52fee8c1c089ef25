//! What the check needs of the outside, built from its flags.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::config::Kubeconfig;

use super::CheckFlags;
use crate::cli::output;
use crate::cluster::{Cluster, ClusterError, Connection, Place, WatchTuning};
use crate::mirror::RegistryHosts;
use crate::policy::PullPolicy;
use crate::registry::{HostsSource, InClusterHosts, ProxyOptions, RegistryClient, RegistryOptions};
use crate::review::{ClusterSource, ManifestSource};
use crate::telemetry::Metrics;

/// How long the lists of nodes and namespaces may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster that was named, if one was.
pub(super) struct NamedCluster {
    named: Option<(Option<PathBuf>, Option<String>)>,
    namespace: Option<String>,
}

impl NamedCluster {
    /// Reads of the kubeconfig what the context says; asks nobody. No kubeconfig is touched
    /// unless one was named, or a context.
    pub(super) fn find(flags: &CheckFlags) -> anyhow::Result<Self> {
        let (path, context) = (flags.kubeconfig.clone(), flags.context.clone());
        if path.is_none() && context.is_none() {
            return Ok(Self { named: None, namespace: None });
        }
        let kubeconfig = match &path {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        // Its own text has the file and the cause.
        let kubeconfig = kubeconfig.map_err(|error| anyhow::anyhow!("{error}"))?;
        let name = context.as_ref().or(kubeconfig.current_context.as_ref());
        let namespace = kubeconfig
            .contexts
            .iter()
            .find(|one| Some(&one.name) == name)
            .and_then(|one| one.context.as_ref()?.namespace.clone())
            .filter(|namespace| !namespace.is_empty());
        Ok(Self { named: Some((path, context)), namespace })
    }

    /// The namespace of the context.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Connects, and lists nodes and namespaces. Who may not list them goes on without.
    pub(super) async fn connect(self) -> anyhow::Result<Option<Arc<dyn ClusterSource>>> {
        let Some((path, context)) = self.named else { return Ok(None) };
        let connection = Connection::to(Place::Kubeconfig { path, context }).await?;
        let cluster = Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()));
        match cluster.look_once(start() + PATIENCE).await {
            Ok(()) => {}
            Err(error) if is_forbidden(&error) => output::say(
                "you may not list nodes or namespaces there: platforms are not compared, and \
                 modes of namespaces are not known",
            ),
            Err(error) => return Err(error).context("failed to read from the cluster"),
        }
        Ok(Some(Arc::new(cluster)))
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
fn start() -> Instant {
    Instant::now()
}

/// Whether the API server said that this user may not.
fn is_forbidden(error: &ClusterError) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kube = error
            .downcast_ref::<kube::Error>()
            .or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref));
        if let Some(kube::Error::Api(status)) = kube {
            return status.code == 403;
        }
        cause = error.source();
    }
    false
}

/// The registries, as the flags say that they are reached. A person checks for themselves, so
/// loopback is open; metadata services never are.
pub(super) fn registry(
    flags: &CheckFlags,
    policy: &PullPolicy,
) -> anyhow::Result<Arc<dyn ManifestSource>> {
    let given = &flags.registry;
    let hosts = match &given.registry_hosts_dir {
        Some(directory) => HostsSource::Containerd(directory.clone()).load()?,
        None => RegistryHosts::default(),
    };
    let variable = |names: [&str; 2]| names.into_iter().find_map(|name| std::env::var(name).ok());
    let options = RegistryOptions {
        allow: given.allow_address.clone(),
        contact_loopback: true,
        in_cluster_hosts: InClusterHosts(
            policy.spec().registries.in_cluster.iter().map(|host| host.as_str().into()).collect(),
        ),
        hosts,
        ca_files: given.ca_file.iter().cloned().collect(),
        proxy: ProxyOptions {
            https: variable(["HTTPS_PROXY", "https_proxy"]),
            http: variable(["HTTP_PROXY", "http_proxy"]),
            no_proxy: variable(["NO_PROXY", "no_proxy"]).unwrap_or_default(),
        },
        ..RegistryOptions::default()
    };
    Ok(RegistryClient::new(options)?)
}
