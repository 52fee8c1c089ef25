//! The container image itself under a real kubelet: loaded into containerd, installed by helm, asked
//! by the API server through its aggregation layer, and right about what that kubelet then pulls.
//!
//! The node has no pod network. So Pullgate runs on the node's own (the chart's `hostNetwork`), as
//! one replica, since two would want the same ports; and it is told where the API server is, since
//! nothing routes the Service of that name.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::node::{self, Node};
use crate::cluster::control_plane::{ADMIN, ControlPlane, DEVELOPER};
use crate::cluster::images::Image;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::process::{self, Finished, Process};
use crate::cluster::pullgate::API_SERVICE;
use crate::cluster::registry::{Access, Registry};
use crate::cluster::{NotYet, PATIENCE, runtime, wait_until};

/// Where the chart is.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart/pullgate");
/// The name that `make image-scratch` gives the image, and that of an installation: of no registry,
/// so that nobody is asked for it.
const BUILT: &str = "docker.io/library/pullgate:dev";
const REPOSITORY: &str = "127.0.0.1:9/pullgate";
const TAG: &str = "live";
/// Everything is vouched for. Where it enforces, what is missing is denied at once; in `trial` it is let
/// through, to see what the node makes of it.
const ENFORCED: &str = "shop";
const TRIAL: &str = "trial";

/// Controllers that the control plane of the tests does without.
fn start_controllers(cluster: &ControlPlane, at: &Path) -> Result<Process, String> {
    let mut command = Command::new(cluster.programs().join("kube-controller-manager"));
    command
        .arg(format!("--kubeconfig={}", cluster.kubeconfig(ADMIN).display()))
        .arg("--controllers=endpointslice-controller,root-ca-certificate-publisher-controller")
        .arg(format!("--root-ca-file={}", cluster.authority().display()))
        .args(["--leader-elect=false", "--secure-port=0"]);
    Process::start("more-controllers", &mut command, at)
}

fn values(cluster: &ControlPlane) -> Value {
    let (host, port) = cluster.url().trim_start_matches("https://").split_once(':').unwrap();
    json!({
        "image": {"repository": REPOSITORY, "tag": TAG, "pullPolicy": "Never"},
        "hostNetwork": true, "replicas": 1,
        // Nobody answers there: what it is asked about here are addresses.
        "dnsPolicy": "None", "dnsConfig": {"nameservers": [node::ADDRESS], "options": []},
        "extraEnv": [{"name": "KUBERNETES_SERVICE_HOST", "value": host},
                     {"name": "KUBERNETES_SERVICE_PORT", "value": port}],
        "registries": {"allowAddresses": ["127.0.0.0/8"]},
        "policy": {
            "nodes": {"mirrors": "none", "credentials": "none", "preloadedImages": "none",
                      "network": "same", "platforms": ["linux/amd64"], "nodeStatusMaxImages": -1},
            "latePush": {"grace": "0s"},
        },
    })
}

/// helm, as the administrator of a cluster runs it.
struct Helm<'a> {
    cluster: &'a ControlPlane,
    folder: TempDir,
}

impl Helm<'_> {
    fn run(&self, words: &[&str], values: &Value) -> Result<Finished, String> {
        let file = self.folder.path().join("values.json");
        std::fs::write(&file, values.to_string()).map_err(|error| error.to_string())?;
        let mut command = Command::new(self.cluster.programs().join("helm"));
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN)).args(words);
        command.args(["--namespace", "pullgate", "--values"]).arg(file);
        Ok(process::run(&mut command, "", PATIENCE * 6))
    }
}

fn deployment(namespace: &str, name: &str, image: &str) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"automountServiceAccountToken": false,
                     "containers": [{"name": "app", "image": image}]}}},
    })
    .to_string()
}

/// The one pod of a Deployment, if there is one.
fn pod_of(kubectl: &Kubectl, namespace: &str, app: &str) -> Result<Value, NotYet> {
    let pods = kubectl.get(&["pods", "-n", namespace, "-l", &format!("app={app}")])?;
    let mut pods = pods["items"].as_array().cloned().unwrap_or_default();
    pods.pop().ok_or_else(|| NotYet::from(format!("{namespace} has no pod of {app}")))
}

/// What was shown, or an error.
fn shown(holds: bool, what: &str, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("not shown: {what}\n{otherwise}")) }
}

