//! Tekton's `PipelineRun`s and `TaskRun`s that build: the parameters that they are given, and the steps
//! as far as they stand in the run (<https://tekton.dev/docs/pipelines/taskruns/>).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::job::{BuildState, BuildView, Step, Steps, Variable};
use crate::kube_views::{ConditionView, slim_meta};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunWire {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    spec: RunSpec,
    status: RunStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RunSpec {
    params: Vec<Param>,
    /// `PipelineRunPending`, or how it is to be ended.
    status: Box<str>,
    task_spec: TaskSpec,
    pipeline_spec: PipelineSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RunStatus {
    conditions: Vec<ConditionView>,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    /// What a reference led to, with parameters filled in.
    task_spec: TaskSpec,
    pipeline_spec: PipelineSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TaskSpec {
    steps: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PipelineSpec {
    tasks: Vec<PipelineTask>,
    #[serde(rename = "finally")]
    last: Vec<PipelineTask>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PipelineTask {
    params: Vec<Param>,
    task_spec: TaskSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Param {
    name: Box<str>,
    value: ParamValue,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ParamValue {
    Text(Box<str>),
    Texts(Vec<Box<str>>),
    Other(IgnoredAny),
}

impl Default for ParamValue {
    fn default() -> Self {
        Self::Texts(Vec::new())
    }
}

/// Reads a run of either kind.
pub(super) fn read(object: &str) -> Result<BuildView, serde_json::Error> {
    let run: RunWire = serde_json::from_str(object)?;
    let state = run.state();
    let RunWire { metadata, spec, status } = run;
    let mut containers = Vec::new();
    add_steps(&mut containers, &spec.params, &[], [spec.task_spec, status.task_spec]);
    for pipeline in [spec.pipeline_spec, status.pipeline_spec] {
        for task in pipeline.tasks.into_iter().chain(pipeline.last) {
            add_steps(
                &mut containers,
                &task.params,
                &spec.params,
                [task.task_spec, TaskSpec::default()],
            );
        }
    }
    Ok(BuildView { metadata, steps: Steps { init_containers: Vec::new(), containers }, state })
}

/// What the steps of a task are told, with its parameters as their variables; those of the run come
/// behind them, as what a task's parameters are made of.
fn add_steps(found: &mut Vec<Step>, own: &[Param], of_run: &[Param], specs: [TaskSpec; 2]) {
    let plain = own.iter().map(|param| variable(&param.name, param));
    let to_fill = own.iter().chain(of_run);
    let to_fill = to_fill.map(|param| variable(&format!("params.{}", param.name), param));
    let variables: Vec<Variable> = plain.chain(to_fill).collect();
    found.push(Step { env: variables.clone(), ..Step::default() });
    for mut step in specs.into_iter().flat_map(|spec| spec.steps) {
        step.env.extend(variables.iter().cloned());
        found.push(step);
    }
}

fn variable(name: &str, param: &Param) -> Variable {
    let value = match &param.value {
        ParamValue::Text(text) => text.clone(),
        ParamValue::Texts(texts) => texts.join(" ").into(),
        ParamValue::Other(_) => Box::default(),
    };
    Variable { name: name.into(), value }
}

impl RunWire {
    /// How far it is, by its one condition
    /// (<https://tekton.dev/docs/pipelines/pipelineruns/#monitoring-execution-status>).
    fn state(&self) -> BuildState {
        let status = &self.status;
        let at = status.completion_time;
        let condition = status.conditions.iter().find(|one| &*one.kind == "Succeeded");
        let pending = "PipelineRunPending";
        match condition.map(|one| (&*one.status, &*one.reason)) {
            Some(("True", _)) => BuildState::Completed { at },
            Some(("False", reason)) => {
                BuildState::Failed { at, too_long: reason.ends_with("Timeout") }
            }
            Some((_, reason)) if reason == pending => BuildState::NeverRun { suspended: true },
            None if status.start_time.is_none() => {
                BuildState::NeverRun { suspended: &*self.spec.status == pending }
            }
            _ => BuildState::Running { since: status.start_time, failed: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::super::destinations::destinations;
    use super::*;

    fn pushed(run: &Value) -> Vec<String> {
        let found = destinations(&read(&run.to_string()).unwrap().steps);
        found.into_iter().filter(|one| one.pushed).map(|one| one.image.into()).collect()
    }

    const IMAGE: &str = "reg.example.com/app:1";

    #[rstest]
    #[case::by_parameter(json!({"params": [{"name": "IMAGE", "value": IMAGE}], "taskRef": {"name": "kaniko"}}))]
    #[case::in_a_step(json!({"taskSpec": {"steps": [{"image": "gcr.io/kaniko:1", "args": [format!("--destination={IMAGE}")]}]}}))]
    #[case::filled_in(json!({"params": [{"name": "where", "value": IMAGE}],
        "taskSpec": {"steps": [{"image": "gcr.io/kaniko:1", "args": ["--destination=$(params.where)"]}]}}))]
    #[case::in_a_script(json!({"params": [{"name": "where", "value": IMAGE}],
        "taskSpec": {"steps": [{"image": "quay.io/buildah:1", "script": "#!/bin/sh\nbuildah push --tls-verify=false x docker://x.example/y:1\nbuildah bud -t $(params.where) ."}]}}))]
    #[case::by_a_pipeline(json!({"params": [{"name": "where", "value": IMAGE}],
        "pipelineSpec": {"tasks": [{"name": "build", "params": [{"name": "IMAGE", "value": "$(params.where)"}]}]}}))]
    fn what_a_run_pushes(#[case] spec: Value) {
        assert_eq!(pushed(&json!({"metadata": {}, "spec": spec})), [IMAGE]);
    }

    #[test]
    fn what_a_reference_led_to_counts_and_what_is_read_does_not() {
        let pipeline = json!({"tasks": [{"params": [{"name": "IMAGE", "value": IMAGE}]}], "finally": [
            {"taskSpec": {"steps": [{"args": ["--tag=reg.example.com/app:last"]}]}}]});
        let run = json!({"metadata": {}, "spec": {"pipelineRef": {"name": "build"}},
            "status": {"pipelineSpec": pipeline}});
        assert_eq!(pushed(&run), [IMAGE, "reg.example.com/app:last"]);
        let reads = json!([{"name": "base", "value": "reg.example.com/base:1"},
            {"name": "odd", "value": {"a": "b"}}, {"name": "list", "value": ["a", "b"]}]);
        assert_eq!(pushed(&json!({"metadata": {}, "spec": {"params": reads}})), [""; 0]);
    }

    const AT: &str = "2026-01-02T00:00:00Z";

    #[rstest]
    #[case::new(json!({}), json!({}), BuildState::NeverRun { suspended: false })]
    #[case::held(json!({"status": "PipelineRunPending"}), json!({}), BuildState::NeverRun { suspended: true })]
    #[case::runs(json!({}), json!({"startTime": AT, "conditions": [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]}), BuildState::Running { since: AT.parse().ok(), failed: 0 })]
    #[case::fails(json!({}), json!({"completionTime": AT, "conditions": [{"type": "Succeeded", "status": "False", "reason": "Failed"}]}), BuildState::Failed { at: AT.parse().ok(), too_long: false })]
    #[case::late(json!({}), json!({"conditions": [{"type": "Succeeded", "status": "False", "reason": "TaskRunTimeout"}]}), BuildState::Failed { at: None, too_long: true })]
    #[case::works(json!({}), json!({"completionTime": AT, "conditions": [{"type": "Succeeded", "status": "True"}]}), BuildState::Completed { at: AT.parse().ok() })]
    fn how_far(#[case] spec: Value, #[case] status: Value, #[case] state: BuildState) {
        let run = json!({"metadata": {}, "spec": spec, "status": status});
        assert_eq!(read(&run.to_string()).unwrap().state, state);
    }
}
