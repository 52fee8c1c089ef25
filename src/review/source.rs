//! What a review needs of the outside, as traits that the edges implement.
//!
//! Every call that may wait takes the moment by which its caller needs the answer; what is not
//! known by then is said so in the answer, never waited for.
//!
//! A source that stands before another one names it as `inner` and answers only what it answers
//! differently: everything else goes on to that one, what is added later, too.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::builds::BuildJob;
use crate::credential::{Credential, Expiry, PullSecret, RuntimeLogin};
use crate::history::{
    Freshness, History, HistoryQuestion, KnownTag, PodTrouble, PodVerdicts, PullForecast,
    RegistryService, RememberedHistory, ReportTarget, RunningDigest, Visibility, VisibleHistory,
};
use crate::image::{Digest, ImageReference};
use crate::node_config::MirrorFiles;
use crate::pull::{
    BlindReason, KnownManifest, ListRequest, Lookup, LookupRequest, Outcome, PullsLeft, TagList,
};
use crate::user::UserInfo;
use crate::workload::{NamespaceFacts, Node, ObjectRef, RuntimeClass, Workload};

/// Answers of registries. Implemented by the registry client, which owns caches and limits.
pub trait ManifestSource: Send + Sync {
    /// The source that this one stands before.
    fn inner(&self) -> Option<&dyn ManifestSource> {
        None
    }

    /// Asks for one manifest with one credential. Never waits past `deadline`: then the outcome is
    /// [`Outcome::TooLate`] and the look-up goes on in the background.
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup>;

    /// Asks again in the background, when enough time has passed for the answer to count as an
    /// independent one. It need not be waited for, and is over when the answer is kept.
    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        self.inner().map_or_else(|| known(()), |inner| inner.repeat(request))
    }

    /// When the client certificates are over that nodes show on every way to this image; nothing if
    /// one way needs none.
    fn certificate_end(&self, image: &ImageReference) -> Option<Expiry> {
        self.inner()?.certificate_end(image)
    }

    /// Why nothing at all of this registry could be seen lately, if that is so.
    fn blind_reason(&self, host: &str) -> Option<BlindReason> {
        self.inner()?.blind_reason(host)
    }

    /// Which runtime's mirror files were handed over; nothing where none were.
    fn mirror_files(&self, image: &ImageReference) -> Option<MirrorFiles> {
        self.inner()?.mirror_files(image)
    }

    /// Whether the registry's name means the machine that asks, another one on each, and nobody said that
    /// this machine's is meant.
    fn asks_own_loopback(&self, image: &ImageReference) -> bool {
        self.inner().is_some_and(|inner| inner.asks_own_loopback(image))
    }

    /// What a digest of this image's registry is known to be by earlier answers. Nobody is asked.
    fn known_manifest(&self, image: &ImageReference, digest: &Digest) -> Option<KnownManifest> {
        self.inner()?.known_manifest(image, digest)
    }

    /// What the image's registry last said is left of its pull limit for this credential, or for who
    /// asks without one. Nobody is asked.
    fn pulls_left(
        &self,
        image: &ImageReference,
        credential: Option<&Credential>,
    ) -> Option<PullsLeft> {
        self.inner()?.pulls_left(image, credential)
    }

    /// What the nodes' files make of a name without a registry, where CRI-O completes it; nothing
    /// where they say nothing.
    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        self.inner()?.completed(short)
    }

    /// The tags of a repository, or the repositories of a registry that has a catalogue which this
    /// credential may read; for hints only: failing never changes a verdict, and nothing of a
    /// catalogue is said that the user did not nearly write. Namespaces take turns.
    fn list(
        &self,
        request: ListRequest,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        match self.inner() {
            Some(inner) => inner.list(request, deadline),
            None => known(Err(Outcome::NoHost)),
        }
    }
}

/// An answer that need not be waited for.
fn known<T: Send + 'static>(answer: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(answer))
}

/// What the API server says when asked by name, and what is watched of namespaces and nodes.
pub trait ClusterSource: Send + Sync {
    /// The source that this one stands before.
    fn inner(&self) -> Option<&dyn ClusterSource> {
        None
    }

