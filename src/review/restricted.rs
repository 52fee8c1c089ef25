//! Sources that are asked for less than they know: by a dry run nothing that a registry counts, for who
//! has proven nothing what anybody could find out, and for an own login no pull secret.
//!
//! What is not known for that makes an answer milder, never harsher: unread secrets are *cannot tell*,
//! and hidden history spares a denial.

use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, ready};
use jiff::Timestamp;

use super::{
    ClusterSource, Fetched, FixedAccess, HealthSource, ManifestSource, NodeCredentialSource,
    NodeCredentials, ObjectQuery, ServiceAccountFacts, Sources,
};
use crate::credential::{PullSecret, RuntimeLogin};
use crate::history::{Freshness, History, HistoryQuestion, Visibility};
use crate::image::ImageReference;
use crate::node_config::MirrorFiles;
use crate::pull::{
    BlindReason, Detail, ListRequest, Listing, Lookup, LookupRequest, Outcome, TagList,
};
use crate::workload::{NamespaceFacts, Node};

/// Registries, asked without reading manifests where each costs a pull.
pub(super) struct Unmetered<'a>(pub(super) &'a dyn ManifestSource);

/// The same question without a GET of a manifest where Docker Hub counts it as a pull.
fn unmetered(request: LookupRequest) -> LookupRequest {
    let counted = request.reference.is_on_docker_hub();
    let detail = if counted { Detail::Presence } else { request.detail };
    LookupRequest { detail, ..request }
}

impl ManifestSource for Unmetered<'_> {
    fn inner(&self) -> Option<&dyn ManifestSource> {
        Some(self.0)
    }

    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        self.0.look_up(unmetered(request), deadline)
    }

    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        self.0.repeat(unmetered(request))
    }
}

/// A cluster of which no pull secret is known.
pub(crate) struct WithoutSecrets<'a> {
    cluster: &'a dyn ClusterSource,
    /// Whether the rest of it is told. Otherwise only namespaces are: what nodes are and have, too, is
    /// read by few.
    tells_rest: bool,
}

impl<'a> WithoutSecrets<'a> {
    /// The cluster without its secrets, and without what a ServiceAccount has of them.
    pub(crate) fn of(cluster: &'a dyn ClusterSource) -> Self {
        Self { cluster, tells_rest: true }
    }

    /// What anybody could find out.
    const fn in_public(cluster: &'a dyn ClusterSource) -> Self {
        Self { cluster, tells_rest: false }
    }
}

impl ClusterSource for WithoutSecrets<'_> {
    fn inner(&self) -> Option<&dyn ClusterSource> {
        self.tells_rest.then_some(self.cluster)
    }

    fn pull_secret<'a>(
        &'a self,
        _: ObjectQuery<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        Box::pin(ready(Fetched::Unavailable))
    }

    fn service_account<'a>(
        &'a self,
        _: ObjectQuery<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        let unknown = if self.tells_rest { Fetched::NotInFiles } else { Fetched::Unavailable };
        Box::pin(ready(unknown))
    }

    fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        self.cluster.namespace(name)
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        self.inner()?.nodes()
    }

    fn pods_are_rewritten(&self, deadline: Instant) -> BoxFuture<'_, Option<bool>> {
        match self.inner() {
            Some(inner) => inner.pods_are_rewritten(deadline),
            None => Box::pin(ready(None)),
        }
    }
}

/// Nothing may be shown.
static NOBODY: FixedAccess = FixedAccess { pods: Visibility::nobody(), secrets: false };

/// What a caller gets that knows the webhook's path and has proven nothing else: what anybody could
/// find out. The path is in users' errors and in the API server's log whenever no replica answers.
///
/// No Secret is read, no history counts or is told, registries are asked without any login, and
/// nothing is written down. It names no `inner`: whatever is asked of a source one day is not answered
/// here before somebody has thought about it.
pub(super) struct PublicSources<'a> {
    given: Sources<'a>,
    cluster: WithoutSecrets<'a>,
}

impl<'a> PublicSources<'a> {
    pub(super) fn of(given: Sources<'a>) -> Self {
        Self { given, cluster: WithoutSecrets::in_public(given.cluster) }
    }

    pub(super) fn sources(&self) -> Sources<'_> {
        Sources {
            registry: self,
            cluster: &self.cluster,
            nodes: self,
            health: self,
            access: &NOBODY,
        }
    }
}

impl ManifestSource for PublicSources<'_> {
    /// A mirror that was asked with the nodes' login has said what is not everybody's.
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        let anonymous = LookupRequest { credential: None, ..request };
        Box::pin(async move {
            let lookup = self.given.registry.look_up(anonymous, deadline).await;
            if lookup.node_login {
                Lookup {
                    outcome: Outcome::LoginWithheld,
                    mirror: None,
                    node_login: false,
                    ..lookup
                }
            } else {
                lookup
            }
        })
    }

    fn mirror_files(&self, image: &ImageReference) -> Option<MirrorFiles> {
        self.given.registry.mirror_files(image)
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        self.given.registry.completed(short)
    }

    fn blind_reason(&self, host: &str) -> Option<BlindReason> {
        self.given.registry.blind_reason(host)
    }

    fn list(
        &self,
        request: ListRequest,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        match request.listing {
            Listing::Tags => {
                self.given.registry.list(ListRequest { credential: None, ..request }, deadline)
            }
            Listing::Repositories => Box::pin(std::future::ready(Err(Outcome::NoHost))),
        }
    }
}

impl NodeCredentialSource for PublicSources<'_> {
    fn runtime_login(&self, _: &ImageReference) -> RuntimeLogin {
        RuntimeLogin::Unclear
    }

    fn node_credentials<'a>(
        &'a self,
        _: &'a ImageReference,
        _: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        Box::pin(ready(NodeCredentials { credentials: Vec::new(), unclear: true }))
    }
}

impl HealthSource for PublicSources<'_> {
    fn freshness(&self) -> Freshness {
        self.given.health.freshness()
    }

    fn history(&self, _: &HistoryQuestion<'_>, _: Timestamp) -> History {
        History { freshness: self.freshness(), ..History::default() }
    }

    fn pull_secrets_in_use(&self, _: &str) -> Vec<Box<str>> {
        Vec::new()
    }

    /// As if it were new: then the grace of what comes late is in force.
    fn created(&self, _: &str, _: &str) -> Option<Timestamp> {
        None
    }
}
