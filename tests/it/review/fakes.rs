//! Sources that answer from tables, for reviews without a registry or a cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use pullgate::builds::BuildJob;
use pullgate::credential::{AuthFile, Credential, CredentialOrigin, PullSecret, RuntimeLogin};
use pullgate::history::{
    Freshness, History, HistoryQuestion, KnownTag, PodTrouble, PodVerdicts, RecordedVerdict,
    RegistryService, Visibility, VisibleHistory,
};
use pullgate::image::{Digest, ImageReference, Platform};
use pullgate::node_config::MirrorFiles;
use pullgate::policy::PullgatePolicy;
use pullgate::pull::{
    Content, Detail, ErrorCode, Found, ListRequest, Listing, Lookup, LookupRequest, MediaKind,
    Outcome, TagList,
};
use pullgate::review::{
    AccessSource, BlindRegistryNotices, ClusterSource, Fetched, HealthSource, ManifestSource,
    NodeCredentialSource, NodeCredentials, ObjectQuery, Reading, Reviewer, SeenPod,
    ServiceAccountFacts, SharedAnswers, Sources,
};
use pullgate::user::UserInfo;
use pullgate::workload::{NamespaceFacts, Node, ObjectRef, RuntimeClass};

/// Everything a review asks, from tables.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a table")]
#[derive(Default)]
pub struct World {
    /// Outcomes by canonical reference and secret (`""` is anonymous).
    pub registry: BTreeMap<(String, String), Outcome>,
    /// How old the answers claim to be when any age is good.
    pub age: Duration,
    pub secrets: BTreeMap<String, PullSecret>,
    pub account: ServiceAccountFacts,
    /// Whether the account does not exist (yet).
    pub account_missing: bool,
    pub labels: Vec<(Box<str>, Box<str>)>,
    pub nodes: Option<Vec<Node>>,
    pub history: History,
    pub known_tags: Vec<KnownTag>,
    pub secrets_in_use: Vec<Box<str>>,
    pub node_credentials: NodeCredentials,
    /// The auth file of CRI-O.
    pub auth_file: AuthFile,
    /// The mirror files that were handed over.
    pub mirror_files: Option<MirrorFiles>,
    pub may_list: bool,
    /// Whether that is so in the object's own namespace only.
    pub only_own: bool,
    /// If there are any, the only namespaces in which pods may be listed.
    pub may_list_in: Vec<String>,
    /// Namespaces with pods of any image that is asked about.
    pub namespaces: Vec<Box<str>>,
    pub may_read_secrets: bool,
    /// What was remembered of pods' verdicts.
    pub remembered: Mutex<Vec<Remembered>>,
    /// The access reviews that were made: namespaces, `*` for all, or a secret.
    pub reviews: Mutex<Vec<String>>,
    /// The namespace's annotations.
    pub annotations: Vec<(Box<str>, Box<str>)>,
    /// Images of the same name elsewhere, in namespaces of others.
    pub namesakes: Vec<KnownTag>,
    /// Repositories of every registry of which something runs here, and whether in the object's own
    /// namespace.
    pub beside: Vec<(Box<str>, bool)>,
    /// Repositories as every registry lists them to anybody.
    pub catalogue: Vec<Box<str>>,
    /// Tags as the registry lists them, by repository and secret.
    pub listed: BTreeMap<(String, String), Vec<Box<str>>>,
    /// What CRI-O's list makes of short names.
    pub short_names: BTreeMap<String, String>,
    /// The Service behind every registry.
    pub service: Option<RegistryService>,
    /// The jobs that name any image that is asked about.
    pub builds: Vec<BuildJob>,
    /// What is wrong with the pods of every job.
    pub trouble: Option<PodTrouble>,
    /// Running pods of every workload.
    pub running: u32,
    /// For how long every refusal has been one.
    pub refused_for: Duration,
    /// How long ago a fresh answer was asked for, once it is there.
    pub took: Duration,
    /// When every pod was first seen.
    pub first_seen: Option<Timestamp>,
    /// The pods that were noted: namespace, name, owner.
    pub noted: Mutex<Vec<String>>,
    /// The mirror that answers in the registry's place.
    pub mirror: Option<&'static str>,
    /// What is asked again in the background: reference, secret.
    pub repeated: Mutex<Vec<(String, String)>>,
    /// Whether webhooks of others change pods; nothing if that is unknown.
    pub rewritten: Option<bool>,
    /// The `RuntimeClass`es by name.
    pub runtime_classes: BTreeMap<String, RuntimeClass>,
    /// Whether repositories are hidden from those who ask.
    pub hides: bool,
    /// Whether registries answer only to who waits.
    pub slow: bool,
    /// The account, once it is read past everything that is kept.
    pub account_now: Option<ServiceAccountFacts>,
    /// Secrets that are there once they are read past everything that is kept.
    pub secrets_now: BTreeMap<String, PullSecret>,
    /// What was asked of the registry: reference, secret, whether a fresh answer was wanted.
    pub asked: Mutex<Vec<(String, String, bool)>>,
    /// How much of each was wanted.
    pub details: Mutex<Vec<Detail>>,
}

