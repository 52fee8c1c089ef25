//! Asks a running `serve` what it remembers, through the API server and with the person's own
//! rights: by the dry run of an object that its webhook is asked about (`review::recall`).

use std::time::Instant;

use kube::client::Body;
use serde_json::json;

use super::client::Connection;
use super::dry_run::warnings_of;
use crate::history::{RememberedHistory, ReportTarget};
use crate::kube_views::is_namespace_name;
use crate::review::{EXPLAIN_ANNOTATION, memory_of_warnings};

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServeHistory {
    /// What is remembered.
    History(Box<RememberedHistory>),
    /// Nobody was asked, or nobody answered, for this reason.
    Not(&'static str),
}

/// Asks about one subject, in a namespace whose objects are reviewed.
pub async fn remembered(
    connection: &Connection,
    namespace: &str,
    subject: &ReportTarget,
    deadline: Instant,
) -> ServeHistory {
    let asking = query(connection, namespace, subject);
    match tokio::time::timeout_at(deadline.into(), asking).await {
        Ok(recalled) => recalled,
        Err(_late) => ServeHistory::Not("the API server did not answer in time"),
    }
}

async fn query(connection: &Connection, namespace: &str, subject: &ReportTarget) -> ServeHistory {
    let (asked, image) = match subject {
        ReportTarget::Image(image) => (format!("image:{image}"), image.to_string()),
        ReportTarget::Registry(host) => (format!("registry:{host}"), format!("{host}/any/image")),
    };
    if !is_namespace_name(namespace) {
        return ServeHistory::Not("the namespace's name is none");
    }
    let labels = json!({"app.kubernetes.io/name": "pullgate-explain"});
    let body = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"generateName": "pullgate-explain-", "namespace": namespace,
            "annotations": {EXPLAIN_ANNOTATION: asked}},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "explain", "image": image}]}}},
    });
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?dryRun=All");
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string().into_bytes()));
    let Ok(request) = request else { return ServeHistory::Not("the question cannot be written") };
    let Ok(response) = connection.client().send(request).await else {
        return ServeHistory::Not("the API server cannot be reached");
    };
    match response.status().as_u16() {
        200..=299 => {}
        403 => {
            return ServeHistory::Not(
                "you may not create Deployments in this namespace, not even in a dry run",
            );
        }
        _ => return ServeHistory::Not("the API server refuses the dry run that asks"),
    }
    let texts = warnings_of(response.headers());
    match memory_of_warnings(texts.iter().map(String::as_str)) {
        Some(memory) => ServeHistory::History(Box::new(memory)),
        None => ServeHistory::Not("no Pullgate that knows answers for this namespace"),
    }
}
