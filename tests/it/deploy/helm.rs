//! The chart as helm itself installs, upgrades and removes it, on a real API server: the policy as
//! an object, what Pullgate writes at run time kept, and nothing left behind.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::chart::render;
use super::{program, root};
use crate::cluster::PATIENCE;
use crate::cluster::control_plane::{ADMIN, ControlPlane};
use crate::cluster::kubectl::Kubectl;
use crate::cluster::process::{self, Finished};
use pullgate::pki::Lifetimes;

const VALUES: [&str; 6] = [
    // The way in which most is written at run time.
    "webhook.proof=path",
    // Nobody runs its Job here.
    "policyCheck.enabled=false",
    "policyFrom.kind=PullgatePolicy",
    "policy.defaultMode=enforce",
    "mutation.enabled=true",
    "image.repository=127.0.0.1:9/pullgate",
];

/// helm, as the administrator of a cluster runs it.
pub(super) struct Helm {
    program: PathBuf,
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Helm {
    pub(super) fn new(program: PathBuf, cluster: &ControlPlane) -> Self {
        Self { program, folder: process::folder("helm"), kubeconfig: cluster.kubeconfig(ADMIN) }
    }

    /// Runs it in Pullgate's namespace, with these values of the chart.
    pub(super) fn run(&self, words: &[&str], values: &[&str]) -> Finished {
        let mut command = Command::new(&self.program);
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", &self.kubeconfig).args(words);
        command.args(["--namespace", "pullgate"]);
        command.args(values.iter().flat_map(|value| ["--set", value]));
        process::run(&mut command, "", PATIENCE * 2)
    }
}

/// Where the chart is.
pub(super) fn chart() -> String {
    root().join("deploy/chart/pullgate").display().to_string()
}

/// Every object that the chart makes and that the cluster has: kind, namespace, name.
fn there(kubectl: &Kubectl, objects: &[Value]) -> Vec<String> {
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let there = objects.iter().filter(|object| {
        let version = object["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = format!("{}.{version}.{group}", object["kind"].as_str().unwrap());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
        let get = ["get", &kind, &name(object), "-n", namespace];
        kubectl.run(&[&get[..], &["-o", "name"]].concat()).code == 0
    });
    there.map(|object| format!("{} {}", object["kind"], object["metadata"]["name"])).collect()
}

#[test]
fn helm_installs_upgrades_and_removes_the_chart_with_its_policy_as_an_object() {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    let chart = chart();
    let objects = render(&helm, &VALUES).unwrap();
    let helm = Helm::new(helm, &cluster);
    let run = |words: &[&str], values: &[&str]| helm.run(words, values);
    cluster.namespace_called("pullgate", &[]);

    // In one go helm refuses, says why, and leaves nothing.
    let install = ["install", "pullgate", &chart];
    let refused = run(&install, &VALUES);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("ensure CRDs are installed first"), "{}", refused.stderr);
    assert_eq!(there(&kubectl, &objects), Vec::<String>::new());

    // As the values say: first without the policy, then with it.
    let without = [&VALUES[..], &["policyFrom.render=false"]].concat();
    run(&install, &without).ok().unwrap();
    assert_eq!(there(&kubectl, &objects).len(), objects.len() - 1);
    let upgrade = ["upgrade", "pullgate", &chart];
    run(&upgrade, &VALUES).ok().unwrap();
    assert_eq!(there(&kubectl, &objects).len(), objects.len());
    let policy = kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    assert_eq!(policy["spec"]["defaultMode"], "enforce");

    // What the leader writes outlives the next upgrade, and so does what is declared.
    let client = super::kept::client(&cluster);
    let (keeper, material) = super::kept::start_by_path(&client, "r-0");
    let material = super::kept::wait_for("what to serve with", || material.borrow().clone());
    let path = format!("/validate/{}", material.token);
    let written = || {
        let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
        let all = kinds.map(|kind| kubectl.get(&[kind, "pullgate"]).unwrap());
        let clients = all.iter().flat_map(|one| one["webhooks"].as_array().unwrap());
        clients.map(|webhook| webhook["clientConfig"].clone()).collect::<Vec<_>>()
    };
    super::kept::wait_for("path and bundle", || {
        let done = |client: &Value| client["caBundle"].is_string();
        written().iter().all(done).then_some(())
    });
    keeper.abort();
    let (before, version) = (written(), policy["metadata"]["resourceVersion"].clone());
    assert_eq!(before[0]["service"]["path"], *path);
    let labels = |kind: &str| kubectl.get(&[kind, "-n", "pullgate", "pullgate"]).unwrap();
    for kind in ["secret", "lease"] {
        assert_eq!(labels(kind)["metadata"]["labels"]["app.kubernetes.io/name"], "pullgate");
    }
    let secret = labels("secret")["data"].clone();
    let changed = [&VALUES[..], &["replicas=3", "webhook.timeoutSeconds=5"]].concat();
    run(&upgrade, &changed).ok().unwrap();
    assert_eq!(written(), before);
    assert_eq!(labels("secret")["data"], secret);
    assert_eq!(labels("deployment")["spec"]["replicas"], 3);
    let policy = kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    assert_eq!(policy["metadata"]["resourceVersion"], version, "the policy did not change");

    // An upgrade that its check does not let pass replaces nothing. Nobody runs the Job here, and
    // then it is not passed either; what the Job refuses is tried beside the chart.
    let blocked =
        [&VALUES[..1], &VALUES[2..], &["policyFrom.kind=ConfigMap", "replicas=1"]].concat();
    let blocked = run(&["upgrade", "pullgate", &chart, "--timeout=5s"], &blocked);
    assert_ne!(blocked.code, 0);
    assert!(blocked.stderr.contains("pre-upgrade hooks failed"), "{}", blocked.stderr);
    let policy = kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    assert_eq!(policy["metadata"]["resourceVersion"], version, "the policy is still there");
    assert_eq!(labels("deployment")["spec"]["replicas"], 3);
    let check = ["delete", "job,configmap", "-n", "pullgate", "pullgate-policy-check"];
    kubectl.run(&[&check[..], &["--ignore-not-found"]].concat()).ok().unwrap();
    // Nor does one whose policy has a field that there is not.
    let wrong = [&VALUES[..], &["policy.defaultmode=warn"]].concat();
    let wrong = run(&upgrade, &wrong);
    assert!(wrong.code != 0 && wrong.stderr.contains("defaultmode"), "{}", wrong.stderr);

    // Another proof: the API server takes the way through itself, whoever wrote the path before.
    let aggregated = [&["webhook.proof=aggregation"], &VALUES[1..]].concat();
    let refused = run(&upgrade, &aggregated);
    assert!(refused.stderr.contains("conflict"), "the path is Pullgate's: {}", refused.stderr);
    run(&[&upgrade[..], &["--force-conflicts"]].concat(), &aggregated).ok().unwrap();
    let paths: Vec<_> = written().iter().map(|client| client["service"]["path"].clone()).collect();
    let path = |endpoint: &str| json!(format!("/apis/admission.pullgate.dev/v1/{endpoint}"));
    assert_eq!(paths, [path("validate"), path("validate"), path("mutate")]);

    run(&["uninstall", "pullgate"], &[]).ok().unwrap();
    super::kept::wait_for("nothing left", || there(&kubectl, &objects).is_empty().then_some(()));
    // Nor anything beside what the chart makes.
    let resources =
        "secrets,leases.coordination.k8s.io,configmaps,serviceaccounts,roles,rolebindings,events";
    let left = kubectl.get(&[resources, "-n", "pullgate"]).unwrap();
    let own = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        !matches!(name, "default" | "kube-root-ca.crt") && object["kind"] != "Event"
    };
    let left: Vec<_> = left["items"].as_array().unwrap().iter().filter(own).collect();
    assert!(left.is_empty(), "{left:?}");
    // The cluster goes on: pods are made in any namespace.
    std::thread::sleep(Duration::from_secs(1));
    cluster.namespace_called("shop", &[]);
    kubectl.create(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "r.example.com/a:1"}]}}));
}

