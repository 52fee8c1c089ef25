//! What is observed: pods, events and owners, reduced to what the index needs while they are
//! decoded.
//!
//! These are the types that a watch decodes from the wire, a twentieth of the objects. Their
//! `metadata` is a plain `ObjectMeta` in which only the fields below are filled, so that a client
//! may use them as typed objects. They own no rules.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde::Deserialize;

/// A pod as it is observed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodView {
    /// Name, namespace, uid, resource version, creation and deletion time, controlling owner.
    #[serde(deserialize_with = "slim_meta")]
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: PodSpecView,
    /// What the kubelet says of it.
    pub status: PodStatusView,
}

/// The part of a pod's spec that decides about pulling.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpecView {
    /// The node that it runs on, once it is scheduled.
    pub node_name: Option<Box<str>>,
    /// The pull secrets that it names, those of its ServiceAccount included (admission adds them).
    pub image_pull_secrets: Vec<SecretName>,
    /// The containers.
    pub containers: Vec<ContainerView>,
    /// The init containers.
    pub init_containers: Vec<ContainerView>,
    /// The debug containers.
    pub ephemeral_containers: Vec<ContainerView>,
    /// The volumes.
    pub volumes: Vec<VolumeView>,
}

/// A volume, of which only an image matters.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct VolumeView {
    /// The image that is mounted.
    pub image: Option<ImageVolumeView>,
}

/// The source of an image volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageVolumeView {
    /// The image as it is written.
    pub reference: Box<str>,
    /// `Always`, `IfNotPresent` or `Never`.
    pub pull_policy: Option<Box<str>>,
}

/// A reference to a Secret by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SecretName {
    /// The Secret's name.
    pub name: Box<str>,
}

/// A container of a spec.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerView {
    /// Its name within the pod.
    pub name: Box<str>,
    /// The image as it is written.
    pub image: Box<str>,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: Option<Box<str>>,
}

/// The part of a pod's status that tells of images.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatusView {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<Box<str>>,
    /// Of the containers.
    pub container_statuses: Vec<ContainerStatusView>,
    /// Of the init containers.
    pub init_container_statuses: Vec<ContainerStatusView>,
    /// Of the debug containers.
    pub ephemeral_container_statuses: Vec<ContainerStatusView>,
}

/// What the kubelet says of a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatusView {
    /// The container's name.
    pub name: Box<str>,
    /// The image that the runtime resolved to, such as `docker.io/library/nginx@sha256:…`.
    #[serde(rename = "imageID")]
    pub image_id: Box<str>,
    /// Whether it is ready.
    pub ready: bool,
    /// What it does now.
    pub state: StateView,
    /// What it did before.
    pub last_state: StateView,
}

/// The state of a container; at most one is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct StateView {
    /// It waits.
    pub waiting: Option<WaitingView>,
    /// It runs.
    pub running: Option<RunningView>,
    /// It has ended.
    pub terminated: Option<TerminatedView>,
}

/// Why a container waits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WaitingView {
    /// A word such as `ErrImagePull`, or a whole error text.
    pub reason: Option<Box<str>>,
    /// The error text.
    pub message: Option<Box<str>>,
}

/// Since when a container runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunningView {
    /// When it was started.
    pub started_at: Option<Timestamp>,
}

/// When a container ran.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TerminatedView {
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A core/v1 Event as it is observed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventView {
    /// Name, namespace, uid, resource version, creation time.
    #[serde(deserialize_with = "slim_meta")]
    pub metadata: ObjectMeta,
    /// What it is about.
    pub involved_object: InvolvedObject,
    /// A word such as `Failed` or `Pulled`.
    pub reason: Box<str>,
    /// The text.
    pub message: Box<str>,
    /// How often it was seen, if it was seen again.
    pub count: Option<u32>,
    /// The same in the newer form.
    pub series: Option<SeriesView>,
    /// When it was first seen.
    first_timestamp: Option<Timestamp>,
    /// When it was last seen.
    last_timestamp: Option<Timestamp>,
    /// When it was seen, in the newer form.
    event_time: Option<Timestamp>,
}

