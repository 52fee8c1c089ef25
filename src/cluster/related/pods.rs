//! What is wrong with a few pods, in words of a closed list; how a container of them ended.

use kube::api::ListParams;
use serde::Deserialize;

use super::list;
use crate::builds::ContainerEnd;
use crate::cluster::client::Connection;
use crate::cluster::pages::Page;
use crate::failure::classify;
use crate::history::PodTrouble;
use crate::text::{clean, shorten};

/// Pods that are looked at.
const MAX_PODS: u32 = 20;
/// Characters of a line of a termination message.
const LONGEST_LINE: usize = 160;
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
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    init_containers: Vec<PolicyWire>,
    containers: Vec<PolicyWire>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PolicyWire {
    name: Box<str>,
    termination_message_policy: Box<str>,
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
    name: Box<str>,
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
    message: Box<str>,
    exit_code: i32,
}

/// What is wrong with the youngest of these pods that says so.
pub(super) async fn trouble(
    connection: &Connection,
    namespace: &str,
    params: ListParams,
) -> Option<PodTrouble> {
    youngest_first(connection, namespace, params).await?.iter().find_map(|pod| of(&pod.status))
}

/// How the first container ended that did not succeed, of the youngest of these pods with one.
pub(super) async fn end(
    connection: &Connection,
    namespace: &str,
    params: ListParams,
) -> Option<ContainerEnd> {
    youngest_first(connection, namespace, params).await?.iter().find_map(PodWire::end)
}

async fn youngest_first(
    connection: &Connection,
    namespace: &str,
    params: ListParams,
) -> Option<Vec<PodWire>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let text = list(connection, &path, &params.limit(MAX_PODS)).await?;
    let page: Page<'_> = serde_json::from_str(&text).ok()?;
    let items = page.items.unwrap_or_default();
    let mut pods: Vec<PodWire> =
        items.iter().filter_map(|pod| serde_json::from_str(pod.get()).ok()).collect();
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.metadata.creation_timestamp));
    Some(pods)
}

impl PodWire {
    fn end(&self) -> Option<ContainerEnd> {
        let status = &self.status;
        let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
        containers.into_iter().find_map(|container| {
            let [now, before] = [&container.state, &container.last_state];
            let ends = [now, before].into_iter().filter_map(|state| state.terminated.as_ref());
            let end = ends.into_iter().find(|end| end.exit_code != 0)?;
            Some(ContainerEnd {
                container: clean(&container.name).into(),
                reason: plain_reason(&end.reason).into(),
                exit_code: end.exit_code,
                message: last_line(&end.message).filter(|_| self.wrote(&container.name)),
            })
        })
    }

    /// Whether the message of a container is what it wrote itself, and no part of its log.
    fn wrote(&self, container: &str) -> bool {
        let mut all = self.spec.init_containers.iter().chain(&self.spec.containers);
        all.find(|one| *one.name == *container)
            .is_some_and(|one| &*one.termination_message_policy == "File")
    }
}

/// A word as the kubelet and the runtimes have them.
fn plain_reason(reason: &str) -> &str {
    let plain = !reason.is_empty() && reason.len() <= 40;
    let plain = plain && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { reason } else { "Error" }
}

/// The last line of a termination message. What programs write there for programs, as Tekton's do,
/// is none.
fn last_line(message: &str) -> Option<Box<str>> {
    let line = message.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    (!line.starts_with(['{', '['])).then(|| shorten(&clean(line), LONGEST_LINE).into())
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

    #[rstest]
    #[case::written(
        "File",
        "started\nno space left on \u{1b}[1mdevice\n\n",
        Some("no space left on ")
    )]
    #[case::by_default("", "secret of the log", None)]
    #[case::of_the_log("FallbackToLogsOnError", "secret of the log", None)]
    #[case::for_programs("File", r#"[{"key":"StartedAt","value":"x"}]"#, None)]
    #[case::nothing("File", "\n", None)]
    fn ends(#[case] policy: &str, #[case] message: &str, #[case] says: Option<&str>) {
        let pod = json!({
            "spec": {"containers": [{"name": "done"}, {"name": "kaniko", "terminationMessagePolicy": policy}]},
            "status": {"containerStatuses": [
                {"name": "done", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}},
                {"name": "kaniko", "state": {"terminated":
                    {"reason": "Error", "exitCode": 2, "message": message}}}]},
        });
        let end = serde_json::from_value::<PodWire>(pod).unwrap().end().unwrap();
        assert_eq!((&*end.container, &*end.reason, end.exit_code), ("kaniko", "Error", 2));
        let said = end.message.as_deref();
        assert!(
            said.is_some() == says.is_some()
                && said.unwrap_or_default().starts_with(says.unwrap_or_default()),
            "{said:?}"
        );
        assert!(!said.unwrap_or_default().contains('\u{1b}'));
    }

    #[test]
    fn what_is_no_word_is_not_repeated() {
        assert_eq!(
            (plain_reason("OOMKilled"), plain_reason("rm -rf"), plain_reason("")),
            ("OOMKilled", "Error", "Error")
        );
    }
}
