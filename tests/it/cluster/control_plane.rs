//! etcd, kube-apiserver and kube-controller-manager on loopback, with users who log in by token.
//!
//! No scheduler and no kubelet: pods stay pending until `nodes` plays their node. The controller
//! manager runs the controllers that make pods of workloads, default ServiceAccounts and the
//! aggregated roles, and no others: nothing judges the nodes that a test has written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use super::kubectl::Kubectl;
use super::pki::{Authority, FRONT_PROXY, front_proxies};
use super::process::{self, Process};
use super::{NotYet, PATIENCE, free_port, wait_until};

/// The controllers that a test has a use for.
const CONTROLLERS: &str = "serviceaccount-controller,namespace-controller,deployment-controller,\
replicaset-controller,replicationcontroller-controller,statefulset-controller,\
daemonset-controller,job-controller,cronjob-controller,garbage-collector-controller,\
clusterrole-aggregation-controller,disruption-controller";

/// A user of the cluster, as the API server's token file knows it.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Its name, also the name of its kubeconfig file.
    pub name: &'static str,
    token: &'static str,
    group: &'static str,
}

/// May do anything.
pub const ADMIN: User = User { name: "admin", token: "admin-token", group: "system:masters" };
/// May do nothing until a test gives it a role ([`ControlPlane::let_developer_edit`]).
pub const DEVELOPER: User =
    User { name: "developer", token: "developer-token", group: "developers" };
/// The user that Pullgate logs in as: it has the rights of the deployed ServiceAccount and no more.
pub const PULLGATE: User = User { name: "pullgate", token: "pullgate-token", group: "pullgate" };

/// The name in the certificate with which the API server logs in at webhooks.
pub const WEBHOOK_CLIENT: &str = "kube-apiserver-webhook-client";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    // In the order in which they have to end.
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    programs: PathBuf,
    folder: TempDir,
    /// Where the API server is, and its etcd.
    urls: [String; 2],
    namespaces: AtomicU32,
}

impl ControlPlane {
    /// Starts all three and waits until the API server is ready and the `default` namespace has
    /// its ServiceAccount; `programs` is the folder of the built programs.
    pub fn start(programs: &Path) -> Result<Self, String> {
        Self::start_with(programs, &[])
    }

    /// The same, with more arguments for the API server; `{folder}` in them is the folder of this
    /// control plane.
    pub fn start_with(programs: &Path, more: &[&str]) -> Result<Self, String> {
        let mut attempt = 1;
        loop {
            match Self::start_once(programs, more) {
                Err(reason) if attempt < 3 && reason.contains("address already in use") => {
                    attempt += 1;
                }
                started => return started,
            }
        }
    }

    fn start_once(programs: &Path, more: &[&str]) -> Result<Self, String> {
        let folder = process::folder("cluster");
        let at = folder.path();
        let etcd_url = format!("http://127.0.0.1:{}", free_port());
        let mut etcd = start_etcd(programs, at, &etcd_url)?;
        let url = format!("https://127.0.0.1:{}", free_port());
        let authority = Authority::new("pullgate-test-cluster");
        write_files(at, &url, &authority)?;
        let mut api_server = start_api_server(programs, at, &url, &etcd_url, more)?;
        let admin = Kubectl::new(programs, at, ADMIN.name);
        wait_until("the API server's /readyz", || {
            etcd.still_runs()?;
            api_server.still_runs()?;
            Ok(admin.run(&["get", "--raw", "/readyz"]).ok()?)
        })?;
        let controller_manager = start_controller_manager(programs, at)?;
        let mut started = Self {
            controller_manager,
            api_server,
            etcd,
            programs: programs.to_owned(),
            folder,
            urls: [url, etcd_url],
            namespaces: AtomicU32::new(0),
        };
        started.wait_for_controllers()?;
        Ok(started)
    }

    /// Stops the API server and starts it again at the same address: every watch is cut, and the
    /// new one does not know what happened before it.
    pub fn restart_api_server(&mut self) -> Result<(), String> {
        // It would wait a minute for connections that clients keep open.
        self.api_server.terminate(Duration::from_secs(3));
        let [url, etcd_url] = &self.urls;
        self.api_server = start_api_server(&self.programs, self.folder.path(), url, etcd_url, &[])?;
        let admin = self.kubectl(ADMIN);
        wait_until("the API server's /readyz", || {
            self.api_server.still_runs()?;
            Ok(admin.run(&["get", "--raw", "/readyz"]).ok().map(|_| ())?)
        })
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.urls[0]
    }

