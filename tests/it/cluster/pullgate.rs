//! `pullgate serve` as a child process, the real binary with the flags of its documentation.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use super::control_plane::{ControlPlane, PULLGATE};
use super::process::{self, Process};
use super::webhook::Registration;
use super::{free_port, runtime, wait_until};

/// The secret last part of the webhook's path.
pub const PATH_TOKEN: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
/// Where the API server passes reviews on.
pub const AGGREGATED_PATH: &str = "/apis/admission.pullgate.dev/v1/validate";
/// The object by which the aggregation layer finds a replica.
pub const API_SERVICE: &str = "v1.admission.pullgate.dev";

/// The binary that belongs to these tests.
pub fn binary() -> PathBuf {
    if let Some(path) = option_env!("CARGO_BIN_EXE_pullgate") {
        return PathBuf::from(path);
    }
    // The demo is built beside it: target/debug/examples/demo, target/debug/pullgate.
    let mut path = std::env::current_exe().expect("the path of this program");
    path.pop();
    path.pop();
    path.join("pullgate")
}

/// How the API server proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the secret last part of the path, which is taken for all the proof that is needed.
    PathToken,
    /// By the secret last part of the path alone.
    PathAlone,
    /// By way of the API server's aggregation layer.
    Aggregation,
    /// By a client certificate of the cluster's authority.
    ClientCertificate,
}

/// What a server finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// A command that runs the command behind it.
    pub within: Vec<String>,
    /// Variables besides its own.
    pub variables: Vec<(&'static str, String)>,
}

/// A running webhook server.
#[derive(Debug)]
pub struct PullgateServer {
    process: Process,
    folder: TempDir,
    listen: u16,
    admin: u16,
    proof: Proof,
}

impl PullgateServer {
    /// Starts it against `cluster`, with `policy` (a `PullgatePolicy` document) if given and `more`
    /// flags, and waits until it says that it is ready.
    pub fn start(
        cluster: &ControlPlane,
        policy: Option<&str>,
        proof: Proof,
        more: &[&str],
    ) -> Result<Self, String> {
        Self::start_in(&Surroundings::default(), cluster, policy, proof, more)
    }

    /// The same in surroundings of its own.
    pub fn start_in(
        around: &Surroundings,
        cluster: &ControlPlane,
        policy: Option<&str>,
        proof: Proof,
        more: &[&str],
    ) -> Result<Self, String> {
        for _ in 1..3 {
            match Self::start_once(around, cluster, policy, proof, more) {
                Err(reason) if reason.contains("in use") => {}
                started => return started,
            }
        }
        Self::start_once(around, cluster, policy, proof, more)
    }

