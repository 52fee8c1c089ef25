//! ServiceAccounts, read by name: which pull secrets they add, and whether they forbid others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::Connection;
use super::get::{CacheEntry, Named, ObjectKey, get_text};
use crate::kube_views::Text;
use crate::review::{Fetched, Reading, ServiceAccountFacts};
use crate::telemetry::{ApiCall, Metrics};

const LIFETIME: Duration = Duration::from_secs(1);
const BYTES: u64 = 4 << 20;
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#enforce-mountable-secrets>
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Reads ServiceAccounts.
pub(super) struct ServiceAccounts {
    client: kube::Client,
    named: Named<ObjectKey, ServiceAccountFacts>,
}

impl ServiceAccounts {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::ServiceAccount, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    pub(super) async fn get(
        &self,
        namespace: &str,
        name: &str,
        reading: Reading,
        deadline: Instant,
    ) -> Fetched<ServiceAccountFacts> {
        let ask = |key| read(self.client.clone(), key);
        self.named.object((namespace, name), reading, deadline, ask).await
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountWire<'a> {
    #[serde(borrow, default)]
    metadata: MetaWire<'a>,
    #[serde(borrow, default)]
    image_pull_secrets: Option<Vec<ReferenceWire<'a>>>,
}

#[derive(Deserialize, Default)]
struct MetaWire<'a> {
    #[serde(borrow, default)]
    annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

#[derive(Deserialize)]
struct ReferenceWire<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

async fn read(
    client: kube::Client,
    (namespace, name): ObjectKey,
) -> CacheEntry<ServiceAccountFacts> {
    let text = get_text(client, &namespace, "serviceaccounts", &name).await;
    CacheEntry::decoded(text, LIFETIME, |text| {
        let Ok(wire) = serde_json::from_str::<AccountWire<'_>>(text) else {
            tracing::warn!("the API server sent a ServiceAccount that could not be read");
            return None;
        };
        let annotations = wire.metadata.annotations.unwrap_or_default();
        let references = wire.image_pull_secrets.unwrap_or_default();
        let names = references.iter().filter_map(|reference| reference.name.as_ref());
        Some(ServiceAccountFacts {
            pull_secrets: names.map(Text::boxed).collect(),
            enforce_mountable_secrets: annotations
                .iter()
                .any(|(key, value)| key.0 == ENFORCE && value.0 == "true"),
        })
    })
}
