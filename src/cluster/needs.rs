//! Everything that would pull an image again, listed once with the rights of who asks: pods, and the
//! objects with templates from which pods will be made.

use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Cluster;
use super::client::ClusterError;
use super::pages::Pages;
use super::shapes::Text;
use crate::history::Visibility;
use crate::risk::{Needs, PullerName, When};
use crate::workload::{WorkloadKind, built_in_kinds, extract, pod_path};

/// What decides whether, and when, an object makes pods.
#[derive(Deserialize, Default)]
struct RestView<'a> {
    #[serde(borrow, default)]
    spec: Option<RestSpec<'a>>,
    #[serde(borrow, default)]
    status: Option<RestStatus<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RestSpec<'a> {
    #[serde(default)]
    replicas: Option<i64>,
    #[serde(default)]
    suspend: Option<bool>,
    #[serde(borrow, default)]
    node_name: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
struct RestStatus<'a> {
    #[serde(borrow, default)]
    phase: Option<Text<'a>>,
    #[serde(borrow, default)]
    conditions: Option<Vec<RestCondition<'a>>>,
}

#[derive(Deserialize)]
struct RestCondition<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
}

impl RestView<'_> {
    /// When an object of this kind would pull again; nothing if it never will.
    fn when(&self, kind: &str) -> Option<When> {
        let none = RestSpec::default();
        let spec = self.spec.as_ref().unwrap_or(&none);
        match kind {
            "Pod" => (!self.has_ended()).then_some(When::Runs),
            "DaemonSet" => Some(When::NodesToCome),
            "CronJob" if spec.suspend == Some(true) => Some(When::Suspended),
            "CronJob" => Some(When::BetweenRuns),
            "Job" if self.is_complete() => None,
            "Job" if spec.suspend == Some(true) => Some(When::Suspended),
            "Job" => Some(When::Runs),
            _ if spec.replicas == Some(0) => Some(When::AtZero),
            _ => Some(When::Runs),
        }
    }

    /// A pod in its last phase is started nowhere again; what owns it may make another.
    fn has_ended(&self) -> bool {
        let phase = self.status.as_ref().and_then(|status| status.phase.as_ref());
        phase.is_some_and(|phase| matches!(&*phase.0, "Succeeded" | "Failed"))
    }

    fn is_complete(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions
            .into_iter()
            .any(|one| matches!(&*one.kind.0, "Complete" | "Failed") && &*one.status.0 == "True")
    }
}

impl Cluster {
    /// Lists all that would pull an image again, as far as a survey of this cluster reached; with it
    /// the resources that may not be listed. Owners are those of the survey.
    pub async fn needs(
        &self,
        visibility: &Visibility,
        deadline: Instant,
    ) -> Result<(Needs, Vec<&'static str>), ClusterError> {
        let (mut needs, mut left_out) = (Needs::default(), Vec::new());
        let within: Vec<Option<&str>> = match visibility {
            Visibility::Cluster => vec![None],
            Visibility::Namespaces(names) => names.iter().map(|name| Some(&**name)).collect(),
        };
        // Nothing makes pods of a PodTemplate by itself.
        for kind in built_in_kinds().iter().filter(|kind| kind.kind != "PodTemplate") {
            for namespace in &within {
                let listing = self.add_needs(&mut needs, kind, *namespace);
                let listed = tokio::time::timeout_at(deadline.into(), listing).await;
                match listed.map_err(|_late| ClusterError::Late)? {
                    Err(error) if error.is_forbidden() => {
                        if !left_out.contains(&kind.resource) {
                            left_out.push(kind.resource);
                        }
                    }
                    other => other?,
                }
            }
        }
        Ok((needs, left_out))
    }

    async fn add_needs(
        &self,
        needs: &mut Needs,
        kind: &WorkloadKind,
        namespace: Option<&str>,
    ) -> Result<(), ClusterError> {
        let group = match kind.group {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        let place = namespace.map(|name| format!("/namespaces/{name}")).unwrap_or_default();
        let path = format!("{group}{place}/{}", kind.resource);
        let mut pages = Pages::of(&self.connection, &path, None, self.tuning);
        while let Some(objects) = pages.next().await.map_err(ClusterError::List)? {
            for object in objects {
                self.add_need(needs, kind, object);
            }
        }
        Ok(())
    }

    /// What does not decode needs nothing that could be asked for.
    fn add_need(&self, needs: &mut Needs, kind: &WorkloadKind, object: &RawValue) {
        let rest = serde_json::from_str::<RestView<'_>>(object.get()).unwrap_or_default();
        let (Some(when), Some(path)) = (rest.when(kind.kind), pod_path(kind.group, kind.kind))
        else {
            return;
        };
        let Ok(workload) = extract(object, &path) else { return };
        let own = &workload.object;
        let controlled = workload.controller.as_ref();
        if controlled.is_some() && matches!(kind.kind, "ReplicaSet" | "Job") {
            // Its pods are listed, and what controls it makes the next ones.
            return;
        }
        let [kind, name] = match controlled.filter(|_| workload.is_pod) {
            Some(owner) => [&*owner.kind, &*owner.name],
            None => [kind.kind, &*own.name],
        };
        let [kind, _, name] = self.owner_of([kind, &own.namespace, name]);
        let name = PullerName { kind: kind.into(), name: name.into() };
        let node = rest.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
        let node = node.map_or("", |node| &node.0);
        let at = workload.is_pod.then_some((&*own.name, node));
        needs.add(&workload, &own.namespace, &name, when, at);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::runs("Deployment", json!({"spec": {"replicas": 2}}), Some(When::Runs))]
    #[case::by_default("StatefulSet", json!({"spec": {}}), Some(When::Runs))]
    #[case::zero("Deployment", json!({"spec": {"replicas": 0}}), Some(When::AtZero))]
    #[case::daemons("DaemonSet", json!({}), Some(When::NodesToCome))]
    #[case::cron("CronJob", json!({"spec": {"suspend": false}}), Some(When::BetweenRuns))]
    #[case::held_cron("CronJob", json!({"spec": {"suspend": true}}), Some(When::Suspended))]
    #[case::held_job("Job", json!({"spec": {"suspend": true}}), Some(When::Suspended))]
    #[case::job("Job", json!({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}}),
        Some(When::Runs))]
    #[case::done("Job", json!({"spec": {"suspend": true},
        "status": {"conditions": [{"type": "Complete", "status": "True"}]}}), None)]
    #[case::pod("Pod", json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Pending"}}),
        Some(When::Runs))]
    #[case::ended("Pod", json!({"status": {"phase": "Failed"}}), None)]
    fn when_it_pulls_again(
        #[case] kind: &str,
        #[case] object: serde_json::Value,
        #[case] when: Option<When>,
    ) {
        let text = object.to_string();
        assert_eq!(serde_json::from_str::<RestView<'_>>(&text).unwrap().when(kind), when);
    }
}
