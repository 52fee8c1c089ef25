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
use super::get::{CacheEntry, Fetched, Named, get_text};
use crate::credential::PullSecret;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::review::SecretAnswer;
use crate::telemetry::{ApiCall, Metrics};

const LIFETIME: Duration = Duration::from_secs(1);
/// Secrets kept in memory, in bytes.
const BYTES: u64 = 16 << 20;

/// Reads pull secrets.
pub(super) struct Secrets {
    client: kube::Client,
    named: Named<(Box<str>, Box<str>), PullSecret>,
}

impl Secrets {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::Secret, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    /// The same, past what is kept.
    pub(super) async fn get_now(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> SecretAnswer {
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return SecretAnswer::Missing;
        }
        let key: (Box<str>, Box<str>) = (namespace.into(), name.into());
        let ask = read(self.client.clone(), key.clone());
        answer(self.named.get_now(key, deadline, ask).await)
    }

    pub(super) async fn get(&self, namespace: &str, name: &str, deadline: Instant) -> SecretAnswer {
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return SecretAnswer::Missing;
        }
        let key: (Box<str>, Box<str>) = (namespace.into(), name.into());
        let ask = read(self.client.clone(), key.clone());
        answer(self.named.get(key, deadline, ask).await)
    }
}

fn answer(fetched: Fetched<PullSecret>) -> SecretAnswer {
    match fetched {
        Fetched::Found(secret) => SecretAnswer::Found(secret),
        Fetched::Missing => SecretAnswer::Missing,
        Fetched::Unavailable => SecretAnswer::Unavailable,
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

async fn read(
    client: kube::Client,
    (namespace, name): (Box<str>, Box<str>),
) -> CacheEntry<PullSecret> {
    let text = match get_text(client, &namespace, "secrets", &name).await {
        Fetched::Found(text) => text,
        Fetched::Missing => {
            return CacheEntry { answer: Fetched::Missing, bytes: 64, lifetime: LIFETIME };
        }
        Fetched::Unavailable => return CacheEntry::unavailable(),
    };
    let Ok(wire) = serde_json::from_str::<SecretWire>(&text) else {
        // The error would quote the secret.
        tracing::warn!("the API server sent a Secret that could not be read");
        return CacheEntry::unavailable();
    };
    let written = wire.metadata.written();
    let secret = PullSecret::new(&name, &wire.kind, &wire.data.unwrap_or_default());
    let secret = secret.created_at(written);
    let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
    CacheEntry { answer: Fetched::Found(secret), bytes, lifetime: LIFETIME }
}