impl EventView {
    /// When it was last seen, as far as it says so.
    pub fn at(&self) -> Option<Timestamp> {
        self.series
            .as_ref()
            .and_then(|series| series.last_observed_time)
            .or(self.last_timestamp)
            .or(self.event_time)
            .or(self.first_timestamp)
            .or(self.metadata.creation_timestamp.as_ref().map(|time| time.0))
    }

    /// How often it was seen.
    pub fn times(&self) -> u32 {
        let series = self.series.as_ref().and_then(|series| series.count);
        series.or(self.count).unwrap_or(1).max(1)
    }
}

/// What an event is about.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvolvedObject {
    /// `Pod`, `ReplicaSet`, `Job`, …
    pub kind: Box<str>,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// Which part of it, such as `spec.containers{app}`.
    pub field_path: Option<Box<str>>,
}

/// Repeats of an event in the newer form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeriesView {
    /// How often it was seen.
    pub count: Option<u32>,
    /// When it was last seen.
    last_observed_time: Option<Timestamp>,
}

/// An object of which only the metadata matters: a ReplicaSet or a Job between a pod and its
/// Deployment or CronJob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OwnerView {
    /// Name, namespace, uid, resource version, creation time, controlling owner.
    #[serde(deserialize_with = "slim_meta")]
    pub metadata: ObjectMeta,
}

/// A condition of an object's status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ConditionView {
    /// `Complete`, `Failed`, `Succeeded`, …
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub status: Box<str>,
    /// A word for why.
    pub reason: Box<str>,
    /// Since when.
    pub last_transition_time: Option<Timestamp>,
}

/// The controlling owner of an object.
pub fn controller(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// The fields of `ObjectMeta` that are read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SlimMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// Reads the few fields and skips the rest: labels, annotations and managed fields are most of it.
pub(crate) fn slim_meta<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<ObjectMeta, D::Error> {
    let meta = SlimMeta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        owner_references: meta.owner_references,
        ..ObjectMeta::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_of_the_api_server_is_read() {
        let pod: PodView = serde_json::from_str(
            r#"{"metadata":{"name":"web-7c-x","namespace":"shop","uid":"0b2f3c1e-0000-4000-8000-000000000001",
                "resourceVersion":"7","creationTimestamp":"2026-01-02T03:04:05Z","managedFields":[{"fieldsV1":{"f:x":{}}}],
                "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7c","uid":"u","controller":true}]},
              "spec":{"nodeName":"n1","imagePullSecrets":[{"name":"s"}],"containers":[{"name":"web","image":"nginx:1","imagePullPolicy":"Always","env":[{"name":"A"}]}]},
              "status":{"phase":"Pending","containerStatuses":[{"name":"web","image":"nginx:1","imageID":"","ready":false,
                "state":{"waiting":{"reason":"ErrImagePull","message":"m"}},"lastState":{}}]}}"#,
        )
        .unwrap();
        assert_eq!(controller(&pod.metadata).unwrap().name, "web-7c");
        assert!(pod.metadata.managed_fields.is_none());
        assert_eq!(&*pod.spec.image_pull_secrets[0].name, "s");
        let waiting = pod.status.container_statuses[0].state.waiting.as_ref().unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("ErrImagePull"));
    }

    #[test]
    fn an_event_says_when_and_how_often() {
        let event: EventView = serde_json::from_str(
            r#"{"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","uid":"u"},"reason":"Failed","message":"m",
                "count":4,"firstTimestamp":null,"lastTimestamp":"2026-01-02T03:04:05Z","eventTime":null}"#,
        )
        .unwrap();
        assert_eq!(event.times(), 4);
        assert_eq!(event.at(), "2026-01-02T03:04:05Z".parse().ok());
    }
}
