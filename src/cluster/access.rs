//! Who somebody is and what they may see: a `TokenReview` of a token, as every API server beside the main
//! one asks it, and a `SubjectAccessReview` for the user of a review.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::PostParams;
use kube::core::Request;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::client::{CALL_TIME, Connection};
use super::error::{ApiError, CallError};
use super::get::{CacheEntry, Named};
use crate::review::Fetched;
use crate::telemetry::{ApiCall, Metrics};
use crate::user::UserInfo;

/// Long enough for the pods of one answer, short against a right that was withdrawn.
const LIFETIME: Duration = Duration::from_secs(10);
const BYTES: u64 = 4 << 20;
const ACCESS_PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Asks the API server's authorizer.
pub(super) struct Accesses {
    connection: Connection,
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
        Self { connection: connection.clone(), named }
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
        let ask = review_access(self.connection.clone(), user.clone(), question);
        matches!(self.named.get(key, deadline, ask).await, Fetched::Found(true))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewWire<S> {
    api_version: &'static str,
    kind: &'static str,
    spec: S,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessSpecWire<'a> {
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
struct AnsweredWire<S> {
    #[serde(default = "Option::default")]
    status: Option<S>,
}

#[derive(Deserialize)]
struct AccessWire {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

async fn review_access(
    connection: Connection,
    user: UserInfo,
    question: Question,
) -> CacheEntry<bool> {
    let review = ReviewWire {
        api_version: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: AccessSpecWire {
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
        let request = Request::new(ACCESS_PATH).create(&PostParams::default(), body);
        let text = connection.call(request, CALL_TIME).await.ok()?;
        let status = serde_json::from_str::<AnsweredWire<AccessWire>>(&text).ok()?.status?;
        Some((status.allowed && !status.denied, bytes))
    };
    if let Some((allowed, bytes)) = answered.await {
        CacheEntry { answer: Fetched::Found(allowed), bytes, lifetime: LIFETIME }
    } else {
        tracing::warn!("the API server could not be asked what a user may see");
        CacheEntry::unavailable()
    }
}

const TOKEN_PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Why it is not known who presents a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The API server takes it for nobody's.
    #[error("the API server does not accept this token")]
    Nobody,
    /// The API server could not be asked.
    #[error("failed to ask the API server whose token it is")]
    Api(#[source] ApiError),
    /// The API server did not answer in time, or not in its own words.
    #[error("the API server did not say whose token it is")]
    NoAnswer,
}

#[derive(Serialize)]
struct TokenSpecWire<'a> {
    token: &'a str,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct IdentityWire {
    authenticated: bool,
    user: UserWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UserWire {
    username: Box<str>,
    uid: Box<str>,
    groups: Vec<Box<str>>,
    extra: BTreeMap<Box<str>, Vec<Box<str>>>,
}

impl Cluster {
    /// Who presents this token. It is sent once and not kept.
    ///
    /// # Errors
    ///
    /// If it is nobody's, or that could not be found out in time.
    pub(crate) async fn who_presents(
        &self,
        token: &str,
        deadline: Instant,
    ) -> Result<UserInfo, IdentityError> {
        let asked = tokio::time::timeout_at(deadline.into(), self.ask_who(token)).await;
        let answer = asked.unwrap_or(Err(IdentityError::NoAnswer));
        let word = match &answer {
            Ok(_) => "ok",
            Err(IdentityError::Nobody) => "missing",
            Err(_) => "failed",
        };
        self.metrics.api_call(ApiCall::TokenReview, word);
        answer
    }

    async fn ask_who(&self, token: &str) -> Result<UserInfo, IdentityError> {
        let review = ReviewWire {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenReview",
            spec: TokenSpecWire { token },
        };
        let body = serde_json::to_vec(&review).map_err(|_| IdentityError::NoAnswer)?;
        let request = Request::new(TOKEN_PATH).create(&PostParams::default(), body);
        let text = self.connection.call(request, CALL_TIME).await.map_err(|error| match error {
            CallError::Api(error) => IdentityError::Api(error),
            CallError::Late => IdentityError::NoAnswer,
        })?;
        let answer: AnsweredWire<IdentityWire> =
            serde_json::from_str(&text).map_err(|_| IdentityError::NoAnswer)?;
        let IdentityWire { authenticated, user } = answer.status.unwrap_or_default();
        if !authenticated || user.username.is_empty() {
            return Err(IdentityError::Nobody);
        }
        let UserWire { username, uid, groups, extra } = user;
        Ok(UserInfo { username, uid, groups, extra: extra.into_iter().collect() })
    }
}
