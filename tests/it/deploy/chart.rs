//! The chart, rendered by helm itself.

use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::{Value, json};

use super::{base, objects, one, program, read, root};

/// Renders the chart, offline and without what helm runs beside it; an error is what helm said.
pub(super) fn render(helm: &Path, values: &[&str]) -> Result<Vec<Value>, String> {
    let mut arguments = vec!["--no-hooks"];
    for value in values {
        arguments.extend(["--set", value]);
    }
    render_with(helm, &arguments)
}

/// Renders the chart with these arguments, offline.
pub(super) fn render_with(helm: &Path, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = Command::new(helm);
    command.arg("template").arg("pullgate").arg(root().join("deploy/chart/pullgate"));
    command.args(["--namespace", "pullgate"]).args(arguments);
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

#[test]
fn reviews_that_come_by_the_aggregation_layer_need_no_path_and_no_right_to_write_one() {
    let Some(helm) = program("helm") else { return };
    let rendered = render(&helm, &["mutation.enabled=true"]).unwrap();
    for (kind, endpoint) in
        [("ValidatingWebhookConfiguration", "validate"), ("MutatingWebhookConfiguration", "mutate")]
    {
        for webhook in one(&rendered, kind, "pullgate")["webhooks"].as_array().unwrap() {
            let path = format!("/apis/admission.pullgate.dev/v1/{endpoint}");
            let expected = serde_json::json!({"service":
                {"name": "kubernetes", "namespace": "default", "port": 443, "path": path}});
            assert_eq!(webhook["clientConfig"], expected);
        }
    }
    let service = &one(&rendered, "APIService", "v1.admission.pullgate.dev")["spec"]["service"];
    let expected = serde_json::json!({"name": "pullgate", "namespace": "pullgate", "port": 443});
    assert_eq!(service, &expected);
    let role = one(&rendered, "ClusterRole", "pullgate").to_string();
    assert!(role.contains("apiservices") && !role.contains("validatingwebhookconfigurations"));
    let reader = &one(&rendered, "RoleBinding", "pullgate-aggregation")["roleRef"];
    assert_eq!(reader["name"], "extension-apiserver-authentication-reader");
    let pod = one(&rendered, "Deployment", "pullgate").to_string();
    assert!(pod.contains("--aggregated") && !pod.contains("--trust-path"), "{pod}");
    let bounded = render(&helm, &["webhook.proof=path"]).unwrap();
    let pod = one(&bounded, "Deployment", "pullgate").to_string();
    assert!(!pod.contains("--aggregated") && !pod.contains("--trust-path"), "{pod}");
}

#[rstest]
#[case::no_client_authorities(&["webhook.proof=clientCertificate"], "clientAuthorities.configMapName")]
#[case::unknown(&["replica=3"], "replica")]
#[case::wrong(&["webhook.failurePolicy=Sometimes"], "failurePolicy")]
#[case::too_long(&["webhook.timeoutSeconds=60"], "timeoutSeconds")]
#[case::two_volumes(&["snapshot.volume.emptyDir.medium=Memory", "snapshot.volume.hostPath.path=/x"], "volume")]
#[case::given_nothing(&["certificates.mode=given"], "certificates.given")]
#[case::bad_policy(&["policy.defaultMode=sometimes"], "defaultMode")]
#[case::policy_with_a_misspelt_field(&["policy.defaultmode=warn"], "defaultmode")]
#[case::files_of_nothing(&["registries.files[0].mountPath=/etc/x"], "files")]
#[case::plugins_without_a_volume(&["nodes.credentialProviders.configMapName=c"], "plugins.volume")]
#[case::no_account(&["serviceAccount.create=false"], "serviceAccount.name")]
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
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // What an installation consists of is no hook: GitOps tools and `kubectl apply` have to make it.
        let checks = path.ends_with("policy-check.yaml");
        for forbidden in
            ["lookup", "helm.sh/hook:", "genCA", "genSignedCert", "genPrivateKey", "randAlphaNum"]
        {
            if checks && forbidden == "helm.sh/hook:" {
                continue;
            }
            let mut words = text.split(|c: char| c.is_whitespace() || "(){}|".contains(c));
            assert!(!words.any(|word| word == forbidden), "{} uses {forbidden}", path.display());
        }
    }
}

