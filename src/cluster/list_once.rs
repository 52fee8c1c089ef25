//! One look at all that a person may list, for those who do not stay to watch.
//!
//! Pods of the whole cluster, or of one namespace where the person's rights end there; what only
//! adds detail (owners, events, nodes) is left out where it may not be listed, and said so.

use std::time::Instant;

use jiff::Timestamp;
use kube::core::Request;
use serde::Deserialize;

use super::client::{ApiError, ClusterError, Connection};
use super::pages::Pages;
use super::watch::{WatchError, WatchTuning};
use crate::history::{
    BuildKind, Builds, Freshness, HealthIndex, JobView, Limits, OwnerKind, Visibility,
};
use crate::kube_views::{EventView, OwnerView, PodView};
use crate::kube_views::{is_namespace_name, is_object_name};

/// Events that count, as the API server selects them.
const EVENTS: [&str; 3] = [
    "type=Warning,involvedObject.kind=Pod",
    "reason=Pulled,involvedObject.kind=Pod",
    "reason=FailedCreate",
];

/// What was seen.
pub struct Survey {
    /// The index of what was listed.
    pub index: HealthIndex,
    /// Which of the jobs that were listed build which images.
    pub builds: Builds,
    /// Of which namespaces it is.
    pub visibility: Visibility,
    /// What the person may not list, so that it is missing.
    pub left_out: Vec<&'static str>,
}

#[derive(Deserialize)]
struct NodeWire {
    metadata: NameWire,
    #[serde(default)]
    status: NodeStatusWire,
}

#[derive(Deserialize)]
struct NameWire {
    name: String,
}

#[derive(Deserialize, Default)]
struct NodeStatusWire {
    #[serde(default)]
    images: Vec<ImageWire>,
}

#[derive(Deserialize)]
struct ImageWire {
    #[serde(default)]
    names: Vec<String>,
}

