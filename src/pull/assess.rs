//! The verdict map: what was observed becomes a verdict, a cause and the escapes left open.
//!
//! [`meaning`] reads like the table in the documentation of pulls: one line per outcome. The rest
//! of this module weighs several credentials, nodes and this cluster's own history. In doubt the
//! verdict is the milder one: a false *fails* is the worst that can be said.

use super::content::usable;
use super::escapes::with_escapes;
use super::evidence::{Assessment, Doubt, Observation, RepositoryAccess, SecretsState, lists};
use super::runtime::{Runtime, verifies_images};
use super::{Cause, Escape, NetworkFault, NodeLogin, Outcome, Verdict};
use crate::image::ImageReference;
use crate::workload::{Eligible, ImagePullPolicy, Node};

/// Assesses one image.
pub fn assess(seen: &Observation<'_>) -> Assessment {
    doubt_pullers(seen, by_kubelets(seen))
}

/// What becomes of it where a kubelet pulls, and pulls a name.
fn by_kubelets(seen: &Observation<'_>) -> Assessment {
    let Ok(reference) = seen.reference else {
        return Assessment::of(Verdict::Fails, Some(Cause::InvalidReference));
    };
    if seen.pull_policy == ImagePullPolicy::Never {
        return doubt_names(seen, reference, never(seen, reference));
    }
    if present_everywhere(seen, reference) {
        return present(seen);
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
pub(crate) const fn meaning(outcome: &Outcome) -> (Verdict, Option<Cause>) {
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
        Outcome::LoginWithheld | Outcome::PasswordMissing | Outcome::MirrorRefused => {
            (CannotTell, Some(Cause::Unauthorized))
        }
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
        Outcome::ForeignRealm(_) | Outcome::RedirectRefused => {
            (CannotTell, Some(Cause::ForeignRealm))
        }
        Outcome::NoHost => (CannotTell, Some(Cause::UnknownNodes)),
        Outcome::TooLate => (CannotTell, Some(Cause::TooLate)),
        Outcome::Overloaded => (CannotTell, Some(Cause::Overloaded)),
    }
}

/// `Never`: the registry is not asked, so only the nodes' disks count, where anybody looked at them.
fn never(seen: &Observation<'_>, reference: &ImageReference) -> Assessment {
    if present_everywhere(seen, reference) {
        return Assessment::of(Verdict::Works, None);
    }
    let looked = seen.eligible.asked;
    let verdict = if looked { Verdict::Fails } else { Verdict::CannotTell };
    with_escapes(seen, Assessment::of(verdict, Some(Cause::ImageNeverPull)))
}

/// Whether every node that the pod may land on lists the image, and none would check credentials
/// again before using it.
fn present_everywhere(seen: &Observation<'_>, reference: &ImageReference) -> bool {
    seen.images_of_nodes
        && seen.pull_policy != ImagePullPolicy::Always
        && on_every_node(seen.eligible, reference)
}

/// It starts from the nodes' disks. Where the registry has it no longer, that is worth a word: the next
/// node cannot pull it.
fn present(seen: &Observation<'_>) -> Assessment {
    let weighed = doubt_missing(seen, weigh(seen));
    let gone = weighed.verdict == Verdict::Fails && is_missing(weighed.cause);
    if gone && seen.secrets != SecretsState::Broken {
        Assessment { verdict: Verdict::Works, ..weighed }
    } else {
        Assessment::of(Verdict::Works, None)
    }
}

/// Whether every node that the pods may land on lists the image, at least one is known, they need no
/// others, and none would check credentials again before it starts what it has.
pub(crate) fn on_every_node(eligible: &Eligible<'_>, reference: &ImageReference) -> bool {
    !eligible.nodes.is_empty()
        && !eligible.may_need_others
        && eligible.nodes.iter().all(|node| starts_without_asking(node, reference))
}

/// Whether a node lists the image, and would not check credentials again before it starts it.
pub(crate) fn starts_without_asking(node: &Node, reference: &ImageReference) -> bool {
    lists(node, reference) && !verifies_images(node)
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
        return refused_login(seen).unwrap_or(works);
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

/// CRI-O asks as nobody only where its own file has no login for the registry: with one that is refused
/// its nodes fail on what others get without.
fn refused_login(seen: &Observation<'_>) -> Option<Assessment> {
    let index = seen.refused_login?;
    let (_, cause) = meaning(&seen.attempts.get(index)?.lookup.outcome);
    let unknown = Assessment::of(Verdict::CannotTell, cause);
    Some(Assessment { decisive: Some(index), ..unknown })
}

const fn is_missing(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::TagNotFound | Cause::RepositoryNotFound))
}