#[test]
fn secrets_are_listed_only_where_somebody_wants_them() {
    let Some(helm) = program("helm") else { return };
    for (values, verbs) in [
        (&[][..], json!(["get"])),
        (&["policy.advice.listSecrets=false"][..], json!(["get"])),
        (&["policy.advice.listSecrets=true"][..], json!(["get", "list"])),
    ] {
        let objects = render(&helm, values).unwrap();
        let role = one(&objects, "ClusterRole", "pullgate-pull-secrets");
        assert_eq!(role["rules"][0]["resources"], json!(["secrets"]));
        assert_eq!(role["rules"][0]["verbs"], verbs, "{values:?}");
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

/// The arguments of a container, with the files of these mounts in a folder of this machine.
fn arguments_in(folder: &Path, container: &Value) -> Vec<String> {
    let folder = folder.display().to_string();
    let arguments = container["args"].as_array().unwrap().iter();
    arguments
        .map(|one| one.as_str().unwrap().replace("=/etc/pullgate", &format!("={folder}")))
        .collect()
}

#[rstest]
#[case::file(&[], Some("the ConfigMap"))]
#[case::object(&["policyFrom.kind=PullgatePolicy"], Some("the object"))]
#[case::somebody_elses(&["policyFrom.kind=PullgatePolicy", "policyFrom.render=false"], None)]
fn an_upgrade_is_checked_with_the_program_and_the_files_that_are_to_come(
    #[case] values: &[&str],
    #[case] own: Option<&str>,
) {
    let Some(helm) = program("helm") else { return };
    let folder = crate::cluster::process::folder("checked");
    let check = |policy: &str, gone: bool| {
        let (hosts, policy) = ("registries.hosts.configMapName=h", format!("policy.{policy}"));
        let item = "registries.hosts.items[0].name=r.example,registries.hosts.items[0].key=k";
        let mut arguments = vec!["--set", hosts, "--set", item, "--set", &policy];
        for value in values {
            arguments.extend(["--set", value]);
        }
        let rendered = render_with(&helm, &arguments).unwrap();
        let job = one(&rendered, "Job", "pullgate-policy-check");
        assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-upgrade");
        let pod = &job["spec"]["template"]["spec"];
        let map = one(&rendered, "ConfigMap", "pullgate-policy-check");
        let volume = pod["volumes"].as_array().unwrap().iter().find(|one| one["name"] == "policy");
        assert_eq!(volume.unwrap()["configMap"]["name"], "pullgate-policy-check");
        for (file, text) in [
            ("policy/policy.yaml", map["data"]["policy.yaml"].as_str().unwrap()),
            ("hosts/r.example/hosts.toml", if gone { "ca = \"gone.pem\"" } else { "server = [" }),
        ] {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let output = Command::new(crate::cluster::pullgate::binary())
            .args(arguments_in(folder.path(), &pod["containers"][0]))
            .args(["--own-namespace=pullgate", "--own-name=check"])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), said)
    };
    // A certificate that is not there is told of, and no reason to refuse anything.
    let (code, said) = check("defaultMode=enforce", true);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("gone.pem") && said.contains("a replica could start"), "{said}");
    let (code, said) = check("defaultMode=enforce", false);
    assert!(code == 2 && said.contains("hosts.toml:1"), "{code} {said}");
    // What no schema can see: a day that does not exist.
    let exception = "exceptions[0].name=a,policy.exceptions[0].owner=b,\
         policy.exceptions[0].reason=c,policy.exceptions[0].expires=2027-13-45,\
         policy.exceptions[0].match.images[0]=docker.io";
    let (code, said) = check(exception, true);
    match own {
        Some(_) => assert!(code == 2 && said.contains("exceptions[0].expires"), "{code} {said}"),
        None => assert_eq!(code, 0, "{said}"),
    }
}

