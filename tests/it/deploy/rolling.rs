//! Replicas come and go under load, the API server away, registries that hang: pods are created
//! all the same, in time, and with the right verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::balancer::Balancer;
use super::deployed::{Deployed, eventually, review_of};
use crate::cluster::pullgate::API_SERVICE;
use crate::cluster::runtime;

pub(super) const REFUSED: &str = "refused.example.com/a/b:1";
const SKIPPED: &str = "skipped.example.com/a/b:1";
/// What the webhook configuration says, and some time for a busy machine.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const SLACK: Duration = Duration::from_millis(1500);
/// How long a kubelet waits before it starts a container again that died twice within minutes.
const BACK_OFF: Duration = Duration::from_secs(10);

pub(super) fn values(port: u16) -> [String; 4] {
    [
        format!("service.port={port}"),
        "policy.registries.refuse={refused.example.com}".to_owned(),
        "policy.registries.skip={skipped.example.com}".to_owned(),
        "webhook.failurePolicy=Fail".to_owned(),
    ]
}

fn pod(image: &str) -> Pod {
    serde_json::from_value(json!({"metadata": {"generateName": "p-"},
        "spec": {"containers": [{"name": "c", "image": image}]}}))
    .unwrap()
}

/// Creates a pod for show: what the API server said of it.
pub(super) async fn create(api: &Api<Pod>, image: &str) -> Result<(), String> {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &pod(image)).await.map(drop).map_err(|error| error.to_string())
}

/// An installation behind a balancer that enforces in `shop`, and without which no pod is made there.
fn enforced() -> Option<(Deployed, Balancer)> {
    let balancer = Balancer::start();
    let values = values(balancer.port);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let deployed = Deployed::start(&values)?;
    deployed.route_to_loopback();
    deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
    Some((deployed, balancer))
}

/// Waits until Pullgate itself denies: an error alone may be the API server's, which reached nobody.
pub(super) fn denies(api: &Api<Pod>, what: &str) {
    eventually(what, || {
        let refused = runtime().block_on(create(api, REFUSED));
        refused.is_err_and(|error| error.contains("denied the request: image"))
    });
}

/// Creates good and bad pods until told to stop; whatever is not as it must be.
pub(super) async fn load(
    api: Api<Pod>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = create(&api, SKIPPED).await {
            wrong.push(format!("a good pod: {error}"));
        }
        match create(&api, REFUSED).await {
            Err(error) if error.contains("denied the request: image refused.example.com") => {}
            other => wrong.push(format!("a bad pod: {other:?}")),
        }
        done.fetch_add(2, Ordering::Relaxed);
    }
    wrong
}

