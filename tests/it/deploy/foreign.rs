//! The chart's objects of kinds that are no part of Kubernetes, against the definitions that their
//! projects publish: a real API server takes them, field by field, and they do not drift.

use serde_json::{Value, json};

use super::chart::render;
use super::{program, read};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::wait_until;

/// What pipelines of these kinds run, as the projects' definitions want it. Tekton's own webhook is not
/// there; its definition of a Task has a schema.
#[test]
fn the_task_and_the_hook_are_accepted_as_they_stand() {
    let (Some(apiserver), Some(file)) =
        (program("kube-apiserver"), program("definitions/tekton.dev_tasks.yaml"))
    else {
        return;
    };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    kubectl.run(&["apply", "--server-side", "-f", file.to_str().unwrap()]).ok().unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    // It has no conditions at first, which kubectl takes for an error.
    wait_until("the definition", || Ok(kubectl.run(&established).ok()?)).unwrap();
    let dry = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let task = read("deploy/pipelines/tekton-task.yaml");
    let hook = read("deploy/pipelines/argocd-presync.yaml");
    for (text, created) in [
        (&task, "task.tekton.dev/pullgate-check created (server dry run)\n"),
        (
            &hook,
            "configmap/pullgate-images created (server dry run)\n\
             job.batch/pullgate-check created (server dry run)\n",
        ),
    ] {
        let applied = kubectl.run_with(&dry, text);
        assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{}", applied.stdout);
        assert_eq!(applied.stdout, created);
    }
    // The definitions do check: a field that they do not know, and one of another type, is refused.
    for (text, right, wrong) in [
        (&task, "workingDir:", "workingDirectory:"),
        (&task, "optional: true", "optional: often"),
        (&hook, "activeDeadlineSeconds:", "activeDeadline:"),
    ] {
        assert!(text.contains(right), "{right}");
        let refused = kubectl.run_with(&dry, &text.replace(right, wrong));
        assert_ne!(refused.code, 0, "{wrong}: {}", refused.stdout);
    }
}

const DEFINITIONS: [&str; 4] = [
    "cert-manager.io_certificates",
    "cert-manager.io_issuers",
    "monitoring.coreos.com_prometheusrules",
    "monitoring.coreos.com_servicemonitors",
];

/// Everything on that the chart can turn on.
const ALL: &[&str] = &[
    "certificates.mode=certManager",
    "serviceMonitor.enabled=true",
    "serviceMonitor.labels.release=prometheus",
    "prometheusRule.enabled=true",
    "prometheusRule.labels.release=prometheus",
    "mutation.enabled=true",
    "events.enabled=true",
    "policyFrom.kind=PullgatePolicy",
    "policy.defaultMode=warn",
    "secrets.scope=namespaces",
    "secrets.namespaces={default}",
    "clientAuthorities.configMapName=authorities",
    "registries.hosts.configMapName=hosts",
    "registries.hosts.items[0].name=registry.example.com",
    "registries.hosts.items[0].key=registry.example.com.toml",
    "registries.authoritiesConfigMapName=authorities",
    "snapshot.volume.persistentVolumeClaim.claimName=memory",
    "webhook.objectSelector.matchLabels.checked=yes",
];

#[test]
fn every_option_is_accepted_by_the_definitions_of_others_and_does_not_drift() {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let files = DEFINITIONS.map(|name| program(&format!("definitions/{name}.yaml")));
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    for file in files {
        let Some(file) = file else { return };
        let apply = ["apply", "--server-side", "-f", file.to_str().unwrap()];
        kubectl.run(&apply).ok().unwrap();
    }
    cluster.namespace_called("pullgate", &[]);
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    let issuer: &[&str] = &[
        "certificates.certManager.issuerRef.name=corporate",
        "certificates.certManager.issuerRef.kind=ClusterIssuer",
        "certificates.certManager.issuerRef.group=cert-manager.io",
    ];
    for more in [&[], issuer] {
        let all = [ALL, more].concat();
        let objects = render(&helm, &all).unwrap();
        let of = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
        let issuers = if more.is_empty() { 2 } else { 0 };
        let found = ["ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"].map(of);
        assert_eq!(found, [1, 1, if more.is_empty() { 2 } else { 1 }, issuers]);
        let list = |objects: Vec<&Value>| {
            json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
        };
        let is_definition = |object: &&Value| object["kind"] == "CustomResourceDefinition";
        let apply = ["apply", "--server-side", "--validate=strict", "-f", "-"];
        let definitions = list(objects.iter().filter(is_definition).collect());
        kubectl.run_with(&apply, &definitions).ok().unwrap();
        kubectl.run(&established).ok().unwrap();
        let everything = list(objects.iter().collect());
        let applied = kubectl.run_with(&apply, &everything);
        assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{}", applied.stdout);
        kubectl.finds_no_drift(&["--server-side", "-f", "-"], &everything);
    }
    // The definitions do check: a field that they do not know is refused.
    let wrong = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
        "metadata": {"name": "wrong", "namespace": "pullgate"},
        "spec": {"selector": {}, "endpoints": [{"prot": "admin"}]}});
    let refused = kubectl
        .run_with(&["apply", "--server-side", "--validate=strict", "-f", "-"], &wrong.to_string());
    assert!(refused.code != 0 && refused.stderr.contains("prot"), "{}", refused.stderr);
}
