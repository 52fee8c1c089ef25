//! What the API server did not do, and why.

use std::path::PathBuf;

/// Why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor a pod's own ServiceAccount is there.
    #[error("this is not a pod with a ServiceAccount: give --kubeconfig or --context")]
    InCluster(#[source] Box<kube::config::InClusterError>),
    /// The file of a kubeconfig cannot be read.
    #[error("failed to read the kubeconfig {}", .path.display())]
    KubeconfigFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kubeconfig makes no sense.
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

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The API server refused, failed or could not be reached.
    #[error(transparent)]
    Api(ApiError),
    /// It did not answer in time.
    #[error("the API server did not answer in time")]
    Late,
}

impl CallError {
    /// The status with which the API server refused, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) => error.status(),
            Self::Late => None,
        }
    }

    /// The same of a step that has an error of its own.
    pub(super) fn during(self, step: impl FnOnce(ApiError) -> ClusterError) -> ClusterError {
        match self {
            Self::Api(error) => step(error),
            Self::Late => ClusterError::Late,
        }
    }
}

/// The answer about an object; nothing if there is no such object (404).
pub(super) fn unless_missing<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(None),
        other => other.map(Some),
    }
}

impl ClusterError {
    /// Whether the API server said that this user may not.
    pub(crate) fn is_forbidden(&self) -> bool {
        match self {
            Self::List(error) => error.is_forbidden(),
            Self::Get(error) | Self::Status(error) => error.status() == Some(403),
            _ => false,
        }
    }
}

fn shown(path: Option<&PathBuf>) -> String {
    path.map(|path| format!(" {}", path.display())).unwrap_or_default()
}

/// Why a list or a watch came to an end.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The API server refused, failed or could not be reached.
    #[error("the request to the API server failed")]
    Api(#[source] ApiError),
    /// The request could not be written.
    #[error("failed to write the request")]
    Request(#[source] Box<kube::core::request::Error>),
    /// The connection broke off.
    #[error("the connection was lost")]
    Read(#[source] std::io::Error),
    /// A page or a line is not what a list or a watch consists of.
    #[error("failed to read what the API server sent")]
    Decode(#[source] serde_json::Error),
    /// A list came without a version to watch from.
    #[error("the list has no resourceVersion")]
    NoVersion,
    /// An object is longer than any can be.
    #[error("an object is too long")]
    TooLong,
    /// A page took too long.
    #[error("a page of the list took too long")]
    Late,
    /// The watch was ended by the API server with this status.
    #[error("the API server ended the watch with status {0}")]
    Ended(u16),
}

impl WatchError {
    /// The status with which the API server refused, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Api(error) => error.status(),
            Self::Ended(code) => Some(*code),
            _ => None,
        }
    }

    /// Whether the API server said that this user may not.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api(error) if error.status() == Some(403))
    }

    /// Whether the version that was asked from is too old: a new list is needed.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Api(error) => error.status() == Some(410),
            Self::Ended(code) => *code == 410,
            _ => false,
        }
    }
}
