//! `pullgate risk` in a cluster where images were deleted: who needs them, which nodes have them, and
//! what becomes of whom when a node goes.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process::{self, Finished};
use super::pullgate;
use super::registry::{Access, PULLER, Registry};
use super::{PATIENCE, nodes, programs, skipped};

/// A shop whose registry has forgotten a tag that runs, and things that will pull some other day.
struct Shop {
    cluster: ControlPlane,
    open: Registry,
    private: Registry,
    folder: TempDir,
}

fn shop() -> Option<Shop> {
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    let cluster = ControlPlane::start(&programs).unwrap();
    let open = Registry::start(&programs, Access::Anonymous).unwrap();
    let private = Registry::start(&programs, Access::Basic).unwrap();
    open.push("shop/app", &["1"], &Image::single("amd64", "1"));
    open.push("shop/app", &["2"], &Image::index(&["amd64"], "2"));
    private.push("shop/job", &["1"], &Image::single("amd64", "job"));
    for (node, arch) in [("node-a", "amd64"), ("node-b", "amd64"), ("node-c", "arm64")] {
        nodes::create_node(&cluster, node, arch, &[], &[]);
    }
    cluster.namespace_called("shop", &[]);
    cluster.namespace_called("bank", &[]);
    cluster.let_developer_edit("shop");
    let folder = process::folder("risk");
    let shop = Shop { cluster, open, private, folder };
    shop.fill();
    Some(shop)
}

