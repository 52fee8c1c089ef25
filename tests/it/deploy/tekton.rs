//! Tekton's objects on a real API server, which knows its kinds by definitions without a schema:
//! what kubectl shows of them, and what the deployed conditions let through.

use serde_json::{Value, json};

use super::accepted::{apply_base, asked_exactly, point_to, until_asked};
use super::program;
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::images::Image;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::pullgate::{self, Proof, PullgateServer};
use crate::cluster::registry::{Access, PULLER, Registry};
use crate::cluster::wait_until;
use crate::cluster::webhook::DummyWebhook;

const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  latePush: {grace: 0s}
  enforceOn: [pods, workloads]
";

/// Defines the kinds, both versions served, `v1` stored.
pub fn define(kubectl: &Kubectl) {
    for kind in ["Task", "TaskRun", "Pipeline", "PipelineRun"] {
        let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
        let version = |name: &str, stored: bool| {
            json!({"name": name, "served": true, "storage": stored, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}})
        };
        let name = format!("{plural}.tekton.dev");
        kubectl.create(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"group": "tekton.dev", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": singular},
                "versions": [version("v1beta1", false), version("v1", true)]},
        }));
        let crd = format!("crd/{name}");
        let ready = ["wait", "--for=condition=Established", "--timeout=60s", &crd];
        kubectl.run(&ready).ok().unwrap();
    }
}

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("tekton.dev/{version}"), "kind": kind,
           "metadata": {"name": name}, "spec": spec})
}

#[test]
fn tasks_and_their_runs_are_judged_as_far_as_they_say_what_is_pulled() {
    let Some(apiserver) = program("kube-apiserver") else { return };
    let programs = apiserver.parent().unwrap();
    let cluster = ControlPlane::start(programs).unwrap();
    let kubectl = cluster.admin();
    define(&kubectl);
    cluster.namespace_called("ci", &[("pullgate.dev/mode", "enforce")]);
    let open = Registry::start(programs, Access::Anonymous).unwrap();
    open.push("ci/tool", &["1"], &Image::single("amd64", "1"));
    let private = Registry::start(programs, Access::Basic).unwrap();
    private.push("ci/tool", &["1"], &Image::single("amd64", "1"));
    kubectl.create(&private.pull_secret("login", "ci", PULLER));
    kubectl.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "builder", "namespace": "ci"},
        "imagePullSecrets": [{"name": "login"}]}));
    kubectl.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "plain", "namespace": "ci"}}));
    pullgate::grant_rights(&cluster);
    let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
    server.register(&cluster, "tekton", ("pullgate.dev/mode", "enforce"));

    // What the person at kubectl sees: nothing is created.
    let said = |object: &Value| {
        let create = ["create", "-n", "ci", "--dry-run=server", "-f", "-"];
        let done = kubectl.run_with(&create, &object.to_string());
        if done.code == 0 { format!("created\n{}", done.stderr) } else { done.stderr }
    };
    let step = |image: &str| json!({"steps": [{"name": "s", "image": image}]});
    let run = |image: &str, account: &str| json!({"taskSpec": step(image), "serviceAccountName": account});
    let (there, missing) = (open.image("ci/tool:1"), open.image("ci/tool:2"));
    let hidden = private.image("ci/tool:1");
    let denied =
        |answer: &str, image: &str| answer.contains("denied the request") && answer.contains(image);
    wait_until("a denial", || {
        let answer = said(&object("v1", "TaskRun", "r", &run(&missing, "plain")));
        if denied(&answer, &missing) { Ok(()) } else { Err(answer.into()) }
    })
    .unwrap();

    let silent = |object: &Value| assert_eq!(said(object), "created\n", "{object}");
    let refused = |object: &Value, image: &str| {
        // A first refusal only warns until the second exchange has confirmed it.
        wait_until("a denial", || {
            let answer = said(object);
            if denied(&answer, image) { Ok(()) } else { Err(answer.into()) }
        })
        .unwrap();
    };
    for version in ["v1", "v1beta1"] {
        silent(&object(version, "TaskRun", "r", &run(&there, "plain")));
        refused(&object(version, "TaskRun", "r", &run(&missing, "plain")), &missing);
        // The account's secret, the pod template's, and none.
        silent(&object(version, "TaskRun", "r", &run(&hidden, "builder")));
        let mut own = run(&hidden, "plain");
        refused(&object(version, "TaskRun", "r", &own), &hidden);
        own["podTemplate"] = json!({"imagePullSecrets": [{"name": "login"}]});
        silent(&object(version, "TaskRun", "r", &own));
        // Tekton's own webhook has not said yet under which account it runs.
        silent(&object(version, "TaskRun", "r", &json!({"taskSpec": step(&missing)})));
        // Nobody knows who will run these, and with which secrets.
        silent(&object(version, "Task", "t", &step(&missing)));
        silent(&object(version, "Task", "t", &step(&hidden)));
        let pipeline = json!({"tasks": [{"name": "a", "taskSpec": step(&missing)}]});
        silent(&object(version, "Pipeline", "p", &pipeline));
        // Put in at run time.
        for image in ["$(params.image)", "r.example.com/$(params.name):1"] {
            silent(&object(version, "Task", "t", &step(image)));
            silent(&object(version, "TaskRun", "r", &run(image, "plain")));
        }
        refused(&object(version, "Task", "t", &step("Not A Name")), "Not A Name");
        silent(&object(version, "TaskRun", "r", &json!({"taskRef": {"name": "t"}})));
    }
    let account = json!({"serviceAccountName": "plain"});
    let first = |spec: Value| json!({"tasks": [{"name": "a", "taskSpec": spec}]});
    let v1 = json!({"pipelineSpec": first(step(&missing)), "taskRunTemplate": account});
    refused(&object("v1", "PipelineRun", "p", &v1), &missing);
    let mut beta = json!({"pipelineSpec": first(step(&missing)), "serviceAccountName": "plain"});
    refused(&object("v1beta1", "PipelineRun", "p", &beta), &missing);
    beta["taskRunSpecs"] = json!([{"pipelineTaskName": "a", "taskServiceAccountName": "builder"}]);
    silent(&object("v1beta1", "PipelineRun", "p", &beta));
    // What the first task builds the second may run.
    let built = json!({"tasks": [{"name": "a", "taskSpec": step(&there)},
        {"name": "b", "taskSpec": step(&missing), "runAfter": ["a"]}]});
    silent(&object(
        "v1",
        "PipelineRun",
        "p",
        &json!({"pipelineSpec": built,
        "taskRunTemplate": account}),
    ));
    // Stored and changed: what was there before is not judged again.
    let task = object("v1", "TaskRun", "kept", &run(&there, "plain"));
    kubectl.run_with(&["create", "-n", "ci", "-f", "-"], &task.to_string()).ok().unwrap();
    open.untag("ci/tool", "1");
    kubectl.run(&["label", "-n", "ci", "taskrun/kept", "a=b"]).ok().unwrap();
}