/// What answers reviews in this world, under this policy.
pub fn reviewer(world: &Arc<World>, policy: PullgatePolicy) -> Reviewer {
    Reviewer {
        registry: world.clone(),
        cluster: world.clone(),
        nodes: world.clone(),
        health: world.clone(),
        access: world.clone(),
        policy: Arc::new(ArcSwap::from_pointee(policy)),
        own_namespace: None,
        runtime: None,
        event_queue: None,
        blindness: BlindRegistryNotices::default(),
        shared_answers: SharedAnswers::default(),
    }
}

/// What was remembered of one pod.
#[derive(Debug)]
pub struct Remembered {
    pub uid: String,
    pub secrets: Vec<Box<str>>,
    pub denied: bool,
    pub verdicts: Vec<RecordedVerdict>,
}

pub fn exists() -> Outcome {
    Outcome::Exists(Found {
        digest: None,
        media: MediaKind::Manifest,
        content: Content::Unread,
        head_refused: false,
    })
}

/// A manifest whose digest is that of this text.
pub fn exists_as(content: &str) -> Outcome {
    Outcome::Exists(Found {
        digest: Some(Digest::of_sha256(content.as_bytes())),
        media: MediaKind::Manifest,
        content: Content::Unread,
        head_refused: false,
    })
}

pub fn index(platforms: &[&str]) -> Outcome {
    let entries = platforms.iter().map(|p| Some(Platform::parse(p).unwrap())).collect();
    Outcome::Exists(Found {
        digest: None,
        media: MediaKind::Index,
        content: Content::Platforms(entries),
        head_refused: false,
    })
}

pub fn missing() -> Outcome {
    Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) }
}

/// A pull secret with one login.
pub fn secret(name: &str, host: &str, username: &str) -> PullSecret {
    let config = serde_json::json!({"auths": {host: {"username": username, "password": "p"}}});
    PullSecret::docker_config_json(name, config.to_string().as_bytes())
}

pub fn node(name: &str, platform: &str) -> Node {
    Node {
        labels: [("kubernetes.io/arch".into(), platform.split('/').nth(1).unwrap().into())].into(),
        runtime: "containerd://2.1.8".into(),
        kubelet: "v1.34.4".into(),
        listed_images: 1,
        ..Node::new(name, Platform::parse(platform).unwrap())
    }
}

impl World {
    pub fn enforcing() -> Self {
        Self {
            labels: vec![("pullgate.dev/mode".into(), "enforce".into())],
            history: History { freshness: Freshness::Current, ..History::default() },
            may_list: true,
            may_read_secrets: true,
            rewritten: Some(false),
            refused_for: Duration::from_secs(2),
            first_seen: Some(Timestamp::UNIX_EPOCH),
            ..Self::default()
        }
    }

    pub fn answer(mut self, reference: &str, secret: &str, outcome: Outcome) -> Self {
        self.registry.insert((reference.to_owned(), secret.to_owned()), outcome);
        self
    }