#[test]
fn the_files_of_nodes_reach_the_program() {
    let Some(helm) = program("helm") else { return };
    let values = [
        "registries.k3s.secretName=k3s",
        "registries.files[0].mountPath=/etc/rancher/k3s/tls",
        "registries.files[0].secretName=tls",
        "registries.tokenRealms[0].registry=r.example",
        "registries.tokenRealms[0].host=t.example",
        "registries.clusterRanges={10.42.0.0/16}",
        "nodes.runtime=containerd://2.1.8",
        "nodes.dockerConfig.secretName=login",
        "nodes.credentialProviders.configMapName=providers",
        "nodes.credentialProviders.plugins.volume.image.reference=r.example/plugins:1",
        "serviceAccount.annotations.role=r",
        "extraEnv[0].name=HTTPS_PROXY",
        "extraEnv[0].value=http://p",
        "extraVolumes[0].name=more",
        "extraVolumeMounts[0].name=more",
        "extraVolumeMounts[0].mountPath=/more",
        "initContainers[0].name=copy",
        "initContainers[0].image=r.example/copy:1",
        "hostNetwork=true",
        "ports.webhook=18443",
        "networkPolicy.extraEgress[0].ports[0].port=80",
    ];
    let rendered = render(&helm, &values).unwrap();
    let pod = &one(&rendered, "Deployment", "pullgate")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = super::strings(&container["args"]);
    for wanted in [
        "--listen=0.0.0.0:18443",
        "--k3s-registries=/etc/pullgate/k3s/registries.yaml",
        "--token-realm=r.example=t.example",
        "--cluster-range=10.42.0.0/16",
        "--runtime=containerd://2.1.8",
        "--node-docker-config=/etc/pullgate/node-login/config.json",
        "--image-credential-provider-config=/etc/pullgate/credential-providers/config.yaml",
        "--image-credential-provider-bin-dir=/opt/credential-providers",
    ] {
        assert!(arguments.contains(&wanted), "{wanted}: {arguments:?}");
    }
    // Each mount has its volume, each volume its mount, and each path that is named is mounted.
    let names = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    let mounts = container["volumeMounts"].as_array().unwrap();
    for argument in arguments.iter().filter_map(|one| one.split_once("=/").map(|(_, path)| path)) {
        let mounted = |mount: &Value| {
            format!("/{argument}").starts_with(mount["mountPath"].as_str().unwrap())
        };
        assert!(mounts.iter().any(mounted), "/{argument} is mounted nowhere");
    }
    assert_eq!(
        (&pod["hostNetwork"], &pod["dnsPolicy"]),
        (&true.into(), &"ClusterFirstWithHostNet".into())
    );
    assert_eq!(container["ports"][0]["containerPort"], 18443);
    assert_eq!(
        one(&rendered, "ServiceAccount", "pullgate")["metadata"]["annotations"]["role"],
        "r"
    );
    let egress = one(&rendered, "NetworkPolicy", "pullgate")["spec"]["egress"].as_array().unwrap();
    assert_eq!(egress.last().unwrap()["ports"][0]["port"], 80);
}

#[test]
fn registries_are_let_out_where_the_policy_says_that_they_are() {
    let Some(helm) = program("helm") else { return };
    let values = [
        "networkPolicy.extraEgressPorts={9443}",
        "policy.registries.inCluster={registry.infra.svc:30500,harbor.corp.svc.cluster.local,r.example:7000}",
    ];
    let rendered = render(&helm, &values).unwrap();
    let egress = &one(&rendered, "NetworkPolicy", "pullgate")["spec"]["egress"];
    let rules = egress.as_array().unwrap();
    let ports: Vec<_> = rules[1]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["port"].as_i64().unwrap())
        .collect();
    assert_eq!(ports, [80, 443, 5000, 5443, 6443, 8443, 9443, 30500, 7000]);
    let namespace = |name: &str| serde_json::json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    assert_eq!(rules[2], serde_json::json!({"to": [namespace("infra"), namespace("corp")]}));
}
