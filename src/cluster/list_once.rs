//! One look at all that a person may list, for those who do not stay to watch.
//!
//! Taken in by the same stores, into the same index, as what `serve` watches, so that both answer
//! the same questions alike. Pods of the whole cluster, or of one namespace where the person's
//! rights end there; what only adds detail is left out where it may not be listed, and said so.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::core::Request;

use super::Cluster;
use super::client::{Connection, until};
use super::error::{ClusterError, WatchError, unless_missing};
use super::stores::{ControllerKind, Events};
use super::watched::Objects;
use crate::history::{Refusal, Visibility};
use crate::kube_views::{is_namespace_name, is_object_name};

/// How long lists may take that only add detail to a single look.
const DETAILS_TIME: Duration = Duration::from_secs(5);

/// How far one look reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Of which namespaces the pods were listed.
    pub visibility: Visibility,
    /// What the person may not list, so that it is missing.
    pub left_out: Vec<&'static str>,
}

impl Survey {
    fn unless_forbidden(
        &mut self,
        what: &'static str,
        listed: Result<(), WatchError>,
    ) -> Result<(), ClusterError> {
        match listed {
            Err(error) if error.is_forbidden() => {
                if !self.left_out.contains(&what) {
                    self.left_out.push(what);
                }
                Ok(())
            }
            other => other.map_err(ClusterError::List),
        }
    }
}

impl Cluster {
    /// Lists nodes and namespaces once, and the jobs if they may be listed, for callers that do
    /// not stay to watch.
    pub async fn list_once(&self, deadline: Instant) -> Result<(), ClusterError> {
        let once = async {
            self.list(Objects::Nodes, None).await?;
            self.list(Objects::Namespaces, None).await
        };
        match tokio::time::timeout_at(deadline.into(), once).await {
            Ok(listed) => listed.map_err(ClusterError::List)?,
            Err(_late) => return Err(ClusterError::Late),
        }
        // They only add detail: who may not list them, or not in time, is told less of builds.
        let jobs = async {
            for kind in [
                ControllerKind::JOB,
                ControllerKind::CRON_JOB,
                ControllerKind::PIPELINE_RUN,
                ControllerKind::TASK_RUN,
            ] {
                let _ = self.list(Objects::Controllers(kind), None).await;
            }
        };
        let _ = tokio::time::timeout(DETAILS_TIME, jobs).await;
        Ok(())
    }

    /// Lists everything once; from then on the index is believed. `namespace` is where the
    /// person's rights are tried when they do not reach the whole cluster.
    pub async fn survey(
        &self,
        namespace: &str,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Survey, ClusterError> {
        match tokio::time::timeout_at(deadline.into(), self.list_all(namespace)).await {
            Ok(survey) => {
                let survey = survey?;
                self.memory.lock().index.settle(now);
                self.surveyed.store(true, Ordering::Release);
                Ok(survey)
            }
            Err(_late) => Err(ClusterError::Late),
        }
    }

    /// Lists what has templates and is not listed by a survey, as far as that reached.
    pub(crate) async fn survey_templates(
        &self,
        survey: &mut Survey,
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        let within = match &survey.visibility {
            Visibility::Cluster => None,
            Visibility::Namespaces(names) => names.first().cloned(),
        };
        for (what, kind) in [
            ("deployments", ControllerKind::DEPLOYMENT),
            ("statefulsets", ControllerKind::STATEFUL_SET),
            ("daemonsets", ControllerKind::DAEMON_SET),
        ] {
            let listing = self.list(Objects::Controllers(kind), within.as_deref());
            let listed = tokio::time::timeout_at(deadline.into(), listing).await;
            match listed {
                Ok(listed) => survey.unless_forbidden(what, listed)?,
                // It only adds detail.
                Err(_late) => survey.left_out.push(what),
            }
        }
        Ok(())
    }

    async fn list_all(&self, namespace: &str) -> Result<Survey, ClusterError> {
        let mut survey = Survey { visibility: Visibility::Cluster, left_out: Vec::new() };
        let within = match self.list(Objects::Pods, None).await {
            Ok(()) => None,
            Err(error) if error.is_forbidden() && is_namespace_name(namespace) => {
                survey.visibility = Visibility::Namespaces(vec![namespace.into()]);
                self.list(Objects::Pods, Some(namespace)).await.map_err(ClusterError::List)?;
                Some(namespace)
            }
            Err(error) => return Err(ClusterError::List(error)),
        };
        for (what, kind) in [
            ("replicasets", ControllerKind::REPLICA_SET),
            ("jobs", ControllerKind::JOB),
            ("cronjobs", ControllerKind::CRON_JOB),
        ] {
            let listed = self.list(Objects::Controllers(kind), within).await;
            survey.unless_forbidden(what, listed)?;
        }
        let mut sees_runs = true;
        for kind in [ControllerKind::PIPELINE_RUN, ControllerKind::TASK_RUN] {
            match self.list(Objects::Controllers(kind), within).await {
                // The cluster does not know such objects.
                Err(error) if error.status() == Some(404) => {}
                // Who may not list them is refused where there are none, too: not worth a word.
                Err(error) if error.is_forbidden() => sees_runs = false,
                listed => listed.map_err(ClusterError::List)?,
            }
        }
        let all = survey.visibility == Visibility::Cluster && survey.left_out.is_empty();
        self.builds_listed.store(all && sees_runs, Ordering::Release);
        for events in [Events::PodWarnings, Events::Pulled, Events::FailedCreate] {
            survey.unless_forbidden("events", self.list(Objects::Events(events), within).await)?;
        }
        survey.unless_forbidden("nodes", self.list(Objects::Nodes, None).await)?;
        // Modes of namespaces only; that they are missing is no loss to who asks of pods.
        match self.list(Objects::Namespaces, None).await {
            Err(error) if !error.is_forbidden() => return Err(ClusterError::List(error)),
            _ => {}
        }
        Ok(survey)
    }

    /// The uppermost controller that is known of an object, as kind, namespace and name.
    pub(crate) fn owner_of(&self, object: [&str; 3]) -> [String; 3] {
        self.memory.lock().index.owner_of(object)
    }

    /// The controllers whose pods were refused within the last hour, in namespaces that may be
    /// told of; the latest first.
    pub fn refusals(&self, visibility: &Visibility, now: Timestamp) -> Vec<Refusal> {
        self.index(|index| index.refusals(visibility, now))
    }
}

/// Reads one object by name as JSON; nothing if it does not exist. `collection` is the group's
/// path and the resource, such as `/apis/apps/v1` and `deployments`.
pub(crate) async fn read_object(
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
    let request = Request::new(path).get(name, &kube::api::GetParams::default());
    let answer = unless_missing(connection.call(request, until(deadline)).await);
    answer.map_err(|error| error.during(ClusterError::Get))
}
