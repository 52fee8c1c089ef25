//! Jobs and CronJobs as they are observed: what their containers are told, and how far they are.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::history::related::{BuildKind, BuildState};
use crate::kube_views::slim_meta;

/// A Job or CronJob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct JobView {
    /// Name, namespace, uid, resource version, creation time, controlling owner.
    #[serde(deserialize_with = "slim_meta")]
    pub metadata: ObjectMeta,
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
pub(super) struct Template {
    pub(super) spec: Steps,
}

/// Its containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Steps {
    pub(super) init_containers: Vec<Step>,
    pub(super) containers: Vec<Step>,
}

/// What one container is told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Step {
    pub(super) image: Box<str>,
    pub(super) command: Vec<Box<str>>,
    pub(super) args: Vec<Box<str>>,
    pub(super) env: Vec<Variable>,
}

/// A variable; without a value it comes from somewhere else.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Variable {
    pub(super) name: Box<str>,
    pub(super) value: Box<str>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobStatus {
    active: Count,
    failed: Option<u32>,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    last_schedule_time: Option<Timestamp>,
    conditions: Vec<Condition>,
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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    kind: Box<str>,
    status: Box<str>,
    reason: Box<str>,
    last_transition_time: Option<Timestamp>,
}

impl JobView {
    /// The template of its pods.
    pub(super) fn template(&self, kind: BuildKind) -> &Template {
        match kind {
            BuildKind::Job => &self.spec.template,
            BuildKind::CronJob => &self.spec.job_template.spec.template,
        }
    }

    /// How far it is, by the conditions that the Job controller sets
    /// (<https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions>).
    pub(super) fn state(&self, kind: BuildKind) -> BuildState {
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
        let job: JobView =
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status}))
                .unwrap();
        assert_eq!(job.state(kind), state);
    }
}