/// Plays everything with the image in this archive.
pub fn play(say: &dyn Fn(&str), archive: &str) -> Result<(), String> {
    let programs =
        crate::cluster::programs().map_err(|why| format!("{why}\nUse `make image-live`."))?;
    say("starting etcd, kube-apiserver and kube-controller-manager");
    let cluster = ControlPlane::start_with(&programs, &["--enable-aggregator-routing=true"])?;
    let registry = Registry::start(&programs, Access::Anonymous)?;
    // What nodes hold of a registry may be others' to whoever may not see all pods: the pause image
    // comes from one of its own.
    let system = Registry::start(&programs, Access::Anonymous)?;
    system.push("live/pause", &["1"], &Image::single("amd64", "pause"));
    registry.push("shop/app", &["1.0"], &Image::single("amd64", "app"));
    say("starting containerd, the kubelet and kube-scheduler");
    let node = Node::start(&cluster, &system.image("live/pause:1"))?;
    let folder = process::folder("installed");
    let _controllers = start_controllers(&cluster, folder.path())?;
    let played = on(say, &cluster, &registry, archive);
    played.map_err(|error| format!("{error}\n\n{}\n\n{}", own_log(), node.last_words()))
}

fn on(
    say: &dyn Fn(&str),
    cluster: &ControlPlane,
    registry: &Registry,
    archive: &str,
) -> Result<(), String> {
    say("loading the image into containerd");
    node::ctr(cluster.programs(), &["images", "import", archive])?;
    node::ctr(cluster.programs(), &["images", "tag", BUILT, &format!("{REPOSITORY}:{TAG}")])?;
    cluster.namespace_called(ENFORCED, &[("pullgate.dev/mode", "enforce")]);
    cluster.namespace_called(TRIAL, &[]);
    for namespace in [ENFORCED, TRIAL] {
        cluster.let_developer_edit(namespace);
    }
    let (admin, developer) = (cluster.admin(), cluster.kubectl(DEVELOPER));

    say("helm install");
    let helm = Helm { cluster, folder: process::folder("helm") };
    let values = values(cluster);
    let install =
        ["install", "pullgate", CHART, "--create-namespace", "--wait", "--timeout", "150s"];
    helm.run(&install, &values)?.ok()?;
    say("the pod is ready");
    let reached = format!("apiservice/{API_SERVICE}");
    let wait = ["wait", "--for=condition=Available", &reached, "--timeout=60s"];
    admin.run(&wait).ok()?;
    say("the API server reaches it through its aggregation layer");

    images_listed(&admin)?;
    say("the node says which images it has");

    warned_and_failed(&admin, &developer, registry)?;
    say("a Deployment with a missing tag is warned about, and its pod fails on the node");
    denied(&admin, &developer, registry)?;
    say("where it enforces, the pod of such a Deployment and a pod by itself are denied");
    pulled(&admin, &developer, registry)?;
    say("a good image goes through without a word, and the kubelet pulls and runs it");
    let score = scored(&admin)?;
    say(&format!("the score counts both: {score}"));
    upgraded(&admin, &helm, &values)?;
    say("helm upgrade: a policy that cannot be used changes nothing, another one restarts the pod");
    Ok(())
}

/// A kubelet that has just started lists no image yet, and may have any: nothing that is missing in
/// the registry is denied until it has.
pub(super) fn images_listed(admin: &Kubectl) -> Result<(), String> {
    wait_until("a node that lists its images", || {
        let nodes = admin.get(&["nodes"])?;
        let nodes = nodes["items"].as_array().map_or(&[] as &[_], Vec::as_slice);
        let listed = |node: &Value| !node["status"]["images"].as_array().is_none_or(Vec::is_empty);
        if !nodes.is_empty() && nodes.iter().all(listed) {
            Ok(())
        } else {
            Err(NotYet::from(format!("{nodes:?}")))
        }
    })
}

/// Warns at apply in a namespace that does not enforce, where the node then says the same.
fn warned_and_failed(
    admin: &Kubectl,
    developer: &Kubectl,
    registry: &Registry,
) -> Result<(), String> {
    let missing = deployment(TRIAL, "missing", &registry.image("shop/app:1.1"));
    let applied = wait_until("the webhook", || {
        let tried = developer.run_with(&["create", "--dry-run=server", "-f", "-"], &missing);
        if tried.stderr.contains("Warning") { Ok(()) } else { Err(NotYet::from(tried.stderr)) }
    });
    applied?;
    let applied = developer.run_with(&["apply", "-f", "-"], &missing);
    let warning = "shop/app:1.1: tag not found";
    shown(applied.code == 0 && applied.stderr.contains(warning), warning, &applied.stderr)?;
    wait_until("a pod that the node cannot start", || {
        let pod = pod_of(admin, TRIAL, "missing")?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        match waiting.as_str() {
            Some("ErrImagePull" | "ImagePullBackOff") => Ok(()),
            _ => Err(pod["status"].to_string().into()),
        }
    })
}

fn denied(admin: &Kubectl, developer: &Kubectl, registry: &Registry) -> Result<(), String> {
    let image = registry.image("shop/app:1.1");
    let applied =
        developer.run_with(&["apply", "-f", "-"], &deployment(ENFORCED, "missing", &image));
    let warning = "shop/app:1.1: tag not found";
    shown(applied.code == 0 && applied.stderr.contains(warning), warning, &applied.stderr)?;
    wait_until("the event of a denied pod", || {
        let events = ["events", "-n", ENFORCED, "--field-selector", "reason=FailedCreate"];
        let events = admin.get(&events)?.to_string();
        let denied = events.contains("denied the request") && events.contains(warning);
        if denied { Ok(()) } else { Err(events.into()) }
    })?;
    let image = format!("--image={image}");
    let run = developer.run(&["run", "alone", "-n", ENFORCED, &image]);
    let denied = run.code != 0 && run.stderr.contains("denied the request");
    shown(denied && run.stderr.contains(warning), "a denied pod", &run.stderr)
}

