//! The login of the person or the runner, in the place of what nodes have: it proves what is there
//! and what is not, and nothing about nodes.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::login::{Login, Logins};
use super::source::FileSource;
use crate::credential::PullSecret;
use crate::image::ImageReference;
use crate::review::{
    ClusterSource, Fetched, NodeCredentialSource, NodeCredentials, Reading, ServiceAccountFacts,
};
use crate::workload::{NamespaceFacts, Node, Workload};

/// What nodes have, and then the own login.
pub(super) struct WithLogin<'a> {
    pub(super) nodes: &'a dyn NodeCredentialSource,
    pub(super) logins: &'a Logins,
}

impl NodeCredentialSource for WithLogin<'_> {
    fn node_credentials<'a>(
        &'a self,
        image: &'a ImageReference,
        deadline: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        async move {
            let mut found = self.nodes.node_credentials(image, deadline).await;
            if let Login::Found(login) = self.logins.of(image.host()).await {
                found.credentials.push(login);
            }
            // Nodes have logins of their own, whatever this one is.
            found.unclear = true;
            found
        }
        .boxed()
    }
}

/// The files and the cluster without pull secrets: nothing is known of any.
pub(super) struct WithoutSecrets<'a>(pub(super) &'a FileSource);

/// The workload as one whose ServiceAccount nobody has seen.
pub(super) fn without_secrets(workload: &Workload) -> Workload {
    let account = workload.service_account.clone().unwrap_or_else(|| "default".into());
    Workload { pull_secrets: Vec::new(), service_account: Some(account), ..workload.clone() }
}

impl ClusterSource for WithoutSecrets<'_> {
    fn inner(&self) -> Option<&dyn ClusterSource> {
        Some(self.0)
    }

    fn pull_secret<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Reading,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        async { Fetched::Unavailable }.boxed()
    }

    fn service_account<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Reading,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        async { Fetched::NotInFiles }.boxed()
    }

    fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        self.0.namespace(name)
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        self.0.nodes()
    }
}