#[test]
fn a_rolling_restart_under_load_fails_no_review_and_no_verdict() {
    let Some((deployed, balancer)) = enforced() else { return };
    let more = ["--lame-duck-seconds=2"];
    let mut running: Vec<_> =
        ["r-0", "r-1"].map(|name| (name.to_owned(), deployed.replica(name, &more))).into();
    for (_, replica) in &running {
        balancer.add(replica);
    }
    deployed.endpoint();
    let api: Api<Pod> = Api::namespaced(deployed.api(), "shop");
    denies(&api, "the first denial");

    // With the webhooks in force: what is applied is what is there, and two managers agree.
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "shop"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": SKIPPED}]}}}})
    .to_string();
    for manager in ["--field-manager=one", "--field-manager=two"] {
        let apply = ["apply", "--server-side", manager, "-f", "-"];
        deployed.kubectl.run_with(&apply, &deployment).ok().unwrap();
        deployed.kubectl.finds_no_drift(&["--server-side", manager, "-f", "-"], &deployment);
    }

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let loads: Vec<_> = (0..3)
        .map(|_| runtime().spawn(load(api.clone(), Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    for round in 2..4 {
        let name = format!("r-{round}");
        let replica = deployed.replica(&name, &more);
        balancer.add(&replica);
        running.push((name, replica));
        std::thread::sleep(Duration::from_millis(500));
        let (leader, mut old) = running.remove(0);
        let status = old.process.terminate(Duration::from_secs(30));
        assert!(status.success(), "{status}: {}", old.process.output());
        let freed = Instant::now();
        eventually("another leader", || {
            let lease = deployed.kubectl.get(&["lease", "-n", "pullgate", "pullgate"]).unwrap();
            lease["spec"]["holderIdentity"].as_str().is_some_and(|name| name != leader)
        });
        assert!(freed.elapsed() < Duration::from_secs(10), "the Lease was not given up");
    }
    stop.store(true, Ordering::Relaxed);
    let wrong: Vec<String> =
        loads.into_iter().flat_map(|load| runtime().block_on(load).unwrap()).collect();
    let done = done.load(Ordering::Relaxed);
    assert!(wrong.is_empty(), "{} of {done}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(done > 200, "only {done} reviews");
}

/// Stops a process, or lets it go on.
fn signal(id: u32, name: &str) {
    let command = format!("kill -{name} {id}");
    let sent = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn whatever_is_away_no_pod_waits_longer_than_the_time_out() {
    let Some((deployed, balancer)) = enforced() else { return };
    let replica = deployed.replica("r-0", &["--allow-address=127.0.0.0/8"]);
    balancer.add(&replica);
    let endpoint = deployed.endpoint();
    let api: Api<Pod> = Api::namespaced(deployed.api(), "shop");
    denies(&api, "the first denial");

    // A registry that takes connections and says nothing, one that is not there, a name that is
    // nobody's.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // Bound and never listened on: refused, and no other test can get it.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let images = [
        format!("{}/a/b:1", silent.local_addr().unwrap()),
        format!("{}/a/b:1", nobody.local_addr().unwrap()),
        "registry.invalid/a/b:1".to_owned(),
    ];
    for image in &images {
        let began = Instant::now();
        runtime().block_on(create(&api, image)).unwrap();
        assert!(began.elapsed() < TIMEOUT + SLACK, "{image}: {:?}", began.elapsed());
    }

    // The API server too: pull secrets cannot be read, and nobody can be asked who may see what.
    let [_, api_server, _] = deployed.cluster.process_ids();
    signal(api_server, "STOP");
    let answers: Vec<_> = images
        .iter()
        .map(String::as_str)
        .chain([REFUSED, SKIPPED])
        .map(|image| {
            let spec = json!({"imagePullSecrets": [{"name": "s"}],
                              "containers": [{"name": "c", "image": image}]});
            let began = Instant::now();
            let answer = replica.post(&endpoint, &review_of("shop", &spec));
            (image.to_owned(), began.elapsed(), answer)
        })
        .collect();
    signal(api_server, "CONT");
    for (image, took, answer) in answers {
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200, "{image}: {body}");
        assert!(took < TIMEOUT, "{image}: {took:?}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["response"]["allowed"], image != REFUSED, "{image}: {body}");
    }
    denies(&api, "everything is as before");
}

#[test]
fn with_fail_two_kills_of_all_replicas_stop_watched_namespaces_and_no_others() {
    let Some((deployed, balancer)) = enforced() else { return };
    let [shop, own, system] = ["shop", "pullgate", "kube-system"]
        .map(|namespace| Api::<Pod>::namespaced(deployed.api(), namespace));
    let start = |round: u32| {
        ["a", "b"].map(|name| {
            let replica = deployed.replica(&format!("r-{round}{name}"), &[]);
            balancer.add(&replica);
            replica
        })
    };
    for round in 0..2 {
        let both = start(round);
        denies(&shop, "a denial");
        // Dropped is killed, without a farewell.
        drop(both);
    }
    let died = Instant::now();
    while died.elapsed() < BACK_OFF {
        let began = Instant::now();
        let refused = runtime().block_on(create(&shop, SKIPPED)).unwrap_err();
        assert!(refused.contains("failed calling webhook"), "{refused}");
        assert!(began.elapsed() < TIMEOUT + SLACK, "{:?}", began.elapsed());
        for spared in [&own, &system] {
            runtime().block_on(create(spared, SKIPPED)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let _back = start(2);
    denies(&shop, "as before");
    runtime().block_on(create(&shop, SKIPPED)).unwrap();
}

#[test]
fn a_cluster_starts_from_zero_with_pullgate_down_slow_or_expired() {
    let port = crate::cluster::free_port();
    let values = values(port);
    // As it is shipped: what cannot be asked is let in.
    let values: Vec<&str> = values[..3].iter().map(String::as_str).collect();
    let Some(deployed) = Deployed::start(&values) else { return };
    deployed.route_to_loopback();
    deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
    let api: Api<Pod> = Api::namespaced(deployed.api(), "shop");
    let own: Api<Pod> = Api::namespaced(deployed.api(), "pullgate");
    let admitted = |what: &str, within: Duration| {
        let began = Instant::now();
        runtime().block_on(create(&api, REFUSED)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let took = began.elapsed();
        assert!(took < within + SLACK, "{what}: {took:?}");
        // Its own pods do not wait for it at all.
        let began = Instant::now();
        runtime().block_on(create(&own, SKIPPED)).unwrap();
        assert!(began.elapsed() < SLACK, "{what}: {:?}", began.elapsed());
    };
    admitted("nothing was ever there", TIMEOUT);

    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    admitted("it takes connections and says nothing", TIMEOUT);
    drop(listener);

    // An expired certificate, of an authority that the configuration trusts.
    let expired = Expired::start(port);
    expired.trust(&deployed);
    admitted("its certificate has expired", TIMEOUT);
    let hellos = expired.hellos.load(Ordering::Relaxed);
    assert!(hellos > 0, "nobody shook hands with it");
    drop(expired);

    // And then it comes.
    let more = format!("--listen=127.0.0.1:{port}");
    let _replica = deployed.replica("r-0", &[&more]);
    denies(&api, "a denial");
}

/// A server whose certificate has expired.
struct Expired {
    authority: String,
    hellos: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Expired {
    fn start(port: u16) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec!["pullgate.pullgate.svc".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(leaf.der().to_vec())], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let hellos = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&hellos);
        let task = runtime().spawn(async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let _refused = acceptor.accept(stream).await;
            }
        });
        Self { authority: authority.pem(), hellos, task }
    }

    /// Lets the aggregation layer trust its authority.
    fn trust(&self, deployed: &Deployed) {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(&self.authority);
        let patch = json!([{"op": "add", "path": "/spec/caBundle", "value": bundle}]).to_string();
        let patch = ["patch", "apiservice", API_SERVICE, "--type=json", "-p", &patch];
        deployed.kubectl.run(&patch).ok().unwrap();
        // The API server watches it.
        std::thread::sleep(Duration::from_secs(2));
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        self.task.abort();
    }
}
