//! The verdict map: what was observed becomes a verdict, a cause and the escapes left open.
//!
//! [`meaning`] reads like the table in the documentation of pulls: one line per outcome. The rest
//! of this module weighs several credentials, nodes and this cluster's own history. In doubt the
//! verdict is the milder one: a false *fails* is the worst that can be said.

use super::content::usable;
use super::escapes::with_escapes;
use super::runtime::{MirrorFiles, Runtime, verifies_images};
use super::{Cause, Escape, Lookup, NetworkFault, NodeLogin, Outcome, Verdict, Vouches};
use crate::credential::CredentialSource;
use crate::image::{Digest, ImageReference, ReferenceError};
use crate::node_config::FilesOf;
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
    /// What the platform team vouches for; asked only where the verdict may deny.
    pub vouches: &'a dyn Fn() -> Vouches,
    /// What was observed in this cluster.
    pub lived: HistoryFacts,
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
    /// What in this cluster's history softened the verdict.
    pub softened: Option<Softened>,
}

/// Why a look-up that failed is not the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Softened {
    /// This very reference was pulled or started here a short while ago.
    RecentSuccess,
    /// The registry as a whole is in trouble.
    RegistryTrouble,
    /// Nobody logged in, and the nodes may by themselves.
    NodesMayLogIn,
    /// The registry may answer 404 for what one may not see, and not every credential was tried.
    MayBeHidden,
}

impl Softened {
    /// Whether it is what pods of this cluster met with, and not what was left untried.
    pub const fn is_experience(self) -> bool {
        matches!(self, Self::RecentSuccess | Self::RegistryTrouble)
    }
}

/// Assesses one image.
pub fn assess(seen: &Observation<'_>) -> Assessment {
    let Ok(reference) = seen.reference else {
        return Assessment::of(Verdict::Fails, Some(Cause::InvalidReference));
    };
    if seen.pull_policy == ImagePullPolicy::Never {
        return never(seen, reference);
    }
    if present_everywhere(seen, reference) {
        return Assessment::of(Verdict::Works, None);
    }
    let assessment = match seen.secrets {
        SecretsState::Broken => Assessment::of(Verdict::Fails, Some(Cause::BrokenPullSecret)),
        SecretsState::Read
        | SecretsState::Unread
        | SecretsState::Missing
        | SecretsState::NotInFiles => doubt_mirrors(seen, doubt_missing(seen, weigh(seen))),
    };
    let assessment = doubt_names(seen, reference, assessment);
    doubt_access(seen, with_escapes(seen, soften(seen, assessment)))
}

/// The verdict map: what one outcome means for a pull with that credential.
pub const fn meaning(outcome: &Outcome) -> (Verdict, Option<Cause>) {
    use Verdict::{CannotTell, Fails, Works};
    match outcome {
        Outcome::Exists(_) => (Works, None),
        // Only an error code in the body of a GET confirms it: an ingress answers 404 too.
        Outcome::TagMissing { code: Some(_) } => (Fails, Some(Cause::TagNotFound)),
        Outcome::TagMissing { code: None } => (CannotTell, Some(Cause::TagNotFound)),
        Outcome::RepositoryMissing { code: Some(_) } => (Fails, Some(Cause::RepositoryNotFound)),
        Outcome::RepositoryMissing { code: None } => (CannotTell, Some(Cause::RepositoryNotFound)),
        Outcome::MissingOrDenied => (Fails, Some(Cause::AccessDeniedOrMissing)),
        Outcome::Unauthorized => (Fails, Some(Cause::Unauthorized)),
        Outcome::Forbidden => (Fails, Some(Cause::Forbidden)),
        Outcome::LoginWithheld | Outcome::MirrorRefused => (CannotTell, Some(Cause::Unauthorized)),
        // Everything below may pass, or depends on where one stands.
        Outcome::RefusedByStranger | Outcome::Malformed(_) => {
            (CannotTell, Some(Cause::MalformedAnswer))
        }
        Outcome::AddressRefused => (CannotTell, Some(Cause::NetworkRestricted)),
        Outcome::Throttled { .. } => (CannotTell, Some(Cause::RateLimited)),
        Outcome::RegistryError { .. } => (CannotTell, Some(Cause::RegistryError)),
        Outcome::Network(NetworkFault::Dns) => (CannotTell, Some(Cause::DnsFailure)),
        Outcome::Network(_) => (CannotTell, Some(Cause::ConnectionRefused)),
        Outcome::Tls(_) => (CannotTell, Some(Cause::TlsFailure)),
        Outcome::Timeout(_) => (CannotTell, Some(Cause::Timeout)),
        Outcome::CorruptContent => (CannotTell, Some(Cause::CorruptContent)),
        Outcome::ForbiddenAddress => (CannotTell, Some(Cause::ForbiddenAddress)),
        Outcome::ForeignRealm(_) => (CannotTell, Some(Cause::ForeignRealm)),
        Outcome::NoHost => (CannotTell, Some(Cause::UnknownNodes)),
        Outcome::TooLate => (CannotTell, Some(Cause::TooLate)),
        Outcome::Overloaded => (CannotTell, Some(Cause::Overloaded)),
    }
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
            softened: None,
        }
    }

    /// Whether a policy may deny for this.
    pub fn may_deny(&self) -> bool {
        self.verdict == Verdict::Fails && self.escapes.is_empty()
    }
}

