//! Nothing more is permitted than is used: the API server records what a running installation
//! asks with every feature in use, and that is compared with the roles of the chart.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::deployed::{Deployed, eventually, review_of};
use super::manifests::permits;
use super::one;
use crate::cluster::process;
use crate::cluster::registry::{Access, PULLER, Registry};

const RECORDED: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ['system:serviceaccount:pullgate:pullgate']}
- {level: None}
";

/// (group, resource, verb, name or nothing)
type Right = (String, String, String, String);

/// What was asked, as the API server recorded it; refused requests are an error.
fn asked(log: &std::path::Path) -> BTreeSet<Right> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut found = BTreeSet::new();
    // The last line may be half written.
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let object = &event["objectRef"];
        let Some(resource) = object["resource"].as_str() else { continue };
        assert_ne!(event["responseStatus"]["code"], 403, "{event}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = match object["subresource"].as_str() {
            Some(part) => format!("{resource}/{part}"),
            None => resource.to_owned(),
        };
        let verb = text(&event["verb"]);
        found.insert((text(&object["apiGroup"]), resource, verb, text(&object["name"])));
    }
    found
}

/// What is lost of the Secret is made anew, and so are all objects that the chart declares for what
/// Pullgate keeps.
fn lose_its_own(deployed: &Deployed) {
    let before = deployed.token().unwrap();
    let lost = r#"[{"op":"remove","path":"/data/token"}]"#;
    let removal = ["patch", "secret", "-n", "pullgate", "pullgate", "--type=json", "-p", lost];
    deployed.kubectl.run(&removal).ok().unwrap();
    eventually("a new token", || deployed.token().is_some_and(|token| token != before));
    for kept in ["secret", "lease"] {
        deployed.kubectl.run(&["delete", kept, "-n", "pullgate", "pullgate"]).ok().unwrap();
        eventually(kept, || deployed.kubectl.get(&[kept, "-n", "pullgate", "pullgate"]).is_ok());
    }
    let kept = ["configmap", "-n", "pullgate", "pullgate-policy-in-force"];
    deployed.kubectl.run(&[&["delete"], &kept[..]].concat()).ok().unwrap();
    let edit = r#"{"spec":{"exceptionNotice":"48h"}}"#;
    let edit = ["patch", "pullgatepolicy", "pullgate", "--type=merge", "-p", edit];
    deployed.kubectl.run(&edit).ok().unwrap();
    eventually("the policy in force", || deployed.kubectl.get(&kept).is_ok());
}

