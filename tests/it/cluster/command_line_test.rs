//! `pullgate check` and `pullgate explain` with a kubeconfig, as a person runs them: a developer
//! whose rights end at a namespace, and an administrator.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process::{self, Finished};
use super::registry::{Access, PULLER, Registry};
use super::{PATIENCE, nodes, programs, pullgate, skipped};

const POLICY: &str = include_str!("scenes/vouched.yaml");

/// A cluster in which one shop runs, and one of its workloads cannot pull.
struct Desk {
    cluster: ControlPlane,
    open: Registry,
    private: Registry,
    folder: TempDir,
}

fn desk() -> Option<&'static Desk> {
    static DESK: OnceLock<Desk> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(DESK.get_or_init(|| Desk::set_up(&programs)))
}

impl Desk {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        let private = Registry::start(programs, Access::Basic).unwrap();
        open.push("shop/app", &["1"], &Image::single("amd64", "1"));
        open.push("shop/arm", &["1"], &Image::index(&["arm64"], "arm"));
        private.push("shop/app", &["1"], &Image::single("amd64", "1"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
        cluster.namespace_called("other", &[]);
        cluster.let_developer_edit("shop");
        let admin = cluster.admin();
        admin.create(&private.pull_secret("regcred", "shop", PULLER));
        admin.create(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "puller", "namespace": "shop"},
            "imagePullSecrets": [{"name": "regcred"}],
        }));
        let desk = Self { cluster, open, private, folder: process::folder("desk") };
        desk.run_workloads();
        desk
    }

    /// One workload runs tag 1 in `shop` and in `other`, another waits for tag 2 in `shop`.
    fn run_workloads(&self) {
        let digest = Image::single("amd64", "1").digest().to_owned();
        for namespace in ["shop", "other"] {
            self.deploy(namespace, "good", &self.open.image("shop/app:1"));
            let pods = nodes::wait_for_pods(&self.cluster, namespace, "app=good", 1);
            nodes::play_running(&self.cluster, namespace, &pods[0], "node-a", &digest);
        }
        let image = self.open.image("shop/app:2");
        self.deploy("shop", "bad", &image);
        let pods = nodes::wait_for_pods(&self.cluster, "shop", "app=bad", 1);
        let message = format!(
            "failed to pull and unpack image \"{image}\": failed to resolve reference \
             \"{image}\": {image}: not found"
        );
        let waiting = ("ErrImagePull", message.as_str());
        nodes::play_failing(&self.cluster, "shop", &pods[0], "node-a", waiting);
    }

    fn deploy(&self, namespace: &str, name: &str, image: &str) {
        self.cluster.admin().create(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": name, "image": image}]},
                },
            },
        }));
    }

    /// Runs pullgate with the user's kubeconfig in the environment, as kubectl takes it.
    fn pullgate(&self, user: User, words: &[&str]) -> Finished {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(user));
        command.env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8");
        command.args(words).current_dir(self.folder.path());
        process::run(&mut command, "", PATIENCE * 2)
    }

    /// Checks a pod with this image and these other fields in the namespace `shop`.
    fn check(&self, user: User, (image, spec): (&str, &Value), flags: &[&str]) -> Finished {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "asked", "namespace": "shop"},
            "spec": {"containers": [
                {"name": "c", "image": image, "imagePullPolicy": "Always"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        let file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        fs::write(file.path(), pod.to_string()).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let all = ["check", "--context", "test", "-f", &path];
        self.pullgate(user, &[&all, flags].concat())
    }
}

#[test]
fn check_reads_secrets_and_service_accounts_by_name() {
    let Some(desk) = desk() else { return };
    let private = desk.private.image("shop/app:1");
    let none = json!({});
    let refused = desk.check(DEVELOPER, (&private, &none), &[]);
    // The nodes may have a login of their own, so an anonymous refusal proves nothing.
    assert_eq!(refused.code, 0, "{refused:?}");
    assert!(refused.stdout.contains("cannot tell"), "{refused:?}");
    assert!(refused.stdout.contains("unauthorized"), "{refused:?}");
    let listed = json!({"imagePullSecrets": [{"name": "regcred"}]});
    let by_pod = desk.check(DEVELOPER, (&private, &listed), &[]);
    assert_eq!((by_pod.code, by_pod.stdout.contains("1 works")), (0, true), "{by_pod:?}");
    let account = json!({"serviceAccountName": "puller"});
    let by_account = desk.check(DEVELOPER, (&private, &account), &["--explain-credentials"]);
    assert_eq!(by_account.code, 0, "{by_account:?}");
    assert!(by_account.stdout.contains("secret regcred"), "{by_account:?}");
    assert!(!by_account.stdout.contains(PULLER.1), "a password is shown: {by_account:?}");
}

#[test]
fn check_compares_nodes_where_it_may_list_them() {
    let Some(desk) = desk() else { return };
    let arm = desk.open.image("shop/arm:1");
    let none = json!({});
    let known = desk.check(ADMIN, (&arm, &none), &[]);
    assert_eq!(known.code, 1, "{known:?}");
    assert!(known.stdout.contains("built for linux/arm64 only"), "{known:?}");
    assert!(known.stdout.contains("linux/arm64"), "{known:?}");
    let unknown = desk.check(DEVELOPER, (&arm, &none), &[]);
    assert_eq!(unknown.code, 0, "{unknown:?}");
    assert!(unknown.stderr.contains("you may not list nodes or namespaces"), "{unknown:?}");
}

#[test]
fn check_decides_by_the_mode_of_the_clusters_namespace() {
    let Some(desk) = desk() else { return };
    let missing = desk.open.image("shop/app:9");
    let policy = desk.folder.path().join("vouched.yaml");
    fs::write(&policy, POLICY).unwrap();
    let flags = ["--policy", policy.to_str().unwrap(), "--output", "json", "--fail-on", "deny"];
    let denied = desk.check(ADMIN, (&missing, &json!({})), &flags);
    assert_eq!(denied.code, 1, "{denied:?}");
    let report: Value = serde_json::from_str(&denied.stdout).unwrap();
    assert_eq!(report["images"][0]["decision"], "deny");
    assert_eq!(report["images"][0]["cause"], "tag_not_found");
    // Without that policy the same is a warning: nobody vouches for the nodes.
    let warned = desk.check(ADMIN, (&missing, &json!({})), &flags[2..]);
    let report: Value = serde_json::from_str(&warned.stdout).unwrap();
    assert_eq!((warned.code, &report["images"][0]["decision"]), (0, &json!("warn")));
}

#[test]
fn a_context_or_a_cluster_that_is_not_there_cannot_be_judged() {
    let Some(desk) = desk() else { return };
    for command in [&["check", "--image", "a.example/b"][..], &["explain", "a.example/b"][..]] {
        let words = [command, &["--context", "nowhere"]].concat();
        let finished = desk.pullgate(DEVELOPER, &words);
        assert_eq!(finished.code, 2, "{finished:?}");
        assert!(finished.stderr.contains("nowhere"), "{finished:?}");
    }
}

#[test]
fn explain_tells_an_administrator_of_the_whole_cluster() {
    let Some(desk) = desk() else { return };
    let page = desk.pullgate(ADMIN, &["explain", &desk.open.image("shop/app:2")]);
    assert_eq!((page.code, &*page.stderr), (0, ""), "{page:?}");
    for said in
        ["deployment/bad in shop", "tag_not_found", "Use 1 (2 pods run it here)", "last good"]
    {
        assert!(page.stdout.contains(said), "no {said}: {page:?}");
    }
    let image = desk.open.image("shop/app:1");
    let json = desk.pullgate(ADMIN, &["explain", &image, "--output", "json"]).ok().unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["kind"], "ExplainReport");
    assert_eq!(report["reports"][0]["partial"], false, "{report}");
    assert!(json.contains("other/good") || json.contains("\"other\""), "{json}");
}

