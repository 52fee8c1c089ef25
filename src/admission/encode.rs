//! The AdmissionReview response.

use base64::Engine;
use serde::Serialize;

use super::decode::{API_VERSION, KIND};
use crate::message::fit_warnings;

/// A JSON patch, as the mutating webhook answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch(pub json_patch::Patch);

/// What is answered to one request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The message of the denial; nothing allows.
    pub denial: Option<String>,
    /// Warnings for the person, one line each.
    pub warnings: Vec<String>,
    /// The patch; only ever of the mutating webhook, and only if there is something to change.
    pub patch: Option<Patch>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewBody<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: ResponseBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseBody<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<StatusBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
}

/// `reason` and `code` give the customary `Error from server (Forbidden)`; `Unauthorized` and
/// `Invalid` make kubectl say something else.
#[derive(Serialize)]
struct StatusBody<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

/// Bytes that an answer without words fits into.
const USUAL_ANSWER: usize = 256;

/// Writes the answer to the request with this uid.
pub fn encode(uid: &str, answer: &Answer) -> Vec<u8> {
    let patch = answer.patch.as_ref().and_then(|patch| {
        let json = serde_json::to_vec(&patch.0).ok()?;
        Some(base64::engine::general_purpose::STANDARD.encode(json))
    });
    let body = ReviewBody {
        api_version: API_VERSION,
        kind: KIND,
        response: ResponseBody {
            uid,
            allowed: answer.denial.is_none(),
            status: answer.denial.as_deref().map(|message| StatusBody {
                code: 403,
                reason: "Forbidden",
                message,
            }),
            warnings: fit_warnings(&answer.warnings),
            patch_type: patch.is_some().then_some("JSONPatch"),
            patch,
        },
    };
    // Strings and booleans always serialise; an empty body would be a failed call, not a denial.
    let mut json = Vec::with_capacity(USUAL_ANSWER);
    if serde_json::to_writer(&mut json, &body).is_err() {
        json.clear();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer) -> String {
        String::from_utf8(encode("u-1", answer)).unwrap()
    }

    #[test]
    fn an_answer_without_words_is_bare() {
        insta::assert_snapshot!(
            text(&Answer::default()),
            @r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u-1","allowed":true}}"#
        );
    }

    #[test]
    fn a_denial_looks_customary_at_kubectl() {
        let answer = Answer { denial: Some("no".into()), warnings: vec!["w".into()], patch: None };
        insta::assert_snapshot!(
            text(&answer),
            @r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u-1","allowed":false,"status":{"code":403,"reason":"Forbidden","message":"no"},"warnings":["w"]}}"#
        );
    }
}