#[test]
fn nothing_more_is_permitted_than_is_used() {
    let folder = process::folder("recorded");
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, RECORDED).unwrap();
    let arguments = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let values = [
        "policyFrom.kind=PullgatePolicy",
        "mutation.enabled=true",
        "policy.advice.events=true",
        "policy.advice.listSecrets=true",
        "web.enabled=true",
    ];
    let Some(deployed) = Deployed::start_with(&values, &arguments) else { return };
    // What is only watched where it is known.
    super::tekton::define(&deployed.kubectl);
    let registry = Registry::start(deployed.cluster.programs(), Access::Basic).unwrap();
    deployed.cluster.namespace_called("shop", &[]);
    // Who asks may see what is in it.
    let bind = ["create", "rolebinding", "ann", "--clusterrole=view", "--user=ann", "-n", "shop"];
    deployed.kubectl.run(&bind).ok().unwrap();
    deployed.kubectl.create(&registry.pull_secret("login", "shop", PULLER));
    let account = r#"{"imagePullSecrets":[{"name":"login"}]}"#;
    let account = ["patch", "-n", "shop", "serviceaccount", "default", "-p", account];
    deployed.kubectl.run(&account).ok().unwrap();

    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    eventually("the ranges", || {
        std::fs::read_to_string(replica.process.log()).unwrap().contains("10.96.0.0/16")
    });
    let endpoint = deployed.endpoint();
    // Somebody signs in to the page.
    assert_eq!(replica.sign_in("no token").unwrap().0, 403);
    // A Deployment inherits the pull secrets of its ServiceAccount, and goes where its
    // RuntimeClass says; who asks is warned, and may
    // or may not hear of other namespaces.
    let missing = registry.image("shop/app:1");
    let mut review = review_of("shop", &json!({}));
    let request = &mut review["request"];
    request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    request["object"] = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "shop"},
        "spec": {"template": {"spec": {"runtimeClassName": "sandboxed",
            "containers": [{"name": "c", "image": missing}]}}}});
    let (status, answer) = replica.post(&endpoint, &review).unwrap();
    assert!(status == 200 && answer.contains("warnings"), "{answer}");
    // One whose login is refused: another one of the namespace is looked for.
    let wrong = (PULLER.0, "wrong", "");
    deployed.kubectl.create(&registry.pull_secret("wrong", "shop", wrong));
    let spec = json!({"imagePullSecrets": [{"name": "wrong"}], "serviceAccountName": "default",
        "containers": [{"name": "c", "image": registry.image("shop/app:1")}]});
    eventually("a secret that works", || {
        let (status, answer) = replica.post(&endpoint, &review_of("shop", &spec)).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer.contains("rejects the credentials")
    });
    // Registries behind Services that nobody answers for: by name and by address. The range is
    // closed, so that nothing is dialled.
    deployed.kubectl.create(&json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "registry", "namespace": "shop"},
        "spec": {"selector": {"a": "b"}, "ports": [{"port": 5000}]}}));
    let service = deployed.kubectl.get(&["service", "-n", "shop", "registry"]).unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    for host in ["registry.shop.svc.cluster.local", address] {
        let spec = json!({"containers": [{"name": "c", "image": format!("{host}:5000/a/b:1")}]});
        let (status, answer) = replica.post(&endpoint, &review_of("shop", &spec)).unwrap();
        assert_eq!(status, 200, "{answer}");
    }
    lose_its_own(&deployed);

    let granted: BTreeSet<Right> = ["pullgate", "pullgate-pull-secrets"]
        .iter()
        .map(|name| one(&deployed.objects, "ClusterRole", name))
        .chain([one(&deployed.objects, "Role", "pullgate")])
        .flat_map(permits)
        .collect();
    let covers = |(group, resource, verb, name): &Right, asked: &Right| {
        (group, resource, verb) == (&asked.0, &asked.1, &asked.2)
            && (name.is_empty() || *name == asked.3)
    };
    let unused = || -> Vec<Right> {
        let asked = asked(&log);
        let used = |right: &&Right| !asked.iter().any(|one| covers(right, one));
        granted.iter().filter(used).cloned().collect()
    };
    let mut left = unused();
    let give_up = std::time::Instant::now() + crate::cluster::PATIENCE / 2;
    while !left.is_empty() && std::time::Instant::now() < give_up {
        std::thread::sleep(std::time::Duration::from_millis(500));
        left = unused();
    }
    assert_eq!(left, [], "granted and never used");
    let asked = asked(&log);
    assert!(asked.len() > 15, "{asked:?}");
    // Bound in kube-system, and Kubernetes' own.
    let reader = ["role", "-n", "kube-system", "extension-apiserver-authentication-reader"];
    let reader = permits(&deployed.kubectl.get(&reader).unwrap());
    assert!(reader.iter().any(|right| asked.iter().any(|one| covers(right, one))));
    let granted: Vec<Right> = granted.into_iter().chain(reader).collect();
    for one in &asked {
        assert!(granted.iter().any(|right| covers(right, one)), "{one:?} is not granted");
    }
}

/// `docs/rights.md` lists every right of the rendered roles, and no other.
#[test]
fn every_right_is_on_its_page() {
    let Some(helm) = super::program("helm") else { return };
    let reports = ["policyReports.enabled=true", "policyReports.group=openreports.io"];
    let all = [
        "policyFrom.kind=PullgatePolicy",
        "policy.advice.listSecrets=true",
        "web.enabled=true",
        "events.enabled=true",
        "policyReports.enabled=true",
    ];
    let renderings: [&[&str]; 3] = [&all, &reports, &["webhook.proof=path"]];
    let mut rendered = BTreeSet::new();
    for values in renderings {
        let objects = super::chart::render(&helm, values).unwrap();
        for rule in objects.iter().filter_map(|object| object["rules"].as_array()).flatten() {
            let words = |field: &str| {
                let all = rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
                all.map(str::to_owned).collect::<Vec<_>>()
            };
            for resource in words("resources") {
                rendered.extend(words("verbs").into_iter().map(|verb| (resource.clone(), verb)));
            }
        }
    }
    assert!(rendered.len() > 40, "{rendered:?}");
    let page = super::read("docs/rights.md");
    let table = page.split("<!-- rights").nth(1).unwrap();
    let mut listed = BTreeSet::new();
    for row in table.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (resources, rest) = row.split_once('|').unwrap();
        let verbs = rest.split('|').next().unwrap();
        for resource in resources.split(',').map(|one| one.trim().trim_matches('`')) {
            listed.extend(verbs.split(',').map(|verb| (resource.to_owned(), verb.trim().into())));
        }
    }
    assert_eq!(listed, rendered);
}
