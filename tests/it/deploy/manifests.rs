//! The objects that are applied, against the code: the rules, the ports, the rights.

use std::collections::BTreeSet;

use pullgate::policy::PullgatePolicy;
use pullgate::workload::built_in_kinds;
use serde_json::{Value, json};

use super::{base, one, root, strings};
use crate::cluster::pullgate::API_SERVICE;

fn webhooks(objects: &[Value]) -> Vec<Value> {
    one(objects, "ValidatingWebhookConfiguration", "pullgate")["webhooks"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn the_api_server_asks_about_exactly_what_is_extracted() {
    let mut asked = BTreeSet::new();
    for webhook in webhooks(&base()) {
        for rule in webhook["rules"].as_array().unwrap() {
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for operation in strings(&rule["operations"]) {
                        let versions: &[&str] = match group {
                            "argoproj.io" => &["v1alpha1"],
                            "tekton.dev" => &["v1", "v1beta1"],
                            _ => &["v1"],
                        };
                        assert_eq!(strings(&rule["apiVersions"]), versions);
                        let new = asked.insert((
                            group.to_owned(),
                            resource.to_owned(),
                            operation.to_owned(),
                        ));
                        assert!(new, "{group}/{resource} {operation} is asked about twice");
                    }
                }
            }
        }
    }
    let mut extracted: BTreeSet<_> = built_in_kinds()
        .iter()
        .flat_map(|kind| {
            ["CREATE", "UPDATE"].map(|operation| {
                (kind.group.to_owned(), kind.resource.to_owned(), operation.to_owned())
            })
        })
        .collect();
    let policy = PullgatePolicy::default();
    for kind in policy.extra_kinds() {
        // The plural of all of them.
        let resource = format!("{}s", kind.kind.to_lowercase());
        for operation in ["CREATE", "UPDATE"] {
            extracted.insert((kind.group.to_owned(), resource.clone(), operation.to_owned()));
        }
    }
    extracted.insert((String::new(), "pods/ephemeralcontainers".to_owned(), "UPDATE".to_owned()));
    assert_eq!(asked, extracted);
}

#[test]
fn a_webhook_that_is_away_stops_nothing() {
    for webhook in webhooks(&base()) {
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert_eq!(webhook["timeoutSeconds"], 3);
        assert_eq!(webhook["matchPolicy"], "Equivalent");
        assert_eq!(webhook["sideEffects"], "None");
        assert_eq!(webhook["admissionReviewVersions"], json!(["v1"]));
        let selector = &webhook["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(selector["key"], "kubernetes.io/metadata.name");
        assert_eq!(selector["operator"], "NotIn");
        assert_eq!(strings(&selector["values"]), ["kube-system", "pullgate"]);
        let conditions = webhook["matchConditions"].as_array().unwrap();
        assert!(!conditions.is_empty() && conditions.len() <= 64);
        // What is written at run time is in no manifest: nothing to drift.
        assert!(webhook["clientConfig"].get("caBundle").is_none());
    }
    assert!(one(&base(), "APIService", API_SERVICE)["spec"].get("caBundle").is_none());
    let mutating = |object: &Value| object["kind"] == "MutatingWebhookConfiguration";
    assert!(!base().iter().any(mutating), "mutation is off unless somebody wants it");
}

#[test]
fn ports_meet() {
    let objects = base();
    let container =
        &one(&objects, "Deployment", "pullgate")["spec"]["template"]["spec"]["containers"][0];
    let ports: Vec<_> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| (port["name"].as_str().unwrap(), port["containerPort"].as_u64().unwrap()))
        .collect();
    assert_eq!(ports, [("webhook", 8443), ("admin", 8080)]);
    let args = strings(&container["args"]);
    assert!(
        args.contains(&"--listen=0.0.0.0:8443") && args.contains(&"--admin-listen=0.0.0.0:8080")
    );

    let service = &one(&objects, "Service", "pullgate")["spec"]["ports"][0];
    assert_eq!((&service["port"], &service["targetPort"]), (&json!(443), &json!("webhook")));
    for webhook in webhooks(&objects) {
        let asked = &webhook["clientConfig"]["service"];
        // The API server itself, which passes reviews on.
        let path = "/apis/admission.pullgate.dev/v1/validate";
        let itself =
            json!({"name": "kubernetes", "namespace": "default", "port": 443, "path": path});
        assert_eq!(asked, &itself);
    }
    let passed_to = &one(&objects, "APIService", API_SERVICE)["spec"]["service"];
    assert_eq!(passed_to, &json!({"name": "pullgate", "namespace": "pullgate", "port": 443}));
    let metrics = &one(&objects, "Service", "pullgate-metrics")["spec"]["ports"][0];
    assert_eq!(metrics["targetPort"], "admin");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "admin");
    }
    assert_eq!(container["startupProbe"]["httpGet"]["path"], "/startupz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    let ingress = &one(&objects, "NetworkPolicy", "pullgate")["spec"]["ingress"];
    assert_eq!(ingress[0]["ports"][0]["port"], "webhook");
    assert_eq!(ingress[1]["ports"][0]["port"], "admin");
}

