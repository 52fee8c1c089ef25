//! Reads what builds from an object of its kind; Jobs, CronJobs and pods right here. Pods without a
//! controller are those of CI runners, and what a person has made by hand.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::job::{BuildKind, BuildState, BuildView, Step, Steps};
use super::tekton;
use crate::kube_views::{ConditionView, controller, slim_meta};

impl BuildView {
    /// Reads an object of this kind; nothing if it is none that builds, such as a pod that is to run
    /// for ever.
    pub fn read(kind: BuildKind, object: &str) -> Result<Option<Self>, serde_json::Error> {
        match kind {
            BuildKind::Job | BuildKind::CronJob => {
                let job: JobWire = serde_json::from_str(object)?;
                let state = job.state(kind);
                let template = match kind {
                    BuildKind::CronJob => job.spec.job_template.spec.template,
                    _ => job.spec.template,
                };
                Ok(Some(Self { metadata: job.metadata, steps: template.spec, state }))
            }
            BuildKind::Pod => read_pod(object),
            BuildKind::PipelineRun | BuildKind::TaskRun => tekton::read(object).map(Some),
        }
    }

    /// Whose it is, and since when.
    pub fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// A Job or CronJob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct JobWire {
    /// Name, namespace, uid, resource version, creation time, controlling owner.
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    spec: JobSpec,
    status: JobStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobSpec {
    suspend: Option<bool>,
    template: Template,
    job_template: JobTemplate,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: InnerSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct InnerSpec {
    template: Template,
}

/// The pod template of a job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Steps,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobStatus {
    active: Count,
    failed: Option<u32>,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    last_schedule_time: Option<Timestamp>,
    conditions: Vec<ConditionView>,
}

/// A Job has a number there, a CronJob a list of Jobs.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u32),
    Other(serde::de::IgnoredAny),
}

impl Default for Count {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl JobWire {
    /// How far it is, by the conditions that the Job controller sets
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>).
    fn state(&self, kind: BuildKind) -> BuildState {
        let suspended = self.spec.suspend == Some(true);
        let status = &self.status;
        if kind == BuildKind::CronJob {
            return match status.last_schedule_time {
                Some(at) => BuildState::Ran { at },
                None => BuildState::NeverRun { suspended },
            };
        }
        let condition = |wanted: &[&str]| {
            let mut all = status.conditions.iter();
            all.find(|one| wanted.contains(&&*one.kind) && &*one.status == "True")
        };
        if let Some(failed) = condition(&["Failed", "FailureTarget"]) {
            let too_long = &*failed.reason == "DeadlineExceeded";
            return BuildState::Failed { at: failed.last_transition_time, too_long };
        }
        if let Some(complete) = condition(&["Complete", "SuccessCriteriaMet"]) {
            let at = status.completion_time.or(complete.last_transition_time);
            return BuildState::Completed { at };
        }
        let active = matches!(status.active, Count::Number(1..));
        if !active && (suspended || status.start_time.is_none()) {
            return BuildState::NeverRun { suspended };
        }
        let failed = status.failed.unwrap_or_default();
        BuildState::Running { since: status.start_time, failed }
    }
}

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
fn read_pod(object: &str) -> Result<Option<BuildView>, serde_json::Error> {
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

    const NEW: BuildState = BuildState::NeverRun { suspended: false };

    #[rstest]
    #[case(BuildKind::Job, json!({}), json!({}), NEW)]
    #[case(BuildKind::Job, json!({"suspend": true}), json!({}), BuildState::NeverRun { suspended: true })]
    #[case(BuildKind::Job, json!({}), json!({"active": 1, "failed": 2}), BuildState::Running { since: None, failed: 2 })]
    #[case(BuildKind::Job, json!({}), json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}), BuildState::Failed { at: None, too_long: true })]
    #[case(BuildKind::Job, json!({}), json!({"conditions": [{"type": "Failed", "status": "False"}, {"type": "Complete", "status": "True"}]}), BuildState::Completed { at: None })]
    #[case(BuildKind::CronJob, json!({"suspend": true}), json!({"active": [{"name": "x"}]}), BuildState::NeverRun { suspended: true })]
    #[case(BuildKind::CronJob, json!({}), json!({"lastScheduleTime": "1970-01-01T00:00:00Z"}), BuildState::Ran { at: Timestamp::UNIX_EPOCH })]
    fn how_far(
        #[case] kind: BuildKind,
        #[case] spec: Value,
        #[case] status: Value,
        #[case] state: BuildState,
    ) {
        let job = json!({"metadata": {}, "spec": spec, "status": status}).to_string();
        assert_eq!(BuildView::read(kind, &job).unwrap().unwrap().state, state);
    }

    const AT: &str = "2026-01-02T00:00:00Z";

    #[rstest]
    #[case::new(json!({"phase": "Pending"}), BuildState::NeverRun { suspended: false })]
    #[case::runs(json!({"phase": "Running", "startTime": AT}), BuildState::Running { since: AT.parse().ok(), failed: 0 })]
    #[case::fails(json!({"phase": "Failed", "startTime": AT, "containerStatuses": [{"state": {"terminated": {"finishedAt": AT}}}]}), BuildState::Failed { at: AT.parse().ok(), too_long: false })]
    #[case::late(json!({"phase": "Failed", "reason": "DeadlineExceeded"}), BuildState::Failed { at: None, too_long: true })]
    #[case::works(json!({"phase": "Succeeded"}), BuildState::Completed { at: None })]
    fn how_far_a_pod_is(#[case] status: Value, #[case] state: BuildState) {
        let pod = json!({"metadata": {}, "spec": {"restartPolicy": "Never"}, "status": status});
        assert_eq!(read_pod(&pod.to_string()).unwrap().unwrap().state, state);
    }

    #[test]
    fn a_pod_that_is_another_s_or_runs_for_ever_builds_nothing_by_itself() {
        let owned = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true}]);
        for pod in [
            json!({"metadata": {"ownerReferences": owned}, "spec": {"restartPolicy": "Never"}}),
            json!({"metadata": {}, "spec": {"restartPolicy": "Always"}}),
            json!({"metadata": {}, "spec": {}}),
        ] {
            assert!(read_pod(&pod.to_string()).unwrap().is_none(), "{pod}");
        }
    }
}
