//! Answers that need no review: admitted without a look, and plain faults.
//!
//! They stand on their own, apart from `admission`: they are what is left when that room, or
//! anything behind it, panics or is late.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    request: Option<OnlyUid<'a>>,
}

#[derive(Deserialize)]
struct OnlyUid<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Deserialize)]
struct NamespaceEnvelope<'a> {
    #[serde(borrow)]
    request: Option<OnlyNamespace<'a>>,
}

#[derive(Deserialize)]
struct OnlyNamespace<'a> {
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Allowed<'a>,
}

#[derive(Serialize)]
struct Allowed<'a> {
    uid: &'a str,
    allowed: bool,
}

/// An answer to a request that nobody looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FailOpenAnswer {
    /// The request's own uid.
    pub(super) uid: String,
    /// The AdmissionReview.
    pub(super) body: Vec<u8>,
}

/// An answer that admits the request unseen, with the request's own uid; nothing if the uid
/// cannot be read.
pub(super) fn allow_unseen(body: &[u8]) -> Option<FailOpenAnswer> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).ok()?;
    let uid = envelope.request?.uid;
    let review = Review {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Allowed { uid: &uid, allowed: true },
    };
    let body = serde_json::to_vec(&review).ok()?;
    Some(FailOpenAnswer { uid: uid.into_owned(), body })
}

/// The namespace that a request is about; empty if there is none, or it cannot be read.
pub(super) fn namespace(body: &[u8]) -> Cow<'_, str> {
    let envelope: Option<NamespaceEnvelope<'_>> = serde_json::from_slice(body).ok();
    envelope.and_then(|envelope| envelope.request?.namespace).unwrap_or_default()
}

/// A JSON body with its status.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A fault in plain words, for a caller that has proven itself.
pub(super) fn fault(status: StatusCode, words: impl IntoResponse) -> Response {
    (status, words).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::plain(br#"{"request":{"uid":"a-1"}}"#, Some("a-1"))]
    #[case::escaped(
        br#"{"request":{"object":{"x":[1,{"y":null}]},"uid":"\u003ca\"\\\n"}}"#,
        Some("<a\"\\\n")
    )]
    #[case::no_uid(br#"{"request":{}}"#, None)]
    #[case::no_request(b"{}", None)]
    #[case::null(br#"{"request":null}"#, None)]
    #[case::number(br#"{"request":{"uid":7}}"#, None)]
    #[case::not_json(b"uid", None)]
    fn the_uid_is_echoed(#[case] body: &[u8], #[case] uid: Option<&str>) {
        let answer = allow_unseen(body);
        let Some(uid) = uid else {
            assert_eq!(answer, None);
            return;
        };
        let answer: serde_json::Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": { "uid": uid, "allowed": true },
            })
        );
    }
}