    fn start_once(
        around: &Surroundings,
        cluster: &ControlPlane,
        policy: Option<&str>,
        proof: Proof,
        more: &[&str],
    ) -> Result<Self, String> {
        let folder = process::folder("serve");
        let (listen, admin) = (free_port(), free_port());
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).map(|()| path).map_err(|error| format!("{name}: {error}"))
        };
        let mut command = match around.within.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary());
                command
            }
            None => Command::new(binary()),
        };
        command
            .envs(around.variables.iter().map(|(name, value)| (name, value)))
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{listen}")])
            .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
            .arg("--self-signed")
            .arg(folder.path().join("tls"))
            .args(["--tls-san", "127.0.0.1,pullgate.pullgate.svc"])
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig(PULLGATE))
            // The registries of the tests are on loopback, which is refused otherwise.
            .args(["--allow-address", "127.0.0.0/8"])
            .args(more);
        match proof {
            Proof::PathToken => {
                command.arg("--path-token-file").arg(file("path-token", PATH_TOKEN)?);
                command.arg("--trust-path");
            }
            Proof::PathAlone => {
                command.arg("--path-token-file").arg(file("path-token", PATH_TOKEN)?);
            }
            Proof::Aggregation => {
                command.arg("--aggregated");
            }
            Proof::ClientCertificate => {
                command.arg("--client-ca-file").arg(cluster.authority());
            }
        }
        if let Some(policy) = policy {
            command.arg("--policy").arg(file("policy.yaml", policy)?);
        }
        let process = Process::start("pullgate", &mut command, folder.path())?;
        let mut server = Self { process, folder, listen, admin, proof };
        wait_until("/readyz of pullgate", || {
            server.process.still_runs()?;
            let (status, page) = server.admin_page("readyz")?;
            if status == 200 { Ok(()) } else { Err(page.into()) }
        })?;
        Ok(server)
    }

    /// Registers it for the namespaces with this label.
    pub fn register(&self, cluster: &ControlPlane, name: &str, namespaces: (&str, &str)) {
        let by_path = matches!(self.proof, Proof::PathToken | Proof::PathAlone);
        let token = if by_path { PATH_TOKEN } else { "" };
        let url = format!("https://127.0.0.1:{}/validate/{token}", self.listen);
        Registration {
            name,
            url: url.trim_end_matches('/'),
            authority: &self.authority(),
            namespaces,
            failure_policy: "Ignore",
        }
        .create(cluster);
    }

    /// Registers it behind the API server's aggregation layer, and waits until that reaches it. `Fail`
    /// or `Ignore` is what becomes of a request while it does not.
    pub fn register_aggregated(
        &self,
        cluster: &ControlPlane,
        name: &str,
        namespaces: (&str, &str),
        failure_policy: &str,
    ) {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(self.authority());
        let admin = cluster.admin();
        cluster.namespace_called("pullgate", &[]);
        admin.create(&json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "pullgate", "namespace": "pullgate"},
            "spec": {"type": "ExternalName", "externalName": "localhost"}}));
        admin.create(&json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": API_SERVICE},
            "spec": {"group": "admission.pullgate.dev", "version": "v1", "caBundle": bundle,
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "service": {"name": "pullgate", "namespace": "pullgate", "port": self.listen}}}));
        wait_until("the aggregation layer", || {
            let read = admin.get(&["apiservice", API_SERVICE])?;
            let conditions = read["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is_up =
                conditions.iter().any(|one| one["type"] == "Available" && one["status"] == "True");
            if is_up { Ok(()) } else { Err(format!("{conditions:?}").into()) }
        })
        .unwrap_or_else(|error| panic!("{error}"));
        cluster.admin().create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.pullgate.dev"), "admissionReviewVersions": ["v1"],
                "sideEffects": "None", "timeoutSeconds": 10, "failurePolicy": failure_policy,
                "clientConfig": {"service": {"name": "kubernetes", "namespace": "default",
                    "path": AGGREGATED_PATH}},
                "namespaceSelector": {"matchLabels": {namespaces.0: namespaces.1}},
                "rules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                        "resources": ["pods"], "scope": "Namespaced"},
                    {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                        "resources": ["deployments"], "scope": "Namespaced"},
                ],
            }],
        }));
    }

    /// Where reviews are answered.
    pub fn listen_port(&self) -> u16 {
        self.listen
    }

    /// Registers its mutating webhook for pods of the namespaces with this label.
    pub fn register_mutating(&self, cluster: &ControlPlane, name: &str, namespaces: (&str, &str)) {
        use base64::Engine as _;
        let url = format!("https://127.0.0.1:{}/mutate/{PATH_TOKEN}", self.listen);
        let bundle = base64::engine::general_purpose::STANDARD.encode(self.authority());
        cluster.admin().create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.pullgate.dev"),
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 10,
                "failurePolicy": "Ignore",
                "reinvocationPolicy": "IfNeeded",
                "clientConfig": {"url": url, "caBundle": bundle},
                "namespaceSelector": {"matchLabels": {namespaces.0: namespaces.1}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                    "resources": ["pods"], "scope": "Namespaced"}],
            }],
        }));
    }

    /// The certificate authority that it made for itself, PEM.
    pub fn authority(&self) -> String {
        let path = self.folder.path().join("tls/ca.crt");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Where reviews are posted to.
    pub fn validate_url(&self) -> String {
        format!("https://127.0.0.1:{}/validate/{PATH_TOKEN}", self.listen)
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Writes the policy that it was started with anew.
    pub fn write_policy(&self, text: &str) {
        fs::write(self.folder.path().join("policy.yaml"), text).expect("the policy file");
    }

    /// Where its admin port is.
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// Status and text of a page of the admin port (`readyz`, `metrics`).
    pub fn admin_page(&self, page: &str) -> Result<(u16, String), String> {
        let url = format!("http://127.0.0.1:{}/{page}", self.admin);
        runtime().block_on(async {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
            let client = client.map_err(|error| error.to_string())?;
            let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            answer.text().await.map(|text| (status, text)).map_err(|error| error.to_string())
        })
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Asks it to stop and waits; its exit status.
    pub fn stop(&mut self) -> std::process::ExitStatus {
        self.process.terminate(super::PATIENCE)
    }
}

/// Gives the user `pullgate` the rights that the server needs, and no more.
pub fn grant_rights(cluster: &ControlPlane) {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let watched = ["list", "watch"];
    let api = "rbac.authorization.k8s.io";
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": PULLGATE.name},
        "rules": [
            rule(&[""], &["pods", "nodes", "namespaces", "events"], &watched),
            rule(&["apps"], &["replicasets"], &watched),
            rule(&["apps"], &["deployments", "statefulsets", "daemonsets"], &watched),
            rule(&["batch"], &["jobs", "cronjobs"], &watched),
            rule(&["tekton.dev"], &["pipelineruns", "taskruns"], &watched),
            rule(&[""], &["services"], &["get", "list"]),
            rule(&["discovery.k8s.io"], &["endpointslices"], &["list"]),
            rule(&[""], &["secrets", "serviceaccounts"], &["get"]),
            rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
            rule(
                &["admissionregistration.k8s.io"],
                &["mutatingwebhookconfigurations", "mutatingadmissionpolicies"],
                &["list"],
            ),
            rule(&["node.k8s.io"], &["runtimeclasses"], &["get"]),
            rule(&["networking.k8s.io"], &["servicecidrs"], &["list"]),
            rule(
                &["config.openshift.io"],
                &["imagedigestmirrorsets", "imagetagmirrorsets"],
                &["list"],
            ),
            rule(&["operator.openshift.io"], &["imagecontentsourcepolicies"], &["list"]),
        ],
    }));
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "RoleBinding",
        "metadata": {"name": PULLGATE.name, "namespace": "kube-system"},
        "roleRef": {"apiGroup": api, "kind": "Role",
            "name": "extension-apiserver-authentication-reader"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": PULLGATE.name}],
    }));
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": PULLGATE.name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": PULLGATE.name},
        "subjects": [{"apiGroup": api, "kind": "User", "name": PULLGATE.name}],
    }));
}
