//! The chart, installed into a real API server, and replicas of the program that run as its
//! Deployment says: with its arguments, its ServiceAccount and no other rights.

use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::chart::render;
use super::{one, program, strings};
use crate::cluster::control_plane::ControlPlane;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::pki::{FRONT_PROXY, Identity, front_proxies};
use crate::cluster::process::{self, Process};
use crate::cluster::pullgate::API_SERVICE;
use crate::cluster::{PATIENCE, free_port, pullgate, runtime, wait_until};

/// An installation of the chart.
pub(super) struct Deployed {
    pub(super) cluster: ControlPlane,
    pub(super) kubectl: Kubectl,
    pub(super) objects: Vec<Value>,
    folder: TempDir,
}

/// How the API server reaches the webhook: by its aggregation layer, or by a path with a token.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) path: String,
    /// Who signs the replicas' certificate, PEM.
    pub(super) authorities: Vec<u8>,
    /// The front proxy's certificate, if reviews come by the aggregation layer.
    pub(super) front_proxy: Option<Identity>,
}

impl Endpoint {
    /// What is written in the cluster; an error while it is not whole.
    pub(super) fn read(kubectl: &Kubectl) -> Result<Self, String> {
        let read = kubectl.get(&["validatingwebhookconfiguration", "pullgate"])?;
        let mut clients: Vec<Value> = read["webhooks"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|webhook| webhook["clientConfig"].clone())
            .collect();
        clients.dedup();
        let [client] = clients.as_slice() else {
            return Err(format!("the webhooks differ: {clients:?}"));
        };
        let path = client["service"]["path"].as_str().ok_or("there is no path")?.to_owned();
        let aggregated = path.starts_with("/apis/");
        let bundle = if aggregated {
            kubectl.get(&["apiservice", API_SERVICE])?["spec"]["caBundle"].clone()
        } else {
            client["caBundle"].clone()
        };
        let authorities = STANDARD.decode(bundle.as_str().ok_or("there is no CA bundle")?);
        Ok(Self {
            path,
            authorities: authorities.map_err(|error| error.to_string())?,
            front_proxy: aggregated.then(|| front_proxies().client(FRONT_PROXY)),
        })
    }

    /// A client that knows the Service by this port, trusts these authorities alone, and is who the
    /// API server is.
    pub(super) fn caller(&self, port: u16) -> Result<Caller, String> {
        let authorities = reqwest::Certificate::from_pem_bundle(&self.authorities);
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(authorities.map_err(|error| error.to_string())?)
            .resolve("pullgate.pullgate.svc", ([127, 0, 0, 1], port).into())
            .timeout(Duration::from_secs(10));
        let mut headers = Vec::new();
        if let Some(Identity { certificate, key }) = &self.front_proxy {
            let identity = reqwest::Identity::from_pem(format!("{certificate}{key}").as_bytes());
            client = client.identity(identity.map_err(|error| error.to_string())?);
            headers.extend([
                ("x-remote-user", "system:apiserver"),
                ("x-remote-group", "system:authenticated"),
                ("x-remote-group", "system:masters"),
            ]);
        }
        let client = client.build().map_err(|error| format!("{error:?}"))?;
        let url = format!("https://pullgate.pullgate.svc:{port}{}?timeout=3s", self.path);
        Ok(Caller { client, headers, url })
    }
}

/// Who sends reviews to a replica, as the API server does.
#[derive(Clone)]
pub(super) struct Caller {
    client: reqwest::Client,
    headers: Vec<(&'static str, &'static str)>,
    url: String,
}

impl Caller {
    /// Posts a review; status and body of the answer.
    pub(super) async fn post(&self, body: String) -> Result<(u16, String), String> {
        let mut request = self.client.post(&self.url).body(body);
        request = request.header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }
}

/// A running replica.
pub(super) struct Replica {
    pub(super) process: Process,
    pub(super) listen: u16,
    pub(super) admin: u16,
}

impl Deployed {
    /// Installs the chart with these values; nothing, if the programs are not there.
    pub(super) fn start(values: &[&str]) -> Option<Self> {
        Self::start_with(values, &[])
    }

