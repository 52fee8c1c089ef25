//! Faults in what people were told, each kept away at the place where it was met: a grace, the end
//! of an exception, pods that nobody owns, a handshake that fails.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{PATIENCE, nodes, process, programs, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "told");
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  latePush: {grace: 2m}
  exceptions:
  - {name: move, owner: shop team, reason: it moves, expires: \"{day}\", match: {images: ['**/moved/**']}}
";

struct House {
    // The webhook ends before the cluster that calls it.
    _server: PullgateServer,
    open: Registry,
    cluster: ControlPlane,
    folder: tempfile::TempDir,
}

fn house() -> Option<&'static House> {
    static HOUSE: OnceLock<House> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(HOUSE.get_or_init(|| {
        let cluster = ControlPlane::start(&programs).unwrap();
        let open = Registry::start(&programs, Access::Anonymous).unwrap();
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("shop", &[LABEL, ("pullgate.dev/mode", "enforce")]);
        cluster.let_developer_edit("shop");
        pullgate::grant_rights(&cluster);
        let policy = POLICY.replace("{day}", &tomorrow());
        let server = PullgateServer::start(&cluster, Some(&policy), Proof::PathToken, &[]).unwrap();
        server.register(&cluster, "told", LABEL);
        House { _server: server, open, cluster, folder: process::folder("told") }
    }))
}

/// The last day of the exception: near enough to be told of.
fn tomorrow() -> String {
    let day = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    day.strftime("%Y-%m-%d").to_string()
}

impl House {
    fn create(&self, object: &Value) -> process::Finished {
        let create = ["create", "-f", "-"];
        self.cluster.kubectl(DEVELOPER).run_with(&create, &object.to_string())
    }

    /// What is said of a Deployment, once it speaks of what is wanted.
    fn told(&self, image: &str, wanted: &str) -> String {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "asked", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}});
        let apply = ["apply", "--dry-run=server", "-f", "-"];
        let kubectl = self.cluster.kubectl(DEVELOPER);
        wait_until(wanted, || {
            let said = kubectl.run_with(&apply, &object.to_string()).stderr;
            if said.contains(wanted) { Ok(said) } else { Err(said.into()) }
        })
        .unwrap()
    }

    fn explain(&self, words: &[&str]) -> String {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN)).arg("explain").args(words);
        process::run(&mut command, "", PATIENCE * 2).ok().unwrap()
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}

#[test]
fn within_the_grace_nobody_is_told_that_pods_will_be_denied_now() {
    let Some(house) = house() else { return };
    let image = house.open.image("shop/app:9");
    let said = house.told(&image, "tag not found");
    assert!(said.contains("; its pods will be denied if that is still so after 2m"), "{said}");
    let made = house.create(&pod("within-the-grace", &image));
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stderr.contains("tag not found") && !made.stderr.contains("denied"), "{made:?}");
}

#[test]
fn the_end_of_an_exception_is_its_last_day() {
    let Some(house) = house() else { return };
    let said = house.told(&house.open.image("moved/app:9"), "by exception");
    let end = format!("let through until {} by exception move of shop team", tomorrow());
    assert!(said.contains(&end), "{said}");
}

#[test]
fn pods_that_nobody_owns_are_not_no_workloads() {
    let Some(house) = house() else { return };
    let image = house.open.image("shop/bare:9");
    for name in ["one", "two"] {
        assert_eq!(house.create(&pod(name, &image)).code, 0);
        let missing = format!("{image}: not found");
        nodes::play_failing(&house.cluster, "shop", name, "node-a", ("ErrImagePull", &missing));
    }
    let said = house.told(&image, "fail with it");
    assert!(said.contains("2 workloads fail with it"), "{said}");
    let page = house.explain(&[&image, "-n", "shop"]);
    let joined = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains("tag_not_found: 2 containers of pods without a workload"), "{page}");
    assert!(!joined.contains("0 workloads"), "{page}");
}

#[test]
fn a_handshake_that_fails_is_no_matter_of_authorities() {
    let Some(house) = house() else { return };
    let message = "failed to do request: Head \"https://r.example/v2/a/manifests/1\": remote error: \
                   tls: handshake failure";
    let page = house.explain(&["--message", message]);
    assert!(page.contains("compare TLS versions and ciphers"), "{page}");
    assert!(!page.contains("CA") && !page.contains("authorit"), "{page}");
}
