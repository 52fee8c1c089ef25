//! The borrowed subset of an AdmissionReview request.
//!
//! Only what decides is read; the objects stay undecoded bytes until their kind is known. See
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::user::UserInfo;

/// The only version that is spoken.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
/// The only kind that is spoken.
pub(super) const KIND: &str = "AdmissionReview";
/// The API server makes uids of 36 characters; anything far longer is not its own.
const MAX_UID: usize = 256;

/// Why a body is not an admission request. Each becomes a 400 that names the fault; nothing of
/// the body is repeated.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON, or a field has a wrong type.
    #[error("the body is not an AdmissionReview in JSON (line {line}, column {column})")]
    Json {
        /// The line of the fault, from 1.
        line: usize,
        /// The column of the fault, from 1.
        column: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// It is another kind of object or another version.
    #[error("the body is not an {KIND} of {API_VERSION}")]
    WrongKind,
    /// It has no `request`.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// The request has no uid, or one that cannot be the API server's.
    #[error("the request has no usable uid")]
    NoUid,
}

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Anything else; never judged.
    Other,
}

/// One admission request, borrowing from its body.
#[derive(Debug)]
pub struct AdmissionRequest<'a> {
    /// To be echoed exactly.
    pub uid: Cow<'a, str>,
    /// API group of the object's kind, as the webhook's rule asked for it.
    pub group: Cow<'a, str>,
    /// The object's kind.
    pub kind: Cow<'a, str>,
    /// The subresource, empty for the object itself.
    pub sub_resource: Cow<'a, str>,
    /// The namespace, empty for cluster-scoped objects.
    pub namespace: Cow<'a, str>,
    /// What is done.
    pub operation: Operation,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// Who asks.
    pub user: UserInfo,
    /// The object as it will be; absent on DELETE.
    pub object: Option<&'a RawValue>,
    /// The object as it is; absent on CREATE.
    pub old_object: Option<&'a RawValue>,
}

/// Text that borrows where it can.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReviewView<'a> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    request: Option<RequestView<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestView<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<KindView<'a>>,
    #[serde(borrow)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Option<Text<'a>>,
    #[serde(borrow)]
    user_info: Option<UserView<'a>>,
    dry_run: Option<bool>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct KindView<'a> {
    #[serde(borrow)]
    group: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct UserView<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    groups: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    extra: Option<BTreeMap<Text<'a>, Option<Vec<Text<'a>>>>>,
}

/// Reads the request in a body.
pub fn decode(body: &[u8]) -> Result<AdmissionRequest<'_>, DecodeError> {
    // Checked once as a whole, not string by string. Where nothing is read, bytes may be no text.
    let review: Result<ReviewView<'_>, _> = match str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    let review = review.map_err(|source| DecodeError::Json {
        line: source.line(),
        column: source.column(),
        source,
    })?;
    let is = |field: &Option<Text<'_>>, wanted| field.as_ref().is_some_and(|text| text.0 == wanted);
    if !is(&review.api_version, API_VERSION) || !is(&review.kind, KIND) {
        return Err(DecodeError::WrongKind);
    }
    let request = review.request.ok_or(DecodeError::NoRequest)?;
    let uid = plain(request.uid);
    if uid.is_empty() || uid.len() > MAX_UID {
        return Err(DecodeError::NoUid);
    }
    let (group, kind) =
        request.kind.map_or_else(Default::default, |kind| (plain(kind.group), plain(kind.kind)));
    Ok(AdmissionRequest {
        uid,
        group,
        kind,
        sub_resource: plain(request.sub_resource),
        namespace: plain(request.namespace),
        operation: match plain(request.operation).as_ref() {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => Operation::Other,
        },
        dry_run: request.dry_run.unwrap_or(false),
        user: user(request.user_info.unwrap_or_default()),
        object: present(request.object),
        old_object: present(request.old_object),
    })
}

fn plain(field: Option<Text<'_>>) -> Cow<'_, str> {
    field.map_or(Cow::Borrowed(""), |text| text.0)
}

/// A raw `null` is an absent object.
fn present(object: Option<&RawValue>) -> Option<&RawValue> {
    object.filter(|object| object.get() != "null")
}

fn user(user: UserView<'_>) -> UserInfo {
    let boxed = |text: Text<'_>| -> Box<str> { text.0.as_ref().into() };
    UserInfo {
        username: plain(user.username).as_ref().into(),
        uid: plain(user.uid).as_ref().into(),
        groups: user.groups.unwrap_or_default().into_iter().map(boxed).collect(),
        extra: user
            .extra
            .unwrap_or_default()
            .into_iter()
            .map(|(key, values)| {
                let values = values.unwrap_or_default().into_iter().map(boxed).collect();
                (key.0.as_ref().into(), values)
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{
        "uid":"a\u003cb\"c","kind":{"group":"apps","version":"v1","kind":"Deployment"},
        "namespace":"shop","operation":"UPDATE","dryRun":true,
        "userInfo":{"username":"ann","groups":["dev"],"extra":{"k":["v"],"n":null}},
        "object":{"spec":{}},"oldObject":null}}"#;

    #[test]
    fn reads_what_decides() {
        let request = decode(REVIEW.as_bytes()).unwrap();
        assert_eq!(request.uid, "a<b\"c");
        assert_eq!((request.group.as_ref(), request.kind.as_ref()), ("apps", "Deployment"));
        assert_eq!(request.operation, Operation::Update);
        assert!(request.dry_run);
        assert_eq!(&*request.user.username, "ann");
        assert_eq!(request.object.unwrap().get(), r#"{"spec":{}}"#);
        assert!(request.old_object.is_none());
    }

    #[rstest::rstest]
    #[case("", "line 1")]
    #[case("<html>", "line 1")]
    #[case(r#"{"apiVersion":"v1","kind":"Pod"}"#, "not an AdmissionReview of")]
    #[case(r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}"#, "not an AdmissionReview of")]
    #[case(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#, "no request")]
    #[case(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
        "no request"
    )]
    #[case(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        "no usable uid"
    )]
    #[case(
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7}}"#,
        "line 1"
    )]
    fn names_the_fault(#[case] body: &str, #[case] fault: &str) {
        let said = decode(body.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(fault), "{said}");
    }
}
