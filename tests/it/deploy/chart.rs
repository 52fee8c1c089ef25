//! The chart, rendered by helm itself.

use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::Value;

use super::{base, objects, one, program, read, root};

/// Renders the chart, offline; an error is what helm said.
pub(super) fn render(helm: &Path, values: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = Command::new(helm);
    command.arg("template").arg("pullgate").arg(root().join("deploy/chart/pullgate"));
    command.args(["--namespace", "pullgate"]);
    for value in values {
        command.args(["--set", value]);
    }
    // Whatever the machine has of a cluster is not to be asked.
    command.env("KUBECONFIG", "/nonexistent").env_remove("KUBERNETES_SERVICE_HOST");
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(objects(&String::from_utf8(output.stdout).unwrap()))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Takes out what only Helm can say of itself.
fn without_helm(mut objects: Vec<Value>) -> Vec<Value> {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("helm.sh/chart");
                if fields.get("app.kubernetes.io/managed-by").is_some_and(|by| by == "Helm") {
                    fields.remove("app.kubernetes.io/managed-by");
                }
                fields.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    objects.iter_mut().for_each(clean);
    objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
    objects
}

#[test]
fn chart_and_kustomize_are_the_same_objects() {
    let Some(helm) = program("helm") else { return };
    let rendered = without_helm(render(&helm, &[]).unwrap());
    let base = without_helm(base());
    assert_eq!(rendered, base, "run deploy/render.sh");
}

#[test]
fn kustomize_builds_the_base_and_the_example() {
    let Some(kubectl) = program("kubectl") else { return };
    let build = |folder: &str| {
        let output =
            Command::new(&kubectl).arg("kustomize").arg(root().join(folder)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        objects(&String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(build("deploy/kustomize/base").len(), base().len() + 1);
    let example = build("deploy/kustomize/example");
    let container =
        &one(&example, "Deployment", "pullgate")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/tools/pullgate:0.1.0");
    let map = one(&example, "ConfigMap", "pullgate-policy");
    assert_eq!(map["data"]["policy.yaml"], read("deploy/kustomize/example/policy.yaml"));
}

#[rstest]
#[case::cert_manager(&["certificates.mode=certManager"], "Certificate", "pullgate")]
#[case::mutation(&["mutation.enabled=true"], "MutatingWebhookConfiguration", "pullgate")]
#[case::service_monitor(&["serviceMonitor.enabled=true"], "ServiceMonitor", "pullgate")]
#[case::alerts(&["prometheusRule.enabled=true"], "PrometheusRule", "pullgate")]
#[case::given(
    &["certificates.mode=given", "certificates.given.secretName=s", "certificates.given.caBundle=x"],
    "Deployment", "pullgate"
)]
fn values_add_what_they_say(#[case] values: &[&str], #[case] kind: &str, #[case] name: &str) {
    let Some(helm) = program("helm") else { return };
    let rendered = render(&helm, values).unwrap();
    one(&rendered, kind, name);
}

#[rstest]
#[case::unknown(&["replica=3"], "replica")]
#[case::wrong(&["webhook.failurePolicy=Sometimes"], "failurePolicy")]
#[case::too_long(&["webhook.timeoutSeconds=60"], "timeoutSeconds")]
#[case::two_volumes(&["snapshot.volume.emptyDir.medium=Memory", "snapshot.volume.hostPath.path=/x"], "volume")]
#[case::given_nothing(&["certificates.mode=given"], "certificates.given")]
fn wrong_values_are_refused(#[case] values: &[&str], #[case] names: &str) {
    let Some(helm) = program("helm") else { return };
    let error = render(&helm, values).unwrap_err();
    assert!(error.contains(names), "{error}");
}

#[test]
fn secrets_can_be_kept_to_chosen_namespaces() {
    let Some(helm) = program("helm") else { return };
    let values = ["secrets.scope=namespaces", "secrets.namespaces={shop,bank}"];
    let rendered = render(&helm, &values).unwrap();
    let bound: Vec<_> = rendered
        .iter()
        .filter(|object| object["roleRef"]["name"] == "pullgate-pull-secrets")
        .map(|object| (object["kind"].as_str().unwrap(), object["metadata"]["namespace"].as_str()))
        .collect();
    assert_eq!(bound, [("RoleBinding", Some("shop")), ("RoleBinding", Some("bank"))]);
}

#[test]
fn the_memory_is_kept_where_a_volume_is_given_and_nowhere_else() {
    let Some(helm) = program("helm") else { return };
    let pod = |values: &[&str]| {
        let rendered = render(&helm, values).unwrap();
        one(&rendered, "Deployment", "pullgate")["spec"]["template"]["spec"].clone()
    };
    assert!(!pod(&[]).to_string().contains("snapshot"));
    let pod = pod(&["snapshot.volume.persistentVolumeClaim.claimName=memory"]);
    let volumes = pod["volumes"].as_array().unwrap();
    let claim =
        serde_json::json!({"name": "snapshot", "persistentVolumeClaim": {"claimName": "memory"}});
    assert!(volumes.contains(&claim), "{volumes:?}");
    let container = &pod["containers"][0];
    let argument = "--snapshot-file=/var/lib/pullgate/snapshot";
    assert!(container["args"].as_array().unwrap().iter().any(|one| one == argument));
    let mount = serde_json::json!({"name": "snapshot", "mountPath": "/var/lib/pullgate"});
    assert!(container["volumeMounts"].as_array().unwrap().contains(&mount));
}

#[test]
fn templates_ask_no_cluster_and_make_nothing_by_chance() {
    for entry in std::fs::read_dir(root().join("deploy/chart/pullgate/templates")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for forbidden in
            ["lookup", "helm.sh/hook:", "genCA", "genSignedCert", "genPrivateKey", "randAlphaNum"]
        {
            let mut words = text.split(|c: char| c.is_whitespace() || "(){}|".contains(c));
            assert!(!words.any(|word| word == forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn events_are_written_only_where_somebody_wants_them() {
    let Some(helm) = program("helm") else { return };
    for (values, may, effects) in
        [(&[][..], false, "None"), (&["events.enabled=true"][..], true, "NoneOnDryRun")]
    {
        let rendered = render(&helm, values).unwrap();
        let role = one(&rendered, "ClusterRole", "pullgate");
        let writes = role["rules"].as_array().unwrap().iter().any(|rule| {
            rule["resources"] == serde_json::json!(["events"])
                && rule["verbs"] == serde_json::json!(["create"])
        });
        assert_eq!(writes, may);
        let hooks = one(&rendered, "ValidatingWebhookConfiguration", "pullgate");
        for webhook in hooks["webhooks"].as_array().unwrap() {
            assert_eq!(webhook["sideEffects"], effects);
        }
    }
}