#[test]
fn the_deployed_conditions_ask_about_tekton_where_its_spec_changes() {
    let Some(apiserver) = program("kube-apiserver") else { return };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    define(&kubectl);
    apply_base(&kubectl);
    let webhook = DummyWebhook::start().unwrap();
    point_to(&kubectl, &webhook);
    cluster.namespace_called("shop", &[]);
    until_asked(&kubectl, &webhook);
    let ask = |what: &str, arguments: &[&str], input: &str, times: u32| {
        asked_exactly(&kubectl, &webhook, what, arguments, input, times);
    };
    for (version, kind) in [("v1", "Task"), ("v1beta1", "TaskRun"), ("v1", "PipelineRun")] {
        let resource = format!("{}s.{version}.tekton.dev/x", kind.to_lowercase());
        let create = ["create", "-n", "shop", "-f", "-"];
        let made = object(version, kind, "x", &json!({"steps": [{"image": "a:1"}]}));
        ask("create", &create, &made.to_string(), 1);
        ask("label", &["label", "-n", "shop", &resource, "x=y"], "", 0);
        let status = r#"{"status":{"phase":"done"}}"#;
        let patch = ["patch", "-n", "shop", &resource, "--type=merge", "-p"];
        ask("status", &[&patch[..], &[status, "--subresource=status"]].concat(), "", 0);
        let image = r#"{"spec":{"steps":[{"image":"a:2"}]}}"#;
        ask("image", &[&patch[..], &[image]].concat(), "", 1);
        ask("delete", &["delete", "-n", "shop", &resource], "", 0);
    }
}
