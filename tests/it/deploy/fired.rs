//! The alerts about what nodes live with, each fired: a real Prometheus scrapes a real `serve` that
//! watches a real API server, and reads the chart's own rules.
//!
//! What a rule waits for (`for`, in minutes) is taken to be over; everything else is as the chart
//! has it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use super::chart::render;
use super::deployed::Deployed;
use super::{one, program};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::images::Image;
use crate::cluster::pki::Authority;
use crate::cluster::pullgate::{self, Proof, PullgateServer};
use crate::cluster::registry::{Access, Registry};
use crate::cluster::{nodes, process, runtime, skipped, wait_until};

/// A registry at an address that is never contacted.
const UNSEEN: &str = "169.254.9.9:5000";
const PATIENCE: Duration = Duration::from_secs(120);

/// Prometheus, until it is dropped.
struct Prometheus {
    process: Child,
    lines: mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    fn start(program: &std::path::Path, rules: &std::path::Path, address: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(rules).args([address, "pullgate", "pullgate-metrics"]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { process, lines, heard: Vec::new() }
    }

    /// Waits until an alert with this name and this text in its labels fires.
    fn fires(&mut self, alert: &str, labels: &str) {
        let until = Instant::now() + PATIENCE;
        let wanted =
            |line: &String| line.starts_with(&format!("{alert} ")) && line.contains(labels);
        while !self.heard.iter().any(wanted) {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(why) => panic!("{alert} {labels} does not fire ({why}): {:#?}", self.heard),
            }
        }
    }
}

/// The chart's rules, with what they wait for taken to be over.
fn rules(helm: &std::path::Path) -> Value {
    let objects = render(helm, &["prometheusRule.enabled=true"]).unwrap();
    let mut spec = one(&objects, "PrometheusRule", "pullgate")["spec"].clone();
    for rule in spec["groups"][0]["rules"].as_array_mut().unwrap() {
        rule.as_object_mut().unwrap().remove("for");
    }
    spec
}

#[test]
fn alerts_about_registries_fire() {
    let (Some(apiserver), Some(helm), Some(alerts)) =
        (program("kube-apiserver"), program("helm"), program("alerts"))
    else {
        return;
    };
    let programs = apiserver.parent().unwrap();
    if Command::new(&alerts)
        .output()
        .is_ok_and(|said| !String::from_utf8_lossy(&said.stderr).contains("ADDRESS"))
    {
        skipped("the program `alerts` is of an earlier build (tests/cluster/build.sh)");
        return;
    }
    let cluster = ControlPlane::start(programs).unwrap();
    pullgate::grant_rights(&cluster);
    let folder = process::folder("fired");
    let hosts = format!("--registry-hosts-dir={}", nodes_files(folder.path()).display());
    let server = PullgateServer::start(&cluster, None, Proof::PathToken, &[&hosts]).unwrap();
    let file = folder.path().join("rules.json");
    std::fs::write(&file, rules(&helm).to_string()).unwrap();
    let mut prometheus = Prometheus::start(&alerts, &file, &server.admin_address());
    live(&cluster);
    look_into(&cluster, &server);
    prometheus.fires("PullgateRegistryFailsForNodes", "registry=\"lost.example\"");
    prometheus.fires("PullgateRegistryFailsForNodes", "kind=\"outage\"");
    prometheus.fires("PullgateTlsFailsOnNodes", "registry=\"tls.example\"");
    prometheus.fires("PullgateCredentialsRejected", "registry=\"login.example\"");
    prometheus.fires("PullgateBlind", &format!("registry=\"{UNSEEN}\""));
    let blind = prometheus.heard.iter().find(|line| line.starts_with("PullgateBlind ")).unwrap();
    let told = blind.split_whitespace().collect::<Vec<_>>().join(" ");
    let fix = ::pullgate::pull::BlindReason::Address.fix();
    assert!(told.contains(&format!("{UNSEEN} (address); what changes it: {fix}")), "{told}");
    prometheus.fires("PullgatePullSecretExpires", "login=\"pull_secret\"");
    prometheus.fires("PullgatePullSecretExpires", "registry=\"shown.example\"");
    let log = server.log();
    assert!(log.contains("a pull secret in use ends soon") && log.contains("shop"), "{log}");
    let quiet = |alert: &str| !prometheus.heard.iter().any(|line| line.starts_with(alert));
    assert!(
        quiet("PullgateRegistryDown") && quiet("PullgateCertificateExpires"),
        "{:#?}",
        prometheus.heard
    );
    let said =
        prometheus.heard.iter().any(|line| line.contains("cannot speak TLS with tls.example"));
    assert!(said, "{:#?}", prometheus.heard);
}

/// The nodes' mirror configuration, with a client certificate that ends tomorrow.
fn nodes_files(folder: &std::path::Path) -> std::path::PathBuf {
    let hosts = folder.join("hosts");
    let registry = hosts.join("shown.example");
    std::fs::create_dir_all(&registry).unwrap();
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap();
    let identity = Authority::new("clients").client_for("nodes", now - 30 * 86_400..now + 86_400);
    let text = "client = [[\"client.crt\", \"client.key\"]]\n";
    for (name, text) in
        [("hosts.toml", text), ("client.crt", &identity.certificate), ("client.key", &identity.key)]
    {
        std::fs::write(registry.join(name), text).unwrap();
    }
    hosts
}

