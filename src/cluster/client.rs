//! The connection to an API server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::error::{ApiError, CallError, ClusterError};

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

    /// Sends a request, as it could be written, and gives the text of the answer within this time.
    pub(super) async fn call(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        time: Duration,
    ) -> Result<String, CallError> {
        let failed = |error| CallError::Api(ApiError::of(error));
        let request = request.map_err(|error| failed(kube::Error::BuildRequest(error)))?;
        match tokio::time::timeout(time, self.client.request_text(request)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_late) => Err(CallError::Late),
        }
    }
}

/// How long a call may take, whether or not somebody still waits for its answer.
pub(super) const CALL_TIME: Duration = Duration::from_secs(10);

/// The time that is left.
pub(super) fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(tokio::time::Instant::now().into())
}

/// The kubeconfig in this file, else in the customary ones.
pub(crate) fn read_kubeconfig(path: Option<&Path>) -> Result<Kubeconfig, ClusterError> {
    let read = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    read.map_err(|error| match error {
        KubeconfigError::ReadConfig(source, path) => ClusterError::KubeconfigFile { path, source },
        source => {
            ClusterError::Kubeconfig { path: path.map(Path::to_owned), source: Box::new(source) }
        }
    })
}

async fn from_file(
    path: Option<PathBuf>,
    context: Option<String>,
) -> Result<kube::Config, ClusterError> {
    let kubeconfig = read_kubeconfig(path.as_deref())?;
    let names_proxy = kubeconfig
        .clusters
        .iter()
        .any(|cluster| cluster.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()));
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|source| ClusterError::Kubeconfig { path, source: Box::new(source) })?;
    if !names_proxy {
        // A proxy of the environment is meant for registries.
        config.proxy_url = None;
    }
    Ok(config)
}
