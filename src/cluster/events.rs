//! Events that are written about workloads. One with the same words about the same workload has the
//! same name, so that replicas and repeats write it once while the API server keeps it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::client::{CALL_TIME, Connection};
use super::error::CallError;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::review::WorkloadEvent;
use crate::telemetry::{ApiCall, Metrics};
use crate::text::cut;

/// A name may have 253 characters; these are for the workload's.
const MAX_NAME: usize = 220;

/// Writes Events.
pub(super) struct EventWriter {
    connection: Connection,
    metrics: Arc<Metrics>,
}

impl EventWriter {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        Self { connection: connection.clone(), metrics: Arc::clone(metrics) }
    }

    /// Writes one; what cannot be written is counted and left.
    pub(super) async fn write(&self, event: &WorkloadEvent, now: Timestamp) {
        let outcome = self.post(event, now).await;
        self.metrics.api_call(ApiCall::Event, outcome);
    }

    async fn post(&self, event: &WorkloadEvent, now: Timestamp) -> &'static str {
        let about = &event.about;
        let name = name_of(event);
        if !is_namespace_name(&about.namespace) || !is_object_name(&name) {
            return "refused";
        }
        let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.api_version, "kind": about.kind, "name": about.name,
                "namespace": about.namespace, "uid": event.uid,
            },
            "reason": event.reason, "message": event.message, "type": "Warning", "count": 1,
            "firstTimestamp": at, "lastTimestamp": at,
            "source": {"component": "pullgate"}, "reportingComponent": "pullgate.dev/pullgate",
        });
        let path = format!("/api/v1/namespaces/{}/events", about.namespace);
        let request = kube::core::Request::new(path)
            .create(&kube::api::PostParams::default(), body.to_string().into_bytes());
        match self.connection.call(request, CALL_TIME).await {
            Ok(_) => "ok",
            // It is there already.
            Err(error) if error.status() == Some(409) => "exists",
            Err(CallError::Late) => "late",
            Err(error) => match error.status() {
                Some(status) => {
                    tracing::warn!(status, "the API server refused an Event");
                    "refused"
                }
                None => "failed",
            },
        }
    }
}

/// What it is called; names of owners are whatever somebody wrote.
fn name_of(event: &WorkloadEvent) -> String {
    let name = cut(&event.about.name, MAX_NAME).trim_end_matches(['.', '-']);
    format!("{name}.{:016x}", hash(event))
}

fn hash(event: &WorkloadEvent) -> u64 {
    // The same in every replica of one version; others write it again, which does no harm.
    let mut hasher = DefaultHasher::new();
    (&event.uid, event.reason, &event.message).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::ObjectRef;

    #[test]
    fn an_owner_with_an_odd_name_gets_a_name_too() {
        for name in [format!("a{}", "ä".repeat(150)), "web.-".to_owned(), String::new()] {
            let about = ObjectRef { name: name.into(), ..ObjectRef::default() };
            let event =
                WorkloadEvent { about, uid: "u".into(), reason: "r", message: String::new() };
            let name = name_of(&event);
            assert!(name.len() <= MAX_NAME + 17 && !name.contains("-."), "{name}");
        }
    }
}