    fn wait_for_controllers(&mut self) -> Result<(), String> {
        let admin = self.kubectl(ADMIN);
        wait_until("the ServiceAccount of the default namespace", || {
            self.controller_manager.still_runs()?;
            Ok(admin.run(&["get", "serviceaccount", "default", "-n", "default"]).ok()?)
        })?;
        Ok(())
    }

    /// kubectl as it is run by `user`.
    pub fn kubectl(&self, user: User) -> Kubectl {
        Kubectl::new(&self.programs, self.folder.path(), user.name)
    }

    /// kubectl as the administrator runs it.
    pub fn admin(&self) -> Kubectl {
        self.kubectl(ADMIN)
    }

    /// Runs a command line as `user` pastes it into a shell: kubectl is there, and nothing else.
    pub fn paste(&self, user: User, line: &str) -> process::Finished {
        let mut shell = Command::new("/bin/sh");
        process::clean_environment(&mut shell, self.folder.path());
        shell.env("KUBECONFIG", self.kubeconfig(user)).env("PATH", &self.programs);
        process::run(shell.args(["-c", line]), "", PATIENCE * 2)
    }

    /// The kubeconfig file of `user`.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.folder.path().join(format!("{}.kubeconfig", user.name))
    }

    /// The file with the authority of the cluster's certificates: the API server's own, and the
    /// one that it shows to webhooks.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A file in the folder of this control plane.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the built programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The process ids of etcd, the API server and the controller manager.
    pub fn process_ids(&self) -> [u32; 3] {
        [self.etcd.id(), self.api_server.id(), self.controller_manager.id()]
    }

    /// A new namespace, called `name` and a number, with `labels`; it has its ServiceAccount when
    /// this returns, so pods can be made in it.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{name}-{number}");
        self.namespace_called(&namespace, labels);
        namespace
    }

    /// A new namespace with exactly this name.
    pub fn namespace_called(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.admin().create(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}
        }));
        let admin = self.admin();
        // `kubectl wait --for=create` is there from 1.31 on.
        wait_until("the default ServiceAccount", || {
            admin.get(&["serviceaccount", "default", "-n", name]).map(drop).map_err(NotYet::from)
        })
        .unwrap_or_else(|error| panic!("namespace {name}: {error}"));
    }

    /// Gives the developer the built-in role `edit` in `namespace`: workloads, pods, Secrets.
    pub fn let_developer_edit(&self, namespace: &str) {
        self.admin().create(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": "developer", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DEVELOPER.name}],
        }));
    }
}

fn start_etcd(programs: &Path, at: &Path, client_url: &str) -> Result<Process, String> {
    let peer_url = format!("http://127.0.0.1:{}", free_port());
    let mut command = Command::new(programs.join("etcd"));
    command
        .arg("--data-dir")
        .arg(at.join("etcd"))
        .args(["--listen-client-urls", client_url, "--advertise-client-urls", client_url])
        .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
        .args(["--initial-cluster", &format!("default={peer_url}")])
        // The data is thrown away: nothing is gained by waiting for the disk.
        .args(["--unsafe-no-fsync", "--log-level=warn"]);
    Process::start("etcd", &mut command, at)
}

