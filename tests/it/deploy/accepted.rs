//! What is deployed, in a real API server: it is taken, it does not drift, and the conditions of
//! the webhooks let through what matters and spare the rest.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{program, root};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::webhook::DummyWebhook;

/// A control plane of its own, with the base applied: its webhooks would slow other tests down.
fn deployed() -> Option<&'static ControlPlane> {
    static DEPLOYED: OnceLock<ControlPlane> = OnceLock::new();
    let apiserver = program("kube-apiserver")?;
    Some(DEPLOYED.get_or_init(|| {
        let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
        apply_base(&cluster.admin());
        cluster
    }))
}

pub(super) fn base_folder() -> String {
    root().join("deploy/kustomize/base").display().to_string()
}

pub(super) fn apply_base(kubectl: &Kubectl) {
    let applied = kubectl.run(&["apply", "--server-side", "-k", &base_folder()]);
    assert!(applied.code == 0, "{}", applied.stderr);
    let ready = [
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/pullgatepolicies.pullgate.dev",
    ];
    let ready = kubectl.run(&ready);
    assert!(ready.code == 0, "{}", ready.stderr);
}

#[test]
fn the_api_server_takes_every_object_and_a_second_apply_changes_nothing() {
    let Some(cluster) = deployed() else { return };
    cluster.admin().finds_no_drift(&["--server-side", "-k", &base_folder()], "");
}

#[test]
fn the_api_server_checks_policies() {
    let Some(cluster) = deployed() else { return };
    let kubectl = cluster.admin();
    let apply = |spec: &str| {
        let document = format!(
            "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: site}}\nspec: {spec}\n"
        );
        let done = kubectl.run_with(&["apply", "--server-side", "-f", "-"], &document);
        if done.code == 0 { Ok(()) } else { Err(done.stderr) }
    };
    apply("{nodes: {mirrors: none}, causes: {tag_not_found: warn}, latePush: {grace: 1h30m}}")
        .unwrap();
    apply(
        "{exceptions: [{name: a, owner: b, reason: c, expires: 2027-01-01, match: {images: [docker.io]}}],
          rules: [{images: ['r.example.com/shop/**:1.*'], mode: enforce}], extraKinds:
          [{group: a.example.com, kind: App, templatePath: spec.template}]}",
    )
    .unwrap();
    for (spec, says) in [
        ("{nodes: {mirors: none}}", "mirors"),
        ("{defaultMode: enforced}", "Unsupported value: \"enforced\""),
        ("{causes: {tag_not_fuond: warn}}", "tag_not_fuond"),
        ("{latePush: {grace: 10}}", "grace"),
        ("{lookups: {each: 3s}}", "one look-up cannot take longer than all"),
        ("{enforceOn: []}", "enforceOn"),
        (
            "{exceptions: [{name: a, owner: b, reason: c, expires: 2027-01-01, match: {causes: [forbidden]}}]}",
            "name namespaces or images",
        ),
    ] {
        let error = apply(spec).unwrap_err();
        assert!(error.contains(says), "{spec}: {error}");
    }
}

/// Points the deployed webhooks to one that counts.
pub(super) fn point_to(kubectl: &Kubectl, webhook: &DummyWebhook) {
    use base64::Engine as _;
    let bundle = base64::engine::general_purpose::STANDARD.encode(&webhook.authority);
    let client = json!({"url": webhook.url, "caBundle": bundle});
    let patch: Vec<_> = (0..2)
        .map(|index| {
            let path = format!("/webhooks/{index}/clientConfig");
            json!({"op": "replace", "path": path, "value": client})
        })
        .collect();
    let patch = serde_json::to_string(&patch).unwrap();
    let configuration = "validatingwebhookconfiguration/pullgate";
    let patched = kubectl.run(&["patch", configuration, "--type=json", "-p", &patch]);
    assert!(patched.code == 0, "{}", patched.stderr);
}

const CREATE: [&str; 5] = ["create", "-n", "shop", "-f", "-"];