fn pulled(admin: &Kubectl, developer: &Kubectl, registry: &Registry) -> Result<(), String> {
    let good = deployment(ENFORCED, "good", &registry.image("shop/app:1.0"));
    let applied = developer.run_with(&["apply", "-f", "-"], &good);
    shown((applied.code, &*applied.stderr) == (0, ""), "no word", &applied.stderr)?;
    let pod = wait_until("a pod that runs", || {
        let pod = pod_of(admin, ENFORCED, "good")?;
        if pod["status"]["phase"] == "Running" {
            Ok(pod)
        } else {
            Err(pod["status"].to_string().into())
        }
    })?;
    let id = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap_or_default();
    shown(id.contains("shop/app@sha256:"), "the digest of what was pulled", id)?;
    let asked = registry.requests();
    let by_node = asked.iter().any(|line| line.contains("shop/app") && line.contains("containerd"));
    shown(by_node, "containerd at the registry", &asked.join("\n"))
}

/// What became of verdicts, as the installed Pullgate counts it: what works was pulled, what fails was
/// denied, or failed on the node to its end.
fn scored(admin: &Kubectl) -> Result<String, String> {
    admin.run(&["delete", "deployment", "-n", TRIAL, "missing"]).ok()?;
    let url = format!("http://{}:8080/metrics", node::ADDRESS);
    wait_until("the score", || {
        let page = runtime().block_on(async {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
            let answer = client.map_err(|error| error.to_string())?.get(&url).send().await;
            let answer = answer.map_err(|error| error.to_string())?;
            answer.text().await.map_err(|error| error.to_string())
        })?;
        let all: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with("pullgate_verdicts_judged_total{"))
            .filter(|line| !line.ends_with(" 0"))
            .collect();
        let counts = |verdict: &str, outcome: &str| {
            let labels = format!(r#"{{verdict="{verdict}",outcome="{outcome}"}}"#);
            all.iter().any(|line| line.contains(&labels))
        };
        let both = [("works", "pulled_freshly"), ("fails", "denied"), ("fails", "failed")];
        if both.into_iter().all(|(verdict, outcome)| counts(verdict, outcome)) {
            return Ok(all.join(", "));
        }
        Err(format!("{all:?}").into())
    })
}

fn upgraded(admin: &Kubectl, helm: &Helm<'_>, values: &Value) -> Result<(), String> {
    let own = ["deployment", "-n", "pullgate", "pullgate"];
    let policy = ["configmap", "-n", "pullgate", "pullgate-policy"];
    let before =
        (admin.get(&own)?["metadata"]["generation"].clone(), admin.get(&policy)?["data"].clone());
    let upgrade = ["upgrade", "pullgate", CHART, "--wait", "--timeout", "150s"];
    let mut bad = values.clone();
    bad["policy"]["exceptions"] = json!([{"name": "a", "owner": "b", "reason": "c",
        "expires": "2027-13-45", "match": {"images": ["docker.io"]}}]);
    let refused = helm.run(&upgrade, &bad)?;
    shown(refused.code != 0, "a refused upgrade", &refused.stdout)?;
    let said = "\"2027-13-45\" is not a moment";
    shown(own_log().contains(said), said, &refused.stderr)?;
    let after =
        (admin.get(&own)?["metadata"]["generation"].clone(), admin.get(&policy)?["data"].clone());
    shown(before == after, "nothing replaced", &format!("{after:?}"))?;
    let mut good = values.clone();
    good["log"] = json!({"level": "debug"});
    helm.run(&upgrade, &good)?.ok()?;
    let pods = admin.get(&["pods", "-n", "pullgate", "-l", "app.kubernetes.io/name=pullgate"])?;
    let ready = pods["items"].as_array().into_iter().flatten().any(|pod| {
        pod["status"]["containerStatuses"][0]["ready"] == true
            && pod["spec"]["containers"][0]["args"].to_string().contains("--log-level=debug")
    });
    shown(ready, "a ready pod of the new revision", &pods.to_string())
}

/// The ends of what the installed Pullgate and its check have written, out of the kubelet's folder:
/// nobody serves `kubectl logs` here.
fn own_log() -> String {
    let find = "for file in /var/log/pods/pullgate_*/*/*.log; do tail -n 20 \"$file\"; done";
    let found = Command::new("sh").args(["-c", find]).output();
    found.map(|one| String::from_utf8_lossy(&one.stdout).into_owned()).unwrap_or_default()
}