/// The minor version of Kubernetes 1 that this API server is.
fn minor_version(program: &Path) -> Result<u32, String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.map_err(|error| format!("kube-apiserver: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor = text.trim().split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.ok_or_else(|| format!("kube-apiserver --version says {text}"))
}

/// The first version that knows volumes of type `image`.
const KNOWS_IMAGE_VOLUMES: u32 = 31;

fn start_api_server(
    programs: &Path,
    at: &Path,
    url: &str,
    etcd: &str,
    more: &[&str],
) -> Result<Process, String> {
    let file = |flag: &str, name: &str| format!("--{flag}={}", at.join(name).display());
    let port = url.rsplit(':').next().unwrap_or_default();
    let mut command = Command::new(programs.join("kube-apiserver"));
    command
        .arg(format!("--etcd-servers={etcd}"))
        .args(["--bind-address=127.0.0.1", &format!("--secure-port={port}")])
        .arg(file("tls-cert-file", "server.crt"))
        .arg(file("tls-private-key-file", "server.key"))
        .arg(file("token-auth-file", "tokens.csv"))
        .arg(file("service-account-key-file", "service-account.pub"))
        .arg(file("service-account-signing-key-file", "service-account.key"))
        .arg(file("cert-dir", "."))
        .arg(file("admission-control-config-file", "admission.json"))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"])
        // Never used; without it a machine without a default route is refused.
        .args(["--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none"])
        .arg(file("requestheader-client-ca-file", "front-proxy-ca.crt"))
        .arg(format!("--requestheader-allowed-names={FRONT_PROXY}"))
        .args(["--requestheader-username-headers=X-Remote-User"])
        .args(["--requestheader-group-headers=X-Remote-Group"])
        .args(["--requestheader-extra-headers-prefix=X-Remote-Extra-"])
        .arg(file("proxy-client-cert-file", "front-proxy.crt"))
        .arg(file("proxy-client-key-file", "front-proxy.key"))
        .args(more.iter().map(|flag| flag.replace("{folder}", &at.display().to_string())));
    // Images as volumes are extracted as well, so a server that can know them has to.
    if minor_version(&programs.join("kube-apiserver"))? >= KNOWS_IMAGE_VOLUMES {
        command.arg("--feature-gates=ImageVolume=true");
    }
    Process::start("kube-apiserver", &mut command, at)
}

fn start_controller_manager(programs: &Path, at: &Path) -> Result<Process, String> {
    let mut command = Command::new(programs.join("kube-controller-manager"));
    command
        .arg(format!("--kubeconfig={}", at.join("admin.kubeconfig").display()))
        .arg(format!("--controllers={CONTROLLERS}"))
        .args(["--leader-elect=false", "--secure-port=0"])
        .args(["--kube-api-qps=200", "--kube-api-burst=400"]);
    Process::start("kube-controller-manager", &mut command, at)
}

fn write_files(at: &Path, url: &str, authority: &Authority) -> Result<(), String> {
    let write = |name: &str, text: &str| {
        fs::write(at.join(name), text).map_err(|error| format!("{name}: {error}"))
    };
    let server = authority.server(&["127.0.0.1", "localhost", "kubernetes.default.svc"]);
    write("server.crt", &server.certificate)?;
    write("server.key", &server.key)?;
    write("ca.crt", &authority.certificate())?;
    let front_proxy = front_proxies().client(FRONT_PROXY);
    write("front-proxy-ca.crt", &front_proxies().certificate())?;
    write("front-proxy.crt", &front_proxy.certificate)?;
    write("front-proxy.key", &front_proxy.key)?;
    let account_key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    write("service-account.key", &account_key.serialize_pem())?;
    write("service-account.pub", &account_key.public_key_pem())?;
    write("admission.json", &admission_configuration(at))?;
    write("webhooks.kubeconfig", &webhook_log_in(authority))?;
    let users = [ADMIN, DEVELOPER, PULLGATE];
    let tokens = users.map(|user| format!("{},{},{0},\"{}\"\n", user.token, user.name, user.group));
    write("tokens.csv", &tokens.concat())?;
    for user in users {
        write(&format!("{}.kubeconfig", user.name), &kubeconfig(at, url, user))?;
    }
    Ok(())
}

/// Where the API server finds how it logs in at webhooks.
fn admission_configuration(at: &Path) -> String {
    let plugins = ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook"].map(|plugin| {
        json!({"name": plugin, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": at.join("webhooks.kubeconfig"),
        }})
    });
    let version = "apiserver.config.k8s.io/v1";
    json!({"apiVersion": version, "kind": "AdmissionConfiguration", "plugins": plugins}).to_string()
}

/// The client certificate that the API server shows to every webhook that asks for one.
fn webhook_log_in(authority: &Authority) -> String {
    let identity = authority.client(WEBHOOK_CLIENT);
    json!({
        "apiVersion": "v1", "kind": "Config",
        "users": [{"name": "*", "user": {
            "client-certificate-data": STANDARD.encode(identity.certificate),
            "client-key-data": STANDARD.encode(identity.key),
        }}],
    })
    .to_string()
}

fn kubeconfig(at: &Path, url: &str, user: User) -> String {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user.name}}],
        "clusters": [{"name": "test", "cluster": {
            "server": url, "certificate-authority": at.join("ca.crt"),
        }}],
        "users": [{"name": user.name, "user": {"token": user.token}}],
    });
    config.to_string()
}
