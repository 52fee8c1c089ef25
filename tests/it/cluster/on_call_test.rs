//! `pullgate explain` as somebody on call runs it, beside a running `serve`: one cause, one remedy,
//! commands that do it, and what is remembered of the time before.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process::{self, Finished};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{PATIENCE, nodes, programs, skipped, wait_until};

const POLICY: &str = include_str!("scenes/vouched.yaml");
const LABEL: (&str, &str) = ("pullgate", "on-call");

struct House {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    open: Registry,
    private: Registry,
    lost: Registry,
    cluster: ControlPlane,
    folder: TempDir,
}

fn house() -> Option<&'static House> {
    static HOUSE: OnceLock<House> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(HOUSE.get_or_init(|| House::set_up(&programs)))
}

impl House {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        let private = Registry::start(programs, Access::Basic).unwrap();
        let mut lost = Registry::start(programs, Access::Anonymous).unwrap();
        lost.stop();
        open.push("shop/app", &["1.2.2"], &Image::single("amd64", "1.2.2"));
        private.push("shop/billing", &["3"], &Image::single("amd64", "3"));
        for node in ["node-a", "node-b"] {
            nodes::create_node(&cluster, node, "amd64", &[], &[]);
        }
        cluster.namespace_called("shop", &[LABEL]);
        cluster.namespace_called("bank", &[LABEL]);
        cluster.namespace_called("strict", &[LABEL, ("pullgate.dev/mode", "enforce")]);
        cluster.let_developer_edit("shop");
        cluster.admin().create(&private.pull_secret("registry-login", "shop", PULLER));
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
        let folder = process::folder("on-call");
        let house = Self { server, open, private, lost, cluster, folder };
        house.live();
        house.server.register(&house.cluster, "on-call", LABEL);
        house
    }

    fn live(&self) {
        let good = self.open.image("shop/app:1.2.2");
        let pod = self.deploy("shop", "web", &good, &json!({}));
        let digest = Image::single("amd64", "1.2.2").digest().to_owned();
        nodes::play_running(&self.cluster, "shop", &pod, "node-a", &digest);
        let bad = self.open.image("shop/app:1.2.4");
        let pod = self.deploy("shop", "cart", &bad, &json!({}));
        let missing = format!("failed to pull and unpack image \"{bad}\": {bad}: not found");
        nodes::play_failing(&self.cluster, "shop", &pod, "node-a", ("ErrImagePull", &missing));
        let billing = self.private.image("shop/billing:3");
        let pod = self.deploy("shop", "billing", &billing, &json!({}));
        let denied = "unexpected status from HEAD request: 401 Unauthorized";
        nodes::play_failing(&self.cluster, "shop", &pod, "node-a", ("ErrImagePull", denied));
        // Another pod has the secret that would do.
        let secret = json!({"imagePullSecrets": [{"name": "registry-login"}]});
        self.deploy("shop", "reports", &self.private.image("shop/reports:1"), &secret);
        let refused = "Get \"https://x/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
        for nth in 0..6 {
            let namespace = if nth % 2 == 0 { "shop" } else { "bank" };
            let image = self.lost.image(&format!("app{}:1", nth % 3));
            let pod = self.deploy(namespace, &format!("lost{nth}"), &image, &json!({}));
            let node = if nth % 2 == 0 { "node-a" } else { "node-b" };
            nodes::play_failing(&self.cluster, namespace, &pod, node, ("ErrImagePull", refused));
        }
    }

    fn deploy(&self, namespace: &str, name: &str, image: &str, spec: &Value) -> String {
        self.cluster.admin().create(&deployment(namespace, name, image, spec));
        let selector = format!("app={name}");
        nodes::wait_for_pods(&self.cluster, namespace, &selector, 1).remove(0)
    }

    fn explain(&self, user: User, words: &[&str]) -> Finished {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(user));
        command.env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8");
        command.arg("explain").args(words).current_dir(self.folder.path());
        process::run(&mut command, "", PATIENCE * 2)
    }

    /// The answer once serve has seen what was played.
    fn page(&self, user: User, words: &[&str], wanted: &str) -> String {
        wait_until("the answer", || {
            let answer = self.explain(user, words);
            if answer.code == 0 && answer.stdout.contains(wanted) {
                Ok(answer.stdout)
            } else {
                Err(format!("no {wanted}: {answer:?}").into())
            }
        })
        .unwrap()
    }
}

