//! One pasted message in, one answer out: what `explain --message` and `--messages` say.
//!
//! Pure: a line of JSON in, a line of JSON out. Nothing of a message is repeated but a registry
//! host that parses as one, and the id by which the caller knows it.

use serde::{Deserialize, Serialize};

use super::{Classified, CredentialProblem, classify, next_step};
use crate::pull::Cause;

/// One message to explain: a line of `--messages`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MessageLine {
    /// What the caller knows it by; echoed as it came.
    #[serde(default)]
    pub id: Option<serde_json::Value>,
    /// The waiting or event reason, if known.
    #[serde(default)]
    pub reason: Option<String>,
    /// The message.
    pub message: String,
}

/// The answer to one message: a line of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
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
pub enum ExplainError {
    /// It is not a JSON object with a `message`.
    #[error("not a JSON object with a \"message\" string")]
    Line(#[source] serde_json::Error),
}

/// Explains one message.
pub fn explain_message(reason: Option<&str>, message: &str) -> Explanation {
    let classified = classify(reason, message);
    let next_step = next_step(&classified);
    let transient = classified.is_transient();
    let Classified { cause, registry, credential_problem, address, advice: _ } = classified;
    Explanation { id: None, cause, transient, registry, credential_problem, address, next_step }
}

/// Explains one line of JSON; gives one line of JSON, without its line end.
pub fn explain_line(line: &str) -> Result<String, ExplainError> {
    let MessageLine { id, reason, message } =
        serde_json::from_str(line).map_err(ExplainError::Line)?;
    let explanation = Explanation { id, ..explain_message(reason.as_deref(), &message) };
    serde_json::to_string(&explanation).map_err(ExplainError::Line)
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
