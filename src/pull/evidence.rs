//! What was observed of one image, and what is made of it.

use super::runtime::Runtime;
use super::{Cause, Escape, Lookup, NodeLogin, Verdict, Vouches};
use crate::credential::CredentialSource;
use crate::image::{Digest, ImageReference, Platform, ReferenceError};
use crate::node_config::{FilesOf, MirrorFiles};
use crate::workload::{Eligible, ImagePullPolicy, Node};

/// What was observed in this cluster, as far as it bears on a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, not states of one thing")]
pub struct HistoryFacts {
    /// A node pulled or started this very reference a short while ago.
    pub recent_success: bool,
    /// This reference ran here at some time, or a node said lately that it has it: it may be on a
    /// node's disk.
    pub seen_here: bool,
    /// The registry as a whole is in trouble here.
    pub registry_in_trouble: bool,
    /// Whether nodes log in to this registry by themselves.
    pub node_login: NodeLogin,
    /// Nodes pulled what repeated look-ups still called missing or forbidden.
    pub escapes_reopened: bool,
}

/// What became of the pod's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsState {
    /// All that exist were read.
    Read,
    /// One is so broken that the kubelet gives up.
    Broken,
    /// One could not be read, so it is unknown which credentials the kubelet will have.
    Unread,
    /// One that is named does not exist (yet). Secrets often come after the pod, and the kubelet
    /// reads them anew with every attempt.
    Missing,
    /// The files that were given do not have the ServiceAccount, which may bring some.
    NotInFiles,
}

/// Whether the repository is there for the credentials to which its registry answered 404. There
/// are registries that answer so for what one may not see (Artifactory's
/// `hideUnauthorizedResources`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepositoryAccess {
    /// Nobody asked, since every credential was tried that there is.
    #[default]
    NotAsked,
    /// Its tags could be listed, or the registry is known to hide nothing: what is missing in it
    /// is missing.
    Readable,
    /// It was not to be seen.
    NotSeen,
}

/// One credential and what the registry answered to it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Where the credential came from; nothing for the anonymous attempt.
    pub source: Option<CredentialSource>,
    /// What came of it.
    pub lookup: Lookup,
}

/// Everything that bears on the verdict about one image.
#[derive(Clone, Copy)]
pub struct Observation<'a> {
    /// The image's name, parsed.
    pub reference: Result<&'a ImageReference, &'a ReferenceError>,
    /// When the nodes ask.
    pub pull_policy: ImagePullPolicy,
    /// What became of the pod's secrets.
    pub secrets: SecretsState,
    /// The credentials in the kubelet's order, up to the first that worked.
    pub attempts: &'a [Attempt],
    /// Whether the nodes may have a credential that could not be asked for.
    pub nodes_unclear: bool,
    /// Which attempt was made with the login of the nodes' runtime and did not get the image, where who
    /// does not log in gets it.
    pub refused_login: Option<usize>,
    /// Whether a 404 can be the registry's way of hiding the repository.
    pub repository: RepositoryAccess,
    /// Where the pod may land.
    pub eligible: &'a Eligible<'a>,
    /// Whether it counts what images nodes list: not for who may not see whose they are.
    pub images_of_nodes: bool,
    /// The runtime of all nodes, where none is known from the nodes themselves.
    pub runtime: Option<Runtime>,
    /// The mirror files by which the registry was asked.
    pub mirror_files: Option<MirrorFiles>,
    /// Whether the registry's name is each machine's own (`localhost`), and whoever checks asked theirs.
    pub own_loopback: bool,
    /// What the platform team vouches for; asked only where the verdict may deny.
    pub vouches: &'a dyn Fn() -> Vouches,
    /// What was observed in this cluster.
    pub history: HistoryFacts,
}

impl Observation<'_> {
    /// Whether its pods may land on a node that does not read the mirror files which were handed
    /// over.
    pub(super) fn has_other_mirrors(&self) -> bool {
        has_other_mirrors(self.mirror_files, self.eligible, self.runtime)
    }
}

/// Whether pods may land on a node that does not read these mirror files: containerd's and CRI-O's
/// are not the same. A node that only a taint keeps them away from counts, and where they may have
/// to wait for others, or no node takes them yet, every node that is known.
pub(crate) fn has_other_mirrors(
    files: Option<MirrorFiles>,
    eligible: &Eligible<'_>,
    runtime: Option<Runtime>,
) -> bool {
    let Some(files) = files else { return false };
    // `containerd` without a version is one of several.
    let reads = |runtime: Runtime| {
        runtime.reads(files) || (runtime == Runtime::Other && files.of != FilesOf::CriO)
    };
    let reads_not = |node: &Node| !Runtime::parse(&node.runtime).reads(files);
    let Eligible { nodes, known, asked, .. } = eligible;
    if nodes.is_empty() && (known.is_empty() || !asked) {
        return runtime.map_or(*asked, |runtime| !reads(runtime));
    }
    eligible.where_it_may_run().any(reads_not)
}

/// What will become of one image, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, unless it simply works. A *works* may have one too: it is pulled and will not run.
    pub cause: Option<Cause>,
    /// The ways in which a node could still succeed; only a *fails* has any.
    pub escapes: Vec<Escape>,
    /// Which of the attempts decided, if one did.
    pub decisive: Option<usize>,
    /// The digest behind the reference, where it is known.
    pub digest: Option<Digest>,
    /// Nodes the pod may land on that cannot run it, although it can be pulled.
    pub unfit_nodes: Vec<Box<str>>,
    /// What the nodes are, each platform once, where the image is built for none of them.
    pub node_platforms: Vec<Option<Platform>>,
    /// What in this cluster's history softened the verdict.
    pub doubt: Option<Doubt>,
}

impl Assessment {
    pub(super) fn of(verdict: Verdict, cause: Option<Cause>) -> Self {
        Self {
            verdict,
            cause,
            escapes: Vec::new(),
            decisive: None,
            digest: None,
            unfit_nodes: Vec::new(),
            node_platforms: Vec::new(),
            doubt: None,
        }
    }

    /// Whether nothing is to be said of it.
    pub(crate) fn is_fine(&self) -> bool {
        self.verdict == Verdict::Works && self.cause.is_none()
    }

    /// Whether a policy may deny for this.
    pub fn may_deny(&self) -> bool {
        self.verdict == Verdict::Fails && self.escapes.is_empty()
    }
}

/// Why a look-up that failed is not the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// This very reference was pulled or started here a short while ago.
    RecentSuccess,
    /// The registry as a whole is in trouble.
    RegistryTrouble,
    /// Nobody logged in, and the nodes may by themselves.
    NodesMayLogIn,
    /// The registry may answer 404 for what one may not see, and not every credential was tried.
    MayBeHidden,
    /// It is at `localhost`: each machine has its own there.
    OwnLoopback,
}

impl Doubt {
    /// Whether it is what pods of this cluster met with, and not what was left untried.
    pub(crate) const fn is_from_history(self) -> bool {
        matches!(self, Self::RecentSuccess | Self::RegistryTrouble)
    }
}

/// Whether a node's `status.images` names this image. Absence there proves nothing.
pub fn lists(node: &Node, reference: &ImageReference) -> bool {
    let wanted = reference.canonical();
    node.images.iter().any(|name| **name == *wanted)
}
