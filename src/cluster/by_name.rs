//! Objects read by name, where a review needs them: pull secrets, ServiceAccounts, runtime
//! classes.
//!
//! Secrets are read in the namespace of the pod and never watched; only where the policy says so are
//! they listed, by type and metadata alone, so that no content of one is in the answer. What a verdict
//! stands on is kept for one second: long enough for the pods of a rollout to share a read, short
//! enough that no verdict stands on a password that was just replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use super::client::{CALL_TIME, Connection};
use super::get::{CacheEntry, Named, ObjectKey, get_cluster_text, get_text};
use crate::credential::PullSecret;
use crate::kube_views::{Text, is_namespace_name, is_object_name};
use crate::review::{Fetched, ObjectQuery, ServiceAccountFacts};
use crate::telemetry::{ApiCall, Metrics};
use crate::workload::RuntimeClass;

/// How long what a verdict stands on is kept.
const LIFETIME: Duration = Duration::from_secs(1);
/// The same of names: long enough for the pods of one rollout, short enough for a secret that was
/// just made.
const NAMES_LIFETIME: Duration = Duration::from_secs(10);
const CLASS_LIFETIME: Duration = Duration::from_secs(60);
/// Secrets kept in memory, in bytes.
const SECRET_BYTES: u64 = 16 << 20;
const ACCOUNT_BYTES: u64 = 4 << 20;
/// The same of names and of runtime classes.
const SMALL_BYTES: u64 = 1 << 20;
/// Secrets of one type that are listed.
const MOST: u32 = 100;
/// The types that the kubelet reads.
const TYPES: [&str; 2] = ["kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"];
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#enforce-mountable-secrets>
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// Reads them, and keeps the answers for a moment.
pub(super) struct ByName {
    connection: Connection,
    pull_secrets: Named<ObjectKey, PullSecret>,
    pull_secret_names: Named<Box<str>, Arc<[Box<str>]>>,
    service_accounts: Named<ObjectKey, ServiceAccountFacts>,
    runtime_classes: Named<Box<str>, RuntimeClass>,
}

impl ByName {
    pub(super) fn new(connection: &Connection, metrics: &Arc<Metrics>) -> Self {
        Self {
            connection: connection.clone(),
            pull_secrets: Named::new(ApiCall::Secret, SECRET_BYTES, metrics),
            pull_secret_names: Named::new(ApiCall::SecretNames, SMALL_BYTES, metrics),
            service_accounts: Named::new(ApiCall::ServiceAccount, ACCOUNT_BYTES, metrics),
            runtime_classes: Named::new(ApiCall::RuntimeClass, SMALL_BYTES, metrics),
        }
    }

    pub(super) async fn pull_secret(
        &self,
        wanted: ObjectQuery<'_>,
        deadline: Instant,
    ) -> Fetched<PullSecret> {
        let ask = |key| read_secret(self.connection.clone(), key);
        self.pull_secrets.object(wanted, deadline, ask).await
    }

    /// The names of a namespace's pull secrets, the youngest first; none where they may not be listed,
    /// or not in time.
    pub(super) async fn pull_secret_names(
        &self,
        namespace: &str,
        deadline: Instant,
    ) -> Vec<Box<str>> {
        if !is_namespace_name(namespace) {
            return Vec::new();
        }
        let ask = list_pull_secrets(self.connection.clone(), namespace.to_owned());
        let names = self.pull_secret_names.get(namespace.into(), deadline, ask).await.found();
        names.map(|names| names.to_vec()).unwrap_or_default()
    }

    /// Which pull secrets a ServiceAccount adds, and whether it forbids others.
    pub(super) async fn service_account(
        &self,
        wanted: ObjectQuery<'_>,
        deadline: Instant,
    ) -> Fetched<ServiceAccountFacts> {
        let ask = |key| read_account(self.connection.clone(), key);
        self.service_accounts.object(wanted, deadline, ask).await
    }

    /// Where pods of a template that names it may land; nothing if it is not there, or could not be
    /// read in time.
    pub(super) async fn runtime_class(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Option<RuntimeClass> {
        if !is_object_name(name) {
            return None;
        }
        let ask = read_class(self.connection.clone(), name.into());
        self.runtime_classes.get(name.into(), deadline, ask).await.found()
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

async fn read_secret(
    connection: Connection,
    (namespace, name): ObjectKey,
) -> CacheEntry<PullSecret> {
    let text = get_text(&connection, &namespace, "secrets", &name).await;
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountWire<'a> {
    #[serde(borrow, default)]
    metadata: AccountMeta<'a>,
    #[serde(borrow, default)]
    image_pull_secrets: Option<Vec<SecretReference<'a>>>,
}

#[derive(Deserialize, Default)]
struct AccountMeta<'a> {
    #[serde(borrow, default)]
    annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

#[derive(Deserialize)]
struct SecretReference<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
}

async fn read_account(
    connection: Connection,
    (namespace, name): ObjectKey,
) -> CacheEntry<ServiceAccountFacts> {
    let text = get_text(&connection, &namespace, "serviceaccounts", &name).await;
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

async fn read_class(connection: Connection, name: Box<str>) -> CacheEntry<RuntimeClass> {
    let text = get_cluster_text(&connection, "/apis/node.k8s.io/v1/runtimeclasses", &name).await;
    CacheEntry::decoded(text, CLASS_LIFETIME, |text| {
        RuntimeClass::parse(text)
            .inspect_err(|error| {
                tracing::warn!(%error, "the API server sent a RuntimeClass that could not be read");
            })
            .ok()
    })
}

#[derive(Deserialize)]
struct NamesWire {
    /// Null where there is none.
    #[serde(default)]
    items: Option<Vec<NamedWire>>,
}

#[derive(Deserialize)]
struct NamedWire {
    metadata: NamedMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMeta {
    name: Box<str>,
    #[serde(default)]
    creation_timestamp: Option<jiff::Timestamp>,
}

async fn list_pull_secrets(
    connection: Connection,
    namespace: String,
) -> CacheEntry<Arc<[Box<str>]>> {
    let mut found: Vec<NamedMeta> = Vec::new();
    for kind in TYPES {
        let Some(items) = of_type(&connection, &namespace, kind).await else {
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
    CacheEntry { answer: Fetched::Found(names), bytes, lifetime: NAMES_LIFETIME }
}

async fn of_type(connection: &Connection, namespace: &str, kind: &str) -> Option<Vec<NamedWire>> {
    let params = ListParams::default().fields(&format!("type={kind}")).limit(MOST);
    let path = format!("/api/v1/namespaces/{namespace}/secrets");
    let Ok(text) = connection.call(Request::new(path).list_metadata(&params), CALL_TIME).await
    else {
        tracing::warn!("the Secrets of a namespace could not be listed");
        return None;
    };
    let list = serde_json::from_str::<NamesWire>(&text).ok()?;
    Some(list.items.unwrap_or_default())
}
