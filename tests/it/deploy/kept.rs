//! What an installation keeps of its own, against a real API server, with the very ServiceAccount
//! and roles that are deployed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullgate::pki::{Keeper, Lifetimes, Material, Names, Pace};
use pullgate::telemetry::Metrics;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::accepted::{apply_base, base_folder};
use super::program;
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::{PATIENCE, runtime};

const PACE: Pace = Pace {
    every: Duration::from_millis(200),
    follow: Duration::from_millis(200),
    retry: Duration::from_millis(100),
    lease: Duration::from_secs(2),
};

/// A client with a token of the deployed ServiceAccount.
pub(super) fn client(cluster: &ControlPlane) -> kube::Client {
    let admin = cluster.admin();
    let token = admin.run(&["create", "token", "pullgate", "-n", "pullgate"]).ok().unwrap();
    let config = admin.run(&["config", "view", "--raw", "-o", "json"]).ok().unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let url = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
    let mut config = kube::Config::new(url.parse().unwrap());
    let authority = std::fs::read(cluster.authority()).unwrap();
    let authority = rustls_pem(&authority);
    config.root_cert = Some(authority);
    config.auth_info.token = Some(token.trim().to_owned().into());
    let _in_runtime = runtime().enter();
    kube::Client::try_from(config).unwrap()
}

pub(super) fn rustls_pem(pem: &[u8]) -> Vec<Vec<u8>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::pem_slice_iter(pem).map(|one| one.unwrap().to_vec()).collect()
}

fn names(replica: &str) -> Names {
    Names {
        namespace: "pullgate".to_owned(),
        secret: "pullgate".to_owned(),
        service: "pullgate".to_owned(),
        configurations: "pullgate".to_owned(),
        replica: replica.to_owned(),
        aggregated: false,
    }
}

pub(super) type Replica = (tokio::task::JoinHandle<()>, watch::Receiver<Option<Material>>);

pub(super) fn start(client: &kube::Client, replica: &str, lifetimes: Lifetimes) -> Replica {
    let metrics = Arc::new(Metrics::new());
    let keeper = Keeper::new(client, names(replica), true, lifetimes, PACE, metrics);
    let material = keeper.material();
    (runtime().spawn(keeper.run(CancellationToken::new())), material)
}

/// A keeper of an installation that is reached by the API server's aggregation layer.
pub(super) fn start_aggregated(client: &kube::Client, replica: &str) -> Replica {
    let names = Names { aggregated: true, ..names(replica) };
    let metrics = Arc::new(Metrics::new());
    let keeper = Keeper::new(client, names, true, Lifetimes::default(), PACE, metrics);
    let material = keeper.material();
    (runtime().spawn(keeper.run(CancellationToken::new())), material)
}

pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "{what} never came");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Path and bundle of every webhook, once all have both.
fn written(kubectl: &Kubectl) -> Option<(String, String)> {
    let configuration = kubectl.get(&["validatingwebhookconfiguration", "pullgate"]).unwrap();
    let mut all: Vec<_> = configuration["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| {
            let client = &webhook["clientConfig"];
            let path = client["service"]["path"].as_str()?;
            Some((path.to_owned(), client["caBundle"].as_str()?.to_owned()))
        })
        .collect();
    assert_eq!(all.len(), 2);
    all.dedup();
    assert_eq!(all.len(), 1, "the webhooks differ");
    all.pop().flatten()
}

#[test]
fn an_installation_keeps_itself() {
    let Some(program) = program("kube-apiserver") else { return };
    let cluster = ControlPlane::start(program.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    apply_base(&kubectl);
    let client = client(&cluster);

    // Two replicas: one makes, both serve with the same.
    let (first, of_first) = start(&client, "first", Lifetimes::default());
    let material = wait_for("the first material", || of_first.borrow().clone());
    let (second, of_second) = start(&client, "second", Lifetimes::default());
    wait_for("the second's material", || {
        (of_second.borrow().as_ref() == Some(&material)).then_some(())
    });
    let (path, bundle) = wait_for("path and bundle", || written(&kubectl));
    assert_eq!(path, format!("/validate/{}", material.token));
    let secret = kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).unwrap();
    let authority = STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
    assert_eq!(STANDARD.decode(&bundle).unwrap().trim_ascii(), authority.trim_ascii());
    let lease = kubectl.get(&["lease", "-n", "pullgate", "pullgate"]).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "first");

    // What a GitOps tool applies again takes nothing away, and there is no difference to see.
    apply_base(&kubectl);
    assert_eq!(written(&kubectl), Some((path.clone(), bundle.clone())));
    kubectl.finds_no_drift(&["--server-side", "-k", &base_folder()], "");

    // What somebody takes away comes back.
    let removal = r#"[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#;
    let hook = "validatingwebhookconfiguration/pullgate";
    kubectl.run(&["patch", hook, "--type=json", "-p", removal]).ok().unwrap();
    // The webhooks differ for a moment; then both are as before.
    std::thread::sleep(PACE.every * 10);
    assert_eq!(written(&kubectl), Some((path, bundle)));

    // The leader goes: the other takes over, and what it finds it keeps.
    first.abort();
    wait_for("another leader", || {
        let lease = kubectl.get(&["lease", "-n", "pullgate", "pullgate"]).unwrap();
        (lease["spec"]["holderIdentity"] == "second").then_some(())
    });
    assert_eq!(of_second.borrow().as_ref(), Some(&material));
    kubectl.run(&["delete", "secret", "-n", "pullgate", "pullgate"]).ok().unwrap();
    wait_for("a new Secret", || {
        let now = of_second.borrow().clone()?;
        (now.token != material.token).then_some(())
    });
    let token = of_second.borrow().as_ref().unwrap().token.clone();
    wait_for("the new path", || {
        (written(&kubectl)?.0 == format!("/validate/{token}")).then_some(())
    });
    second.abort();
}