#[test]
fn selectors_select_the_pods() {
    let objects = base();
    let labels = &one(&objects, "Deployment", "pullgate")["spec"]["template"]["metadata"]["labels"];
    let selectors = [
        &one(&objects, "Deployment", "pullgate")["spec"]["selector"]["matchLabels"],
        &one(&objects, "Service", "pullgate")["spec"]["selector"],
        &one(&objects, "PodDisruptionBudget", "pullgate")["spec"]["selector"]["matchLabels"],
        &one(&objects, "NetworkPolicy", "pullgate")["spec"]["podSelector"]["matchLabels"],
    ];
    for selector in selectors {
        let selector = selector.as_object().unwrap();
        assert!(!selector.is_empty());
        for (key, value) in selector {
            assert_eq!(&labels[key], value);
        }
    }
}

#[test]
fn pods_are_locked_down() {
    let objects = base();
    let deployment = &one(&objects, "Deployment", "pullgate")["spec"];
    assert_eq!(deployment["replicas"], 2);
    let pod = &deployment["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["priorityClassName"], "pullgate");
    // One constraint, of which every node knows the key: one over zones beside it would switch both
    // off where nodes have no zone.
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    assert_eq!(spread.len(), 1);
    assert_eq!(spread[0]["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(spread[0]["matchLabelKeys"], json!(["pod-template-hash"]));
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
               "capabilities": {"drop": ["ALL"]}})
    );
    assert!(container["resources"]["limits"]["memory"].is_string());
    assert!(container["resources"]["requests"]["cpu"].is_string());
}

/// What a role permits, as (group, resource, verb, only this name).
pub(super) fn permits(role: &Value) -> BTreeSet<(String, String, String, String)> {
    let mut permitted = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let names = match rule.get("resourceNames") {
            Some(names) => strings(names),
            None => vec![""],
        };
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    for name in &names {
                        permitted.insert((
                            group.to_owned(),
                            resource.to_owned(),
                            verb.to_owned(),
                            (*name).to_owned(),
                        ));
                    }
                }
            }
        }
    }
    permitted
}

#[test]
fn workload_secrets_are_read_by_name_and_never_listed() {
    let objects = base();
    for role in
        objects.iter().filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role")
    {
        for (_, resource, verb, _) in permits(role) {
            assert!(verb != "*" && resource != "*");
            if resource == "secrets" {
                assert!(["get", "create", "update"].contains(&verb.as_str()), "{verb}");
            }
        }
    }
    let pull_secrets = permits(one(&objects, "ClusterRole", "pullgate-pull-secrets"));
    let get = |resource: &str| (String::new(), resource.into(), "get".into(), String::new());
    assert_eq!(pull_secrets, BTreeSet::from([get("secrets")]));
}

