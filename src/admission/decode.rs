//! The borrowed subset of an AdmissionReview request.
//!
//! Only what decides is read; the objects stay undecoded bytes until their kind is known. See
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::kube_views::Text;
use crate::text::cut;
use crate::user::UserInfo;
use crate::workload::{ExtractError, PodObject, PodPlace, Workload};

/// The only version that is spoken.
pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
/// The only kind that is spoken.
pub(super) const KIND: &str = "AdmissionReview";
/// How the API server's requests begin: its fields have one order.
pub(crate) const FRONT_OF_UID: &str =
    r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":""#;
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
    pub object: Option<Object<'a>>,
    /// The object as it is; absent on CREATE.
    pub old_object: Option<&'a RawValue>,
}

/// The object of a request.
#[derive(Debug)]
pub enum Object<'a> {
    /// As it is written.
    Written(&'a RawValue),
    /// A pod, read in the same pass as the request.
    Pod(Box<PodObject<'a>>),
}

impl<'a> Object<'a> {
    /// As it is written; nothing for a pod that was read already.
    pub const fn written(&self) -> Option<&'a RawValue> {
        match self {
            Self::Written(object) => Some(object),
            Self::Pod(_) => None,
        }
    }

    /// Reads an object that keeps its pods in this place.
    pub fn read(&self, place: &PodPlace) -> Result<Workload, ExtractError> {
        match self {
            Self::Written(object) => place.read(object),
            Self::Pod(pod) => Ok(pod.to_workload()),
        }
    }
}

/// A review whose object is read as an `O`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct ReviewView<'a, O> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    request: Option<RequestView<'a, O>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Deserialize<'de>"))]
struct RequestView<'a, O> {
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
    object: Option<O>,
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

/// Reads the request in a body; the object stays as it is written.
pub fn decode(body: &[u8]) -> Result<AdmissionRequest<'_>, DecodeError> {
    // Checked once as a whole, not string by string. Where nothing is read, bytes may be no text.
    let review: Result<ReviewView<'_, &RawValue>, _> = match str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    let review = review.map_err(|source| DecodeError::Json {
        line: source.line(),
        column: source.column(),
        source,
    })?;
    // A raw `null` is an absent object.
    request(review, |object| (object.get() != "null").then_some(Object::Written(object)))
}

/// The same, and where the request makes a pod, that pod: in one pass. One that cannot be read so stays
/// as it is written.
pub(crate) fn decode_with_pod(body: &[u8]) -> Result<AdmissionRequest<'_>, DecodeError> {
    if let Ok(text) = str::from_utf8(body)
        && seems_to_make_a_pod(text)
        && let Ok(review) = serde_json::from_str::<ReviewView<'_, Box<PodObject<'_>>>>(text)
        && let Ok(request) = request(review, |pod| Some(Object::Pod(pod)))
        && (request.operation, &*request.group, &*request.kind) == (Operation::Create, "", "Pod")
    {
        return Ok(request);
    }
    decode(body)
}

/// Whether it is worth trying: what says it stands in front of the object, in the order of the API
/// server's own fields.
fn seems_to_make_a_pod(body: &str) -> bool {
    const FRONT: usize = 1024;
    const POD: &str = r#","kind":{"group":"","version":"v1","kind":"Pod"},"#;
    let behind_uid = body.strip_prefix(FRONT_OF_UID).and_then(|rest| rest.split_once('"'));
    behind_uid.is_some_and(|(_, rest)| {
        rest.starts_with(POD) && cut(rest, FRONT).contains(r#""operation":"CREATE""#)
    })
}

/// The request in a review, with its object.
fn request<'a, O>(
    review: ReviewView<'a, O>,
    object: impl FnOnce(O) -> Option<Object<'a>>,
) -> Result<AdmissionRequest<'a>, DecodeError> {
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
        object: request.object.and_then(object),
        old_object: request.old_object.filter(|object| object.get() != "null"),
    })
}

fn plain(field: Option<Text<'_>>) -> Cow<'_, str> {
    field.map_or(Cow::Borrowed(""), |text| text.0)
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
        assert_eq!(request.object.unwrap().written().unwrap().get(), r#"{"spec":{}}"#);
        assert!(request.old_object.is_none());
    }

    fn review_of(group: &str, operation: &str, object: &str) -> String {
        format!(
            r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","kind":{{"group":"{group}","version":"v1","kind":"Pod"}},"operation":"{operation}",
            "object":{object},"oldObject":null,"dryRun":true}}}}"#
        )
    }

    #[rstest::rstest]
    #[case::a_pod(
        "",
        "CREATE",
        r#"{"metadata":{"name":"\u0070"},"spec":{"x":[1],"containers":[{"image":"a:1"}]}}"#,
        true
    )]
    #[case::without_a_spec("", "CREATE", r#"{"metadata":{"name":"p"}}"#, true)]
    #[case::changed("", "UPDATE", r#"{"spec":{}}"#, false)]
    #[case::of_somebody_else("example.com", "CREATE", r#"{"spec":{}}"#, false)]
    #[case::nothing("", "CREATE", "null", false)]
    #[case::that_cannot_be_read("", "CREATE", r#"{"spec":{"containers":7}}"#, false)]
    #[case::twice("", "CREATE", r#"{"spec":{},"spec":{}}"#, false)]
    fn a_new_pod_is_read_with_its_request_and_the_same_is_found(
        #[case] group: &str,
        #[case] operation: &str,
        #[case] object: &str,
        #[case] in_one_pass: bool,
    ) {
        let body = review_of(group, operation, object);
        let (one, two) =
            (decode_with_pod(body.as_bytes()).unwrap(), decode(body.as_bytes()).unwrap());
        assert_eq!(matches!(one.object, Some(Object::Pod(_))), in_one_pass);
        assert_eq!((&one.uid, one.dry_run, one.operation), (&two.uid, true, two.operation));
        let place = PodPlace::Template(crate::workload::PodPath::new([]));
        let read = |request: &AdmissionRequest<'_>| {
            request.object.as_ref().map(|object| object.read(&place).map_err(|e| e.to_string()))
        };
        assert_eq!(read(&one), read(&two));
        assert_eq!(read(&one).is_none(), object == "null");
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
