//! A tag that moves under pods that run: who is told, and of what.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER};
use super::images::Image;
use super::process::{self, Finished};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{PATIENCE, nodes, programs, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "drift");
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {defaultMode: warn, advice: {digestDrift: true}}
";

struct Moved {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    cluster: ControlPlane,
    registry: Registry,
    folder: TempDir,
}

fn deployment(namespace: &str, name: &str, image: &str, policy: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [
                {"name": "c", "image": image, "imagePullPolicy": policy}]}}}})
}

impl Moved {
    fn start() -> Option<Self> {
        let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let cluster = ControlPlane::start(&programs).unwrap();
        let registry = Registry::start(&programs, Access::Anonymous).unwrap();
        for node in ["node-a", "node-b"] {
            nodes::create_node(&cluster, node, "amd64", &[], &[]);
        }
        cluster.namespace_called("shop", &[LABEL]);
        cluster.namespace_called("bank", &[LABEL]);
        cluster.let_developer_edit("shop");
        // May roll out there, and see no pods.
        let admin = cluster.admin();
        let verbs = "--verb=create,get,patch,update";
        let role = ["create", "role", "rollout", verbs, "--resource=deployments", "-n", "bank"];
        admin.run(&role).ok().unwrap();
        let user = format!("--user={}", DEVELOPER.name);
        let bind = ["create", "rolebinding", "rollout", "--role=rollout", &user, "-n", "bank"];
        admin.run(&bind).ok().unwrap();
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
        server.register(&cluster, "drift", LABEL);
        Some(Self { server, cluster, registry, folder: process::folder("drift") })
    }

    /// Lets the pods of a Deployment run this image on these nodes.
    fn run(&self, namespace: &str, name: &str, on: &[&str], image: &Image) {
        let pods = nodes::wait_for_pods(&self.cluster, namespace, &format!("app={name}"), on.len());
        for (pod, node) in pods.iter().zip(on) {
            nodes::play_running(&self.cluster, namespace, pod, node, image.digest());
        }
    }

    fn as_developer(&self, words: &[&str], input: &str) -> Finished {
        let done = self.cluster.kubectl(DEVELOPER).run_with(words, input);
        assert_eq!(done.code, 0, "{done:?}");
        done
    }

    fn pullgate(&self, words: &[&str], input: &str) -> Finished {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN)).args(words);
        process::run(&mut command, input, PATIENCE * 2)
    }
}

#[test]
fn a_tag_that_moved_is_told_to_who_may_see_the_pods_that_run_what_it_was() {
    let Some(moved) = Moved::start() else { return };
    let Moved { server, cluster, registry, .. } = &moved;
    let (old, new) = (Image::index(&["amd64"], "old"), Image::index(&["amd64"], "new"));
    registry.push("shop/app", &["1"], &old);
    let image = registry.image("shop/app:1");
    let admin = cluster.admin();
    admin.create(&deployment("shop", "web", &image, "Always", 2));
    admin.create(&deployment("bank", "vault", &image, "Always", 1));
    moved.run("shop", "web", &["node-a", "node-a"], &old);
    moved.run("bank", "vault", &["node-b"], &old);
    let create = |namespace: &str, policy: &str| {
        let object = deployment(namespace, "next", &image, policy, 1).to_string();
        moved.as_developer(&["create", "--dry-run=server", "-f", "-"], &object).stderr
    };
    let same = create("shop", "Always");
    assert!(!same.contains("digest"), "nothing has moved yet: {same}");

    registry.push("shop/app", &["1"], &new);
    let digest = new.digest();
    // What a registry said is kept for some seconds.
    let head = "2 pods of its namespace run another digest of the tag than the registry has";
    let said = wait_until("the note", || {
        let said = create("shop", "Always");
        if said.contains(head) { Ok(said) } else { Err(said.into()) }
    })
    .unwrap();
    assert!(said.contains(&format!("; new pods pull what it has now, @{digest}")), "{said}");
    // One node has the tag and would start what it has.
    let said = create("shop", "IfNotPresent");
    let tail = format!("nodes without the tag pull @{digest}, others run what they have");
    assert!(said.contains(head) && said.contains(&tail), "{said}");
    let never = create("shop", "Never");
    assert!(!never.contains("another digest"), "it is not pulled: {never}");
    // Who may not list pods is told nothing of them.
    let hidden = create("bank", "Always");
    assert!(!hidden.contains("another digest"), "{hidden}");

    // A restart pulls the same names anew.
    let restart = ["rollout", "restart", "deployment/web", "-n", "shop"];
    let said = moved.as_developer(&restart, "").stderr;
    let own = "2 of its pods run another digest of the tag than the registry has";
    assert!(said.contains(own) && said.contains(digest), "{said}");
    let scaled = ["scale", "deployment/web", "--replicas=3", "-n", "shop"];
    let scaled = moved.as_developer(&scaled, "");
    assert!(!scaled.stderr.contains("another digest"), "no pod is made anew: {scaled:?}");

    // By default admission says nothing of what can be pulled.
    server.write_policy(&POLICY.replace(", advice: {digestDrift: true}", ""));
    wait_until("silence", || {
        let said = create("shop", "Always");
        if said.contains(head) { Err(said.into()) } else { Ok(()) }
    })
    .unwrap();
}

#[test]
fn explain_shows_which_digest_runs_where_and_tells_nothing_of_what_cannot_be_compared() {
    let Some(moved) = Moved::start() else { return };
    let Moved { cluster, registry, .. } = &moved;
    let (old, new) = (Image::index(&["amd64"], "old"), Image::index(&["amd64"], "new"));
    registry.push("shop/app", &["1"], &new);
    let image = registry.image("shop/app:1");
    let admin = cluster.admin();
    for (name, policy) in [("web", "Always"), ("slow", "IfNotPresent")] {
        admin.create(&deployment("shop", name, &image, policy, 1));
    }
    moved.run("shop", "web", &["node-a"], &old);
    moved.run("shop", "slow", &["node-b"], &new);
    let page = moved.pullgate(&["explain", &image, "-n", "shop", "--no-memory"], "").ok().unwrap();
    for line in [
        "\nRuns        sha256:".to_owned(),
        format!("{}\n              1 pod on node-b", new.digest()),
        format!("{}\n              1 pod on node-a", old.digest()),
        "deployment/web in shop\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line}\n{page}");
    }
    // What the old digest is nobody here knows: both are shown, and nothing is claimed.
    assert!(page.contains(&format!("Tag now     {}", new.digest())), "{page}");
    assert!(!page.contains("another digest"), "{page}");
    assert!(page.contains("With Always the next start of a container"), "{page}");
    let done = moved.pullgate(&["explain", &image, "-n", "shop", "--no-memory", "-o", "json"], "");
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let digests = &report["reports"][0]["digests"];
    let users: Vec<_> = digests
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["digest"].as_str().unwrap(),
                one["pods"].as_u64(),
                one["workloads"][0]["name"].clone(),
            )
        })
        .collect();
    assert!(users.contains(&(old.digest(), Some(1), json!("web"))), "{report:#}");
    assert!(users.contains(&(new.digest(), Some(1), json!("slow"))), "{report:#}");

    // The manifest for a node's platform is the same image as the index that holds it.
    let member = &new.manifests[0].1.digest;
    let pods = nodes::wait_for_pods(cluster, "shop", "app=web", 1);
    nodes::play_running(cluster, "shop", &pods[0], "node-a", member);
    let page = moved.pullgate(&["explain", &image, "-n", "shop", "--no-memory"], "").ok().unwrap();
    assert!(page.contains(member.as_str()) && !page.contains("another digest"), "{page}");
}