fn deployment(namespace: &str, name: &str, image: &str, spec: &Value) -> Value {
    let mut pod = json!({"containers": [{"name": "app", "image": image}]});
    for (key, value) in spec.as_object().unwrap() {
        pod[key] = value.clone();
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": pod}},
    })
}

/// The line behind a label.
fn line<'a>(page: &'a str, label: &str) -> &'a str {
    let mut lines = page.lines();
    lines
        .find_map(|line| line.strip_prefix(&format!("{label:<12}")))
        .unwrap_or_else(|| panic!("no {label}: {page}"))
}

#[test]
fn a_missing_tag_has_one_cause_one_remedy_and_a_command_that_does_it() {
    let Some(house) = house() else { return };
    let page =
        house.page(DEVELOPER, &["deployment/cart", "-n", "shop"], "the history of pullgate serve");
    let cause = line(&page, "Cause");
    assert!(cause.starts_with("Tag not found in the registry; 1 container fails"), "{page}");
    assert!(line(&page, "Remedy").starts_with("Use 1.2.2"), "{page}");
    let command = line(&page, "Do").to_owned();
    let good = house.open.image("shop/app:1.2.2");
    assert_eq!(command, format!("kubectl set image deployment/cart app={good} -n shop"), "{page}");
    assert_eq!(line(&page, "Verify"), "kubectl rollout status deployment/cart -n shop", "{page}");
    let before_scope = page.split("\nScope").next().unwrap();
    assert!(before_scope.lines().count() < 12, "{page}");
    // Pasted, it is what kubectl takes.
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--dry-run=server"]).collect();
    let done = house.cluster.kubectl(DEVELOPER).run(&words);
    assert_eq!(done.code, 0, "{done:?}");
    let json = house.explain(DEVELOPER, &["deployment/cart", "-n", "shop", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let report = &json["reports"][0];
    assert_eq!(report["commands"][0], command, "{report}");
    assert_eq!(report["registry_now"]["cause"], "tag_not_found", "{report}");
    assert_eq!(report["memory"]["from"], "serve", "{report}");
    // Without the registry it is told from the nodes alone.
    let offline = house.explain(DEVELOPER, &["deployment/cart", "-n", "shop", "--offline"]);
    assert!(!offline.stdout.contains("Asked now"), "{offline:?}");
    assert!(line(&offline.stdout, "Cause").contains("1 container"), "{offline:?}");
}

#[test]
fn the_secret_that_works_is_tried_and_the_command_names_it() {
    let Some(house) = house() else { return };
    let image = house.private.image("shop/billing:3");
    let page = house.page(DEVELOPER, &[&image, "-n", "shop"], "registry-login");
    assert!(line(&page, "Remedy").contains("Add pull secret registry-login (tested)"), "{page}");
    let patch = line(&page, "Do");
    assert_eq!(
        patch,
        r#"kubectl patch deployment/billing -n shop -p '{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"registry-login"}]}}}}'"#,
        "{page}"
    );
    assert!(page.contains("without credentials: registry rejects the credentials"), "{page}");
    assert!(!page.contains(PULLER.1), "a password is shown: {page}");
    // A key for another host is named, with why it does not match.
    let elsewhere = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "elsewhere", "namespace": "shop"},
        "stringData": {".dockerconfigjson": json!({"auths": {"r.example.com": {"username": "u", "password": "secret-word"}}}).to_string()}});
    house.cluster.admin().create(&elsewhere);
    let spec = json!({"imagePullSecrets": [{"name": "elsewhere"}]});
    house.deploy("shop", "invoices", &image, &spec);
    let page = house.page(DEVELOPER, &["deployment/invoices", "-n", "shop"], "Asked now");
    assert!(page.contains("key r.example.com: it is for another host"), "{page}");
    assert!(!page.contains("secret-word"), "{page}");
}

