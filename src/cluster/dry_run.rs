//! One pod that is created for show: what the API server, and whoever it asks, says of it.

use http::Request;
use http::header::{CONTENT_TYPE, HeaderMap, WARNING};
use kube::client::Body;
use serde::Deserialize;

use super::client::{CALL_TIME, Connection};
use super::error::{ApiError, ClusterError};

/// What came of a pod that was created for show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TriedOut {
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
pub(crate) async fn try_out(
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
        Ok(TriedOut { status: head.status.as_u16(), refusal, warnings: warnings_of(&head.headers) })
    };
    // The API server itself waits for its webhooks, ten seconds at most.
    tokio::time::timeout(CALL_TIME * 4, call).await.map_err(|_late| ClusterError::Late)?
}

/// The texts of `Warning` headers (RFC 7234, 5.5), as the API server writes them: `299 - "text"`, in
/// UTF-8.
pub(super) fn warnings_of(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(WARNING).iter();
    all.filter_map(|value| text_of(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// The text of one, with backslashes before quotation marks and backslashes.
fn text_of(header: &str) -> Option<String> {
    let (_, rest) = header.split_once('"')?;
    let mut text = String::with_capacity(rest.len());
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Some(text),
            '\\' => text.push(letters.next()?),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn warnings_are_read_as_the_api_server_writes_them() {
        let mut headers = HeaderMap::new();
        for value in
            [r#"299 - "a \"b\" \\c""#, "299 - none", r#"299 - "cut"#, r#"299 - "cut off…""#]
        {
            headers.append(WARNING, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert_eq!(warnings_of(&headers), [r#"a "b" \c"#, "cut off…"]);
    }
}
