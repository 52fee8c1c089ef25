//! Answers that need no review: admitted without a look, and plain faults.
//!
//! They stand on their own, apart from `admission`: they are what is left when that room, or
//! anything behind it, panics or is late.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use memchr::memmem::Finder;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::admission::FRONT_OF_UID;

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
    if let Some(namespace) = namespace_in_front(body) {
        return namespace.into();
    }
    let found = Cell::new(None);
    let mut json = serde_json::Deserializer::from_slice(body);
    let sought = Sought { keys: &["request", "namespace"], found: &found };
    // It stands before the object, and reading ends there.
    let _ended = sought.deserialize(&mut json);
    found.take().unwrap_or_default()
}

/// The same where it stands as the API server writes it: the request comes first, and in it the
/// namespace before the object. A quote within a text has a backslash before it, so that this key
/// is one.
fn namespace_in_front(body: &[u8]) -> Option<&str> {
    const FRONT: usize = 2048;
    let front = body.strip_prefix(FRONT_OF_UID.as_bytes())?;
    let front = front.get(..FRONT).unwrap_or(front);
    let key = NAMESPACE.find(front)?;
    let after = front.get(key + NAMESPACE.needle().len()..)?;
    let namespace = str::from_utf8(after.get(..memchr::memchr(b'"', after)?)?).ok()?;
    let before = front.get(..key)?;
    (!namespace.contains('\\') && OBJECT.find(before).is_none()).then_some(namespace)
}

static NAMESPACE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(br#""namespace":""#));
static OBJECT: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(br#""object":"#));

/// Looks for a text in nested objects, and reads no further than that.
struct Sought<'c, 'de> {
    /// The keys that lead to it.
    keys: &'c [&'c str],
    found: &'c Cell<Option<Cow<'de, str>>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Sought<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sought<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, below)) = self.keys.split_first() else { return Ok(()) };
        while let Some(Text(key)) = map.next_key()? {
            if key != *wanted {
                map.next_value::<IgnoredAny>()?;
            } else if below.is_empty() {
                let text: Option<Text<'de>> = map.next_value()?;
                self.found.set(text.map(|text| text.0));
                return Err(A::Error::custom("found"));
            } else {
                map.next_value_seed(Sought { keys: below, found: self.found })?;
            }
        }
        Ok(())
    }
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
    #[case::before_the_object(
        br#"{"kind":"K","request":{"uid":"u","namespace":"shop","object":{"#,
        "shop"
    )]
    #[case::behind_the_object(
        br#"{"request":{"object":{"namespace":"x"},"namespace":"shop"}}"#,
        "shop"
    )]
    #[case::as_the_api_server_writes_it(
        br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","kind":{"group":""},"name":"\"namespace\":\"x","namespace":"shop","object":{"namespace":"y"}}}"#,
        "shop"
    )]
    #[case::of_no_namespace(
        br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","name":"n","object":{"namespace":"y"}}}"#,
        ""
    )]
    #[case::escaped_as_the_api_server_writes_it(
        br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","namespace":"sh\u006fp"}}"#,
        "shop"
    )]
    #[case::escaped(br#"{"request":{"namespace":"sh\u006fp"}}"#, "shop")]
    #[case::null(br#"{"request":{"namespace":null}}"#, "")]
    #[case::none(br#"{"request":{"uid":"u"},"namespace":"x"}"#, "")]
    #[case::no_object(br#"{"request":null}"#, "")]
    #[case::number(br#"{"request":{"namespace":7}}"#, "")]
    #[case::not_json(b"shop", "")]
    fn the_namespace_is_found_wherever_it_stands(#[case] body: &[u8], #[case] wanted: &str) {
        assert_eq!(namespace(body), wanted);
    }

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
