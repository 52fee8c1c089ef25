//! Who may see what: a SubjectAccessReview for the user of a review.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::Connection;
use super::get::{CacheEntry, Named};
use crate::review::Fetched;
use crate::telemetry::{ApiCall, Metrics};
use crate::user::UserInfo;

/// Long enough for the pods of one answer, short against a right that was withdrawn.
const LIFETIME: Duration = Duration::from_secs(10);
const BYTES: u64 = 4 << 20;
const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Asks the API server's authorizer.
pub(super) struct Accesses {
    client: kube::Client,
    named: Named<(UserInfo, Question), bool>,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Question {
    /// List the pods of this namespace, or of all.
    ListPods(Option<Box<str>>),
    /// Read the Secret of this namespace and name.
    ReadSecret(Box<str>, Box<str>),
}

impl Question {
    fn attributes(&self) -> AttributesWire<'_> {
        let (verb, resource, namespace, name) = match self {
            Self::ListPods(namespace) => {
                ("list", "pods", namespace.as_deref().unwrap_or_default(), "")
            }
            Self::ReadSecret(namespace, name) => ("get", "secrets", &**namespace, &**name),
        };
        AttributesWire { namespace, verb, version: "v1", resource, name }
    }
}

impl Accesses {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::AccessReview, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    /// Whether the user may list pods there; `false` if that could not be found out in time.
    pub(super) async fn may_list_pods(
        &self,
        user: &UserInfo,
        namespace: Option<&str>,
        deadline: Instant,
    ) -> bool {
        self.may(user, Question::ListPods(namespace.map(Box::from)), deadline).await
    }

    /// Whether the user may read this Secret; `false` if that could not be found out in time.
    pub(super) async fn may_read_secret(
        &self,
        user: &UserInfo,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> bool {
        self.may(user, Question::ReadSecret(namespace.into(), name.into()), deadline).await
    }

    async fn may(&self, user: &UserInfo, question: Question, deadline: Instant) -> bool {
        let key = (user.clone(), question.clone());
        let ask = ask(self.client.clone(), user.clone(), question);
        matches!(self.named.get(key, deadline, ask).await, Fetched::Found(true))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewWire<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: SpecWire<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpecWire<'a> {
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    groups: &'a [Box<str>],
    extra: BTreeMap<&'a str, &'a [Box<str>]>,
    resource_attributes: AttributesWire<'a>,
}

#[derive(Serialize)]
struct AttributesWire<'a> {
    /// Empty for all namespaces.
    namespace: &'a str,
    verb: &'static str,
    version: &'static str,
    resource: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Deserialize)]
struct AnsweredWire {
    #[serde(default)]
    status: Option<StatusWire>,
}

#[derive(Deserialize)]
struct StatusWire {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

async fn ask(client: kube::Client, user: UserInfo, question: Question) -> CacheEntry<bool> {
    let review = ReviewWire {
        api_version: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: SpecWire {
            user: &user.username,
            uid: &user.uid,
            groups: &user.groups,
            extra: user.extra.iter().map(|(key, values)| (&**key, &**values)).collect(),
            resource_attributes: question.attributes(),
        },
    };
    let answered = async {
        let body = serde_json::to_vec(&review).ok()?;
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let request =
            kube::core::Request::new(PATH).create(&kube::api::PostParams::default(), body);
        let text = client.request_text(request.ok()?).await.ok()?;
        let status = serde_json::from_str::<AnsweredWire>(&text).ok()?.status?;
        Some((status.allowed && !status.denied, bytes))
    };
    if let Some((allowed, bytes)) = answered.await {
        CacheEntry { answer: Fetched::Found(allowed), bytes, lifetime: LIFETIME }
    } else {
        tracing::warn!("the API server could not be asked what a user may see");
        CacheEntry::unavailable()
    }
}