#[test]
fn a_registry_in_trouble_is_in_trouble_for_explain_too() {
    let Some(house) = house() else { return };
    let image = house.lost.image("app0:1");
    let applied = wait_until("the warning", || {
        let object = deployment("shop", "more", &image, &json!({})).to_string();
        let kubectl = house.cluster.kubectl(ADMIN);
        let answer = kubectl.run_with(&["apply", "--dry-run=server", "-f", "-"], &object);
        if answer.stderr.contains("registry problem") {
            Ok(answer)
        } else {
            Err(format!("{answer:?}").into())
        }
    })
    .unwrap();
    assert!(applied.stderr.contains("6 of 6 containers"), "{applied:?}");
    for memory in [&[][..], &["--no-memory"]] {
        let words = [&[image.as_str()][..], memory].concat();
        let page = house.explain(ADMIN, &words).ok().unwrap();
        assert!(line(&page, "Cause").contains("is in trouble: 6 of 6 containers"), "{page}");
        assert!(!page.contains("No sign of trouble"), "{page}");
    }
    let json = house.explain(ADMIN, &[&image, "--no-memory", "-o", "json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(json["reports"][0]["registry"]["trend"].is_string(), "{json}");
    assert_eq!(json["reports"][0]["memory"]["from"], "list", "{json}");
}

#[test]
fn pods_that_were_refused_are_shown_with_the_line() {
    let Some(house) = house() else { return };
    let image = house.open.image("shop/app:9.9.9");
    house.cluster.admin().create(&deployment("strict", "denied", &image, &json!({})));
    let page = house.page(ADMIN, &["deployment/denied", "-n", "strict"], "Refused");
    let refused = line(&page, "Refused");
    assert!(refused.starts_with("pods of deployment/denied"), "{page}");
    assert!(
        page.replace("\n            ", " ").contains("tag not found in the registry"),
        "{page}"
    );
    assert!(line(&page, "Cause").starts_with("Its pods are refused at admission"), "{page}");
    // Who asks of the image finds them, too.
    let page = house.page(ADMIN, &[&image, "-n", "strict"], "Refused");
    assert!(page.contains("deployment/denied"), "{page}");
}

#[test]
fn what_is_gone_is_remembered_and_told_within_rights() {
    let Some(house) = house() else { return };
    let admin = house.cluster.admin();
    let image = house.open.image("shop/gone:7");
    for (namespace, name) in [("shop", "once"), ("bank", "vault")] {
        let pod = house.deploy(namespace, name, &image, &json!({}));
        let digest = Image::single("amd64", "7").digest().to_owned();
        nodes::play_running(&house.cluster, namespace, &pod, "node-a", &digest);
    }
    house.page(ADMIN, &[&image, "-n", "shop"], "2 pods: 2 running");
    // serve sees the pods, too, before they go.
    wait_until("serve knows both", || {
        let object = deployment("shop", "asks", &house.open.image("shop/gone:8"), &json!({}));
        let apply = ["apply", "--dry-run=server", "-f", "-"];
        let answer = admin.run_with(&apply, &object.to_string());
        if answer.stderr.contains("use 7 ") || answer.stderr.contains("gone") {
            Ok(())
        } else {
            Err(format!("{answer:?}").into())
        }
    })
    .unwrap();
    for (namespace, name) in [("shop", "once"), ("bank", "vault")] {
        let delete =
            ["delete", "deployment", name, "-n", namespace, "--cascade=foreground", "--wait=false"];
        admin.run(&delete).ok().unwrap();
        admin
            .run(&[
                "delete",
                "pod",
                "-l",
                &format!("app={name}"),
                "-n",
                namespace,
                "--force",
                "--grace-period=0",
                "--ignore-not-found",
            ])
            .ok()
            .unwrap();
    }
    let page = house.page(ADMIN, &[&image, "-n", "shop"], "deployment/vault in bank: gone; had it");
    assert!(page.contains("deployment/once in shop: gone; had it"), "{page}");
    assert!(page.contains("It last ran here"), "{page}");
    let own = house.page(DEVELOPER, &[&image, "-n", "shop"], "deployment/once in shop: gone");
    assert!(!own.contains("vault") && !own.contains("bank"), "another namespace is told of: {own}");
    // Nothing was made by asking.
    let made = admin.run(&["get", "deployments", "-n", "shop", "-o", "name"]).ok().unwrap();
    assert!(!made.contains("pullgate-explain"), "{made}");
}

#[test]
fn the_registrys_service_and_who_is_let_in_stand_beside_it() {
    let Some(house) = house() else { return };
    let admin = house.cluster.admin();
    house.cluster.namespace_called("infra", &[]);
    admin.create(&json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "registry", "namespace": "infra"},
        "spec": {"selector": {"app": "registry"}, "ports": [{"port": 5000}]}}));
    admin.create(&json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "only-ci", "namespace": "infra"},
        "spec": {"podSelector": {"matchLabels": {"app": "registry"}},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "ci"}}}]}]}}));
    let image = "registry.infra.svc.cluster.local:5000/shop/app:1";
    let page = house.page(ADMIN, &[image, "-n", "shop"], "NetworkPolicy");
    let joined = page.replace("\n            ", " ");
    assert!(joined.contains("registry Service infra/registry has no ready endpoints"), "{page}");
    assert!(joined.contains("NetworkPolicy infra/only-ci selects the registry's pods"), "{page}");
    let remedy = line(&page, "Remedy");
    assert!(remedy.starts_with("Bring the registry's pods back: registry Service"), "{page}");
}

