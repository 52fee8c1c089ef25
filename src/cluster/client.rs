//! The connection to an API server.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::watch::WatchError;

/// Why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor a pod's own ServiceAccount is there.
    #[error("this is not a pod with a ServiceAccount: give --kubeconfig or --context")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The kubeconfig cannot be read.
    #[error("failed to read the kubeconfig{}", shown(.path.as_ref()))]
    Kubeconfig {
        /// The file, if one was named.
        path: Option<PathBuf>,
        /// Why.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The client cannot be built.
    #[error("failed to set up the connection to the API server")]
    Client(#[source] Box<kube::Error>),
    /// A list could not be read.
    #[error("failed to list the cluster's objects")]
    List(#[source] WatchError),
    /// An object could not be read.
    #[error("failed to read an object of the cluster")]
    Get(#[source] ApiError),
    /// The status of an object could not be written.
    #[error("failed to write the status of an object")]
    Status(#[source] ApiError),
    /// The policy that was last accepted could not be read or written.
    #[error("failed to read or write the ConfigMap with the policy in force")]
    KeptPolicy(#[source] ApiError),
    /// The API server did not answer in time.
    #[error("the API server did not answer in time")]
    Late,
}

/// An error of the API client as a person reads it: of a refusal the API server's own sentence,
/// without the object that carries it.
#[derive(Debug)]
pub struct ApiError(Box<kube::Error>);

impl ApiError {
    pub(super) fn of(error: kube::Error) -> Self {
        Self(Box::new(error))
    }

    /// The status with which the API server refused, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        match &*self.0 {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            kube::Error::Api(status) if !status.message.is_empty() => f.write_str(&status.message),
            other => other.fmt(f),
        }
    }
}

impl std::error::Error for ApiError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            kube::Error::Api(_) => None,
            other => other.source(),
        }
    }
}

impl ClusterError {
    /// Whether the API server said that this user may not.
    pub fn is_forbidden(&self) -> bool {
        match self {
            Self::List(WatchError::Api(error)) | Self::Get(error) | Self::Status(error) => {
                error.status() == Some(403)
            }
            _ => false,
        }
    }
}

fn shown(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

/// Where the API server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Of the cluster that this pod runs in.
    InCluster,
    /// As a kubeconfig says.
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
    pub async fn to(place: Place) -> Result<Self, ClusterError> {
        let config = match place {
            Place::InCluster => kube::Config::incluster()
                .map_err(|source| ClusterError::InCluster(Box::new(source)))?,
            Place::Kubeconfig { path, context } => from_file(path, context).await?,
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