#[test]
fn an_uninstall_takes_the_way_through_the_aggregation_layer_along() {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    let helm = Helm::new(helm, &cluster);
    let values = ["policyCheck.enabled=false", VALUES[5]];
    cluster.namespace_called("pullgate", &[]);
    helm.run(&["install", "pullgate", &chart()], &values).ok().unwrap();

    // The leader writes the bundle that lets the aggregation layer trust it.
    let client = super::kept::client(&cluster);
    let (keeper, _material) = super::kept::start(&client, "r-0", Lifetimes::default());
    let service = "v1.admission.pullgate.dev";
    super::kept::wait_for("the bundle", || {
        let read = kubectl.get(&["apiservice", service]).ok()?;
        let secret = kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).ok()?;
        let bundle = read["spec"]["caBundle"].as_str()?.to_owned();
        (bundle == *secret["data"]["ca.crt"].as_str()?).then_some(())
    });
    keeper.abort();
    let hook = kubectl.get(&["validatingwebhookconfiguration", "pullgate"]).unwrap();
    let written = &hook["webhooks"][0]["clientConfig"];
    assert!(written.get("caBundle").is_none(), "{written}");
    assert_eq!(written["service"]["path"], "/apis/admission.pullgate.dev/v1/validate");

    helm.run(&["uninstall", "pullgate"], &[]).ok().unwrap();
    super::kept::wait_for("no APIService", || {
        let left = kubectl.run(&["get", "apiservice", service, "--ignore-not-found", "-o", "name"]);
        left.stdout.trim().is_empty().then_some(())
    });
    let bound = ["get", "rolebinding", "-n", "kube-system", "pullgate-aggregation"];
    assert_ne!(kubectl.run(&bound).code, 0, "nor its right in kube-system");
}
