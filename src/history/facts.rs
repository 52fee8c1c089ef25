//! What a review asks the index for, and what it gets: a copy of the few entries needed.

use jiff::Timestamp;

use crate::image::{Digest, ImageReference};
use crate::pull::{Cause, NodeLogin};

/// What is asked of the index at admission.
#[derive(Debug, Clone)]
pub struct HistoryQuestion<'a> {
    /// The image that is about to be pulled.
    pub reference: &'a ImageReference,
    /// The namespace of the object under review.
    pub namespace: &'a str,
    /// Of which namespaces names and tags may be shown.
    pub visibility: &'a Visibility,
}

/// Of which namespaces the user may be shown. Counts and verdicts that tell nothing about others
/// (such as "the nodes evidently can log in to this registry") are not bound by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Of all namespaces.
    Cluster,
    /// Of these only; what is told of them is a partial view.
    Namespaces(Vec<Box<str>>),
}

impl Visibility {
    /// Nobody: only what may be shown to anybody.
    pub const fn nobody() -> Self {
        Self::Namespaces(Vec::new())
    }

    /// Whether this namespace may be spoken of.
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.iter().any(|name| &**name == namespace),
        }
    }
}

/// Whether the index may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// The first lists are not in yet: nothing may be shown, nothing denied.
    #[default]
    Learning,
    /// Every watch is in contact.
    Current,
    /// A watch has had no contact for too long: nothing may be shown, nothing denied.
    Stale,
    /// There is no index: the command line on files alone.
    Absent,
}

impl Freshness {
    /// Every freshness.
    pub const ALL: &'static [Self] = &[Self::Learning, Self::Current, Self::Stale, Self::Absent];

    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Current => "current",
            Self::Stale => "stale",
            Self::Absent => "absent",
        }
    }
}

/// What the index knows of one image, its repository and its registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Whether the rest may be believed.
    pub freshness: Freshness,
    /// The last time that a node pulled or started exactly this reference, anywhere.
    pub last_success: Option<Success>,
    /// Whether an event of the last minutes says that a node has it. Whoever may write events can
    /// claim that, so it makes decisions milder and proves nothing.
    pub claimed_lately: bool,
    /// Tags of the same repository that run, in namespaces that the user may see; the most
    /// recently started first.
    pub known_tags: Vec<KnownTag>,
    /// Causes for which pods of exactly this reference fail now, with how many, in namespaces that
    /// may be shown; the most frequent first.
    pub failures: Vec<(Cause, u32)>,
    /// Workloads of these, and pods without one; a bounded number of pods is looked at.
    pub failing_workloads: u32,
    /// How many different images pods have now under exactly this reference; told only to those
    /// who may see everything.
    pub contents: usize,
    /// How the registry as a whole is doing.
    pub registry: RegistryHealth,
}

/// What of an image's history may count in the answer to somebody who may not see all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VisibleHistory {
    /// When it last ran in namespaces that the user may see.
    pub last_success: Option<Timestamp>,
    /// Whether anything of its registry ran elsewhere, or is on a node without that the user may see
    /// who ran it. It is the same for all images of the registry.
    pub elsewhere: bool,
}

/// A success of a reference in this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Success {
    /// When a node last pulled or started it.
    pub at: Timestamp,
    /// The digest that it was then, where known.
    pub digest: Option<Digest>,
    /// Whether a node is known to have freshly pulled it, not only started it from its disk.
    pub pulled: bool,
}

/// A tag (or digest) of the repository that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTag {
    /// The reference with that tag or digest.
    pub reference: ImageReference,
    /// How many pods run it, in namespaces that the user may see.
    pub pods: u32,
    /// Whether one of them is in the namespace of the object under review.
    pub in_namespace: bool,
    /// When a pod last started with it.
    pub last_started: Timestamp,
    /// The digest that it is, where known and the same everywhere.
    pub digest: Option<Digest>,
}

impl KnownTag {
    /// Whether it is this very image, however its name was written.
    pub fn names(&self, reference: &ImageReference) -> bool {
        self.reference.is_same_image(reference)
    }
}

/// One registry. The counts are of namespaces that the user may see; the rest is of the whole cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RegistryHealth {
    /// Containers that run an image of this registry.
    pub healthy: u32,
    /// Containers that wait because an image of this registry cannot be pulled.
    pub failing: u32,
    /// The cause that most of the failing ones share, if one does.
    pub main_cause: Option<Cause>,
    /// Containers that freshly pulled from it in the last ten minutes, in the whole cluster.
    pub recent_pulls: u32,
    /// Whether the registry as a whole is in trouble: an outage or a login problem, not a fault
    /// of one image.
    pub in_trouble: bool,
    /// Whether nodes log in to it by themselves, as pods without any pull secret show that freshly
    /// pulled from it.
    pub node_login: NodeLogin,
    /// Whether its escapes are open again, whatever the policy vouches, because nodes pulled what
    /// repeated look-ups still called missing or forbidden.
    pub escapes_reopened: bool,
}

/// Failing containers from which on it is said that nodes fail.
const MANY: u32 = 3;

impl RegistryHealth {
    /// Why nodes fail to reach this registry, if that is what most of their recent pulls came to:
    /// at least three containers fail, and four times as many as were pulled.
    pub fn unreachable_from_nodes(&self) -> Option<Cause> {
        let cause = self.main_cause?;
        let reach = matches!(
            cause,
            Cause::DnsFailure
                | Cause::ConnectionRefused
                | Cause::Timeout
                | Cause::TlsFailure
                | Cause::RegistryError
                | Cause::RateLimited
        );
        let most = self.failing >= MANY && self.recent_pulls.saturating_mul(4) <= self.failing;
        (reach && most).then_some(cause)
    }
}
