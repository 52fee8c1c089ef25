//! `helm test`: helm itself makes the pod of the chart, and here the program is run as its kubelet would,
//! with the pod's arguments and its ServiceAccount.

use std::process::Command;

use serde_json::json;

use super::balancer::Balancer;
use super::chart::render;
use super::deployed::Deployed;
use super::helm::{Helm, chart};
use super::kept::wait_for;
use super::{program, strings};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::process::{self, Finished};
use crate::cluster::{PATIENCE, pullgate};

/// Runs the container of the pod that helm made, and says to the API server how it ended; what it
/// printed.
fn play_the_kubelet(deployed: &Deployed) -> Finished {
    let get = ["pod", "-n", "pullgate", "pullgate-test"];
    let pod = wait_for("the pod of the test", || {
        let pod = deployed.kubectl.get(&get).ok()?;
        // One of an earlier test is on its way out.
        (pod["status"]["phase"] == "Pending").then_some(pod)
    });
    let container = &pod["spec"]["containers"][0];
    let mut command = Command::new(pullgate::binary());
    command.args(strings(&container["args"]));
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    command.arg("--kubeconfig").arg(deployed.write_kubeconfig_of(account));
    let finished = process::run(&mut command, "", PATIENCE);
    let phase = if finished.code == 0 { "Succeeded" } else { "Failed" };
    let status = json!({"status": {"phase": phase, "containerStatuses": [{"name": "asks",
        "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": finished.code}}}]}})
    .to_string();
    let patch = ["patch", "pod", "-n", "pullgate", "pullgate-test", "--subresource=status"];
    let patch = [&patch[..], &["--type=merge", "-p", &status]].concat();
    deployed.kubectl.run(&patch).ok().unwrap();
    finished
}

#[test]
fn helm_test_says_whether_the_api_server_asks() {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let balancer = Balancer::start();
    let port = format!("service.port={}", balancer.port);
    let values = [&port, "policyCheck.enabled=false", "image.repository=127.0.0.1:9/pullgate"];
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    cluster.namespace_called("pullgate", &[]);
    let objects = render(&helm, &values).unwrap();
    let helm = Helm::new(helm, &cluster);
    helm.run(&["install", "pullgate", &chart()], &values).ok().unwrap();
    let deployed = Deployed::of(cluster, objects);
    deployed.route_to_loopback();
    let test = || -> (Finished, Finished) {
        std::thread::scope(|scope| {
            let helm = scope.spawn(|| helm.run(&["test", "pullgate", "--timeout=40s"], &[]));
            let asks = play_the_kubelet(&deployed);
            (helm.join().unwrap(), asks)
        })
    };

    // Nobody answers: what cannot be asked is let in, and the test says where to look.
    let (helm, asks) = test();
    assert_eq!(asks.code, 1, "{asks:?}");
    assert!(asks.stdout.contains("Pullgate was not called"), "{asks:?}");
    assert!(asks.stdout.contains("kubectl get apiservice"), "{asks:?}");
    assert_ne!(helm.code, 0, "{helm:?}");

    let replica = deployed.replica("pullgate-0", &[]);
    balancer.add(&replica);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"},
        "spec": {"containers": [{"name": "c", "image": "Not/A:Name"}]}})
    .to_string();
    wait_for("the way through the API server", || {
        let create = ["create", "--dry-run=server", "-f", "-"];
        let answer = deployed.kubectl.run_with(&create, &pod);
        answer.stderr.contains("Warning: image").then_some(())
    });
    let (helm, asks) = test();
    assert_eq!(asks.code, 0, "{asks:?}");
    assert!(asks.stdout.contains("Pullgate answered: "), "{asks:?}");
    assert_eq!(helm.code, 0, "{helm:?}");
    // What the test needed is gone with it.
    for left in ["pod", "serviceaccount"] {
        let get =
            ["get", left, "-n", "pullgate", "pullgate-test", "--ignore-not-found", "-o", "name"];
        assert_eq!(deployed.kubectl.run(&get).stdout.trim(), "", "{left}");
    }
}
