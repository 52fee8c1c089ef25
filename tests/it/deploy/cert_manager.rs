//! cert-manager's own controllers and its cainjector beside the chart, with `certificates.mode:
//! certManager`: a certificate is issued, served and trusted, and renewed in every way there is while
//! reviews go on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use rstest::rstest;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

use super::balancer::{Balancer, SERVICES_ON_LOOPBACK};
use super::chart::render;
use super::deployed::{Deployed, eventually};
use super::helm::{Helm, chart};
use super::kept::{rustls_pem, wait_for};
use super::program;
use super::rolling::{denies, load, values};
use crate::cluster::control_plane::{ADMIN, ControlPlane};
use crate::cluster::images::Image;
use crate::cluster::process::Process;
use crate::cluster::registry::{Access, Registry};
use crate::cluster::{PATIENCE, free_port, runtime, wait_until};

const DEFINITIONS: [&str; 4] = [
    "cert-manager.io_certificaterequests",
    "cert-manager.io_certificates",
    "cert-manager.io_clusterissuers",
    "cert-manager.io_issuers",
];

/// How much later than the Secret the files of a pod change here; a kubelet takes up to two minutes.
const KUBELET: Duration = Duration::from_secs(6);

/// The volume of a Secret as a kubelet keeps it: files that lead to a folder, which is replaced whole.
async fn mount(secrets: Api<Secret>, name: String, at: PathBuf) {
    let mut last = None;
    for version in 0_u32.. {
        let data = loop {
            // While there is no Secret, the files stay what they are.
            let secret = secrets.get_opt(&name).await.ok().flatten();
            match secret.and_then(|secret| secret.data) {
                Some(data) if last.as_ref() != Some(&data) => break data,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        if last.is_some() {
            tokio::time::sleep(KUBELET).await;
        }
        let folder = at.join(format!("..{version}"));
        std::fs::create_dir_all(&folder).unwrap();
        for (key, value) in &data {
            std::fs::write(folder.join(key), &value.0).unwrap();
            let (file, to) = (at.join(key), Path::new("..data").join(key));
            if !file.is_symlink() {
                std::os::unix::fs::symlink(to, file).unwrap();
            }
        }
        std::os::unix::fs::symlink(folder, at.join("..new")).unwrap();
        std::fs::rename(at.join("..new"), at.join("..data")).unwrap();
        last = Some(data);
    }
}

/// cert-manager and what it makes for an installation of the chart.
struct Issued {
    deployed: Deployed,
    manager: Process,
}

impl Issued {
    /// A control plane with cert-manager, and the chart as helm installs it.
    fn start(proof: &str) -> Option<Self> {
        let (apiserver, helm) = (program("kube-apiserver")?, program("helm")?);
        let manager = program("cert-manager")?;
        let programs = apiserver.parent().unwrap();
        let cluster = ControlPlane::start_with(programs, &[SERVICES_ON_LOOPBACK]).unwrap();
        let kubectl = cluster.admin();
        for definition in DEFINITIONS {
            let file = program(&format!("definitions/{definition}.yaml"))?;
            let apply = ["apply", "--server-side", "-f", file.to_str().unwrap()];
            kubectl.run(&apply).ok().unwrap();
        }
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        kubectl.run(&established).ok().unwrap();
        let mut command = Command::new(manager);
        command.env("KUBECONFIG", cluster.kubeconfig(ADMIN));
        let folder = cluster.file("").clone();
        let manager = Process::start("cert-manager", &mut command, &folder).unwrap();

        cluster.namespace_called("pullgate", &[]);
        let values = values(free_port());
        let values: Vec<&str> = values
            .iter()
            .map(String::as_str)
            .chain([
                "certificates.mode=certManager",
                "mutation.enabled=true",
                "image.repository=127.0.0.1:9/pullgate",
                "webhook.trustPath=true",
                proof,
            ])
            .collect();
        let objects = render(&helm, &values).unwrap();
        let helm = Helm::new(helm, &cluster);
        helm.run(&["install", "pullgate", &chart()], &values).ok().unwrap();
        Some(Self { deployed: Deployed::of(cluster, objects), manager })
    }

    /// What a Secret holds under a key; nothing while it is not there.
    fn secret(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        let secret = self.deployed.kubectl.get(&["secret", "-n", "pullgate", name]).ok()?;
        STANDARD.decode(secret["data"][key].as_str()?).ok()
    }

    /// The certificate that is to be served.
    fn certificate(&self) -> Option<Vec<u8>> {
        let pem = self.secret("pullgate-tls", "tls.crt")?;
        rustls_pem(&pem).first().cloned()
    }

    /// Renews a certificate now, as `cmctl renew` does.
    fn renew(&self, name: &str, secret: &str) {
        let before = self.secret(secret, "tls.crt").unwrap();
        let kubectl = &self.deployed.kubectl;
        let ready = || {
            let certificate = kubectl.get(&["certificate", "-n", "pullgate", name]).unwrap();
            let conditions = certificate["status"]["conditions"].as_array().cloned();
            let conditions = conditions.unwrap_or_default();
            let is = |what: &str| {
                conditions.iter().any(|one| one["type"] == what && one["status"] == "True")
            };
            (is("Ready") && !is("Issuing")).then_some(conditions)
        };
        let mut conditions = wait_for("a certificate that is ready", ready);
        conditions.retain(|one| one["type"] != "Issuing");
        conditions.push(json!({"type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
            "message": "Certificate re-issuance manually triggered",
            "lastTransitionTime": jiff::Timestamp::now().to_string().split('.').next()
                .map(|time| format!("{time}Z"))}));
        let patch = json!({"status": {"conditions": conditions}}).to_string();
        let patch = [
            "patch",
            "certificate",
            "-n",
            "pullgate",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        kubectl.run(&patch).ok().unwrap();
        wait_for("a renewed certificate", || {
            self.secret(secret, "tls.crt").filter(|now| *now != before)
        });
        wait_for("a certificate that is ready again", ready);
    }

    /// Waits until the API server trusts this authority: cainjector keeps the one before, too.
    fn wait_for_bundles(&self, authority: &[u8]) {
        let trusted = |bundle: &Value| {
            let bundle = STANDARD.decode(bundle.as_str().unwrap_or_default()).unwrap();
            let [all, one] = [&bundle[..], authority].map(rustls_pem);
            one.iter().all(|one| all.contains(one))
        };
        let injected = wait_until("injected bundles", || {
            let bundles = self.bundles();
            if bundles.iter().all(trusted) { Ok(()) } else { Err(format!("{bundles:?}").into()) }
        });
        injected.unwrap_or_else(|error| panic!("{error}\n{}", self.manager.output()));
    }

    /// Every CA bundle that the API server has for Pullgate.
    fn bundles(&self) -> Vec<Value> {
        let kubectl = &self.deployed.kubectl;
        if let Ok(service) = kubectl.get(&["apiservice", crate::cluster::pullgate::API_SERVICE]) {
            return vec![service["spec"]["caBundle"].clone()];
        }
        let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
        let all = kinds.map(|kind| kubectl.get(&[kind, "pullgate"]).unwrap());
        let webhooks = all.iter().flat_map(|one| one["webhooks"].as_array().unwrap());
        webhooks.map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect()
    }
}

/// The certificate that is served on a port of loopback, to whom trusts these authorities.
fn served(port: u16, authorities: &[u8]) -> Option<Vec<u8>> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in rustls_pem(authorities) {
        roots.add(CertificateDer::from(authority)).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let shown = async {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let name = ServerName::try_from("pullgate.pullgate.svc").unwrap();
        let stream = connector.connect(name, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.to_vec())
    };
    runtime().block_on(async { tokio::time::timeout(PATIENCE, shown).await.ok()? })
}

#[rstest]
#[case::by_the_aggregation_layer("webhook.proof=aggregation")]
#[case::by_a_path("webhook.proof=path")]
fn cert_manager_issues_and_renews_while_reviews_go_on(#[case] proof: &str) {
    let Some(issued) = Issued::start(proof) else { return };
    let deployed = &issued.deployed;
    wait_for("an issued certificate", || issued.certificate());
    let authority = wait_for("its authority", || issued.secret("pullgate-tls", "ca.crt"));
    issued.wait_for_bundles(&authority);
    let folder = deployed.mounted("tls");
    let secrets: Api<Secret> = Api::namespaced(deployed.api(), "pullgate");
    let mounted = runtime().spawn(mount(secrets, "pullgate-tls".to_owned(), folder.clone()));
    wait_for("the mounted certificate", || folder.join("tls.key").exists().then_some(()));

    let balancer = Balancer::of_the_service(&deployed.kubectl);
    let more = ["--reload-seconds=1", "--allow-address=127.0.0.0/8"];
    let replicas = ["pullgate-0", "pullgate-1"].map(|name| deployed.replica(name, &more));
    for replica in &replicas {
        balancer.add(replica);
    }
    deployed.cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce")]);
    let api: Api<Pod> = Api::namespaced(deployed.api(), "shop");
    denies(&api, "the first denial");
    let registry = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    let warned = deployed.kubectl.run(&[
        "run",
        "p",
        "-n",
        "shop",
        "--dry-run=server",
        "--image",
        &registry.image("shop/app:2"),
    ]);
    assert!(warned.stderr.contains("shop/app:2: tag not found"), "{warned:?}");

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let loads: Vec<_> = (0..2)
        .map(|_| runtime().spawn(load(api.clone(), Arc::clone(&stop), Arc::clone(&done))))
        .collect();
    let in_use = |what: &str| {
        let (now, authority) = (issued.certificate(), issued.secret("pullgate-tls", "ca.crt"));
        let authority = authority.unwrap();
        for replica in &replicas {
            eventually(what, || served(replica.listen, &authority) == now);
        }
    };
    in_use("the first certificate");
    issued.renew("pullgate", "pullgate-tls");
    in_use("a renewed certificate");
    // Somebody deletes the Secret: another is issued, and until then the old one is served.
    let before = issued.certificate();
    deployed.kubectl.run(&["delete", "secret", "-n", "pullgate", "pullgate-tls"]).ok().unwrap();
    wait_for("another certificate", || {
        issued.certificate().filter(|now| Some(now) != before.as_ref())
    });
    in_use("another certificate");
    // The authority, and then what it signs: replicas serve the old certificate for a while to an API
    // server that trusts the new authority.
    issued.renew("pullgate-authority", "pullgate-authority");
    let renewed = issued.secret("pullgate-authority", "tls.crt").unwrap();
    assert_ne!(renewed, authority);
    // The Issuer may not know of it at once.
    wait_for("a certificate of the renewed authority", || {
        issued.renew("pullgate", "pullgate-tls");
        (issued.secret("pullgate-tls", "ca.crt")? == renewed).then_some(())
    });
    issued.wait_for_bundles(&renewed);
    in_use("a certificate of the renewed authority");
    stop.store(true, Ordering::Relaxed);
    let wrong: Vec<String> =
        loads.into_iter().flat_map(|load| runtime().block_on(load).unwrap()).collect();
    let done = done.load(Ordering::Relaxed);
    assert!(wrong.is_empty(), "{} of {done}: {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    assert!(done > 100, "only {done} reviews");
    mounted.abort();
}
