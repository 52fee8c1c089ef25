//! Patches by the mutating webhook on a real API server: twice gives the same pod, what may not be
//! changed is left alone, and workloads never drift.

use serde_json::{Value, json};

use super::control_plane::{ControlPlane, DEVELOPER};
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{nodes, programs, skipped, wait_until};

const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: site}
spec:
  nodes: {mirrors: none, network: same, preloadedImages: none}
  mutation: {allowed: [pull-secret, digest]}
";
const ORIGINALS: &str = "pullgate.dev/original-images";
/// Asked of the namespaces, which counts for pods of controllers, and of the bare pods themselves.
const MUTATE: &str = "pullgate.dev/mutate";
const MUTATIONS: &str = "pull-secret,digest";

/// What the mutations work on.
struct Bench {
    _server: PullgateServer,
    cluster: ControlPlane,
    private: Registry,
}

impl Bench {
    fn set_up() -> Option<Self> {
        let folder = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let cluster = ControlPlane::start(&folder).unwrap();
        let private = Registry::start(&folder, Access::Basic).unwrap();
        private.push("team/app", &["1"], &Image::single("amd64", "1"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        // Asked once in one namespace, twice and again in the other.
        for (namespace, times) in [("once", "one"), ("twice", "two")] {
            cluster.namespace_called(namespace, &[(times, "yes")]);
            cluster.let_developer_edit(namespace);
            let admin = cluster.admin();
            let asked = format!("{MUTATE}={MUTATIONS}");
            admin.run(&["annotate", "namespace", namespace, &asked]).ok().unwrap();
            admin.create(&private.pull_secret("login", namespace, PULLER));
            admin.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "strict", "namespace": namespace,
                    "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}));
        }
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
        server.register_mutating(&cluster, "one", ("one", "yes"));
        server.register_mutating(&cluster, "two-a", ("two", "yes"));
        server.register_mutating(&cluster, "two-b", ("two", "yes"));
        let bench = Self { _server: server, cluster, private };
        for namespace in ["once", "twice"] {
            // A pod that names the secret makes it known; it comes before the webhook or after.
            let mut user = bench.pod("user", namespace);
            user["spec"]["imagePullSecrets"] = json!([{"name": "login"}]);
            bench.cluster.admin().create(&user);
            wait_until("a patch", || {
                let pod = bench.created(&bench.pod("probe", namespace));
                let patched = pod["spec"]["imagePullSecrets"].is_array();
                bench.delete("probe", namespace);
                if patched { Ok(()) } else { Err(pod.to_string().into()) }
            })
            .unwrap();
        }
        Some(bench)
    }

    fn pod(&self, name: &str, namespace: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace,
                "annotations": {"own": "kept", MUTATE: MUTATIONS}},
            "spec": {"containers": [{"name": "app", "image": self.private.image("team/app:1")}]}})
    }

    fn created(&self, pod: &Value) -> Value {
        let create = ["create", "-o", "json", "-f", "-"];
        let text = self.cluster.kubectl(DEVELOPER).run_with(&create, &pod.to_string());
        serde_json::from_str(&text.ok().unwrap()).unwrap()
    }

    fn delete(&self, name: &str, namespace: &str) {
        let delete = ["delete", "pod", name, "-n", namespace, "--grace-period=0", "--force"];
        self.cluster.admin().run(&delete).ok().unwrap();
    }
}

#[test]
fn patches_are_the_same_however_often_they_are_asked_for() {
    let Some(bench) = Bench::set_up() else { return };
    let digest = Image::single("amd64", "1").digest().to_owned();
    let pinned = bench.private.image(&format!("team/app@{digest}"));
    let shape = |pod: &Value| {
        json!([
            pod["spec"]["containers"][0]["image"],
            pod["spec"]["imagePullSecrets"],
            pod["metadata"]["annotations"]
        ])
    };
    let original = json!({"app": bench.private.image("team/app:1")}).to_string();
    let expected = json!([pinned, [{"name": "login"}], {"own": "kept", MUTATE: MUTATIONS, ORIGINALS: original}]);
    for namespace in ["once", "twice"] {
        let pod = bench.created(&bench.pod("patched", namespace));
        assert_eq!(shape(&pod), expected, "{namespace}");
        // The pod as it is now, created again: nothing more is done.
        let mut again = bench.pod("again", namespace);
        again["metadata"]["annotations"] = pod["metadata"]["annotations"].clone();
        again["spec"]["containers"][0]["image"] = pod["spec"]["containers"][0]["image"].clone();
        again["spec"]["imagePullSecrets"] = pod["spec"]["imagePullSecrets"].clone();
        assert_eq!(shape(&bench.created(&again)), expected, "{namespace}");

        // What a person listed stays in front.
        let mut listed = bench.pod("listed", namespace);
        listed["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
        let secrets = &bench.created(&listed)["spec"]["imagePullSecrets"];
        assert_eq!(secrets, &json!([{"name": "mine"}, {"name": "login"}]));

        // An account that keeps its pods to its own secrets: the API server would refuse the pod.
        let mut strict = bench.pod("strict", namespace);
        strict["spec"]["serviceAccountName"] = "strict".into();
        let strict = bench.created(&strict);
        assert_eq!(strict["spec"]["imagePullSecrets"], Value::Null);
        assert_eq!(strict["spec"]["containers"][0]["image"], bench.private.image("team/app:1"));

        // A pod of a controller that may compare.
        let mut owned = bench.pod("owned", namespace);
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "example.com/v1",
            "kind": "Thing", "name": "x", "uid": "0b2f3c1e-0000-4000-8000-000000000001",
            "controller": true}]);
        let owned = bench.created(&owned);
        assert_eq!(owned["spec"]["imagePullSecrets"], Value::Null);
        assert_eq!(owned["spec"]["containers"][0]["image"], bench.private.image("team/app:1"));
    }
    workloads_do_not_drift(&bench);
}

/// The pods of a Deployment are patched, the Deployment is not.
fn workloads_do_not_drift(bench: &Bench) {
    let image = bench.private.image("team/app:1");
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "once"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": image}]}}}})
    .to_string();
    let kubectl = bench.cluster.kubectl(DEVELOPER);
    kubectl.run_with(&["apply", "--server-side", "-f", "-"], &object).ok().unwrap();
    let pods = nodes::wait_for_pods(&bench.cluster, "once", "app=web", 1);
    let pod = bench.cluster.admin().get(&["pod", &pods[0], "-n", "once"]).unwrap();
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "login"}]));
    assert!(pod["spec"]["containers"][0]["image"].as_str().unwrap().contains("@sha256:"));
    let deployed = || bench.cluster.admin().get(&["deployment", "web", "-n", "once"]).unwrap();
    let before = deployed();
    assert_eq!(before["spec"]["template"]["spec"]["containers"][0]["image"], image);
    kubectl.run_with(&["apply", "--server-side", "-f", "-"], &object).ok().unwrap();
    assert_eq!(deployed()["metadata"]["generation"], before["metadata"]["generation"]);
    kubectl.finds_no_drift(&["-f", "-"], &object);
    kubectl.finds_no_drift(&["-f", "-", "--server-side"], &object);
    let again = bench.cluster.admin().get(&["pods", "-l", "app=web", "-n", "once"]).unwrap();
    assert_eq!(again["items"].as_array().unwrap().len(), 1, "no new pod was made");
}
