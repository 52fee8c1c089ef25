//! One pasted message in, one answer out: what `explain --message` and `--messages` say, with one line
//! for a person about what to do.
//!
//! Pure: a line of JSON in, a line of JSON out. Nothing of a message is repeated but a registry
//! host that parses as one, and the id by which the caller knows it.

use serde::{Deserialize, Serialize};

use super::{Classified, CredentialProblem, classify};
use crate::pull::Cause;

/// One message to explain: a line of `--messages`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct MessageLine {
    /// What the caller knows it by; echoed as it came.
    #[serde(default)]
    id: Option<serde_json::Value>,
    /// The waiting or event reason, if known.
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// The message.
    pub(super) message: String,
}

/// The answer to one message: a line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// The id that came with the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<serde_json::Value>,
    /// The decisive cause.
    pub cause: Cause,
    /// Whether it may pass although nobody changes anything.
    pub transient: bool,
    /// The registry that the message shows.
    pub registry: Option<String>,
    /// What it says about credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_problem: Option<CredentialProblem>,
    /// Another host that is part of the fault: a token service, a mirror.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What to do, in one line.
    pub next_step: &'static str,
}

/// Why a line could not be explained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// It is not a JSON object with a `message`.
    #[error("not a JSON object with a \"message\" string")]
    Line(#[source] serde_json::Error),
}

/// Explains one message.
pub(crate) fn explain_message(reason: Option<&str>, message: &str) -> Explanation {
    let classified = classify(reason, message);
    let next_step = next_step(&classified);
    let transient = classified.is_transient();
    let Classified { cause, registry, credential_problem, address, advice: _ } = classified;
    Explanation { id: None, cause, transient, registry, credential_problem, address, next_step }
}

/// Explains one line of JSON; gives one line of JSON, without its line end.
pub(crate) fn explain_line(line: &str) -> Result<String, ExplainError> {
    let MessageLine { id, reason, message } =
        serde_json::from_str(line).map_err(ExplainError::Line)?;
    let explanation = Explanation { id, ..explain_message(reason.as_deref(), &message) };
    serde_json::to_string(&explanation).map_err(ExplainError::Line)
}

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
pub(crate) const fn next_step_of(cause: Cause) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_answered_with_a_line() {
        let line = r#"{"id":7,"reason":"ErrImagePull","message":"failed to resolve reference \"ghcr.io/a/b:1\": failed to do request: Head \"https://ghcr.io/v2/a/b/manifests/1\": dial tcp 1.2.3.4:443: i/o timeout"}"#;
        assert_eq!(
            explain_line(line).unwrap(),
            r#"{"id":7,"cause":"timeout","transient":true,"registry":"ghcr.io","next_step":"check network, proxy and firewall between the node and the registry"}"#
        );
    }

    #[test]
    fn a_line_without_a_message_is_refused() {
        assert!(explain_line(r#"{"id":"a"}"#).is_err());
        assert!(explain_line("not json").is_err());
    }

    #[test]
    fn every_cause_has_a_next_step_that_fits_a_line() {
        for &cause in Cause::ALL {
            let classified = Classified {
                cause,
                registry: None,
                credential_problem: None,
                address: None,
                advice: None,
            };
            let step = next_step(&classified);
            assert!(!step.is_empty() && step.len() <= 90, "{cause}: {step}");
        }
    }
}
