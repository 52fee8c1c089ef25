//! What a kubelet writes for containers that never started is no run.

use super::*;

const IMAGE: &str = "r.example/shop/app:1";
const ID: &str =
    "r.example/shop/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// One pod with one container in this status.
fn seen(status: &serde_json::Value, policy: &str) -> crate::history::History {
    let mut index = HealthIndex::default();
    apply(&mut index, status, policy);
    index.set_freshness(Freshness::Current);
    ask(&index, IMAGE, &Visibility::Cluster)
}

fn apply(index: &mut HealthIndex, status: &serde_json::Value, policy: &str) {
    let mut status = status.clone();
    status["name"] = json!("app");
    let pod: PodView = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1",
            "creationTimestamp": at(-10).to_string()},
        "spec": {"nodeName": "n", "containers":
            [{"name": "app", "image": IMAGE, "imagePullPolicy": policy}]},
        "status": {"phase": "Failed", "containerStatuses": [status]},
    }))
    .unwrap();
    index.apply_pod(&pod, at(0));
}

fn has_run(status: &serde_json::Value) -> bool {
    ["Always", "IfNotPresent"].into_iter().any(|policy| seen(status, policy).last_success.is_some())
}

#[rstest]
// A pod deleted before its image came, from a kubelet 1.34.
#[case::deleted(json!({"imageID": "", "started": false, "state": {"terminated": {"exitCode": 137,
    "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}}}))]
// The same after the kubelet had failed to pull: lastState is empty.
#[case::deleted_while_failing(json!({"imageID": "", "lastState": {}, "state": {"terminated": {
    "exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located when the pod was deleted.  The container used to be Running"}}}))]
// Evicted before it started.
#[case::evicted(json!({"imageID": "", "state": {"terminated": {"exitCode": 137,
    "reason": "Evicted"}}}))]
// An init container failed, so this one was never reached.
#[case::never_reached(json!({"imageID": "", "state": {"terminated": {"exitCode": 0,
    "reason": "Completed", "startedAt": null, "finishedAt": null}}}))]
// The node was lost: the last state that was written stands as it is.
#[case::node_lost(json!({"imageID": "", "state": {"waiting": {"reason": "ContainerCreating"}}}))]
// The kubelet restarted and lost sight of a container that it never had.
#[case::restarted(json!({"imageID": "", "restartCount": 1, "state": {"waiting": {"reason":
    "PodInitializing"}}, "lastState": {"terminated": {"exitCode": 137,
    "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}}}))]
fn a_container_that_never_started_has_not_run(#[case] status: serde_json::Value) {
    assert!(!has_run(&status));
}

#[rstest]
#[case::ended(json!({"imageID": ID, "state": {"terminated": {"exitCode": 0,
    "startedAt": "2027-01-15T07:55:00Z", "finishedAt": "2027-01-15T07:56:00Z"}}}))]
#[case::runs(json!({"imageID": ID, "state": {"running": {"startedAt": "2027-01-15T07:55:00Z"}}}))]
// It ran, and its pod was deleted while it was between two runs.
#[case::between_runs(json!({"imageID": ID, "state": {"terminated": {"exitCode": 137,
    "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}},
    "lastState": {"terminated": {"exitCode": 1, "startedAt": "2027-01-15T07:55:00Z"}}}))]
fn a_container_that_was_started_has_run(#[case] status: serde_json::Value) {
    assert!(has_run(&status));
}

#[test]
fn a_failing_pod_that_is_deleted_is_no_longer_failing_and_did_not_run() {
    let mut index = HealthIndex::default();
    let failing = json!({"imageID": "", "state": {"waiting": {"reason": "ErrImagePull",
        "message": NOT_FOUND}}});
    let deleted = json!({"imageID": "", "state": {"terminated": {"exitCode": 137,
        "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}}});
    apply(&mut index, &failing, "IfNotPresent");
    apply(&mut index, &deleted, "IfNotPresent");
    index.set_freshness(Freshness::Current);
    let history = ask(&index, IMAGE, &Visibility::Cluster);
    assert_eq!(history.last_success, None);
    assert!(history.failures.is_empty());
    assert!(history.known_tags.is_empty());
}