#[test]
fn explain_tells_a_developer_of_one_namespace_and_says_so() {
    let Some(desk) = desk() else { return };
    let image = desk.open.image("shop/app:1");
    let page = desk.pullgate(DEVELOPER, &["explain", &image, "-n", "shop"]);
    assert_eq!(page.code, 0, "{page:?}");
    assert!(page.stderr.contains("only namespace shop is counted"), "{page:?}");
    assert!(page.stdout.contains("Partial view"), "{page:?}");
    assert!(page.stdout.contains("deployment/good in shop"), "{page:?}");
    assert!(!page.stdout.contains("in other:"), "another namespace is told of: {page:?}");
    // Where they may list nothing there is nothing to tell.
    let refused = desk.pullgate(DEVELOPER, &["explain", &image, "-n", "other"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("failed to list the pods that you may see"), "{refused:?}");
    assert!(refused.stderr.contains("cannot list resource \"pods\""), "{refused:?}");
    assert!(!refused.stderr.contains("Status {"), "an object is shown: {refused:?}");
}

#[test]
fn explain_takes_pods_workloads_and_registries() {
    let Some(desk) = desk() else { return };
    let image = desk.open.image("shop/app:2");
    let workload = desk.pullgate(DEVELOPER, &["explain", "deployment/bad", "-n", "shop"]);
    assert!(workload.stdout.starts_with("Deployment shop/bad\n"), "{workload:?}");
    assert!(workload.stdout.contains(&image), "{workload:?}");
    let pods = nodes::wait_for_pods(&desk.cluster, "shop", "app=bad", 1);
    let pod = desk.pullgate(DEVELOPER, &["explain", &pods[0], "-n", "shop"]);
    assert!(pod.stdout.starts_with(&format!("Pod shop/{}\n", pods[0])), "{pod:?}");
    let absent = desk.pullgate(DEVELOPER, &["explain", "deploy/absent", "-n", "shop"]);
    assert_eq!(absent.code, 2, "{absent:?}");
    assert!(absent.stderr.contains("no Deployment absent in namespace shop"), "{absent:?}");
    let registry = desk.pullgate(ADMIN, &["explain", "--registry", &desk.open.host()]);
    assert_eq!(registry.code, 0, "{registry:?}");
    assert!(registry.stdout.starts_with("Registry    127.0.0.1"), "{registry:?}");
    assert!(registry.stdout.contains("1 of 3 containers cannot get their image"), "{registry:?}");
    assert!(!registry.stdout.contains("Other tags"), "{registry:?}");
    let alone = desk.pullgate(ADMIN, &["explain", "--reason", "ErrImagePull", &image]);
    assert_eq!(alone.code, 2, "{alone:?}");
    assert!(alone.stderr.contains("--reason stands with --message"), "{alone:?}");
}

/// The status is what a leading replica publishes; here it is written by hand.
#[test]
fn explain_says_what_enforcement_would_have_denied() {
    let Some(desk) = desk() else { return };
    let none = desk.pullgate(ADMIN, &["explain", "--enforcement"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.stderr.contains("failed to read the PullgatePolicy objects"), "{none:?}");
    let definition = ::pullgate::policy::custom_resource_definition().to_string();
    let admin = desk.cluster.admin();
    admin.run_with(&["apply", "-f", "-"], &definition).ok().unwrap();
    let policy = json!({"apiVersion": "pullgate.dev/v1alpha1", "kind": "PullgatePolicy",
        "metadata": {"name": "site"}, "spec": {"nodes": {"mirrors": "none"}}});
    super::wait_until("the definition is served", || {
        let made = admin.run_with(&["create", "-f", "-"], &policy.to_string());
        if made.code == 0 { Ok(()) } else { Err(made.stderr.into()) }
    })
    .unwrap();
    let status = json!({"status": {"conditions": [], "score": [{"registry": "r.example",
        "verdicts": [], "disagreements": 0, "latePushes": 2, "heldBy": {"node_credentials": 40},
        "wouldDeny": [{"cause": "tag_not_found", "count": 40, "failed": 38, "pulled": 2}]}]}});
    let patch = ["patch", "pullgatepolicy", "site", "--subresource=status", "--type=merge", "-p"];
    admin.run(&[&patch[..], &[&status.to_string()]].concat()).ok().unwrap();
    let said = desk.pullgate(ADMIN, &["explain", "--enforcement"]);
    assert_eq!(said.code, 0, "{said:?}");
    for part in [
        "PullgatePolicy site, mode warn",
        "tag not found: 40 (nodes failed 38, pulled 2)",
        "spec.nodes.credentials: holds back 40",
    ] {
        assert!(said.stdout.contains(part), "{said:?}");
    }
    assert!(!said.stdout.contains("spec.nodes.mirrors"), "{said:?}");
    let json = desk.pullgate(ADMIN, &["explain", "--enforcement", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["policies"][0]["wouldDeny"], 40);
    println!("{}", said.stdout);
}
