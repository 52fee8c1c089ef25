//! The one `PullgatePolicy` object of this cluster that counts: watched by name, and its status
//! written. What it says is read here; whether it is put in force is decided elsewhere. Who does not
//! stay to watch lists them all once. The policy that was last accepted is kept in a `ConfigMap` beside
//! Pullgate's own Secret: what a replica begins with while the policy that it is to work by is gone or
//! cannot be used.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{CALL_TIME, Connection, until};
use super::error::{ApiError, ClusterError, WatchError, unless_missing};
use super::pages::WatchTuning;
use super::progress::WatchProgress;
use super::watch::{self as watching, Source, Store};
use crate::kube_views::{Listed, Uid};
use crate::policy::{API_VERSION, KIND, PolicyError, PullgatePolicy, PullgatePolicyStatus};
use crate::telemetry::Metrics;

/// Where the objects are.
const PATH: &str = "/apis/pullgate.dev/v1alpha1/pullgatepolicies";
/// Objects that are listed; there is one in force.
const MOST_LISTED: u32 = 50;

/// What was last heard of the object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum PolicyNews {
    /// Nothing yet.
    #[default]
    Unheard,
    /// It is there.
    Document {
        /// Its generation: changes with what was written, not with the status.
        generation: Option<i64>,
        /// What it says, with the document by itself (what somebody wrote, and nothing that the API
        /// server added), or what is wrong with it.
        read: Result<(Arc<PullgatePolicy>, Arc<str>), PolicyError>,
        /// Its status as it is written.
        status: PullgatePolicyStatus,
    },
    /// There is no object of this name.
    Missing,
    /// The API server does not know the kind (404), does not let us see it (403), or the like.
    Refused(u16),
}

/// Watches one `PullgatePolicy` and writes its status.
pub(crate) struct PolicySource {
    connection: Connection,
    name: Box<str>,
    progress: Arc<WatchProgress>,
    news: watch::Sender<PolicyNews>,
}

impl PolicySource {
    /// Nothing is asked yet.
    pub(crate) fn new(connection: &Connection, name: &str, metrics: &Arc<Metrics>) -> Self {
        let progress = WatchProgress::new("pullgatepolicies", false, Arc::clone(metrics));
        Self {
            connection: connection.clone(),
            name: name.into(),
            progress: Arc::new(progress),
            news: watch::Sender::default(),
        }
    }

    /// What is heard of it.
    pub(crate) fn news(&self) -> watch::Receiver<PolicyNews> {
        self.news.subscribe()
    }

    /// The name that is watched.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The watch: never ends, and nothing waits for it.
    pub(crate) fn watch(&self, tuning: WatchTuning) -> impl Future<Output = ()> + Send + use<> {
        let store = PolicyStore { name: self.name.clone(), news: self.news.clone() };
        watching::run(self.connection.clone(), store, Arc::clone(&self.progress), tuning)
    }

    /// Writes the status, and nothing else of the object.
    pub(crate) async fn write_status(
        &self,
        status: &PullgatePolicyStatus,
    ) -> Result<(), ClusterError> {
        // All of it, so that nothing of what was there stays.
        let PullgatePolicyStatus { observed_generation, conditions, score } = status;
        let status = json!({
            "observedGeneration": observed_generation, "conditions": conditions, "score": score,
        });
        let patch = Patch::Merge(json!({ "status": status }));
        let params = PatchParams::default();
        let request = Request::new(PATH).patch_subresource("status", &self.name, &params, &patch);
        let written = self.connection.call(request, CALL_TIME).await;
        written.map(drop).map_err(|error| error.during(ClusterError::Status))
    }
}

/// What is read of an object besides the document.
#[derive(Deserialize)]
struct Wire {
    metadata: WireMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: PullgatePolicyStatus,
}

#[derive(Deserialize)]
struct WireMeta {
    name: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    generation: Option<i64>,
}

struct PolicyStore {
    name: Box<str>,
    news: watch::Sender<PolicyNews>,
}

impl PolicyStore {
    fn publish(&self, news: PolicyNews) {
        self.news.send_if_modified(|told| {
            let changed = *told != news;
            *told = news;
            changed
        });
    }
}

impl Store for PolicyStore {
    type Object<'a> = Wire;

    fn source(&self) -> Source {
        Source { path: PATH, metadata_only: false, fields: None }
    }

    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn failed(&mut self, error: &WatchError) {
        // An API server that is away says nothing about the policy.
        if let Some(status @ 400..=404) = error.status() {
            self.publish(PolicyNews::Refused(status));
        }
    }

    fn uid(object: &Wire) -> Option<Uid> {
        Some(Uid::of(&object.metadata.uid))
    }

