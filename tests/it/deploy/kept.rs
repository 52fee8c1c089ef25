//! What an installation keeps of its own, against a real API server, with the very ServiceAccount
//! and roles that are deployed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullgate::pki::{CertificateController, Lifetimes, Names, Pace, ServingMaterial};
use pullgate::telemetry::Metrics;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::accepted::{apply_base, base_folder};
use super::chart::render;
use super::deployed::Endpoint;
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

fn names(replica: &str, aggregated: bool) -> Names {
    Names {
        namespace: "pullgate".to_owned(),
        secret: "pullgate".to_owned(),
        service: "pullgate".to_owned(),
        configurations: "pullgate".to_owned(),
        replica: replica.to_owned(),
        aggregated,
    }
}

pub(super) type Replica = (tokio::task::JoinHandle<()>, watch::Receiver<Option<ServingMaterial>>);

/// A keeper of an installation that is reached by the API server's aggregation layer.
pub(super) fn start(client: &kube::Client, replica: &str, lifetimes: Lifetimes) -> Replica {
    start_named(client, names(replica, true), lifetimes)
}

/// A keeper of an installation that is reached by a path with a token.
pub(super) fn start_by_path(client: &kube::Client, replica: &str) -> Replica {
    start_named(client, names(replica, false), Lifetimes::default())
}

fn start_named(client: &kube::Client, names: Names, lifetimes: Lifetimes) -> Replica {
    let metrics = Arc::new(Metrics::new());
    let keeper = CertificateController::new(client, names, true, lifetimes, PACE, metrics);
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

/// Path of every webhook and the CA bundle that goes with it, once both are there.
fn written(kubectl: &Kubectl) -> Option<(String, Vec<u8>)> {
    Endpoint::read(kubectl).ok().map(|endpoint| (endpoint.path, endpoint.authorities))
}

/// Both ways to be reached: as the base is, and by a path.
#[rstest]
#[case::by_the_aggregation_layer(true)]
#[case::by_a_path(false)]
fn an_installation_keeps_itself(#[case] aggregated: bool) {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    let by_path = render(&helm, &["webhook.proof=path"]).unwrap();
    let by_path = json!({"apiVersion": "v1", "kind": "List", "items": by_path}).to_string();
    let apply = || {
        if aggregated {
            apply_base(&kubectl);
        } else {
            kubectl.run_with(&["apply", "--server-side", "-f", "-"], &by_path).ok().unwrap();
        }
    };
    let start =
        |replica| start_named(&client(&cluster), names(replica, aggregated), Lifetimes::default());
    cluster.namespace_called("pullgate", &[]);
    apply();

    // Two replicas: one makes, both serve with the same.
    let (first, of_first) = start("first");
    let material = wait_for("the first material", || of_first.borrow().clone());
    let (second, of_second) = start("second");
    wait_for("the second's material", || {
        (of_second.borrow().as_ref() == Some(&material)).then_some(())
    });
    let (path, bundle) = wait_for("path and bundle", || written(&kubectl));
    let path_of = |token: &str| {
        if aggregated {
            "/apis/admission.pullgate.dev/v1/validate".to_owned()
        } else {
            format!("/validate/{token}")
        }
    };
    assert_eq!(path, path_of(&material.token));
    let secret = kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).unwrap();
    let authority = STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
    assert_eq!(bundle.trim_ascii(), authority.trim_ascii());
    let lease = kubectl.get(&["lease", "-n", "pullgate", "pullgate"]).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "first");

    // What a GitOps tool applies again takes nothing away, and there is no difference to see.
    apply();
    assert_eq!(written(&kubectl), Some((path.clone(), bundle.clone())));
    if aggregated {
        kubectl.finds_no_drift(&["--server-side", "-k", &base_folder()], "");
    } else {
        kubectl.finds_no_drift(&["--server-side", "-f", "-"], &by_path);
    }

    // What somebody takes away comes back.
    let (object, at) = if aggregated {
        ("apiservice/v1.admission.pullgate.dev", "/spec/caBundle")
    } else {
        ("validatingwebhookconfiguration/pullgate", "/webhooks/0/clientConfig/caBundle")
    };
    let removal = json!([{"op": "remove", "path": at}]).to_string();
    kubectl.run(&["patch", object, "--type=json", "-p", &removal]).ok().unwrap();
    wait_for("the bundle", || (written(&kubectl)? == (path.clone(), bundle.clone())).then_some(()));

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
    wait_for("the new authority and path", || {
        let (path, now) = written(&kubectl)?;
        (now != bundle && path == path_of(&token)).then_some(())
    });
    second.abort();
}

/// OpenShift turns this plugin on: who names an owner later must be allowed to delete what is owned.
#[test]
fn the_lease_belongs_to_the_secret_also_where_owners_are_guarded() {
    let plugin = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";
    let Some(deployed) = super::deployed::Deployed::start_with(&[], &[plugin]) else { return };
    let _replica = deployed.replica("pullgate-0", &[]);
    let lease = deployed.kubectl.get(&["lease", "-n", "pullgate", "pullgate"]).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "pullgate-0");
    assert_eq!(lease["metadata"]["ownerReferences"][0]["kind"], "Secret", "{lease}");
}
