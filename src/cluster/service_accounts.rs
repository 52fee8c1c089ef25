//! ServiceAccounts, read by name: which pull secrets they add, and whether they forbid others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::client::Connection;
use super::get::{CacheEntry, Fetched, Named, get_text};
use super::shapes::Text;
use crate::kube_views::{is_namespace_name, is_object_name};
use crate::review::{ServiceAccountAnswer, ServiceAccountFacts};
use crate::telemetry::{ApiCall, Metrics};

const LIFETIME: Duration = Duration::from_secs(1);
const BYTES: u64 = 4 << 20;
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#enforce-mountable-secrets>
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Reads ServiceAccounts.
pub(super) struct ServiceAccounts {
    client: kube::Client,
    named: Named<(Box<str>, Box<str>), ServiceAccountFacts>,
}

impl ServiceAccounts {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        let named = Named::new(ApiCall::ServiceAccount, BYTES, metrics);
        Self { client: connection.client().clone(), named }
    }

    /// The same, past what is kept.
    pub(super) async fn get_now(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> ServiceAccountAnswer {
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return ServiceAccountAnswer::Missing;
        }
        let key: (Box<str>, Box<str>) = (namespace.into(), name.into());
        let ask = read(self.client.clone(), key.clone());
        answer(self.named.get_now(key, deadline, ask).await)
    }

    pub(super) async fn get(
        &self,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> ServiceAccountAnswer {
        if !is_namespace_name(namespace) || !is_object_name(name) {
            return ServiceAccountAnswer::Missing;
        }
        let key: (Box<str>, Box<str>) = (namespace.into(), name.into());
        let ask = read(self.client.clone(), key.clone());
        answer(self.named.get(key, deadline, ask).await)
    }
}

fn answer(fetched: Fetched<ServiceAccountFacts>) -> ServiceAccountAnswer {
    match fetched {
        Fetched::Found(facts) => ServiceAccountAnswer::Found(facts),
        Fetched::Missing => ServiceAccountAnswer::Missing,
        Fetched::Unavailable => ServiceAccountAnswer::Unavailable,
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
    (namespace, name): (Box<str>, Box<str>),
) -> CacheEntry<ServiceAccountFacts> {
    let text = match get_text(client, &namespace, "serviceaccounts", &name).await {
        Fetched::Found(text) => text,
        Fetched::Missing => {
            return CacheEntry { answer: Fetched::Missing, bytes: 64, lifetime: LIFETIME };
        }
        Fetched::Unavailable => return CacheEntry::unavailable(),
    };
    let Ok(wire) = serde_json::from_str::<AccountWire<'_>>(&text) else {
        tracing::warn!("the API server sent a ServiceAccount that could not be read");
        return CacheEntry::unavailable();
    };
    let annotations = wire.metadata.annotations.unwrap_or_default();
    let references = wire.image_pull_secrets.unwrap_or_default();
    let facts = ServiceAccountFacts {
        pull_secrets: references.iter().filter_map(|r| r.name.as_ref()).map(Text::boxed).collect(),
        enforce_mountable_secrets: annotations
            .iter()
            .any(|(key, value)| key.0 == ENFORCE && value.0 == "true"),
    };
    let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
    CacheEntry { answer: Fetched::Found(facts), bytes, lifetime: LIFETIME }
}
