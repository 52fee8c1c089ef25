//! Pods without a controller that build: those of CI runners, and what a person has made by hand.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::job::{BuildState, BuildView, Step, Steps};
use crate::kube_views::{controller, slim_meta};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodWire {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    restart_policy: Box<str>,
    init_containers: Vec<Step>,
    containers: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Box<str>,
    reason: Box<str>,
    start_time: Option<Timestamp>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    terminated: Option<Terminated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    finished_at: Option<Timestamp>,
}

/// Reads a pod; nothing if it has a controller, which is told of instead, or is to run for ever.
pub(super) fn read(object: &str) -> Result<Option<BuildView>, serde_json::Error> {
    let pod: PodWire = serde_json::from_str(object)?;
    if controller(&pod.metadata).is_some() || matches!(&*pod.spec.restart_policy, "" | "Always") {
        return Ok(None);
    }
    let state = pod.status.state();
    let PodSpec { init_containers, containers, .. } = pod.spec;
    let steps = Steps { init_containers, containers };
    Ok(Some(BuildView { metadata: pod.metadata, steps, state }))
}

impl PodStatus {
    fn state(&self) -> BuildState {
        let all = self.init_container_statuses.iter().chain(&self.container_statuses);
        let ends = all.filter_map(|one| one.state.terminated.as_ref()?.finished_at);
        let at = ends.max();
        match &*self.phase {
            "Failed" => BuildState::Failed { at, too_long: &*self.reason == "DeadlineExceeded" },
            "Succeeded" => BuildState::Completed { at },
            _ if self.start_time.is_none() => BuildState::NeverRun { suspended: false },
            _ => BuildState::Running { since: self.start_time, failed: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-01-02T00:00:00Z";

    #[rstest]
    #[case::new(json!({"phase": "Pending"}), BuildState::NeverRun { suspended: false })]
    #[case::runs(json!({"phase": "Running", "startTime": AT}), BuildState::Running { since: AT.parse().ok(), failed: 0 })]
    #[case::fails(json!({"phase": "Failed", "startTime": AT, "containerStatuses": [{"state": {"terminated": {"finishedAt": AT}}}]}), BuildState::Failed { at: AT.parse().ok(), too_long: false })]
    #[case::late(json!({"phase": "Failed", "reason": "DeadlineExceeded"}), BuildState::Failed { at: None, too_long: true })]
    #[case::works(json!({"phase": "Succeeded"}), BuildState::Completed { at: None })]
    fn how_far(#[case] status: Value, #[case] state: BuildState) {
        let pod = json!({"metadata": {}, "spec": {"restartPolicy": "Never"}, "status": status});
        assert_eq!(read(&pod.to_string()).unwrap().unwrap().state, state);
    }

    #[test]
    fn a_pod_that_is_another_s_or_runs_for_ever_builds_nothing_by_itself() {
        let owned = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true}]);
        for pod in [
            json!({"metadata": {"ownerReferences": owned}, "spec": {"restartPolicy": "Never"}}),
            json!({"metadata": {}, "spec": {"restartPolicy": "Always"}}),
            json!({"metadata": {}, "spec": {}}),
        ] {
            assert!(read(&pod.to_string()).unwrap().is_none(), "{pod}");
        }
    }
}