/// Docker Hub as a proxy is asked for it: every image is there, and few pulls are left.
fn hub() -> std::net::SocketAddr {
    let answer = async |uri: http::Uri| {
        let is_of_the_hub = uri.host() == Some("registry-1.docker.io");
        let status = if is_of_the_hub { 200 } else { 502 };
        axum::response::Response::builder()
            .status(status)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("docker-content-digest", format!("sha256:{}", "a".repeat(64)))
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", "19;w=21600")
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

#[test]
fn alerts_about_images_in_use_fire() {
    let (Some(alerts), Some(helm)) = (program("alerts"), program("helm")) else { return };
    let proxy = format!("extraEnv[0].value=http://{}", hub());
    // The other registry is spoken to without it.
    let [name, direct] = ["extraEnv[1].name=NO_PROXY", "extraEnv[1].value=127.0.0.1"];
    let values = ["audit.seconds=1", "extraEnv[0].name=HTTP_PROXY", &proxy, name, direct];
    let Some(deployed) = Deployed::start(&values) else { return };
    let registry = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    let folder = process::folder("audited");
    let hosts = folder.path().join("docker.io");
    std::fs::create_dir(&hosts).unwrap();
    // Plain HTTP, so that a proxy answers in its place.
    std::fs::write(hosts.join("hosts.toml"), "server = \"http://registry-1.docker.io\"\n").unwrap();
    nodes::create_node(&deployed.cluster, "node-a", "amd64", &[], &[]);
    deployed.cluster.namespace_called("shop", &[]);
    let digest = Image::single("amd64", "1").digest().to_owned();
    for (name, image) in [("app", registry.image("shop/app:1")), ("web", "nginx:1".to_owned())] {
        pod(&deployed.cluster, "shop", name, &image);
        nodes::play_running(&deployed.cluster, "shop", name, "node-a", &digest);
    }
    let hosts = format!("--registry-hosts-dir={}", folder.path().display());
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8", &hosts]);
    let file = folder.path().join("rules.json");
    std::fs::write(&file, rules(&helm).to_string()).unwrap();
    let address = format!("127.0.0.1:{}", replica.admin);
    let mut prometheus = Prometheus::start(&alerts, &file, &address);
    prometheus.fires("PullgateQuotaNearlySpent", "");
    let gone = "PullgateImageNoLongerPullable";
    let fired = |prometheus: &Prometheus| prometheus.heard.iter().any(|one| one.starts_with(gone));
    assert!(!fired(&prometheus), "{:#?}", prometheus.heard);
    registry.untag("shop/app", "1");
    prometheus.fires(gone, &format!("registry=\"{}\"", registry.host()));
    let said = prometheus.heard.iter().find(|one| one.starts_with(gone)).unwrap();
    assert!(said.contains("cause=\"tag_not_found\""), "{said}");
}

/// Three registries in trouble of three kinds.
fn live(cluster: &ControlPlane) {
    for node in ["node-a", "node-b"] {
        nodes::create_node(cluster, node, "amd64", &[], &[]);
    }
    for namespace in ["shop", "bank"] {
        cluster.namespace_called(namespace, &[]);
    }
    let digest = Image::single("amd64", "old").digest().to_owned();
    pod(cluster, "shop", "old", "login.example/app:1");
    nodes::play_running(cluster, "shop", "old", "node-a", &digest);
    let troubles = [
        ("lost.example", "dial tcp 10.0.0.1:443: connect: connection refused"),
        (
            "tls.example",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        ("login.example", "unexpected status from HEAD request: 401 Unauthorized"),
    ];
    for (nth, (host, message)) in troubles.into_iter().enumerate() {
        for at in 0..4 {
            let namespace = if at % 2 == 0 { "shop" } else { "bank" };
            let node = if at % 2 == 0 { "node-a" } else { "node-b" };
            let name = format!("p{nth}{at}");
            pod(cluster, namespace, &name, &format!("{host}/app{}:1", at % 2));
            nodes::play_failing(cluster, namespace, &name, node, ("ErrImagePull", message));
        }
    }
}

/// Nodes run images of a registry whose address Pullgate does not contact, with a login that ends
/// tomorrow; and it is asked about three of them.
fn look_into(cluster: &ControlPlane, server: &PullgateServer) {
    let claims = json!({"exp": jiff::Timestamp::now().as_second() + 86_400}).to_string();
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
    let token = format!("eyJhbGciOiJub25lIn0.{body}.c2ln");
    let auths = json!({"auths": {UNSEEN: {"username": "robot", "password": token}}});
    let admin = cluster.admin();
    admin.create(&json!({"apiVersion": "v1", "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "login", "namespace": "shop"},
        "stringData": {".dockerconfigjson": auths.to_string()}}));
    admin.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sees", "namespace": "shop"},
        "spec": {"imagePullSecrets": [{"name": "login"}],
            "containers": [{"name": "c", "image": format!("{UNSEEN}/shop/old:1")}]},
    }));
    let digest = Image::single("amd64", "sees").digest().to_owned();
    nodes::play_running(cluster, "shop", "sees", "node-a", &digest);
    cluster.namespace_called("asks", &[("pullgate", "fired")]);
    server.register(cluster, "fired", ("pullgate", "fired"));
    wait_until("three look-ups", || {
        for nth in 0..3 {
            let image = format!("{UNSEEN}/shop/new{nth}:1");
            let pod = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "asks", "namespace": "asks"},
                "spec": {"containers": [{"name": "c", "image": image}]}});
            let dry = ["create", "--dry-run=server", "-f", "-"];
            admin.run_with(&dry, &pod.to_string()).ok().map_err(|error| format!("{error:?}"))?;
        }
        let (_, page) = server.admin_page("metrics")?;
        let blind = page.contains("pullgate_registry_blind{");
        if blind { Ok(()) } else { Err("not blind yet".to_owned().into()) }
    })
    .unwrap();
}

fn pod(cluster: &ControlPlane, namespace: &str, name: &str, image: &str) {
    cluster.admin().create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]},
    }));
}
