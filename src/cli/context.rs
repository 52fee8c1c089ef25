//! The context of a kubeconfig that a person named.

use std::path::PathBuf;

use kube::config::Kubeconfig;

use crate::cluster::{ClusterError, ClusterTarget, Connection};

/// A cluster, and the namespace that its context is in.
pub(super) struct KubeContext {
    path: Option<PathBuf>,
    context: Option<String>,
    namespace: Option<String>,
}

impl KubeContext {
    /// Reads what a kubeconfig says of a context: the file, else the customary ones; the context,
    /// else the current one. Asks nobody.
    pub(super) fn read(path: Option<PathBuf>, context: Option<String>) -> anyhow::Result<Self> {
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
        Ok(Self { path, context, namespace })
    }

    /// The namespace of the context, if it is in one.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Sets up a connection; nothing is asked yet.
    pub(super) async fn connect(self) -> Result<Connection, ClusterError> {
        Connection::to(ClusterTarget::Kubeconfig { path: self.path, context: self.context }).await
    }
}
