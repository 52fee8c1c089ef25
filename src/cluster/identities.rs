//! Who presents a token: a `TokenReview`, as every API server beside the main one asks it.

use std::collections::BTreeMap;
use std::time::Instant;

use kube::api::PostParams;
use kube::core::Request;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::error::ApiError;
use crate::telemetry::ApiCall;
use crate::user::UserInfo;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Why it is not known who presents a token.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
#[serde(rename_all = "camelCase")]
struct ReviewWire<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: SpecWire<'a>,
}

#[derive(Serialize)]
struct SpecWire<'a> {
    token: &'a str,
}

#[derive(Deserialize)]
struct AnsweredWire {
    #[serde(default)]
    status: StatusWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StatusWire {
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
    pub async fn who_presents(
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
            spec: SpecWire { token },
        };
        let body = serde_json::to_vec(&review).map_err(|_| IdentityError::NoAnswer)?;
        let request = Request::new(PATH)
            .create(&PostParams::default(), body)
            .map_err(|_| IdentityError::NoAnswer)?;
        let text = self.connection.client().request_text(request).await;
        let text = text.map_err(|error| IdentityError::Api(ApiError::of(error)))?;
        let answer: AnsweredWire =
            serde_json::from_str(&text).map_err(|_| IdentityError::NoAnswer)?;
        let StatusWire { authenticated, user } = answer.status;
        if !authenticated || user.username.is_empty() {
            return Err(IdentityError::Nobody);
        }
        let UserWire { username, uid, groups, extra } = user;
        Ok(UserInfo { username, uid, groups, extra: extra.into_iter().collect() })
    }
}