/// Whether the registry refused whoever asked.
pub(crate) const fn is_about_access(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing))
}

/// A 404 from a repository that nobody saw, while there are credentials that nobody tried.
fn doubt_missing(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    if is_missing(assessment.cause) && seen.repository == RepositoryAccess::NotSeen {
        left_untried(seen, assessment, Doubt::MayBeHidden)
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
        left_untried(seen, assessment, Doubt::NodesMayLogIn)
    } else {
        assessment
    }
}

/// Nobody can tell, and where the nodes are known to log in by themselves nothing is said.
fn left_untried(seen: &Observation<'_>, assessment: Assessment, why: Doubt) -> Assessment {
    let doubt = (seen.history.node_login != NodeLogin::Proven).then_some(why).or(assessment.doubt);
    Assessment { verdict: Verdict::CannotTell, escapes: Vec::new(), doubt, ..assessment }
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

/// What was asked by the mirrors of one runtime, where a node has another: unless the registry
/// itself has it, that node may get something else.
fn doubt_mirrors(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let at_mirror = || {
        let decisive = assessment.decisive.and_then(|index| seen.attempts.get(index));
        decisive.is_some_and(|attempt| attempt.lookup.mirror.is_some())
    };
    let by_files = seen.mirror_files.is_some_and(|files| files.routes)
        && (assessment.verdict != Verdict::Works || at_mirror());
    if by_files && seen.has_other_mirrors() { of_unknown_nodes(assessment) } else { assessment }
}

/// What nodes make of it is not known.
fn of_unknown_nodes(assessment: Assessment) -> Assessment {
    let cause = assessment.cause.or(Some(Cause::UnknownNodes));
    Assessment { verdict: Verdict::CannotTell, cause, ..assessment }
}

/// Names that not every runtime reads alike: CRI-O resolves short names by its own list, and
/// refuses some that containerd takes; a host that is not one is nobody's, and `localhost` is everybody's.
fn doubt_names(
    seen: &Observation<'_>,
    reference: &ImageReference,
    assessment: Assessment,
) -> Assessment {
    let runtimes = || {
        let nodes = seen.eligible.where_it_may_run();
        nodes.map(|node| Runtime::parse(&node.runtime))
    };
    let cri_o = || {
        seen.runtime == Some(Runtime::CriO) || runtimes().any(|runtime| runtime == Runtime::CriO)
    };
    let containerd = |runtime: Runtime| matches!(runtime, Runtime::Containerd(..));
    let known = || {
        seen.runtime.is_some_and(containerd)
            || (runtimes().next().is_some() && runtimes().all(containerd))
    };
    let asks_registry = seen.pull_policy != ImagePullPolicy::Never;
    if asks_registry && seen.own_loopback && assessment.verdict == Verdict::Fails {
        let doubt = Some(Doubt::OwnLoopback);
        return of_unknown_nodes(Assessment { doubt, ..assessment });
    }
    let is_elsewhere = reference.has_irregular_host() || is_cluster_name(reference.host());
    let doubtful = (asks_registry && is_elsewhere)
        || ((reference.is_short() || reference.cri_o_refuses())
            && (cri_o() || (assessment.verdict == Verdict::Fails && !known())));
    if doubtful { of_unknown_nodes(assessment) } else { assessment }
}

/// Where a pod may run on a virtual node, no kubelet reads the name or the secrets (interLink takes
/// `docker://ubuntu`). And where the name is the ID of an image, a runtime that has it asks nobody.
fn doubt_pullers(seen: &Observation<'_>, assessment: Assessment) -> Assessment {
    let is_id = || {
        seen.pull_policy != ImagePullPolicy::Always
            && seen.reference.is_ok_and(ImageReference::may_be_an_id)
    };
    let Eligible { nodes, known, .. } = seen.eligible;
    let on_virtual_nodes = || {
        nodes.iter().any(|node| node.is_virtual())
            || (nodes.is_empty() && known.iter().any(Node::is_virtual))
    };
    if assessment.verdict == Verdict::Fails && (is_id() || on_virtual_nodes()) {
        Assessment { verdict: Verdict::CannotTell, escapes: Vec::new(), ..assessment }
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
    let trouble = seen.history.registry_in_trouble
        && (cause.is_transient()
            || matches!(
                cause,
                Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing
            ));
    let doubt = if trouble {
        Doubt::RegistryTrouble
    } else if seen.history.recent_success
        && assessment.verdict == Verdict::Fails
        && cause != Cause::BrokenPullSecret
    {
        Doubt::RecentSuccess
    } else {
        return assessment;
    };
    Assessment { verdict: Verdict::CannotTell, doubt: Some(doubt), ..assessment }
}