    pub fn secret(mut self, secret: PullSecret) -> Self {
        self.secrets.insert(secret.name().to_owned(), secret);
        self
    }

    pub fn sources(&self) -> Sources<'_> {
        Sources { registry: self, cluster: self, nodes: self, health: self, access: self }
    }
}

fn name_of(credential: Option<&Credential>) -> String {
    match credential.map(|credential| &credential.source().origin) {
        Some(CredentialOrigin::Secret(name)) => name.to_string(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

impl ManifestSource for World {
    fn look_up(&self, request: LookupRequest, _: Instant) -> BoxFuture<'_, Lookup> {
        let key = (request.reference.canonical(), name_of(request.credential.as_ref()));
        let outcome = self.registry.get(&key).cloned().unwrap_or(Outcome::Unauthorized);
        let fresh = request.max_age.is_some();
        self.asked.lock().unwrap().push((key.0, key.1, fresh));
        self.details.lock().unwrap().push(request.detail);
        let refused_for = self.refused_for;
        let age = if fresh { self.took } else { self.age };
        let since = Instant::now().checked_sub(age).unwrap();
        let mirror = self.mirror.map(Into::into);
        let slow = self.slow;
        async move {
            if slow {
                tokio::task::yield_now().await;
            }
            Lookup { outcome, age, since, mirror, node_login: false, refused_for }
        }
        .boxed()
    }

    fn mirror_files(&self, _: &ImageReference) -> Option<MirrorFiles> {
        self.mirror_files
    }

    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        let key = (request.reference.canonical(), name_of(request.credential.as_ref()));
        self.repeated.lock().unwrap().push(key);
        async {}.boxed()
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        let full = self.short_names.get(short.short_name()?)?;
        ImageReference::parse(full).unwrap().with_tag(short.tag()?).ok()
    }

    fn list(
        &self,
        request: ListRequest,
        _: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        let tags = match request.listing {
            Listing::Repositories => Ok(self.catalogue.clone()),
            Listing::Tags => {
                let key =
                    (request.reference.name().to_owned(), name_of(request.credential.as_ref()));
                let hidden = if self.hides { Err(missing()) } else { Ok(vec!["some".into()]) };
                self.listed.get(&key).cloned().map_or(hidden, Ok)
            }
        };
        async { Ok(Arc::new(TagList { tags: tags?, truncated: false })) }.boxed()
    }
}

impl NodeCredentialSource for World {
    fn runtime_login(&self, image: &ImageReference) -> RuntimeLogin {
        self.auth_file.of(image)
    }

    fn node_credentials<'a>(
        &'a self,
        _: &'a ImageReference,
        _: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        async { self.node_credentials.clone() }.boxed()
    }
}

impl ClusterSource for World {
    fn runtime_class<'a>(
        &'a self,
        name: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Option<RuntimeClass>> {
        async { self.runtime_classes.get(name).cloned() }.boxed()
    }

    fn pull_secret<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>> {
        let now = self.secrets_now.get(wanted.name).filter(|_| wanted.reading == Reading::Now);
        let answer = now.or_else(|| self.secrets.get(wanted.name)).cloned();
        async { answer.map_or(Fetched::Missing, Fetched::Found) }.boxed()
    }

    fn service_account<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        _: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>> {
        let answer = match &self.account_now {
            Some(account) if wanted.reading == Reading::Now => Fetched::Found(account.clone()),
            _ if self.account_missing => Fetched::Missing,
            _ => Fetched::Found(self.account.clone()),
        };
        async { answer }.boxed()
    }

    fn namespace(&self, _: &str) -> Option<Arc<NamespaceFacts>> {
        let (labels, annotations) = (self.labels.clone(), self.annotations.clone());
        Some(Arc::new(NamespaceFacts { labels, annotations }))
    }

    fn nodes(&self) -> Option<Arc<Vec<Node>>> {
        self.nodes.clone().map(Arc::new)
    }

