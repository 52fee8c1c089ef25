//! The connection to an API server.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::error::ClusterError;

/// Which cluster is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterTarget {
    /// The one that the pod runs in.
    InCluster,
    /// One of a kubeconfig.
    Kubeconfig {
        /// The file; the customary ones if not given.
        path: Option<PathBuf>,
        /// The context; the current one if not given.
        context: Option<String>,
    },
}

/// A connection to an API server. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    client: kube::Client,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    /// Sets the connection up; nothing is asked yet. Needs a running tokio.
    pub async fn to(target: ClusterTarget) -> Result<Self, ClusterError> {
        let config = match target {
            ClusterTarget::InCluster => kube::Config::incluster()
                .map_err(|source| ClusterError::InCluster(Box::new(source)))?,
            ClusterTarget::Kubeconfig { path, context } => from_file(path, context).await?,
        };
        Self::with(config)
    }

    /// A connection as this configuration says, with our own limits.
    pub fn with(mut config: kube::Config) -> Result<Self, ClusterError> {
        config.connect_timeout = Some(Duration::from_secs(5));
        // Watches are silent for minutes; each call has a limit of its own.
        config.read_timeout = None;
        config.write_timeout = Some(Duration::from_secs(15));
        // Watches back off by themselves, and a review has no time to repeat a call.
        config.default_retry = false;
        let client = kube::Client::try_from(config)
            .map_err(|source| ClusterError::Client(Box::new(source)))?;
        Ok(Self { client })
    }

    /// The client, for what else belongs to this cluster.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }
}

async fn from_file(
    path: Option<PathBuf>,
    context: Option<String>,
) -> Result<kube::Config, ClusterError> {
    let fault = |path: &Option<PathBuf>| {
        let path = path.clone();
        move |source| ClusterError::Kubeconfig { path, source: Box::new(source) }
    };
    let kubeconfig = match &path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = kubeconfig.map_err(fault(&path))?;
    let names_proxy = kubeconfig
        .clusters
        .iter()
        .any(|cluster| cluster.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()));
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(fault(&path))?;
    if !names_proxy {
        // A proxy of the environment is meant for registries.
        config.proxy_url = None;
    }
    Ok(config)
}