    /// A Secret by name; never a list.
    fn pull_secret<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<PullSecret>>;

    /// The names of the Secrets of a namespace that are pull secrets by their type, the youngest
    /// first; their contents are not asked for. None where they may not be listed, or not in time.
    fn list_pull_secrets<'a>(
        &'a self,
        namespace: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Box<str>>> {
        match self.inner() {
            Some(inner) => inner.list_pull_secrets(namespace, deadline),
            None => known(Vec::new()),
        }
    }

    /// A ServiceAccount by name.
    fn service_account<'a>(
        &'a self,
        wanted: ObjectQuery<'a>,
        deadline: Instant,
    ) -> BoxFuture<'a, Fetched<ServiceAccountFacts>>;

    /// What is known of a namespace; nothing if it is not known (yet).
    fn namespace(&self, name: &str) -> Option<Arc<NamespaceFacts>>;

    /// The nodes that are known; nothing where there is no cluster to know of.
    fn nodes(&self) -> Option<Arc<Vec<Node>>>;

    /// Whether webhooks or policies of others may change pods on their way in, such as registry
    /// rewriters; nothing if that could not be found out in time.
    fn pods_are_rewritten(&self, deadline: Instant) -> BoxFuture<'_, Option<bool>> {
        match self.inner() {
            Some(inner) => inner.pods_are_rewritten(deadline),
            None => known(Some(false)),
        }
    }

    /// A `RuntimeClass`; nothing if there is none of this name, or if it could not be read in time.
    fn runtime_class<'a>(
        &'a self,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<RuntimeClass>> {
        match self.inner() {
            Some(inner) => inner.runtime_class(name, deadline),
            None => known(None),
        }
    }

    /// The Service of this cluster that the host of an image name leads to; nothing if it leads
    /// elsewhere, or if that could not be found out in time. Whether the user may hear of it is
    /// the caller's to see to.
    fn registry_service<'a>(
        &'a self,
        host: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<RegistryService>> {
        match self.inner() {
            Some(inner) => inner.registry_service(host, deadline),
            None => known(None),
        }
    }

    /// The jobs in whose arguments or environment this image stands, of all namespaces, the one
    /// that tells most first. Never waits. Whether the user may hear of them is the caller's to
    /// see to.
    fn build_jobs(&self, image: &ImageReference) -> Vec<BuildJob> {
        self.inner().map(|inner| inner.build_jobs(image)).unwrap_or_default()
    }

    /// The jobs that push another tag of this image's repository, each with that tag. Never waits.
    /// Whether the user may hear of them is the caller's to see to.
    fn builds_of_other_tags(&self, image: &ImageReference) -> Vec<(BuildJob, Box<str>)> {
        self.inner().map(|inner| inner.builds_of_other_tags(image)).unwrap_or_default()
    }

    /// Whether everything that builds is known, so that what is not among it does not build.
    fn knows_all_builds(&self) -> bool {
        self.inner().is_some_and(ClusterSource::knows_all_builds)
    }

    /// What is wrong with the pods of a build, as far as one of them says.
    fn build_trouble<'a>(
        &'a self,
        build: &'a BuildJob,
        deadline: Instant,
    ) -> BoxFuture<'a, Option<PodTrouble>> {
        match self.inner() {
            Some(inner) => inner.build_trouble(build, deadline),
            None => known(None),
        }
    }
}

/// The credentials that nodes hold themselves, as far as Pullgate was given the nodes' files.
pub trait NodeCredentialSource: Send + Sync {
    /// The credentials that the nodes would try for this image after the pod's own.
    fn node_credentials<'a>(
        &'a self,
        image: &'a ImageReference,
        deadline: Instant,
    ) -> BoxFuture<'a, NodeCredentials>;

    /// What CRI-O itself has for this name, which it uses where the kubelet sends it no user name.
    fn runtime_login(&self, image: &ImageReference) -> RuntimeLogin;
}

