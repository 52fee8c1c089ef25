//! That the harness' cluster is a real one: users and rights, workloads that become pods,
//! simulated nodes, and nothing left behind.

use std::process::{Command, Stdio};

use serde_json::json;

use super::control_plane::DEVELOPER;
use super::nodes::{self, Taint};
use super::{shared, wait_until};

/// The minor versions of Kubernetes 1 that docs/limits.md names (`make test-matrix`).
const OLDEST: u32 = 30;
const NEWEST: u32 = 36;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn the_api_server_answers_and_says_its_version() {
    let Some(cluster) = shared() else { return };
    let answer = cluster.admin().run(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let minor: u32 = version["serverVersion"]["minor"].as_str().unwrap().parse().unwrap();
    assert!((OLDEST..=NEWEST).contains(&minor), "{answer:?}");
    assert_eq!(version["clientVersion"]["gitVersion"], version["serverVersion"]["gitVersion"]);
}

#[test]
fn a_developer_may_do_what_the_roles_say_and_no_more() {
    let Some(cluster) = shared() else { return };
    let granted = cluster.namespace("granted", &[]);
    let foreign = cluster.namespace("foreign", &[]);
    cluster.let_developer_edit(&granted);
    let developer = cluster.kubectl(DEVELOPER);
    let may = |verb: &str, what: &str, namespace: &str| {
        let answer = developer.run(&["auth", "can-i", verb, what, "-n", namespace]);
        answer.stdout.trim() == "yes"
    };
    // The built-in roles are put together by a controller, a moment after the start.
    wait_until("the role edit", || {
        if may("create", "deployments", &granted) {
            Ok(())
        } else {
            Err("not yet".to_owned().into())
        }
    })
    .unwrap();
    assert!(may("get", "secrets", &granted));
    assert!(!may("list", "pods", &foreign));
    let refused = developer.run(&["get", "pods", "-n", &foreign]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("Error from server (Forbidden)"), "{}", refused.stderr);
}

#[test]
fn a_deployment_becomes_pods_and_they_run_on_a_simulated_node() {
    let Some(cluster) = shared() else { return };
    let namespace = cluster.namespace("workloads", &[]);
    let taint = Taint { key: "dedicated", value: "tests", effect: "NoSchedule" };
    nodes::create_node(cluster, "harness-arm64", "arm64", &[("pool", "harness")], &[taint]);
    let node = cluster.admin().get(&["node", "harness-arm64"]).unwrap();
    assert_eq!(node["status"]["nodeInfo"]["architecture"], "arm64");
    assert_eq!(
        node["spec"]["taints"],
        json!([{"key": "dedicated", "value": "tests", "effect": "NoSchedule"}])
    );

    let made = ["create", "deployment", "web", "--image=127.0.0.1:9/web:1", "--replicas=2", "-n"];
    cluster.admin().run(&[&made[..], &[namespace.as_str()]].concat()).ok().unwrap();
    let pods = nodes::wait_for_pods(cluster, &namespace, "app=web", 2);
    nodes::play_running(cluster, &namespace, &pods[0], "harness-arm64", DIGEST);
    let failure = ("ErrImagePull", "failed to pull: not found");
    nodes::play_failing(cluster, &namespace, &pods[1], "harness-arm64", failure);

    let shown =
        cluster.admin().run(&["get", "pods", "--no-headers", "-n", &namespace]).ok().unwrap();
    let columns = |pod: &str| -> Vec<String> {
        let line = shown.lines().find(|line| line.starts_with(pod)).unwrap_or_default();
        line.split_whitespace().skip(1).take(2).map(str::to_owned).collect()
    };
    assert_eq!(columns(&pods[0]), ["1/1", "Running"], "{shown}");
    assert_eq!(columns(&pods[1]), ["0/1", "ErrImagePull"], "{shown}");
    let pod = cluster.admin().get(&["pod", &pods[0], "-n", &namespace]).unwrap();
    assert_eq!(pod["spec"]["nodeName"], "harness-arm64");
    let image_id = &pod["status"]["containerStatuses"][0]["imageID"];
    assert_eq!(*image_id, format!("127.0.0.1:9/web@{DIGEST}"));
}

/// The promise of `process`: a test process that is killed leaves nothing. It is kept by a shell
/// that watches a pipe, so a shell in the place of the test process shows it as well.
#[test]
fn a_killed_process_leaves_no_child_and_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let mut guard = Command::new("sh")
        .args(["-c", super::process::GUARD])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = guard.stdin.take().unwrap();
    {
        use std::io::Write as _;
        writeln!(input, "started {}\nfolder {}", child.id(), kept.display()).unwrap();
    }
    assert!(child.try_wait().unwrap().is_none());
    // What the kernel does with the pipe of a process that ends, however it ends.
    drop(input);
    let ended = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    assert!(guard.wait().unwrap().success());
    assert!(!kept.exists());
}