    /// The same, with more arguments for the API server.
    pub(super) fn start_with(values: &[&str], arguments: &[&str]) -> Option<Self> {
        let (apiserver, helm) = (program("kube-apiserver")?, program("helm")?);
        let cluster = ControlPlane::start_with(apiserver.parent().unwrap(), arguments).unwrap();
        let kubectl = cluster.admin();
        // Its own image is in use too, and nothing beyond this machine is to be asked for it.
        let values = [values, &["image.repository=127.0.0.1:9/pullgate"]].concat();
        let objects = render(&helm, &values).unwrap();
        cluster.namespace_called("pullgate", &[]);
        let deployed = Self { cluster, kubectl, objects, folder: process::folder("deployed") };
        let (definitions, rest): (Vec<&Value>, Vec<&Value>) = deployed
            .objects
            .iter()
            .partition(|object| object["kind"] == "CustomResourceDefinition");
        deployed.apply(&definitions);
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        if !definitions.is_empty() {
            // kubectl gives up on a definition that has no status yet.
            wait_until("the definitions", || Ok(deployed.kubectl.run(&established).ok()?)).unwrap();
        }
        deployed.apply(&rest);
        deployed.write_kubeconfig();
        Some(deployed)
    }

    /// What somebody else has installed: these objects of the chart.
    pub(super) fn of(cluster: ControlPlane, objects: Vec<Value>) -> Self {
        let (kubectl, folder) = (cluster.admin(), process::folder("deployed"));
        let deployed = Self { cluster, kubectl, objects, folder };
        deployed.write_kubeconfig();
        deployed
    }

    /// Applies objects as a GitOps tool does.
    pub(super) fn apply(&self, objects: &[&Value]) {
        if objects.is_empty() {
            return;
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let apply = ["apply", "--server-side", "-f", "-"];
        self.kubectl.run_with(&apply, &list.to_string()).ok().unwrap();
    }

    fn write_kubeconfig(&self) {
        self.write_kubeconfig_of("pullgate");
    }

    /// A kubeconfig with a token of a ServiceAccount that is deployed.
    pub(super) fn write_kubeconfig_of(&self, account: &str) -> std::path::PathBuf {
        let kubectl = &self.kubectl;
        let token = kubectl.run(&["create", "token", account, "-n", "pullgate"]).ok().unwrap();
        let config = kubectl.run(&["config", "view", "--raw", "-o", "json"]).ok().unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "deployed",
            "clusters": [{"name": "c", "cluster": {
                "server": config["clusters"][0]["cluster"]["server"],
                "certificate-authority": self.cluster.authority()}}],
            "users": [{"name": "u", "user": {"token": token.trim()}}],
            "contexts": [{"name": "deployed", "context": {"cluster": "c", "user": "u"}}],
        });
        let path = self.folder.path().join(match account {
            "pullgate" => "kubeconfig",
            other => other,
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    /// Starts a replica with the Deployment's arguments and these besides, and waits until it is
    /// ready with all that it watches.
    pub(super) fn replica(&self, name: &str, more: &[&str]) -> Replica {
        let mut replica = self.replica_unready(name, more);
        wait_until("/readyz", || {
            replica.process.still_runs()?;
            let (_, page) = replica.admin_page("readyz")?;
            let all_in = !page.contains("still learning") && !page.contains("without history");
            if all_in && page.contains("certificates ok") { Ok(()) } else { Err(page.into()) }
        })
        .unwrap();
        replica
    }

    /// Starts a replica and does not wait.
    pub(super) fn replica_unready(&self, name: &str, more: &[&str]) -> Replica {
        let given = more.iter().find_map(|flag| flag.strip_prefix("--listen=127.0.0.1:"));
        let listen = given.map_or_else(free_port, |port| port.parse().unwrap());
        let admin = free_port();
        let policy =
            self.objects.iter().find(|object| object["metadata"]["name"] == "pullgate-policy");
        if let Some(policy) = policy.and_then(|map| map["data"]["policy.yaml"].as_str()) {
            // A replica that starts beside this one may be reading it.
            let path = self.folder.path().join("policy.yaml");
            if std::fs::read_to_string(&path).ok().as_deref() != Some(policy) {
                std::fs::write(path, policy).unwrap();
            }
        }
        let deployment = one(&self.objects, "Deployment", "pullgate");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let mut command = Command::new(pullgate::binary());
        for argument in strings(&container["args"]) {
            command.arg(
                argument
                    .replace("0.0.0.0:8443", &format!("127.0.0.1:{listen}"))
                    .replace("0.0.0.0:8080", &format!("127.0.0.1:{admin}"))
                    .replace("/etc/pullgate/policy", &self.folder.path().display().to_string())
                    .replace("/etc/pullgate/tls", &self.mounted("tls").display().to_string()),
            );
        }
        // What the chart's own variables say is said by arguments here.
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap();
            if let (false, Some(value)) =
                (name.starts_with("PULLGATE_"), variable["value"].as_str())
            {
                command.env(name, value);
            }
        }
        command.args(["--own-namespace=pullgate", &format!("--own-name={name}")]);
        command
            .arg("--kubeconfig")
            .arg(self.folder.path().join("kubeconfig"))
            .args(more.iter().filter(|flag| !flag.starts_with("--listen=")));
        let process = Process::start(name, &mut command, self.folder.path()).unwrap();
        Replica { process, listen, admin }
    }

    /// Where the volume `name` of the Deployment is for replicas that run here.
    pub(super) fn mounted(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The path token in Pullgate's own Secret; nothing while there is none.
    pub(super) fn token(&self) -> Option<String> {
        let secret = self.kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).ok()?;
        String::from_utf8(STANDARD.decode(secret["data"]["token"].as_str()?).ok()?).ok()
    }

    /// How the webhook is reached, once all is written.
    pub(super) fn endpoint(&self) -> Endpoint {
        wait_until("path and CA bundle", || Ok(Endpoint::read(&self.kubectl)?)).unwrap()
    }
}

impl Replica {
    /// Status and text of a page of the admin port.
    pub(super) fn admin_page(&self, page: &str) -> Result<(u16, String), String> {
        self.of_admin(page, reqwest::Client::get)
    }