    fn apply(&mut self, object: Wire, raw: &str) -> Result<(), serde_json::Error> {
        if object.metadata.name == self.name {
            let read = PullgatePolicy::parse(raw, &format!("PullgatePolicy {}", self.name));
            self.publish(PolicyNews::Document {
                generation: object.metadata.generation,
                read: read.map(|read| (Arc::new(read), document(&self.name, &object.spec).into())),
                status: object.status,
            });
        }
        Ok(())
    }

    fn delete(&mut self, _: Wire) {
        self.publish(PolicyNews::Missing);
    }

    fn retain(&mut self, listed: &Listed, _: Timestamp) {
        if listed.is_empty() {
            self.publish(PolicyNews::Missing);
        }
    }
}

/// The document without what the API server added to it.
fn document(name: &str, spec: &Value) -> String {
    let mut document = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}});
    if !spec.is_null() {
        document["spec"] = spec.clone();
    }
    format!("{document:#}\n")
}

/// One object of a list.
#[derive(Debug)]
pub(crate) struct ListedPolicy {
    /// Its name.
    pub name: Box<str>,
    /// What it says, or what is wrong with it.
    pub read: Result<PullgatePolicy, PolicyError>,
    /// Its status: only that of a policy which a running Pullgate follows has conditions.
    pub status: PullgatePolicyStatus,
}

#[derive(Deserialize)]
struct ListWire {
    #[serde(default)]
    items: Vec<Box<RawValue>>,
}

/// Lists the policies of a cluster once; nothing if its API server does not know the kind.
pub(crate) async fn list_policies(
    connection: &Connection,
    deadline: Instant,
) -> Result<Option<Vec<ListedPolicy>>, ClusterError> {
    let request = Request::new(PATH).list(&ListParams::default().limit(MOST_LISTED));
    let answer = unless_missing(connection.call(request, until(deadline)).await);
    let Some(text) = answer.map_err(|error| error.during(ClusterError::Get))? else {
        return Ok(None);
    };
    let list: ListWire = serde_json::from_str(&text)
        .map_err(|error| ClusterError::Get(ApiError::of(kube::Error::SerdeError(error))))?;
    let policies = list.items.iter().filter_map(|item| {
        let wire: Wire = serde_json::from_str(item.get()).ok()?;
        let name = wire.metadata.name;
        let read = PullgatePolicy::parse(item.get(), &format!("PullgatePolicy {name}"));
        Some(ListedPolicy { name, read, status: wire.status })
    });
    Ok(Some(policies.collect()))
}

/// The key of the document in the `ConfigMap`.
const KEY: &str = "policy.yaml";

/// Where the policy that was last accepted is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptPolicy {
    connection: Connection,
    namespace: Box<str>,
    name: Box<str>,
}

#[derive(Deserialize)]
struct ConfigMapWire {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl KeptPolicy {
    /// That of the installation whose own Secret has this name. Nothing is asked yet.
    pub(crate) fn beside(connection: &Connection, namespace: &str, secret: &str) -> Self {
        Self {
            connection: connection.clone(),
            namespace: namespace.into(),
            name: format!("{secret}-policy-in-force").into(),
        }
    }

    /// The object, for messages.
    pub(crate) fn place(&self) -> String {
        format!("ConfigMap {}/{}", self.namespace, self.name)
    }

    /// The document, if one is kept.
    pub(crate) async fn read(&self) -> Result<Option<String>, ClusterError> {
        let request = self.at().get(&self.name, &kube::api::GetParams::default());
        match self.call(request).await {
            Ok(Some(object)) => {
                let read: ConfigMapWire = serde_json::from_str(&object).map_err(|error| {
                    ClusterError::KeptPolicy(ApiError::of(kube::Error::SerdeError(error)))
                })?;
                let mut data = read.data;
                Ok(data.remove(KEY).filter(|text| !text.trim().is_empty()))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps a document in the place of the one before; whether it is another one.
    pub(crate) async fn write(&self, document: &str) -> Result<bool, ClusterError> {
        if self.read().await?.as_deref() == Some(document) {
            return Ok(false);
        }
        let data = json!({ KEY: document });
        let patch = Patch::Merge(json!({ "data": data }));
        let patched = self.at().patch(&self.name, &PatchParams::default(), &patch);
        if self.call(patched).await?.is_none() {
            let object = json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name}, "data": data,
            });
            let created = self.at().create(&PostParams::default(), object.to_string().into_bytes());
            self.call(created).await?;
        }
        Ok(true)
    }

    fn at(&self) -> Request {
        Request::new(format!("/api/v1/namespaces/{}/configmaps", self.namespace))
    }

    /// The object; nothing, if there is none.
    async fn call(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Option<String>, ClusterError> {
        let answer = self.connection.call(request, CALL_TIME).await;
        unless_missing(answer).map_err(|error| error.during(ClusterError::KeptPolicy))
    }
}