impl Survey {
    /// Lists everything once. `namespace` is where the person's rights are tried when they do not
    /// reach the whole cluster.
    pub async fn of(
        connection: &Connection,
        namespace: &str,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Self, ClusterError> {
        let listing = Self::list(connection, namespace, now);
        match tokio::time::timeout_at(deadline.into(), listing).await {
            Ok(survey) => survey,
            Err(_late) => Err(ClusterError::Late),
        }
    }

    async fn list(
        connection: &Connection,
        namespace: &str,
        now: Timestamp,
    ) -> Result<Self, ClusterError> {
        let mut survey = Self {
            index: HealthIndex::new(Limits::default()),
            builds: Builds::default(),
            visibility: Visibility::Cluster,
            left_out: Vec::new(),
        };
        let everywhere = survey.pods(connection, "/api/v1/pods", now).await;
        let within = match everywhere {
            Ok(()) => String::new(),
            Err(error) if error.is_forbidden() && is_namespace_name(namespace) => {
                let within = format!("/namespaces/{namespace}");
                survey.visibility = Visibility::Namespaces(vec![namespace.into()]);
                survey.pods(connection, &format!("/api/v1{within}/pods"), now).await?;
                within
            }
            Err(error) => return Err(error),
        };
        survey.details(connection, &within, now).await?;
        survey.index.set_freshness(Freshness::Current);
        Ok(survey)
    }

    async fn pods(
        &mut self,
        connection: &Connection,
        path: &str,
        now: Timestamp,
    ) -> Result<(), ClusterError> {
        self.index.begin_pods();
        let index = &mut self.index;
        pages(connection, path, None, |pod: PodView| index.apply_pod(&pod, now)).await?;
        self.index.end_pods(now);
        Ok(())
    }

    /// What makes the answers better where it may be listed.
    async fn details(
        &mut self,
        connection: &Connection,
        within: &str,
        now: Timestamp,
    ) -> Result<(), ClusterError> {
        self.owners(connection, within).await?;
        for fields in EVENTS {
            let index = &mut self.index;
            let path = format!("/api/v1{within}/events");
            let listed = pages(connection, &path, Some(fields), |event: EventView| {
                index.apply_event(&event, now);
            });
            let listed = listed.await;
            self.unless_forbidden("events", listed)?;
        }
        let index = &mut self.index;
        let listed = pages(connection, "/api/v1/nodes", None, |node: NodeWire| {
            let images = node.status.images.iter().flat_map(|image| &image.names);
            index.apply_node(&node.metadata.name, images.map(String::as_str));
        });
        let listed = listed.await;
        self.unless_forbidden("nodes", listed)
    }

    /// Whose pods they are, and what jobs build.
    async fn owners(&mut self, connection: &Connection, within: &str) -> Result<(), ClusterError> {
        let index = &mut self.index;
        index.begin_owners(OwnerKind::ReplicaSet);
        let path = format!("/apis/apps/v1{within}/replicasets");
        let listed = pages(connection, &path, None, |owner: OwnerView| {
            index.apply_owner(OwnerKind::ReplicaSet, &owner);
        });
        let listed = listed.await;
        self.index.end_owners(OwnerKind::ReplicaSet);
        self.unless_forbidden("replicasets", listed)?;

        let (index, builds) = (&mut self.index, &mut self.builds);
        index.begin_owners(OwnerKind::Job);
        let path = format!("/apis/batch/v1{within}/jobs");
        let listed = pages(connection, &path, None, |job: JobView| {
            builds.apply(BuildKind::Job, &job);
            index.apply_owner(OwnerKind::Job, &OwnerView { metadata: job.metadata });
        });
        let listed = listed.await;
        self.index.end_owners(OwnerKind::Job);
        self.unless_forbidden("jobs", listed)?;

        let builds = &mut self.builds;
        let path = format!("/apis/batch/v1{within}/cronjobs");
        let listed = pages(connection, &path, None, |job: JobView| {
            builds.apply(BuildKind::CronJob, &job);
        });
        let listed = listed.await;
        self.unless_forbidden("cronjobs", listed)
    }

    fn unless_forbidden(
        &mut self,
        what: &'static str,
        listed: Result<(), ClusterError>,
    ) -> Result<(), ClusterError> {
        match listed {
            Err(error) if error.is_forbidden() => {
                if !self.left_out.contains(&what) {
                    self.left_out.push(what);
                }
                Ok(())
            }
            other => other,
        }
    }
}

/// Reads a whole list; an object that does not decode is left out.
async fn pages<T: for<'de> Deserialize<'de>>(
    connection: &Connection,
    path: &str,
    fields: Option<&str>,
    mut each: impl FnMut(T),
) -> Result<(), ClusterError> {
    let fields = fields.map(str::to_owned);
    let mut pages = Pages::of(connection, path, fields, WatchTuning::default());
    while let Some(objects) = pages.next().await.map_err(ClusterError::List)? {
        for object in objects {
            if let Ok(object) = serde_json::from_str(object.get()) {
                each(object);
            }
        }
    }
    Ok(())
}

/// Reads one object by name as JSON; nothing if it does not exist. `collection` is the group's
/// path and the resource, such as `/apis/apps/v1` and `deployments`.
pub async fn read_object(
    connection: &Connection,
    (group, resource): (&str, &str),
    namespace: &str,
    name: &str,
    deadline: Instant,
) -> Result<Option<String>, ClusterError> {
    if !is_namespace_name(namespace) || !is_object_name(name) {
        return Ok(None);
    }
    let path = format!("{group}/namespaces/{namespace}/{resource}");
    let request = Request::new(path)
        .get(name, &kube::api::GetParams::default())
        .map_err(|error| ClusterError::List(WatchError::Request(Box::new(error))))?;
    let asking = connection.client().request_text(request);
    match tokio::time::timeout_at(deadline.into(), asking).await {
        Err(_late) => Err(ClusterError::Late),
        Ok(Ok(text)) => Ok(Some(text)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
        Ok(Err(error)) => Err(ClusterError::Get(ApiError::of(error))),
    }
}