#[test]
fn how_long_nodes_took_to_pull_is_told_to_who_may_see_all() {
    let Some(house) = house() else { return };
    // A pull without a secret says something of the nodes' own logins: of no other test's registry.
    let own = Registry::start(house.cluster.programs(), Access::Anonymous).unwrap();
    own.push("shop/slow", &["1"], &Image::single("amd64", "slow"));
    let image = own.image("shop/slow:1");
    let name = house.deploy("shop", "slow", &image, &json!({}));
    let digest = Image::single("amd64", "slow").digest().to_owned();
    nodes::play_running(&house.cluster, "shop", &name, "node-a", &digest);
    let admin = house.cluster.admin();
    let pod = admin.get(&["pod", "-n", "shop", &name]).unwrap();
    let pod = &pod["metadata"];
    let message = format!(
        "Successfully pulled image \"{image}\" in 12.3s (12.4s including waiting). \
         Image size: 350000000 bytes."
    );
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    admin.create(&json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"generateName": "web.", "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop",
            "name": pod["name"], "uid": pod["uid"]},
        "reason": "Pulled", "message": message, "type": "Normal",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "source": {"component": "kubelet", "host": "node-a"}}));
    let page = house.page(ADMIN, &[&image, "-n", "shop", "--no-memory"], "Pulls");
    assert!(line(&page, "Pulls").starts_with("The last one took 12 s; 350 MB."), "{page}");
    // A second node takes longer.
    let name = house.deploy("shop", "slower", &image, &json!({}));
    nodes::play_running(&house.cluster, "shop", &name, "node-b", &digest);
    let pod = admin.get(&["pod", "-n", "shop", &name]).unwrap();
    let pod = &pod["metadata"];
    let message = message.replace("12.3s", "1m2s");
    admin.create(&json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"generateName": "slower.", "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop",
            "name": pod["name"], "uid": pod["uid"]},
        "reason": "Pulled", "message": message, "type": "Normal",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "source": {"component": "kubelet", "host": "node-b"}}));
    let words = [&*image, "-n", "shop", "--no-memory"];
    let page = house.page(ADMIN, &words, "slowest node node-b:");
    assert!(
        line(&page, "Pulls").starts_with("Half of the last 2 took no longer than 62 s"),
        "{page}"
    );
    let json = house.explain(ADMIN, &[&words[..], &["-o", "json"]].concat()).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    let nodes = json!([{"node": "node-b", "pulls": 1, "median_milliseconds": 62_000},
        {"node": "node-a", "pulls": 1, "median_milliseconds": 12_300}]);
    assert_eq!(json["reports"][0]["pulls"]["nodes"], nodes, "{json:#}");
    let theirs = house.explain(DEVELOPER, &[&image, "-n", "shop", "--no-memory"]);
    assert!(!theirs.stdout.contains("Pulls"), "{theirs:?}");
}
