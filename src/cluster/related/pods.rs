//! What is wrong with a few pods, in words of a closed list.

use kube::api::ListParams;
use serde::Deserialize;

use super::list;
use crate::cluster::shapes::Page;
use crate::failure::classify;
use crate::history::PodTrouble;

/// Pods that are looked at.
const MAX_PODS: u32 = 20;
/// Waiting reasons of pulls (`pkg/kubelet/images/types.go` of kubernetes).
const PULLING: &[&str] = &[
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

#[derive(Deserialize)]
struct PodWire {
    #[serde(default)]
    metadata: MetaWire,
    #[serde(default)]
    status: StatusWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct MetaWire {
    creation_timestamp: Option<jiff::Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct StatusWire {
    reason: Box<str>,
    conditions: Vec<ConditionWire>,
    init_container_statuses: Vec<ContainerWire>,
    container_statuses: Vec<ContainerWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ConditionWire {
    status: Box<str>,
    reason: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ContainerWire {
    state: StateWire,
    last_state: StateWire,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct StateWire {
    waiting: Option<WaitingWire>,
    terminated: Option<TerminatedWire>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WaitingWire {
    reason: Box<str>,
    message: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TerminatedWire {
    reason: Box<str>,
    exit_code: i32,
}

/// What is wrong with the youngest of these pods that says so.
pub(super) async fn trouble(
    client: &kube::Client,
    namespace: &str,
    params: ListParams,
) -> Option<PodTrouble> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let text = list(client, &path, &params.limit(MAX_PODS)).await?;
    let page: Page<'_> = serde_json::from_str(&text).ok()?;
    let items = page.items.unwrap_or_default();
    let mut pods: Vec<PodWire> =
        items.iter().filter_map(|pod| serde_json::from_str(pod.get()).ok()).collect();
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.metadata.creation_timestamp));
    pods.iter().find_map(|pod| of(&pod.status))
}

fn of(status: &StatusWire) -> Option<PodTrouble> {
    if &*status.reason == "Evicted" {
        return Some(PodTrouble::Evicted);
    }
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses);
    if let Some(trouble) = containers().find_map(of_container) {
        return Some(trouble);
    }
    let unschedulable =
        |one: &ConditionWire| &*one.status == "False" && &*one.reason == "Unschedulable";
    status.conditions.iter().any(unschedulable).then_some(PodTrouble::Unschedulable)
}

fn of_container(container: &ContainerWire) -> Option<PodTrouble> {
    if let Some(waiting) = &container.state.waiting {
        if PULLING.contains(&&*waiting.reason) {
            let said = classify(Some(&waiting.reason), &waiting.message);
            return Some(PodTrouble::CannotPull(said.cause));
        }
        if &*waiting.reason == "CrashLoopBackOff" {
            let last = container.last_state.terminated.as_ref().and_then(of_end);
            return Some(last.unwrap_or(PodTrouble::Crashing));
        }
    }
    container.state.terminated.as_ref().and_then(of_end)
}

fn of_end(end: &TerminatedWire) -> Option<PodTrouble> {
    match (&*end.reason, end.exit_code) {
        ("OOMKilled", _) => Some(PodTrouble::OutOfMemory),
        (_, 0) => None,
        (_, code) => Some(PodTrouble::ExitCode(code)),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::pull::Cause;

    #[rstest]
    #[case(json!({"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}), Some(PodTrouble::OutOfMemory))]
    #[case(json!({"state": {"terminated": {"reason": "Error", "exitCode": 1}}}), Some(PodTrouble::ExitCode(1)))]
    #[case(json!({"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}), None)]
    #[case(json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}}), Some(PodTrouble::Crashing))]
    #[case(json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}), Some(PodTrouble::OutOfMemory))]
    #[case(json!({"state": {"waiting": {"reason": "ContainerCreating"}}}), None)]
    #[case(json!({"state": {"waiting": {"reason": "ErrImagePull", "message": "failed to resolve reference \"r.io/a:1\": r.io/a:1: not found"}}}), Some(PodTrouble::CannotPull(Cause::TagNotFound)))]
    fn containers(#[case] container: Value, #[case] trouble: Option<PodTrouble>) {
        let status = json!({"containerStatuses": [container]});
        assert_eq!(of(&serde_json::from_value(status).unwrap()), trouble);
    }

    #[test]
    fn pods() {
        let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
        let unschedulable = serde_json::from_value(unschedulable).unwrap();
        assert_eq!(of(&unschedulable), Some(PodTrouble::Unschedulable));
        let evicted = serde_json::from_value(json!({"reason": "Evicted"})).unwrap();
        assert_eq!(of(&evicted), Some(PodTrouble::Evicted));
    }
}