/// Group and resource of every path that `src/cluster` names.
fn paths_of_the_cluster_edge() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut files = Vec::new();
    let mut folders = vec![root().join("src/cluster")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for literal in text.split('"').skip(1).step_by(2) {
            let parts: Vec<_> = literal.trim_start_matches('/').split('/').collect();
            match parts[..] {
                ["api", "v1", resource] => found.insert((String::new(), resource.to_owned())),
                ["apis", group, _, resource] => {
                    found.insert((group.to_owned(), resource.to_owned()))
                }
                _ => false,
            };
        }
    }
    assert!(found.len() >= 4, "{found:?}");
    found
}

#[test]
fn nothing_is_permitted_but_what_is_called() {
    let right = |group: &str, resource: &str, verb: &str, name: &str| {
        (group.to_owned(), resource.to_owned(), verb.to_owned(), name.to_owned())
    };
    let hooks = "admissionregistration.k8s.io";
    let objects = base();
    let cluster = permits(one(&objects, "ClusterRole", "pullgate"));
    let mut called = BTreeSet::from([right("", "serviceaccounts", "get", "")]);
    for (group, resource) in paths_of_the_cluster_edge() {
        // The policy of the base is a file, and it has no page to sign in to.
        if group == "pullgate.dev" || resource == "tokenreviews" {
            continue;
        }
        if resource == "subjectaccessreviews" {
            called.insert(right(&group, &resource, "create", ""));
        } else if resource == "services" {
            // Asked for when a registry inside the cluster is in trouble, never watched.
            called.insert(right(&group, &resource, "get", ""));
            called.insert(right(&group, &resource, "list", ""));
            called.insert(right("discovery.k8s.io", "endpointslices", "list", ""));
        } else if resource == "runtimeclasses" {
            called.insert(right(&group, &resource, "get", ""));
        } else if group == hooks || resource == "servicecidrs" || group.ends_with(".openshift.io") {
            // Looked at now and then, never watched.
            called.insert(right(&group, &resource, "list", ""));
        } else {
            called.insert(right(&group, &resource, "list", ""));
            called.insert(right(&group, &resource, "watch", ""));
        }
    }
    for verb in ["get", "patch"] {
        called.insert(right("apiregistration.k8s.io", "apiservices", verb, API_SERVICE));
    }
    assert_eq!(cluster, called);

    let own = permits(one(&objects, "Role", "pullgate"));
    let mut called = BTreeSet::new();
    for (group, resource) in [("", "secrets"), ("coordination.k8s.io", "leases")] {
        called.insert(right(group, resource, "create", ""));
        called.insert(right(group, resource, "get", "pullgate"));
        called.insert(right(group, resource, "update", "pullgate"));
    }
    called.insert(right("", "configmaps", "create", ""));
    for verb in ["get", "patch"] {
        called.insert(right("", "configmaps", verb, "pullgate-policy-in-force"));
    }
    assert_eq!(own, called);
}

#[test]
fn the_arguments_are_those_of_the_program() {
    use clap::{Args as _, FromArgMatches as _};
    use pullgate::serve::{Config, ServeFlags, TlsSource};
    let objects = base();
    let container =
        &one(&objects, "Deployment", "pullgate")["spec"]["template"]["spec"]["containers"][0];
    let args = strings(&container["args"]);
    assert_eq!(args[0], "serve");
    let command = ServeFlags::augment_args(clap::Command::new("serve"));
    let known: BTreeSet<_> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env().and_then(|name| name.to_str()))
        .map(str::to_owned)
        .collect();
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(known.contains(name), "{name} means nothing to the program");
    }
    let given = ["--own-namespace=pullgate", "--own-name=pullgate-0"];
    let matches = command.try_get_matches_from(args.into_iter().chain(given)).unwrap();
    let config = Config::try_from(ServeFlags::from_arg_matches(&matches).unwrap()).unwrap();
    assert_eq!(config.tls, TlsSource::Kept);
    let own = config.own.unwrap();
    assert_eq!((own.secret.as_str(), own.configurations.as_str()), ("pullgate", "pullgate"));
}