    fn pods_are_rewritten(&self, _: Instant) -> BoxFuture<'_, Option<bool>> {
        async { self.rewritten }.boxed()
    }

    fn registry_service<'a>(
        &'a self,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Option<RegistryService>> {
        async { self.service.clone() }.boxed()
    }

    fn build_jobs(&self, _: &ImageReference) -> Vec<BuildJob> {
        self.builds.clone()
    }

    fn knows_all_builds(&self) -> bool {
        true
    }

    fn build_trouble<'a>(
        &'a self,
        _: &'a BuildJob,
        _: Instant,
    ) -> BoxFuture<'a, Option<PodTrouble>> {
        async { self.trouble }.boxed()
    }
}

impl HealthSource for World {
    fn freshness(&self) -> Freshness {
        self.history.freshness
    }

    fn history(&self, question: &HistoryQuestion<'_>, _: Timestamp) -> History {
        let told = |tag: &&KnownTag| {
            *question.visibility == Visibility::Cluster
                || tag.in_namespace && question.visibility.includes(question.namespace)
        };
        History {
            known_tags: self.known_tags.iter().filter(told).cloned().collect(),
            ..self.history.clone()
        }
    }

    fn visible_history(&self, _: &HistoryQuestion<'_>, _: &[&str], _: Timestamp) -> VisibleHistory {
        VisibleHistory { last_success: None, elsewhere: self.history.last_success.is_some() }
    }

    fn namesakes(&self, question: &HistoryQuestion<'_>, _: Timestamp) -> Vec<KnownTag> {
        if *question.visibility == Visibility::Cluster {
            self.namesakes.clone()
        } else {
            Vec::new()
        }
    }

    fn repositories_beside(&self, question: &HistoryQuestion<'_>) -> Vec<Box<str>> {
        let told = |own: bool| match question.visibility {
            Visibility::Cluster => true,
            some @ Visibility::Namespaces(_) => own && some.includes(question.namespace),
        };
        self.beside.iter().filter(|(_, own)| told(*own)).map(|(name, _)| name.clone()).collect()
    }

    fn namespaces_of(&self, _: &[ImageReference], most: usize) -> Vec<Box<str>> {
        self.namespaces.iter().take(most).cloned().collect()
    }

    fn pull_secrets_in_use(&self, _: &str) -> Vec<Box<str>> {
        self.secrets_in_use.clone()
    }

    fn created(&self, _: &str, _: &str) -> Option<Timestamp> {
        None
    }

    fn first_seen(&self, _: SeenPod<'_>, _: Timestamp) -> Option<Timestamp> {
        self.first_seen
    }

    fn note_seen(&self, pod: SeenPod<'_>, _: Timestamp) {
        self.noted.lock().unwrap().push(format!("{}/{}/{}", pod.namespace, pod.name, pod.owner));
    }

    fn remember(&self, given: PodVerdicts<'_>, _: Timestamp) {
        let PodVerdicts { uid, secrets, denied, verdicts, .. } = given;
        let (uid, secrets) = (uid.to_owned(), secrets.to_vec());
        self.remembered.lock().unwrap().push(Remembered { uid, secrets, denied, verdicts });
    }

    fn running_pods(&self, _: &ObjectRef) -> u32 {
        self.running
    }
}

impl AccessSource for World {
    fn may_list_pods<'a>(
        &'a self,
        _: &'a UserInfo,
        namespace: Option<&'a str>,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        self.reviews.lock().unwrap().push(namespace.unwrap_or("*").to_owned());
        let listed = namespace.is_none_or(|name| self.may_list_in.iter().any(|one| one == name));
        let may = self.may_list
            && (namespace == Some("shop") || !self.only_own)
            && (self.may_list_in.is_empty() || (namespace.is_some() && listed));
        async move { may }.boxed()
    }

    fn may_read_secret<'a>(
        &'a self,
        _: &'a UserInfo,
        _: &'a str,
        name: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        self.reviews.lock().unwrap().push(format!("secret {name}"));
        async { self.may_read_secrets }.boxed()
    }
}
