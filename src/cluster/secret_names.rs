//! The names of a namespace's pull secrets: asked for only where the policy says so, by type and
//! metadata alone. No content of a Secret is in the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::client::Connection;
use super::get::{CacheEntry, Named};
use crate::kube_views::is_namespace_name;
use crate::review::Fetched;
use crate::telemetry::{ApiCall, Metrics};

/// Long enough for the pods of one rollout, short enough for a secret that was just made.
const LIFETIME: Duration = Duration::from_secs(10);
const BYTES: u64 = 1 << 20;
/// Secrets of one type that are listed.
const MOST: u32 = 100;
/// The types that the kubelet reads.
const TYPES: [&str; 2] = ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];

/// Lists them, and keeps the names for a moment.
pub(super) struct SecretNames {
    client: kube::Client,
    named: Named<Box<str>, Arc<[Box<str>]>>,
}

#[derive(Deserialize)]
struct ListWire {
    /// Null where there is none.
    #[serde(default)]
    items: Option<Vec<ItemWire>>,
}

#[derive(Deserialize)]
struct ItemWire {
    metadata: MetaWire,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetaWire {
    name: Box<str>,
    #[serde(default)]
    creation_timestamp: Option<jiff::Timestamp>,
}

impl SecretNames {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::SecretNames, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    /// The names, the youngest first; none where they may not be listed, or not in time.
    pub(super) async fn of(&self, namespace: &str, deadline: Instant) -> Vec<Box<str>> {
        if !is_namespace_name(namespace) {
            return Vec::new();
        }
        let ask = list(self.client.clone(), namespace.to_owned());
        let names = self.named.get(namespace.into(), deadline, ask).await.found();
        names.map(|names| names.to_vec()).unwrap_or_default()
    }
}

async fn list(client: kube::Client, namespace: String) -> CacheEntry<Arc<[Box<str>]>> {
    let mut found: Vec<MetaWire> = Vec::new();
    for kind in TYPES {
        let Some(items) = of_type(&client, &namespace, kind).await else {
            return CacheEntry::unavailable();
        };
        found.extend(items.into_iter().map(|item| item.metadata));
    }
    found.sort_by(|a, b| {
        b.creation_timestamp.cmp(&a.creation_timestamp).then_with(|| a.name.cmp(&b.name))
    });
    let names: Arc<[Box<str>]> = found.into_iter().map(|meta| meta.name).collect();
    let bytes = names.iter().map(|name| name.len() + 32).sum::<usize>();
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    CacheEntry { answer: Fetched::Found(names), bytes, lifetime: LIFETIME }
}

async fn of_type(client: &kube::Client, namespace: &str, kind: &str) -> Option<Vec<ItemWire>> {
    let params = ListParams::default().fields(&format!("type={kind}")).limit(MOST);
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let request = Request::new(path).list_metadata(&params).ok()?;
    let Ok(text) = client.request_text(request).await else {
        tracing::warn!("the Secrets of a namespace could not be listed");
        return None;
    };
    let list = serde_json::from_str::<ListWire>(&text).ok()?;
    Some(list.items.unwrap_or_default())
}