#[test]
fn only_what_may_change_a_pull_is_asked_about() {
    let Some(program) = program("kube-apiserver") else { return };
    let cluster = ControlPlane::start(program.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    apply_base(&kubectl);
    let webhook = DummyWebhook::start().unwrap();
    point_to(&kubectl, &webhook);
    cluster.namespace_called("shop", &[]);
    until_asked(&kubectl, &webhook);

    let ask = |what: &str, arguments: &[&str], input: &str, times: u32| {
        asked_exactly(&kubectl, &webhook, what, arguments, input, times);
    };
    // No controller acts on these, so that nobody else asks meanwhile.
    let template = json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "r.example.com/a:1"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set"},
        "spec": {"replicas": 0, "serviceName": "s", "selector": {"matchLabels": {"a": "b"}},
                 "template": template}});
    ask("create a StatefulSet", &CREATE, &set.to_string(), 1);
    let scale = r#"{"metadata":{"labels":{"x":"y"}}}"#;
    ask("label it", &["patch", "-n", "shop", "statefulset/set", "-p", scale], "", 0);
    ask(
        "change its image",
        &["set", "image", "-n", "shop", "statefulset/set", "c=r.example.com/a:2"],
        "",
        1,
    );

    what_begins_to_make_pods(&ask, &template);

    let lone = json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "lone"},
        "template": template});
    ask("create a PodTemplate", &CREATE, &lone.to_string(), 1);
    ask("label it", &["label", "-n", "shop", "podtemplate/lone", "x=y"], "", 0);
    let image = r#"[{"op":"replace","path":"/template/spec/containers/0/image","value":"b:1"}]"#;
    ask(
        "change its image",
        &["patch", "-n", "shop", "podtemplate/lone", "--type=json", "-p", image],
        "",
        1,
    );

    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"},
        "spec": {"initContainers": [{"name": "i", "image": "r.example.com/i:1"}],
                 "containers": template["spec"]["containers"]}});
    ask("create a pod", &CREATE, &pod.to_string(), 1);
    ask("label it", &["label", "-n", "shop", "pod/pod", "x=y"], "", 0);
    ask(
        "change its image",
        &["set", "image", "-n", "shop", "pod/pod", "c=r.example.com/a:2"],
        "",
        1,
    );
    ask(
        "change its first image",
        &["set", "image", "-n", "shop", "pod/pod", "i=r.example.com/i:2"],
        "",
        1,
    );
    ask(
        "debug it",
        &[
            "debug",
            "-n",
            "shop",
            "pod/pod",
            "--image=r.example.com/d:1",
            "--target=c",
            "--attach=false",
        ],
        "",
        1,
    );
    ask("delete it", &["delete", "-n", "shop", "pod/pod", "--wait=false"], "", 0);
    ask(
        "create a pod in kube-system",
        &["create", "-n", "kube-system", "-f", "-"],
        &pod.to_string(),
        0,
    );
}

/// A CronJob and a Deployment whose pods would come when they are resumed or scaled up.
fn what_begins_to_make_pods(ask: &impl Fn(&str, &[&str], &str, u32), template: &Value) {
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": template["spec"]["containers"]}}}}}});
    ask("create a CronJob", &CREATE, &cron.to_string(), 1);
    let later = r#"{"spec":{"schedule":"0 0 2 1 *"}}"#;
    ask("change its schedule", &["patch", "-n", "shop", "cronjob/cron", "-p", later], "", 0);
    for (suspend, times) in [(false, 1), (true, 0)] {
        let change = json!({"spec": {"suspend": suspend}}).to_string();
        let patch = ["patch", "-n", "shop", "cronjob/cron", "-p", &change];
        ask(&format!("suspend it: {suspend}"), &patch, "", times);
    }
    ask(
        "change its image",
        &["set", "image", "-n", "shop", "cronjob/cron", "c=r.example.com/a:2"],
        "",
        1,
    );

    // Paused, so that nothing comes of it.
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "paused": true, "selector": {"matchLabels": {"a": "b"}},
                 "template": template}});
    ask("create a Deployment", &CREATE, &deployment.to_string(), 1);
    for (replicas, times) in [(2, 1), (3, 0), (0, 0)] {
        let change = json!({"spec": {"replicas": replicas}}).to_string();
        let patch = ["patch", "-n", "shop", "deployment/web", "-p", &change];
        ask(&format!("scale it to {replicas}"), &patch, "", times);
    }
}

/// Runs kubectl, which makes the API server ask so many times, and no condition stumble.
pub(super) fn asked_exactly(
    kubectl: &Kubectl,
    webhook: &DummyWebhook,
    what: &str,
    arguments: &[&str],
    input: &str,
    times: u32,
) {
    let before = webhook.asked();
    let done = kubectl.run_with(arguments, input);
    assert!(done.code == 0, "{what}: {}", done.stderr);
    assert_eq!(webhook.asked() - before, times, "{what}");
    assert_eq!(condition_errors(kubectl), Vec::<String>::new(), "{what}");
}

/// How often a condition could not be evaluated: the webhook is then left out.
fn condition_errors(kubectl: &Kubectl) -> Vec<String> {
    let name = "apiserver_admission_match_condition_evaluation_errors_total";
    let metrics = kubectl.run(&["get", "--raw", "/metrics"]).stdout;
    metrics.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
}

/// Waits until the API server has heard of the changed configuration.
pub(super) fn until_asked(kubectl: &Kubectl, webhook: &DummyWebhook) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "probe-"},
        "spec": {"containers": [{"name": "c", "image": "r.example.com/a:1"}]}});
    let give_up = std::time::Instant::now() + crate::cluster::PATIENCE;
    while webhook.asked() == 0 {
        assert!(std::time::Instant::now() < give_up, "the webhook was never asked");
        kubectl
            .run_with(&["create", "-n", "shop", "--dry-run=server", "-f", "-"], &pod.to_string());
    }
}