/// `Never`: the registry is not asked, so only the nodes' disks count.
fn never(seen: &Observation<'_>, reference: &ImageReference) -> Assessment {
    if present_everywhere(seen, reference) {
        return Assessment::of(Verdict::Works, None);
    }
    with_escapes(seen, Assessment::of(Verdict::Fails, Some(Cause::ImageNeverPull)))
}

/// Whether every node that the pod may land on lists the image, and none would check credentials
/// again before using it.
fn present_everywhere(seen: &Observation<'_>, reference: &ImageReference) -> bool {
    seen.images_of_nodes
        && seen.pull_policy != ImagePullPolicy::Always
        && on_every_node(seen.eligible, reference)
}

/// Whether every node that the pods may land on lists the image, at least one is known, and none
/// would check credentials again before it starts what it has.
pub fn on_every_node(eligible: &Eligible<'_>, reference: &ImageReference) -> bool {
    !eligible.nodes.is_empty()
        && eligible.nodes.iter().all(|node| starts_without_asking(node, reference))
}

/// Whether a node lists the image, and would not check credentials again before it starts it.
pub fn starts_without_asking(node: &Node, reference: &ImageReference) -> bool {
    lists(node, reference) && !verifies_images(node)
}

/// Whether a node's `status.images` names this image. Absence there proves nothing.
pub fn lists(node: &Node, reference: &ImageReference) -> bool {
    let wanted = reference.canonical();
    node.images.iter().any(|name| **name == *wanted)
}

/// The kubelet tries its credentials in order until one works; the next one after any error.
fn weigh(seen: &Observation<'_>) -> Assessment {
    let meanings: Vec<_> =
        seen.attempts.iter().map(|attempt| meaning(&attempt.lookup.outcome)).collect();
    let works = seen.attempts.iter().enumerate().find_map(|(index, attempt)| {
        let Outcome::Exists(found) = &attempt.lookup.outcome else { return None };
        Some(Assessment { decisive: Some(index), ..usable(seen, found) })
    });
    if let Some(works) = works {
        return works;
    }
    let worst = |wanted: Verdict| {
        let of_verdict = meanings.iter().enumerate().filter(|(_, (verdict, _))| *verdict == wanted);
        of_verdict.min_by_key(|(_, (_, cause))| cause.map_or(u8::MAX, precedence))
    };
    let decided = worst(Verdict::CannotTell).or_else(|| worst(Verdict::Fails));
    match decided {
        Some((index, (verdict, cause))) => {
            let proven_missing =
                is_missing(*cause) && seen.repository == RepositoryAccess::Readable;
            let verdict = match seen.secrets {
                SecretsState::Read | SecretsState::Broken => *verdict,
                _ if proven_missing => *verdict,
                SecretsState::Unread | SecretsState::Missing | SecretsState::NotInFiles => {
                    Verdict::CannotTell
                }
            };
            Assessment { decisive: Some(index), ..Assessment::of(verdict, *cause) }
        }
        None => Assessment::of(Verdict::CannotTell, Some(Cause::UnknownNodes)),
    }
}

const fn is_missing(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::TagNotFound | Cause::RepositoryNotFound))
}

/// Whether the registry refused whoever asked.
pub const fn is_about_access(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing))
}

/// A 404 from a repository that nobody saw, while there are credentials that nobody tried.
fn doubt_missing(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    if is_missing(assessment.cause) && seen.repository == RepositoryAccess::NotSeen {
        left_untried(seen, assessment, Softened::MayBeHidden)
    } else {
        assessment
    }
}

