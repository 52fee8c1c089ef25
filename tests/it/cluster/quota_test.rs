//! Docker Hub's limit, told before a rollout needs more than is left.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::pullgate::{self, Proof, PullgateServer, Surroundings};
use super::{PATIENCE, nodes, process, programs, runtime, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "quota");
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {defaultMode: warn, nodes: {network: same}}
";
const NODES: [&str; 5] = ["node-a", "node-b", "node-c", "node-d", "node-e"];

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// Docker Hub as a proxy is asked for it: every image is there, so many pulls are left, and what counts
/// as a pull is counted.
fn hub(left: u32, pulls: &Arc<AtomicU32>) -> std::net::SocketAddr {
    let pulls = Arc::clone(pulls);
    let answer = async move |method: http::Method, uri: http::Uri| {
        let is_of_the_hub = uri.host() == Some("registry-1.docker.io");
        if is_of_the_hub && method == http::Method::GET {
            pulls.fetch_add(1, Relaxed);
        }
        axum::response::Response::builder()
            .status(if is_of_the_hub { 200 } else { 502 })
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("docker-content-digest", digest())
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", format!("{left};w=21600"))
            .body(axum::body::Body::empty())
            .unwrap()
    };
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    })
}

fn deployment(image: &str, replicas: u32, secret: &str) -> Value {
    let secrets = if secret.is_empty() { json!([]) } else { json!([{"name": secret}]) };
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"imagePullSecrets": secrets,
                "containers": [{"name": "c", "image": image}]}}}})
}

/// A cluster of five nodes with a namespace whose developers have a login at Docker Hub.
struct Shop {
    pulls: Arc<AtomicU32>,
    proxy: String,
    cluster: ControlPlane,
    folder: TempDir,
}

fn docker_config(user: &str) -> String {
    json!({"auths": {"https://index.docker.io/v1/": {"username": user, "password": "p"}}})
        .to_string()
}

fn shop(left: u32) -> Option<Shop> {
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    let pulls = Arc::new(AtomicU32::new(0));
    let proxy = format!("http://{}", hub(left, &pulls));
    let cluster = ControlPlane::start(&programs).unwrap();
    for node in NODES {
        nodes::create_node(&cluster, node, "amd64", &[], &[]);
    }
    cluster.namespace_called("shop", &[LABEL]);
    cluster.let_developer_edit("shop");
    pullgate::grant_rights(&cluster);
    cluster.admin().create(&json!({"apiVersion": "v1", "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "hub-login", "namespace": "shop"},
        "stringData": {".dockerconfigjson": docker_config("u")}}));
    let folder = process::folder("quota");
    std::fs::create_dir(folder.path().join("docker.io")).unwrap();
    // Plain HTTP, so that a proxy answers in its place; at its own port, or it would be a mirror.
    let hosts = "server = \"http://registry-1.docker.io:443\"\n";
    std::fs::write(folder.path().join("docker.io/hosts.toml"), hosts).unwrap();
    Some(Shop { pulls, proxy, cluster, folder })
}

impl Shop {
    /// The flag with the mirror files.
    fn files(&self) -> String {
        format!("--registry-hosts-dir={}", self.folder.path().display())
    }

    fn serve(&self, flags: &[&str]) -> PullgateServer {
        let variables =
            vec![("HTTP_PROXY", self.proxy.clone()), ("NO_PROXY", "127.0.0.1".to_owned())];
        let around = Surroundings { variables, ..Surroundings::default() };
        let server =
            PullgateServer::start_in(&around, &self.cluster, Some(POLICY), Proof::PathToken, flags);
        let server = server.unwrap();
        server.register(&self.cluster, "quota", LABEL);
        server
    }

    /// What somebody is told who tries this out.
    fn said_by(&self, user: User, object: &Value) -> String {
        let apply = ["apply", "--dry-run=server", "-f", "-"];
        let done = self.cluster.kubectl(user).run_with(&apply, &object.to_string());
        assert_eq!(done.code, 0, "{done:?}");
        done.stderr
    }
}

