//! Pull secrets, read by name in the namespace of the pod; never listed, never watched.
//!
//! Kept for one second: long enough for the pods of a rollout to share a read, short enough that
//! no verdict stands on a password that was just replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use serde::Deserialize;

use super::client::Connection;
use super::get::{CacheEntry, Named, ObjectKey, get_text};
use crate::credential::PullSecret;
use crate::review::{Fetched, Reading};
use crate::telemetry::{ApiCall, Metrics};

const LIFETIME: Duration = Duration::from_secs(1);
/// Secrets kept in memory, in bytes.
const BYTES: u64 = 16 << 20;

/// Reads pull secrets.
pub(super) struct Secrets {
    client: kube::Client,
    named: Named<ObjectKey, PullSecret>,
}

impl Secrets {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::Secret, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    pub(super) async fn get(
        &self,
        namespace: &str,
        name: &str,
        reading: Reading,
        deadline: Instant,
    ) -> Fetched<PullSecret> {
        let ask = |key| read(self.client.clone(), key);
        self.named.object((namespace, name), reading, deadline, ask).await
    }
}

/// No `Debug`: it holds what must not be shown.
#[derive(Deserialize)]
struct SecretWire {
    #[serde(default)]
    metadata: MetaWire,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: Option<BTreeMap<String, ByteString>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct MetaWire {
    creation_timestamp: Option<jiff::Timestamp>,
    managed_fields: Vec<ManagedWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ManagedWire {
    time: Option<jiff::Timestamp>,
}

impl MetaWire {
    /// When it was last written: tokens are renewed in place.
    fn written(&self) -> Option<jiff::Timestamp> {
        let last = self.managed_fields.iter().filter_map(|field| field.time).max();
        last.max(self.creation_timestamp)
    }
}

async fn read(client: kube::Client, (namespace, name): ObjectKey) -> CacheEntry<PullSecret> {
    let text = get_text(client, &namespace, "secrets", &name).await;
    CacheEntry::decoded(text, LIFETIME, |text| {
        let Ok(wire) = serde_json::from_str::<SecretWire>(text) else {
            // The error would quote the secret.
            tracing::warn!("the API server sent a Secret that could not be read");
            return None;
        };
        let written = wire.metadata.written();
        let secret = PullSecret::new(&name, &wire.kind, &wire.data.unwrap_or_default());
        Some(secret.created_at(written))
    })
}