    /// Status and text of what somebody gets who signs in to the page with this.
    pub(super) fn sign_in(&self, key: &str) -> Result<(u16, String), String> {
        self.of_admin("sign-in", |client, url| client.post(url).form(&[("key", key)]))
    }

    fn of_admin(
        &self,
        page: &str,
        request: impl FnOnce(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Result<(u16, String), String> {
        let url = format!("http://127.0.0.1:{}/{page}", self.admin);
        let answer = runtime().block_on(async {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
            let client = client.timeout(PATIENCE).build()?;
            let answer = request(&client, url).send().await?;
            let status = answer.status().as_u16();
            answer.text().await.map(|text| (status, text))
        });
        answer.map_err(|error: reqwest::Error| error.to_string())
    }

    /// Waits until a line is on the metrics page.
    pub(super) fn until_metric(&mut self, line: &str) {
        wait_until(line, || {
            self.process.still_runs()?;
            let (_, page) = self.admin_page("metrics")?;
            let family = line.split(['{', ' ']).next().unwrap_or_default();
            let shown: Vec<&str> = page.lines().filter(|one| one.starts_with(family)).collect();
            if shown.contains(&line) { Ok(()) } else { Err(shown.join("\n").into()) }
        })
        .unwrap();
    }

    /// The answer to a review of a pod with these images, sent as the API server sends it.
    pub(super) fn review(&self, endpoint: &Endpoint, namespace: &str, image: &str) -> Value {
        let body = review_of(namespace, &json!({"containers": [{"name": "c", "image": image}]}));
        let (status, answer) = self.post(endpoint, &body).unwrap();
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["response"].take()
    }

    /// Status and body of what is posted to this path.
    pub(super) fn post(&self, endpoint: &Endpoint, body: &Value) -> Result<(u16, String), String> {
        let caller = endpoint.caller(self.listen)?;
        runtime().block_on(caller.post(body.to_string()))
    }
}

/// The review of a pod that is created.
pub(super) fn review_of(namespace: &str, spec: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": "CREATE", "namespace": namespace,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "ann"},
        "object": {"apiVersion": "v1", "kind": "Pod",
                   "metadata": {"name": "p", "namespace": namespace}, "spec": spec}}})
}

/// Waits until it holds.
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "{what} never came about");
        std::thread::sleep(Duration::from_millis(100));
    }
}
