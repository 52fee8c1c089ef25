//! What a review asks of a cluster, answered from files, and from a cluster where one was named.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::given::GivenSecrets;
use super::manifest::{Key, Manifests};
use super::observed::Observed;
use crate::credential::PullSecret;
use crate::history::{Freshness, History, HistoryQuestion, PullForecast, Visibility};
use crate::image::{ImageReference, Platform};
use crate::pull::Runtime;
use crate::review::{
    ClusterSource, Fetched, FixedAccess, HealthSource, ObjectQuery, SeenPod, ServiceAccountFacts,
};
use crate::workload::{NamespaceFacts, Node};

/// Files, and behind them a cluster if one was named.
pub(super) struct FileSource {
    manifests: Manifests,
    given: GivenSecrets,
    cluster: Option<Arc<dyn ClusterSource>>,
    observed: Option<Observed>,
    nodes: Option<Arc<Vec<Node>>>,
    every_namespace_known: bool,
}

impl FileSource {
    /// Nodes of `platforms`, or else those of the cluster. `every_namespace_known` says that one
    /// that is nowhere to be seen is taken for one without labels.
    pub(super) fn new(
        manifests: Manifests,
        given: GivenSecrets,
        cluster: Option<Arc<dyn ClusterSource>>,
        observed: Option<Observed>,
        platforms: &[Platform],
        runtime: Option<Runtime>,
        every_namespace_known: bool,
    ) -> Self {
        let nodes = if platforms.is_empty() {
            cluster.as_ref().and_then(|cluster| cluster.nodes())
        } else {
            let runtime = version(runtime);
            Some(Arc::new(platforms.iter().map(|platform| node(platform, &runtime)).collect()))
        };
        Self { manifests, given, cluster, observed, nodes, every_namespace_known }
    }

    /// Who has the files may be shown what is in them, and what they may list of a cluster.
    pub(super) fn access(&self) -> FixedAccess {
        let pods = self.observed.as_ref().map_or(Visibility::Cluster, Observed::visibility);
        FixedAccess { pods, secrets: true }
    }

    /// What is seen in the cluster, if there is one.
    pub(super) fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// Whether nothing is known of this ServiceAccount, so that it was taken to have no secrets.
    pub(super) fn is_assumed(&self, namespace: &str, account: &str) -> bool {
        self.cluster.is_none()
            && self.given.stand_in().is_none()
            && !self.manifests.accounts.contains_key(&key(namespace, account))
    }

    /// Whether nothing is known of this Secret.
    pub(super) fn is_absent(&self, namespace: &str, secret: &str) -> bool {
        self.cluster.is_none()
            && self.given.stand_in().is_none()
            && self.given.named(namespace, secret).is_none()
            && !self.manifests.secrets.contains_key(&key(namespace, secret))
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.into(), name.into())
}

/// What a node with this runtime reports.
fn version(runtime: Option<Runtime>) -> String {
    match runtime {
        Some(Runtime::Containerd(major, minor, patch)) => match patch {
            Some(patch) => format!("containerd://{major}.{minor}.{patch}"),
            None => format!("containerd://{major}.{minor}"),
        },
        Some(Runtime::CriO) => "cri-o://1".to_owned(),
        Some(Runtime::Other) | None => String::new(),
    }
}

/// A node of which nothing but the platform is known.
fn node(platform: &Platform, runtime: &str) -> Node {
    Node {
        labels: [
            ("kubernetes.io/arch", &platform.architecture),
            ("kubernetes.io/os", &platform.os),
        ]
        .map(|(key, value)| (key.into(), value.as_str().into()))
        .into(),
        runtime: runtime.into(),
        // A list of images is nothing that it lacks: there is no node.
        listed_images: 1,
        ..Node::new(&platform.to_string(), platform.clone())
    }
}

impl ClusterSource for FileSource {
    fn inner(&self) -> Option<&dyn ClusterSource> {
        self.cluster.as_deref()
    }

    /// A person has secrets read that are named, in the files or to the command, and no others.
    fn list_pull_secrets<'a>(&'a self, _: &'a str, _: Instant) -> BoxFuture<'a, Vec<Box<str>>> {
        async { Vec::new() }.boxed()
    }

    fn pull_secret<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        let ObjectQuery { namespace, name, .. } = wanted;
        let known = self.given.named(namespace, name);
        let known = known.or_else(|| self.manifests.secrets.get(&key(namespace, name)));
        if let Some(secret) = known {
            let answer = Fetched::Found(secret.clone());
            return async { answer }.boxed();
        }
        let stand_in = self.given.stand_in();
        async move {
            let answer = match &self.cluster {
                Some(cluster) => cluster.pull_secret(wanted, deadline).await,
                None => Fetched::Unavailable,
            };
            match (answer, stand_in) {
                (found @ Fetched::Found(_), _) => found,
                (_, Some(secret)) => Fetched::Found(secret.clone()),
                (answer, None) => answer,
            }
        }
        .boxed()
    }

    fn service_account<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        if let Some(facts) = self.manifests.accounts.get(&key(wanted.namespace, wanted.name)) {
            let answer = Fetched::Found(facts.clone());
            return async { answer }.boxed();
        }
        match (&self.cluster, self.given.stand_in()) {
            (Some(cluster), _) => cluster.service_account(wanted, deadline),
            // It may bring a secret, and this is what it would be.
            (None, Some(secret)) => {
                let pull_secrets = vec![secret.name().into()];
                let facts = ServiceAccountFacts { pull_secrets, ..ServiceAccountFacts::default() };
                async { Fetched::Found(facts) }.boxed()
            }
            (None, None) => async { Fetched::NotInFiles }.boxed(),
        }
    }

    fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        let known = self.manifests.namespaces.get(name).cloned().map(Arc::new);
        known
            .or_else(|| self.cluster.as_ref().and_then(|cluster| cluster.namespace(name)))
            .or_else(|| self.every_namespace_known.then(Arc::default))
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        self.nodes.clone()
    }
}

/// Files have no history; that of a cluster is what is seen there now.
impl HealthSource for FileSource {
    fn inner(&self) -> Option<&dyn HealthSource> {
        self.observed.as_ref().map(|observed| observed.cluster() as &dyn HealthSource)
    }

    fn freshness(&self) -> Freshness {
        self.observed.as_ref().map_or(Freshness::Absent, |_| Freshness::Current)
    }

    fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History {
        match &self.observed {
            Some(observed) => observed.history(question, now),
            None => History { freshness: Freshness::Absent, ..History::default() },
        }
    }

    /// For who may list all pods, as `explain` has it.
    fn pull_forecast(
        &self,
        image: &ImageReference,
        compressed_bytes: Option<u64>,
    ) -> Option<PullForecast> {
        let observed = self.observed.as_ref()?;
        if observed.visibility() != Visibility::Cluster {
            return None;
        }
        observed.cluster().pull_forecast(image, compressed_bytes)
    }

    /// The pull secrets in the files may well be the ones that are missing.
    fn pull_secrets_in_use(&self, namespace: &str) -> Vec<Box<str>> {
        let secrets = self.manifests.secrets.keys().filter(|(place, _)| **place == *namespace);
        secrets.map(|(_, name)| name.clone()).collect()
    }

    fn created(&self, _: &str, _: &str) -> Option<Timestamp> {
        None
    }

    /// Whoever checks files asks whether it can be pulled now, not whether it may come.
    fn first_seen(&self, _: SeenPod<'_>, _: Timestamp) -> Option<Timestamp> {
        Some(Timestamp::UNIX_EPOCH)
    }
}
