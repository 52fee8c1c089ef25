//! What a caller gets that knows the webhook's path and has proven nothing else: what anybody could
//! find out. The path is in users' errors and in the API server's log whenever no replica answers.
//!
//! No Secret is read, no history counts or is told, registries are asked without any login, and
//! nothing is written down. What is not known for that makes an answer milder, never harsher:
//! unread secrets are *cannot tell*, and hidden history spares a denial.

use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, ready};
use jiff::Timestamp;

use super::{
    ClusterSource, Fetched, FixedAccess, HealthSource, ManifestSource, NodeCredentialSource,
    NodeCredentials, Reading, ServiceAccountFacts, Sources,
};
use crate::credential::{Credential, PullSecret};
use crate::history::{Freshness, History, HistoryQuestion, Visibility};
use crate::image::ImageReference;
use crate::pull::{BlindReason, Lookup, LookupRequest, MirrorFiles, Outcome, TagList};
use crate::workload::{NamespaceFacts, Node};

/// Nothing may be shown.
static NOBODY: FixedAccess = FixedAccess { pods: Visibility::nobody(), secrets: false };

/// Sources that say what anybody could find out. They name no `inner`: whatever is asked of a
/// source one day is not answered here before somebody has thought about it.
pub(super) struct PublicSources<'a>(pub(super) Sources<'a>);

impl PublicSources<'_> {
    pub(super) fn sources(&self) -> Sources<'_> {
        Sources { registry: self, cluster: self, nodes: self, health: self, access: &NOBODY }
    }
}

impl ManifestSource for PublicSources<'_> {
    /// A mirror that was asked with the nodes' login has said what is not everybody's.
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        let anonymous = LookupRequest { credential: None, ..request };
        Box::pin(async move {
            let lookup = self.0.registry.look_up(anonymous, deadline).await;
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
        self.0.registry.mirror_files(image)
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        self.0.registry.completed(short)
    }

    fn blind_reason(&self, host: &str) -> Option<BlindReason> {
        self.0.registry.blind_reason(host)
    }

    fn tags(
        &self,
        repository: &ImageReference,
        _credential: Option<&Credential>,
        namespace: &str,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        self.0.registry.tags(repository, None, namespace, deadline)
    }
}

/// Nothing of the nodes either: what they are and have is read by few.
impl ClusterSource for PublicSources<'_> {
    fn pull_secret<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Reading,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        Box::pin(ready(Fetched::Unavailable))
    }

    fn service_account<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Reading,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        Box::pin(ready(Fetched::Unavailable))
    }

    fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        self.0.cluster.namespace(name)
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        None
    }

    fn pods_are_rewritten(&self, _: Instant) -> BoxFuture<'_, Option<bool>> {
        Box::pin(ready(None))
    }
}

impl NodeCredentialSource for PublicSources<'_> {
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
        self.0.health.freshness()
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
