//! `RuntimeClass`es, read by name: where pods of a template that names one may land.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Connection;
use super::get::{CacheEntry, Named, get_cluster_text};
use crate::kube_views::is_object_name;
use crate::telemetry::{ApiCall, Metrics};
use crate::workload::RuntimeClass;

const LIFETIME: Duration = Duration::from_secs(60);
const BYTES: u64 = 1 << 20;

/// Reads them.
pub(super) struct RuntimeClasses {
    client: kube::Client,
    named: Named<Box<str>, RuntimeClass>,
}

impl RuntimeClasses {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::RuntimeClass, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    /// Nothing if it is not there, or could not be read in time.
    pub(super) async fn get(&self, name: &str, deadline: Instant) -> Option<RuntimeClass> {
        if !is_object_name(name) {
            return None;
        }
        let ask = read(self.client.clone(), name.into());
        self.named.get(name.into(), deadline, ask).await.found()
    }
}

async fn read(client: kube::Client, name: Box<str>) -> CacheEntry<RuntimeClass> {
    let text = get_cluster_text(client, "/apis/node.k8s.io/v1/runtimeclasses", &name).await;
    CacheEntry::decoded(text, LIFETIME, |text| {
        RuntimeClass::parse(text)
            .inspect_err(|error| {
                tracing::warn!(%error, "the API server sent a RuntimeClass that could not be read");
            })
            .ok()
    })
}