/// A refusal of those who did not log in, where nodes may: nobody can tell.
fn doubt_access(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let anonymous = seen.attempts.iter().all(|attempt| attempt.source.is_none());
    if assessment.verdict == Verdict::Fails
        && is_about_access(assessment.cause)
        && anonymous
        && assessment.escapes.contains(&Escape::NodeCredentials)
    {
        left_untried(seen, assessment, Softened::NodesMayLogIn)
    } else {
        assessment
    }
}

/// Nobody can tell, and where the nodes are known to log in by themselves nothing is said.
fn left_untried(seen: &Observation<'_>, assessment: Assessment, why: Softened) -> Assessment {
    let softened =
        (seen.lived.node_login != NodeLogin::Proven).then_some(why).or(assessment.softened);
    Assessment { verdict: Verdict::CannotTell, escapes: Vec::new(), softened, ..assessment }
}

/// Which of several failures names the trouble best: who was let in knows more than who was not.
const fn precedence(cause: Cause) -> u8 {
    match cause {
        Cause::TagNotFound => 0,
        Cause::RepositoryNotFound => 1,
        Cause::Forbidden => 2,
        Cause::AccessDeniedOrMissing => 3,
        Cause::Unauthorized => 4,
        _ => 5,
    }
}

impl Observation<'_> {
    /// Whether its pods may land on a node that does not read the mirror files which were handed
    /// over: containerd's and CRI-O's are not the same.
    pub(super) fn has_other_mirrors(&self) -> bool {
        let Some(MirrorFiles { of, .. }) = self.mirror_files else { return false };
        if self.eligible.nodes.is_empty() {
            return self.runtime.is_some_and(|runtime| {
                // `containerd` without a version is one of several.
                !runtime.reads(of) && (runtime != Runtime::Other || of == FilesOf::CriO)
            });
        }
        self.eligible.nodes.iter().any(|node| !Runtime::parse(&node.runtime).reads(of))
    }
}

/// What was asked by the mirrors of one runtime, where a node has another: unless the registry
/// itself has it, that node may get something else.
fn doubt_mirrors(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let at_mirror = || {
        let decisive = assessment.decisive.and_then(|index| seen.attempts.get(index));
        decisive.is_some_and(|attempt| attempt.lookup.mirror.is_some())
    };
    let by_files = seen.mirror_files.is_some_and(|files| files.routes)
        && (assessment.verdict != Verdict::Works || at_mirror());
    if by_files && seen.has_other_mirrors() {
        Assessment {
            verdict: Verdict::CannotTell,
            cause: assessment.cause.or(Some(Cause::UnknownNodes)),
            ..assessment
        }
    } else {
        assessment
    }
}

/// Names that not every runtime reads alike: CRI-O resolves short names by its own list, and
/// refuses some that containerd takes; a host that is not one is nobody's.
fn doubt_names(
    seen: &Observation<'_>,
    reference: &ImageReference,
    assessment: Assessment,
) -> Assessment {
    let nodes = &seen.eligible.nodes;
    let cri_o = || {
        seen.runtime == Some(Runtime::CriO)
            || nodes.iter().any(|node| Runtime::parse(&node.runtime) == Runtime::CriO)
    };
    let containerd = |runtime: Runtime| matches!(runtime, Runtime::Containerd(..));
    let known = || {
        seen.runtime.is_some_and(containerd)
            || !nodes.is_empty()
                && nodes.iter().all(|node| containerd(Runtime::parse(&node.runtime)))
    };
    let doubtful = reference.has_irregular_host()
        || is_cluster_name(reference.host())
        || ((reference.is_short() || reference.cri_o_refuses())
            && (cri_o() || (assessment.verdict == Verdict::Fails && !known())));
    if doubtful {
        Assessment {
            verdict: Verdict::CannotTell,
            cause: assessment.cause.or(Some(Cause::UnknownNodes)),
            ..assessment
        }
    } else {
        assessment
    }
}

/// Names of Services: pods resolve them, nodes seldom do, so what Pullgate gets says little of what
/// a node will.
fn is_cluster_name(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    [".svc", ".svc.cluster.local"].iter().any(|suffix| name.ends_with(suffix))
}

/// This cluster's own experience beats a look-up that failed.
fn soften(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let Some(cause) = assessment.cause else { return assessment };
    let trouble = seen.lived.registry_in_trouble
        && (cause.is_transient()
            || matches!(
                cause,
                Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing
            ));
    let softened = if trouble {
        Softened::RegistryTrouble
    } else if seen.lived.recent_success
        && assessment.verdict == Verdict::Fails
        && cause != Cause::BrokenPullSecret
    {
        Softened::RecentSuccess
    } else {
        return assessment;
    };
    Assessment { verdict: Verdict::CannotTell, softened: Some(softened), ..assessment }
}