impl Shop {
    fn fill(&self) {
        let admin = self.cluster.admin();
        admin.create(&self.private.pull_secret("registry-login", "shop", PULLER));
        let patch = r#"{"imagePullSecrets":[{"name":"registry-login"}]}"#;
        admin.run(&["create", "serviceaccount", "builder", "-n", "shop"]).ok().unwrap();
        admin.run(&["patch", "serviceaccount", "builder", "-n", "shop", "-p", patch]).ok().unwrap();
        let (gone, kept) = (self.open.image("shop/app:1"), self.open.image("shop/app:2"));
        let job = self.private.image("shop/job:1");
        let apps = |kind: &str, name: &str, image: &str, more: &Value| {
            let mut object = json!({"apiVersion": "apps/v1", "kind": kind,
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, image)}});
            merge(&mut object, more);
            admin.create(&object);
        };
        apps("Deployment", "web", &gone, &json!({"spec": {"replicas": 2}}));
        apps("Deployment", "fresh", &kept, &json!({}));
        apps(
            "Deployment",
            "asleep",
            &self.open.image("shop/app:9"),
            &json!({"spec": {"replicas": 0}}),
        );
        let always = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": gone, "imagePullPolicy": "Always"}]}}}});
        apps("StatefulSet", "eager", &gone, &always);
        let arm = json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}}}});
        apps("DaemonSet", "agent", &kept, &arm);
        let batch = |account: &str| {
            let mut pod = template("job", &job);
            pod["spec"]["restartPolicy"] = json!("Never");
            pod["spec"]["serviceAccountName"] = json!(account);
            pod["metadata"] = json!({});
            pod
        };
        for (name, account) in [("nightly", "builder"), ("keyless", "default")] {
            admin.create(&json!({"apiVersion": "batch/v1", "kind": "CronJob",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": batch(account)}}}}));
        }
        let mut held = batch("builder");
        held["spec"]["containers"][0]["image"] = json!(gone);
        admin.create(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "held", "namespace": "shop"},
            "spec": {"suspend": true, "template": held}}));
        // What runs, and where its image is.
        let digest = Image::single("amd64", "1").digest().to_owned();
        for (app, places) in
            [("web", &["node-a", "node-b"][..]), ("fresh", &["node-b"]), ("eager", &["node-a"])]
        {
            let selector = format!("app={app}");
            let pods = nodes::wait_for_pods(&self.cluster, "shop", &selector, places.len());
            for (pod, node) in pods.iter().zip(places) {
                nodes::play_running(&self.cluster, "shop", pod, node, &digest);
            }
        }
        // One that has ended needs nothing any more, and what others have is theirs.
        admin.create(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "ended", "namespace": "shop"},
            "spec": {"containers": [{"name": "app", "image": self.open.image("shop/app:7")}]}}));
        let ended = r#"{"status":{"phase":"Succeeded"}}"#;
        let patch = ["patch", "pod", "ended", "-n", "shop", "--subresource=status", "-p", ended];
        admin.run(&patch).ok().unwrap();
        admin.create(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "vault", "namespace": "bank"},
            "spec": {"containers": [{"name": "app", "image": self.open.image("bank/vault:1")}]}}));
        let images = json!({"status": {"images": [{"names": [gone], "sizeBytes": 9}]}}).to_string();
        let patch = ["patch", "node", "node-a", "--subresource=status", "-p", &images];
        admin.run(&patch).ok().unwrap();
        self.open.untag("shop/app", "1");
    }

    fn run(&self, user: User, words: &[&str]) -> Finished {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(user));
        command.args(words).current_dir(self.folder.path());
        process::run(&mut command, "", PATIENCE * 2)
    }

    fn risk(&self, user: User, words: &[&str]) -> Finished {
        self.run(user, &[&["risk"], words].concat())
    }

    /// What would be at risk then, and could not be told, as JSON.
    fn what_if(&self, words: &[&str], code: i32) -> Value {
        let done = self.run(ADMIN, &[&["whatif", "-o", "json"], words].concat());
        assert_eq!(done.code, code, "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn report(&self, user: User, words: &[&str]) -> Value {
        let done = self.risk(user, &[words, &["-o", "json"]].concat());
        assert_eq!(done.code, 1, "{done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }
}

fn template(name: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": image}]}})
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Of an image at risk: its cause, and of each that needs it its name, when, pods and where it starts.
fn needed(report: &Value, image: &str) -> (String, Vec<String>) {
    let all = report["atRisk"].as_array().unwrap();
    let one = all.iter().find(|one| one["image"] == *image);
    let one = one.unwrap_or_else(|| panic!("{image}: {report:#}"));
    let by = one["neededBy"].as_array().unwrap().iter();
    let by = by.map(|one| {
        format!("{} {} {} {}", one["name"], one["when"], one["pods"], one["startsOn"])
            .replace('"', "")
    });
    (one["cause"].as_str().unwrap().to_owned(), by.collect())
}

#[test]
fn what_could_not_be_pulled_again_is_told_with_all_that_need_it() {
    let Some(shop) = shop() else { return };
    let (gone, asleep) = (shop.open.image("shop/app:1"), shop.open.image("shop/app:9"));
    let kept = shop.open.image("shop/app:2");
    let report = shop.report(ADMIN, &[]);
    let (cause, by) = needed(&report, &gone);
    assert_eq!(cause, "tag_not_found");
    assert_eq!(
        by,
        ["web runs 2 [node-a]", "eager runs 1 []", "held suspended 0 [node-a]"],
        "{report:#}"
    );
    assert_eq!(needed(&report, &asleep).1, ["asleep atZero 0 []"]);
    assert_eq!(
        needed(&report, &kept),
        ("platform_mismatch".to_owned(), vec!["agent runs 1 []".to_owned()])
    );
    let text = report.to_string();
    assert!(!text.contains("shop/app:7"), "{report:#}");
    // Nodes may have a login for it, so that nobody can say; who has one is fine.
    let unclear = report["unclear"].to_string();
    assert!(unclear.contains("shop/job:1"), "{report:#}");
    assert!(text.contains("bank/vault"), "{report:#}");

    let page = shop.risk(ADMIN, &[]);
    assert_eq!(page.code, 1, "{page:?}");
    for wanted in [
        "could not be pulled again.",
        "deployment/web in shop: 2 pods on node-a, node-b",
        "starts on node-a only",
        "statefulset/eager in shop: 1 pod on node-a",
        "starts nowhere: it asks the registry at every start",
        "job/held in shop: suspended",
        "deployment/asleep in shop: scaled to zero",
        "daemonset/agent in shop: 1 pod",
    ] {
        assert!(page.stdout.contains(wanted), "{wanted}: {}", page.stdout);
    }
    let table = shop.risk(ADMIN, &["-o", "markdown"]);
    let rows = table.stdout.lines().filter(|line| line.starts_with("| `")).count();
    let all: usize = report["atRisk"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["neededBy"].as_array().unwrap().len())
        .sum();
    assert_eq!(rows, all, "{}", table.stdout);
    what_breaks_if_a_node_goes(&shop, &gone);
    what_if_something_were_otherwise(&shop, &gone, &kept);
    only_what_a_person_may_see(&shop);
    several_clusters_are_told_of_below_each_other(&shop);
}

fn what_breaks_if_a_node_goes(shop: &Shop, gone: &str) {
    let report = shop.report(ADMIN, &["--node", "node-a"]);
    let (_, by) = needed(&report, gone);
    // The only node that is known to have it: then what would start there counts as well.
    assert_eq!(by, ["web runs 1 []", "eager runs 1 []", "held suspended 0 []"], "{report:#}");
    assert_eq!(report["atRisk"][0]["lastCopy"], true, "{report:#}");
    let report = shop.report(ADMIN, &["--node", "node-b"]);
    assert_eq!(needed(&report, gone).1, ["web runs 1 [node-a]"], "{report:#}");
    // What runs elsewhere is not in question.
    assert_eq!(report["unclear"], json!([]), "{report:#}");
    let safe = shop.risk(ADMIN, &["--node", "node-c"]);
    assert_eq!(safe.code, 0, "{safe:?}");
    assert!(safe.stdout.starts_with("Nothing is at risk if node node-c goes"), "{safe:?}");
    // Where something cannot be told there is no all-clear either.
    let unclear = shop.risk(ADMIN, &["-n", "bank"]);
    assert_eq!(unclear.code, 2, "{unclear:?}");
    assert!(unclear.stdout.starts_with("No image is known to be lost. 1 unknown"), "{unclear:?}");
    let unknown = shop.risk(ADMIN, &["--node", "node-z"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("there is no node node-z"), "{unknown:?}");
}

fn only_what_a_person_may_see(shop: &Shop) {
    let done = shop.risk(DEVELOPER, &["-n", "shop", "-o", "json"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("you may not list"), "{done:?}");
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert!(!done.stdout.contains("bank"), "{report:#}");
    assert_eq!(report["nodesKnown"], false, "{report:#}");
    let (cause, by) = needed(&report, &shop.open.image("shop/app:1"));
    assert_eq!((cause.as_str(), by.len()), ("tag_not_found", 3), "{report:#}");
    let quiet = shop.risk(ADMIN, &["-n", "bank", "-o", "json"]);
    assert!(!quiet.stdout.contains("shop/app"), "{quiet:?}");
}

fn what_if_something_were_otherwise(shop: &Shop, gone: &str, kept: &str) {
    let down = format!("--registry={}=down", shop.open.host());
    let report = shop.what_if(&[&down], 1);
    let (cause, by) = needed(&report, kept);
    assert_eq!(cause, "connection_refused", "{report:#}");
    assert_eq!(by, ["fresh runs 1 []"], "{report:#}");
    // What cannot be pulled anyway is no news, and the other registry is not down.
    let text = report.to_string();
    assert!(!text.contains(gone) && !text.contains("shop/job"), "{report:#}");
    // A mirror that has it is a way out.
    let mirror = Registry::start(shop.cluster.programs(), Access::Anonymous).unwrap();
    mirror.push("shop/app", &["2"], &Image::index(&["amd64", "arm64"], "2"));
    let file = shop.folder.path().join("registries.yaml");
    let text = format!(
        "mirrors:\n  \"{}\":\n    endpoint: [\"http://{}\"]\n",
        shop.open.host(),
        mirror.host()
    );
    std::fs::write(&file, text).unwrap();
    let mirrors = format!("--mirror={}", file.display());
    let report = shop.what_if(&[&down, &mirrors, "-n", "shop"], 0);
    assert_eq!(report["atRisk"], json!([]), "{report:#}");

    let secret = "--delete-secret=shop/registry-login";
    let report = shop.what_if(&[secret], 1);
    assert_eq!(report["atRisk"], json!([]), "{report:#}");
    let unclear = report["unclear"].as_array().unwrap();
    assert_eq!(unclear.len(), 1, "{report:#}");
    assert!(unclear[0]["image"].as_str().unwrap().contains("shop/job:1"), "{report:#}");
    // What nothing here has to do with is no all-clear.
    for other in ["--delete-secret=bank/registry-login", "--registry=nobody.example.com=down"] {
        let done = shop.run(ADMIN, &["whatif", other]);
        assert!(done.code == 2 && done.stderr.contains("nothing here has to do with"), "{done:?}");
    }

    let report = shop.what_if(&["--nodes=arm64"], 1);
    let (cause, by) = needed(&report, kept);
    assert_eq!(cause, "platform_mismatch", "{report:#}");
    assert_eq!(by, ["agent runs 1 []", "fresh runs 1 []"], "{report:#}");

    let report = shop.what_if(&["--drain=node-b"], 1);
    assert_eq!(needed(&report, gone).1, ["web runs 1 [node-a]"], "{report:#}");
    let page = shop.run(ADMIN, &["whatif", &down]);
    let headline = format!("could not be pulled again if {} were down.", shop.open.host());
    assert!(page.stdout.contains(&headline), "{}", page.stdout);
    let wrong: [&[&str]; 6] = [
        &[],
        &["--registry=docker.io"],
        &["--registry=http://docker.io=down"],
        &["--delete-secret=x"],
        &["--mirror=none"],
        &["--nodes=x86_64"],
    ];
    for wrong in wrong {
        let done = shop.run(ADMIN, &[&["whatif"], wrong].concat());
        assert_eq!(done.code, 2, "{wrong:?}: {done:?}");
    }
}

fn several_clusters_are_told_of_below_each_other(shop: &Shop) {
    let config = shop.cluster.admin().run(&["config", "view", "--raw", "-o", "json"]).ok().unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["clusters"][0]["cluster"]["certificate-authority"] = json!(shop.cluster.authority());
    let context = config["contexts"][0]["context"].clone();
    let mut elsewhere = context.clone();
    elsewhere["cluster"] = json!("gone");
    config["contexts"] = json!([{"name": "prod", "context": context},
                                {"name": "lab", "context": elsewhere}]);
    let clusters = config["clusters"].as_array_mut().unwrap();
    clusters.push(json!({"name": "gone", "cluster": {"server": "https://127.0.0.1:9"}}));
    let file = shop.folder.path().join("both");
    std::fs::write(&file, config.to_string()).unwrap();
    let file = format!("--kubeconfig={}", file.display());
    let both = ["--context=prod", "--context=lab", &file];
    let page = shop.risk(ADMIN, &both);
    assert_eq!(page.code, 2, "one could not be asked: {page:?}");
    let mut lines = page.stdout.lines();
    assert!(lines.next().unwrap().starts_with("prod  3 of 5 images"), "{}", page.stdout);
    assert!(lines.next().unwrap().starts_with("lab   failed to list"), "{}", page.stdout);
    assert!(page.stdout.contains("\n== prod\n\n3 of 5 images"), "{}", page.stdout);
    let json = shop.risk(ADMIN, &[&both[..], &["-o", "json"]].concat());
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["contexts"][0]["report"]["kind"], "RiskReport", "{json:#}");
    assert!(json["contexts"][1]["error"].is_string(), "{json:#}");
    let image = shop.open.image("shop/app:1");
    let explain = ["explain", &image, "--offline", "--no-memory", "-n", "shop"];
    let done = shop.run(ADMIN, &[&explain[..], &both].concat());
    assert!(done.stdout.starts_with("prod  "), "{done:?}");
    assert!(done.stdout.contains("\n== prod\n"), "{done:?}");
    let done = shop.run(ADMIN, &[&["explain", "--enforcement"], &both[..]].concat());
    assert!(done.code == 2 && done.stderr.contains("take one --context"), "{done:?}");
}
