//! One line for a person: what to do about a cause.

use super::{Classified, CredentialProblem};
use crate::pull::Cause;

/// What to do next about what a message says. One line of our own words.
pub fn next_step(classified: &Classified) -> &'static str {
    use CredentialProblem::{Expired, Insufficient, Missing, Rejected};
    if let Some(advice) = classified.advice {
        return advice;
    }
    match (classified.cause, classified.credential_problem) {
        (Cause::Unauthorized, Some(Missing)) => {
            "add a pull secret for this registry to the pod or its ServiceAccount"
        }
        (Cause::Unauthorized, Some(Rejected)) => {
            "renew the user name and password in the pull secret: the registry refuses them"
        }
        (Cause::Unauthorized, Some(Expired)) => {
            "renew the token in the pull secret: it has expired"
        }
        (Cause::Unauthorized | Cause::Forbidden, Some(Insufficient)) => {
            "give the account in the pull secret the right to pull this repository"
        }
        (cause, _) => next_step_of(cause),
    }
}

/// What to do about a cause when nothing more is known.
pub const fn next_step_of(cause: Cause) -> &'static str {
    match cause {
        Cause::InvalidReference => {
            "correct the image name: lower case, one tag, no scheme, a registry that nodes know"
        }
        Cause::TagNotFound => "use a tag or digest that exists, or push this one",
        Cause::RepositoryNotFound => "correct the repository name, or create it and push",
        Cause::AccessDeniedOrMissing => {
            "check the name; if it is right and private, add a pull secret that may read it"
        }
        Cause::Unauthorized => "check the pull secret of the pod for this registry",
        Cause::Forbidden => "give the account in use the right to pull, or check address filters",
        Cause::RateLimited => {
            "wait, or pull with an account of a higher limit or through a mirror of your own"
        }
        Cause::PlatformMismatch => {
            "publish the image for the platform of the nodes, or schedule it on fitting ones"
        }
        Cause::DnsFailure => "check the registry's name, and name resolution on the node",
        Cause::ConnectionRefused => {
            "check that the registry runs and that the node may reach its address and port"
        }
        Cause::Timeout => "check network, proxy and firewall between the node and the registry",
        Cause::TlsFailure => {
            "give the node's runtime the registry's CA, or fix the registry's certificate"
        }
        Cause::RegistryError => "wait, or ask the registry's operators (5xx)",
        Cause::UnsupportedManifest => {
            "rebuild the image in a current format, and check that it is a container image"
        }
        Cause::CorruptContent => "pull again; if it persists, push the image again or purge caches",
        Cause::NodeStorage => "free or fix the disk of the node that holds images",
        Cause::ImageNeverPull => "put the image on the node, or change the pull policy",
        Cause::SignatureRejected => "sign the image as the node's policy asks, or use one that is",
        Cause::NodeRuntime => "check the node's container runtime; a retry may help",
        Cause::BackOff => "look for the message of the last attempt: this one names no cause",
        Cause::NotAnImageFailure => "not an image problem: see kubectl describe pod",
        Cause::BrokenPullSecret => "fix the JSON or base64 in the pod's pull secrets",
        Cause::ForbiddenAddress => {
            "list it in registries.inCluster if it runs in this cluster, else allow its address"
        }
        Cause::ForeignRealm => {
            "add the registry and its token host to registries.tokenRealms (platform team)"
        }
        Cause::NetworkRestricted => {
            "let the registry's firewall or address filter admit Pullgate as well as the nodes"
        }
        Cause::MalformedAnswer => "check what answers at the registry's address",
        Cause::TooLate | Cause::Overloaded => "try again in a few seconds",
        Cause::UnknownNodes => "set spec.nodes.platforms in the PullgatePolicy",
    }
}
