//! What a review asks of a cluster, answered from files, and from a cluster where one was named.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::manifest::{Key, Manifests};
use crate::credential::Credential;
use crate::history::{BuildJob, Freshness, History, HistoryQuestion, PodTrouble, RegistryService};
use crate::image::{ImageReference, Platform};
use crate::pull::{Lookup, LookupRequest, Outcome, Runtime, TagList};
use crate::review::{
    AccessSource, ClusterSource, HealthSource, ManifestSource, SecretAnswer, SeenPod,
    ServiceAccountAnswer,
};
use crate::user::UserInfo;
use crate::workload::{NamespaceFacts, Node};

/// Files, and behind them a cluster if one was named.
pub(super) struct FileSource {
    manifests: Manifests,
    cluster: Option<Arc<dyn ClusterSource>>,
    nodes: Option<Arc<Vec<Node>>>,
    every_namespace_known: bool,
}

impl FileSource {
    /// Nodes of `platforms`, or else those of the cluster. `every_namespace_known` says that one
    /// that is nowhere to be seen is taken for one without labels.
    pub(super) fn new(
        manifests: Manifests,
        cluster: Option<Arc<dyn ClusterSource>>,
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
        Self { manifests, cluster, nodes, every_namespace_known }
    }

    /// Whether nothing is known of this ServiceAccount, so that it was taken to have no secrets.
    pub(super) fn is_assumed(&self, namespace: &str, account: &str) -> bool {
        self.cluster.is_none() && !self.manifests.accounts.contains_key(&key(namespace, account))
    }

    /// Whether nothing is known of this Secret.
    pub(super) fn is_absent(&self, namespace: &str, secret: &str) -> bool {
        self.cluster.is_none() && !self.manifests.secrets.contains_key(&key(namespace, secret))
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
        name: platform.to_string().into(),
        platform: platform.clone(),
        labels: [
            ("kubernetes.io/arch", &platform.architecture),
            ("kubernetes.io/os", &platform.os),
        ]
        .map(|(key, value)| (key.into(), value.as_str().into()))
        .to_vec(),
        taints: Vec::new(),
        unschedulable: false,
        runtime: runtime.into(),
        kubelet: Box::default(),
        addresses: Vec::new(),
        images: Vec::new(),
        listed_images: 0,
        allocatable: Vec::new(),
    }
}

impl ClusterSource for FileSource {
    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, SecretAnswer> {
        if let Some(secret) = self.manifests.secrets.get(&key(namespace, name)) {
            let answer = SecretAnswer::Found(secret.clone());
            return async { answer }.boxed();
        }
        match &self.cluster {
            Some(cluster) => cluster.pull_secret(namespace, name, deadline),
            None => async { SecretAnswer::Unavailable }.boxed(),
        }
    }

    fn service_account<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, ServiceAccountAnswer> {
        if let Some(facts) = self.manifests.accounts.get(&key(namespace, name)) {
            let answer = ServiceAccountAnswer::Found(facts.clone());
            return async { answer }.boxed();
        }
        match &self.cluster {
            Some(cluster) => cluster.service_account(namespace, name, deadline),
            None => async { ServiceAccountAnswer::NotInFiles }.boxed(),
        }
    }

    fn namespace(&self, name: &str) -> Option<NamespaceFacts> {
        let known = self.manifests.namespaces.get(name).cloned();
        known
            .or_else(|| self.cluster.as_ref().and_then(|cluster| cluster.namespace(name)))
            .or_else(|| self.every_namespace_known.then(NamespaceFacts::default))
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        self.nodes.clone()
    }

    fn pods_are_rewritten(&self, deadline: Instant) -> BoxFuture<'_, Option<bool>> {
        match &self.cluster {
            Some(cluster) => cluster.pods_are_rewritten(deadline),
            None => async { Some(false) }.boxed(),
        }
    }

    fn registry_service<'a>(
        &'a self,
        host: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<RegistryService>> {
        match &self.cluster {
            Some(cluster) => cluster.registry_service(host, deadline),
            None => async { None }.boxed(),
        }
    }

    fn build_jobs(&self, image: &ImageReference) -> Vec<BuildJob> {
        self.cluster.as_ref().map(|cluster| cluster.build_jobs(image)).unwrap_or_default()
    }

    fn job_trouble<'a>(
        &'a self,
        namespace: &'a str,
        job: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<PodTrouble>> {
        match &self.cluster {
            Some(cluster) => cluster.job_trouble(namespace, job, deadline),
            None => async { None }.boxed(),
        }
    }
}

/// Files have no history.
impl HealthSource for FileSource {
    fn freshness(&self) -> Freshness {
        Freshness::Absent
    }

    fn history(&self, _: &HistoryQuestion<'_>, _: Timestamp) -> History {
        History { freshness: Freshness::Absent, ..History::default() }
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
    fn first_seen(&self, _: SeenPod<'_>) -> Option<Timestamp> {
        Some(Timestamp::UNIX_EPOCH)
    }
}

/// Who has the files may be shown what is in them.
impl AccessSource for FileSource {
    fn may_list_pods<'a>(
        &'a self,
        _: &'a UserInfo,
        _: Option<&'a str>,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        async { true }.boxed()
    }

    fn may_read_secret<'a>(
        &'a self,
        _: &'a UserInfo,
        _: &'a str,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        async { true }.boxed()
    }
}

/// Registries, asked with the person's own login whatever the pod's credentials are.
pub(super) struct AsUser<'a> {
    pub(super) registry: &'a dyn ManifestSource,
    pub(super) login: Credential,
}

impl ManifestSource for AsUser<'_> {
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        let request = LookupRequest { credential: Some(self.login.clone()), ..request };
        self.registry.look_up(request, deadline)
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        self.registry.completed(short)
    }

    fn tags(
        &self,
        repository: &ImageReference,
        _: Option<&Credential>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        self.registry.tags(repository, Some(&self.login), deadline)
    }
}