#[test]
fn a_rollout_that_needs_more_pulls_than_docker_hub_has_left_is_told_and_not_denied() {
    let Some(shop) = shop(3) else { return };
    let (cluster, files) = (&shop.cluster, shop.files());
    let server = shop.serve(&[&files]);
    let said_by = |user, object: &Value| shop.said_by(user, object);
    let web = deployment("nginx:1.27", 5, "");
    let head = "rollout needs up to 5 Docker Hub pulls; Pullgate's address has 3 left";
    let said = wait_until("the line", || {
        let said = said_by(DEVELOPER, &web);
        if said.contains(head) { Ok(said) } else { Err(said.into()) }
    })
    .unwrap();
    assert!(said.contains("an estimate; by the policy nodes share that address"), "{said}");
    // Of an account the nodes use the same.
    let said = said_by(DEVELOPER, &deployment("nginx:1.27", 5, "hub-login"));
    assert!(said.contains("up to 5 Docker Hub pulls; its account has 3 left"), "{said}");
    for fits in [deployment("nginx:1.27", 3, ""), deployment("127.0.0.1:9/app:1", 5, "")] {
        let said = said_by(DEVELOPER, &fits);
        assert!(!said.contains("Docker Hub"), "{said}");
    }
    // Who may list all pods may know what nodes have.
    let images = json!({"status": {"images": [
        {"names": ["docker.io/library/nginx:1.27"], "sizeBytes": 9}]}})
    .to_string();
    for node in &NODES[..3] {
        let patch = ["patch", "node", node, "--subresource=status", "-p", &images];
        cluster.admin().run(&patch).ok().unwrap();
    }
    wait_until("what nodes have", || {
        let said = said_by(ADMIN, &web);
        if said.contains("Docker Hub") { Err(said.into()) } else { Ok(()) }
    })
    .unwrap();
    assert!(said_by(DEVELOPER, &web).contains(head));
    // `check` says it beforehand.
    let mut command = Command::new(pullgate::binary());
    process::clean_environment(&mut command, shop.folder.path());
    command.env("HTTP_PROXY", &shop.proxy).env("NO_PROXY", "127.0.0.1");
    let config = format!("--kubeconfig={}", cluster.kubeconfig(DEVELOPER).display());
    command.args(["check", &config, &files, "-f", "-", "-o", "json"]);
    let with_secret = deployment("nginx:1.27", 5, "hub-login").to_string();
    let checked = process::run(&mut command, &with_secret, PATIENCE * 2);
    assert_eq!(checked.code, 0, "{checked:?}");
    let report: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["images"][0]["note"], "pull_quota", "{}", checked.stdout);
    assert_eq!(shop.pulls.load(Relaxed), 0, "none was spent to learn it");
    // Of an address that nodes may not share nothing is said.
    server.write_policy(&POLICY.replace(", nodes: {network: same}", ""));
    wait_until("silence about the address", || {
        let said = said_by(DEVELOPER, &web);
        if said.contains(head) { Err(said.into()) } else { Ok(()) }
    })
    .unwrap();
    let said = said_by(DEVELOPER, &deployment("nginx:1.27", 5, "hub-login"));
    assert!(said.contains("its account has 3 left"), "{said}");
    server.write_policy(POLICY);
    wait_until("the line again", || {
        let said = said_by(DEVELOPER, &web);
        if said.contains(head) { Ok(()) } else { Err(said.into()) }
    })
    .unwrap();
    server.write_policy(&POLICY.replace("}}\n", "}, advice: {pullQuota: false}}\n"));
    wait_until("silence", || {
        let said = said_by(DEVELOPER, &web);
        if said.contains(head) { Err(said.into()) } else { Ok(()) }
    })
    .unwrap();
}

/// A login of the nodes is the platform's: what it has left is told to nobody who rolls out.
#[test]
fn nodes_that_run_it_pull_nothing_and_what_a_login_of_the_nodes_has_left_is_not_told() {
    let Some(shop) = shop(1) else { return };
    let cluster = &shop.cluster;
    cluster.namespace_called("bank", &[]);
    let admin = cluster.admin();
    // None of these nodes lists the image.
    let run = |namespace: &str, name: &str, on: &[&str]| {
        let count = u32::try_from(on.len()).unwrap();
        let mut object = deployment("nginx:1.27", count, "");
        object["metadata"] = json!({"name": name, "namespace": namespace});
        let labels = json!({"app": name});
        object["spec"]["selector"]["matchLabels"] = labels.clone();
        object["spec"]["template"]["metadata"]["labels"] = labels;
        admin.create(&object);
        let pods = nodes::wait_for_pods(cluster, namespace, &format!("app={name}"), on.len());
        for (pod, node) in pods.iter().zip(on) {
            nodes::play_running(cluster, namespace, pod, node, &digest());
        }
    };
    run("shop", "runs", &["node-a", "node-b"]);
    run("bank", "vault", &["node-c"]);
    let login = shop.folder.path().join("config.json");
    std::fs::write(&login, docker_config("n")).unwrap();
    let login = format!("--node-docker-config={}", login.display());
    // It ends before the cluster that calls it.
    let _server = shop.serve(&[&shop.files(), &login]);
    let said_by = |user, object: &Value| shop.said_by(user, object);
    let with_secret = deployment("nginx:1.27", 5, "hub-login");
    for (user, needed) in [(DEVELOPER, 3), (ADMIN, 2)] {
        let head = format!("rollout needs up to {needed} Docker Hub pulls; its account has 1 left");
        wait_until("what runs where", || {
            let said = said_by(user, &with_secret);
            if said.contains(&head) { Ok(()) } else { Err(said.into()) }
        })
        .unwrap();
    }
    // It works, with the login of the nodes, and nothing is told.
    let said = said_by(ADMIN, &deployment("nginx:1.27", 5, ""));
    assert_eq!(said, "", "of the nodes' login");
    // One that asks at every start pulls what it does not have by digest, and these have it.
    let mut asks = with_secret;
    asks["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let said = said_by(ADMIN, &asks);
    assert!(said.contains("up to 2 Docker Hub pulls"), "{said}");
    assert_eq!(shop.pulls.load(Relaxed), 0, "none was spent to learn it");
}