/// What the nodes would add for an image.
#[derive(Debug, Clone, Default)]
pub struct NodeCredentials {
    /// The credentials, in the kubelet's order.
    pub credentials: Vec<Credential>,
    /// Whether something that a node would ask could not be asked.
    pub unclear: bool,
}

/// What was observed in this cluster.
pub trait HealthSource: Send + Sync {
    /// The source that this one stands before.
    fn inner(&self) -> Option<&dyn HealthSource> {
        None
    }

    /// Whether history may be believed.
    fn freshness(&self) -> Freshness;

    /// A copy of the few entries that the question needs. Never waits.
    fn history(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> History;

    /// What of an image's history may count in the answer to somebody who may not see everything;
    /// `listed` are names of images of the same registry that nodes list. Never waits. Whoever
    /// does not know says that there may be something elsewhere.
    fn visible_history(
        &self,
        question: &HistoryQuestion<'_>,
        listed: &[&str],
        now: Timestamp,
    ) -> VisibleHistory {
        match self.inner() {
            Some(inner) => inner.visible_history(question, listed, now),
            None => VisibleHistory { last_success: None, elsewhere: true },
        }
    }

    /// Images with the same last name under other repositories or registries that run here, in
    /// namespaces that the user may see. Never waits.
    fn namesakes(&self, question: &HistoryQuestion<'_>, now: Timestamp) -> Vec<KnownTag> {
        self.inner().map(|inner| inner.namesakes(question, now)).unwrap_or_default()
    }

    /// Whether containers run images of this registry here: nodes can pull from it. Never waits.
    fn runs_from(&self, host: &str, now: Timestamp) -> bool {
        self.inner().is_some_and(|inner| inner.runs_from(host, now))
    }

    /// Whether nodes fail to reach this registry, in the whole cluster: a first look that costs
    /// nothing. Never waits.
    fn registry_fails_on_nodes(&self, host: &str, now: Timestamp) -> bool {
        self.inner().is_some_and(|inner| inner.registry_fails_on_nodes(host, now))
    }

    /// What is remembered of a subject, of namespaces that the user may see; nothing where nothing
    /// may be believed. Never waits.
    fn memory(
        &self,
        subject: &ReportTarget,
        visibility: &Visibility,
        now: Timestamp,
    ) -> Option<RememberedHistory> {
        self.inner()?.memory(subject, visibility, now)
    }

    /// The repositories of the same registry of which something runs here, in namespaces that the
    /// user may see. Never waits.
    fn repositories_beside(&self, question: &HistoryQuestion<'_>) -> Vec<Box<str>> {
        self.inner().map(|inner| inner.repositories_beside(question)).unwrap_or_default()
    }

    /// The namespaces with pods of these images, then of their repositories and registries; at
    /// most so many, the likeliest to matter first. Never waits.
    fn namespaces_of(&self, images: &[ImageReference], most: usize) -> Vec<Box<str>> {
        self.inner().map(|inner| inner.namespaces_of(images, most)).unwrap_or_default()
    }

    /// The names of the pull secrets that pods of this namespace name; the most used first.
    fn pull_secrets_in_use(&self, namespace: &str) -> Vec<Box<str>>;

    /// How long a node is likely to take to pull this image, by what was seen of other pulls: for
    /// who may see everything. Never waits.
    fn pull_forecast(
        &self,
        image: &ImageReference,
        compressed_bytes: Option<u64>,
    ) -> Option<PullForecast> {
        self.inner()?.pull_forecast(image, compressed_bytes)
    }

    /// When the controller of this kind (ReplicaSet, Job) and uid was created, if it is known.
    fn created(&self, kind: &str, uid: &str) -> Option<Timestamp>;

    /// When a pod of this name (or `generateName`) and owner was first seen; nothing if it never
    /// was, or not for an hour. Never waits.
    fn first_seen(&self, pod: SeenPod<'_>, now: Timestamp) -> Option<Timestamp> {
        self.inner()?.first_seen(pod, now)
    }

    /// Notes that such a pod was seen now. Never waits.
    fn note_seen(&self, pod: SeenPod<'_>, now: Timestamp) {
        if let Some(inner) = self.inner() {
            inner.note_seen(pod, now);
        }
    }

    /// Remembers what was said about a new pod, to be compared with what its nodes do. Never
    /// waits; whoever keeps no score forgets it.
    fn remember(&self, given: PodVerdicts<'_>, now: Timestamp) {
        if let Some(inner) = self.inner() {
            inner.remember(given, now);
        }
    }

    /// The digests that pods run under this tag, in namespaces that the user may see, without the one
    /// that is named. Never waits.
    fn other_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
        than: Option<&Digest>,
    ) -> Vec<RunningDigest> {
        let inner = self.inner();
        inner.map(|inner| inner.other_digests(image, visibility, than)).unwrap_or_default()
    }

