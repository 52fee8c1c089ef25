//! One pod that is created for show: what the API server, and whoever it asks, says of it.

use http::Request;
use http::header::CONTENT_TYPE;
use kube::client::Body;
use serde::Deserialize;

use super::client::Connection;
use super::error::{ApiError, ClusterError};
use super::{CALL_TIME, warnings};

/// What came of a pod that was created for show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedOut {
    /// The HTTP status.
    pub status: u16,
    /// Why it was refused, if it was.
    pub refusal: Option<String>,
    /// The warnings that came with the answer.
    pub warnings: Vec<String>,
}

/// The error that an API server answers with.
#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

/// Creates a pod in a namespace as a dry run: it is admitted like any other, and kept nowhere.
pub async fn try_out(
    connection: &Connection,
    namespace: &str,
    pod: &serde_json::Value,
) -> Result<TriedOut, ClusterError> {
    let failed = |error| ClusterError::Get(ApiError::of(error));
    let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"))
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(pod.to_string().into_bytes()))
        .map_err(|error| failed(kube::Error::HttpError(error)))?;
    let call = async {
        let response = connection.client().send(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = body.collect_bytes().await.map_err(failed)?;
        let refusal = (!head.status.is_success()).then(|| {
            serde_json::from_slice::<Refusal>(&body).map(|one| one.message).unwrap_or_default()
        });
        Ok(TriedOut {
            status: head.status.as_u16(),
            refusal,
            warnings: warnings::texts(&head.headers),
        })
    };
    // The API server itself waits for its webhooks, ten seconds at most.
    tokio::time::timeout(CALL_TIME * 4, call).await.map_err(|_late| ClusterError::Late)?
}