    /// The nodes on which pods run this image (of this digest, if one is given), in namespaces that the
    /// user may see; nothing if there are too many pods to look at. Never waits.
    fn nodes_running(
        &self,
        image: &ImageReference,
        digest: Option<&Digest>,
        visibility: &Visibility,
    ) -> Option<HashSet<Box<str>>> {
        match self.inner() {
            Some(inner) => inner.nodes_running(image, digest, visibility),
            None => Some(HashSet::new()),
        }
    }

    /// How many pods of this workload run, of whichever revision; 0 if that is not known. Never
    /// waits.
    fn running_pods(&self, workload: &ObjectRef) -> u32 {
        self.inner().map_or(0, |inner| inner.running_pods(workload))
    }
}

/// A pod as its creator knows it, before it has a uid that lasts, with one of its images: a
/// StatefulSet's pods keep their names when they get another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeenPod<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name or `generateName`.
    pub name: &'a str,
    /// The uid of its controller, empty for a bare pod.
    pub owner: &'a str,
    /// The image, as it is written.
    pub image: &'a str,
}

impl<'a> SeenPod<'a> {
    /// The pod that this is, in its namespace, with this image.
    pub(super) fn of(pod: &'a Workload, namespace: &'a str, image: &'a str) -> Self {
        let owner = pod.controller.as_ref().map_or("", |owner| &*owner.uid);
        Self { namespace, name: &pod.object.name, owner, image }
    }
}

/// Who may see what.
pub trait AccessSource: Send + Sync {
    /// Whether the user may list pods in this namespace, or everywhere if none is given.
    /// `false` when it could not be found out in time.
    fn may_list_pods<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: Option<&'a str>,
        deadline: Instant,
    ) -> BoxFuture<'a, bool>;

    /// Whether the user may read the Secret of this name, and so may know that there is one.
    /// `false` when it could not be found out in time.
    fn may_read_secret<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &'a str,
        name: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, bool>;
}

/// Whether what is kept of the API server's answers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It will.
    Kept,
    /// A denial stands on it: it is read anew.
    Now,
}

/// An object that is asked for by its name.
#[derive(Debug, Clone, Copy)]
pub struct ObjectQuery<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// How fresh the answer has to be.
    pub reading: Reading,
}

impl<'a> ObjectQuery<'a> {
    /// The question that a kept answer will do for.
    pub const fn kept(namespace: &'a str, name: &'a str) -> Self {
        Self { namespace, name, reading: Reading::Kept }
    }
}

/// The answer to an object asked for by name.
#[derive(Debug, Clone)]
pub enum Fetched<T> {
    /// It is there.
    Found(T),
    /// It does not exist (yet).
    Missing,
    /// It could not be read: no right, no API server, no time.
    Unavailable,
    /// There is no cluster to ask, and the files that were given do not have it.
    NotInFiles,
}

impl<T> Fetched<T> {
    /// What is there; nothing in every other case.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Missing | Self::Unavailable | Self::NotInFiles => None,
        }
    }
}

/// What matters of a ServiceAccount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAccountFacts {
    /// The names in `imagePullSecrets`, in order.
    pub pull_secrets: Vec<Box<str>>,
    /// Whether `kubernetes.io/enforce-mountable-secrets` is `"true"`: then pods may only name
    /// pull secrets that the account names.
    pub enforce_mountable_secrets: bool,
}
