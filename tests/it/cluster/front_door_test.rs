//! What a kubelet would do, asked through the front door: a real API server, real registries, and
//! pods whose credentials, pull policy, platform and mirrors decide.

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::images::Image;
use super::process;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, OTHER, PULLER, Registry};
use super::{nodes, programs, skipped, wait_until};

const POLICY: &str = include_str!("scenes/vouched.yaml");
const NAMESPACE: &str = "door";

struct Door {
    cluster: ControlPlane,
    open: Registry,
    private: Registry,
    _server: PullgateServer,
    _hosts: tempfile::TempDir,
}

impl Door {
    fn open() -> Option<Self> {
        let folder = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let cluster = ControlPlane::start(&folder).unwrap();
        let open = Registry::start(&folder, Access::Anonymous).unwrap();
        let private = Registry::start(&folder, Access::Basic).unwrap();
        open.push("team/app", &["1"], &Image::index(&["amd64", "arm64"], "1"));
        open.push("team/arm", &["1"], &Image::index(&["arm64"], "arm"));
        private.push("team/app", &["1"], &Image::single("amd64", "1"));
        nodes::create_node(&cluster, "door-node", "amd64", &[], &[]);
        cluster.namespace_called(NAMESPACE, &[("door", "yes"), ("pullgate.dev/mode", "enforce")]);
        for (name, user) in [("good", PULLER), ("wrong", ("shop-puller", "not-it", ""))] {
            cluster.admin().create(&private.pull_secret(name, NAMESPACE, user));
        }
        let elsewhere = open.pull_secret("elsewhere", NAMESPACE, OTHER);
        cluster.admin().create(&elsewhere);
        cluster.admin().create(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "broken", "namespace": NAMESPACE},
            "stringData": {".dockerconfigjson": r#"{"auths": {"r.example.com": {"auth": "%%%"}}}"#},
        }));
        cluster.admin().create(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "puller", "namespace": NAMESPACE},
            "imagePullSecrets": [{"name": "good"}],
        }));
        // A registry that nobody can reach, with a mirror that has its images.
        let hosts = process::folder("hosts");
        let mirrored = hosts.path().join("mirrored.example");
        std::fs::create_dir(&mirrored).unwrap();
        let text = format!(
            "server = \"https://mirrored.invalid\"\n\n[host.\"http://{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
            open.host()
        );
        std::fs::write(mirrored.join("hosts.toml"), text).unwrap();
        pullgate::grant_rights(&cluster);
        let folder = hosts.path().to_str().unwrap();
        let flags = ["--registry-hosts-dir", folder];
        let server =
            PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &flags).unwrap();
        server.register(&cluster, "door", ("door", "yes"));
        let door = Self { cluster, open, private, _server: server, _hosts: hosts };
        let missing = door.open.image("team/app:9");
        wait_until("the webhook", || match door.ask(&missing, &json!({})) {
            denied if denied.contains("denied the request") => Ok(()),
            other => Err(other.into()),
        })
        .unwrap();
        Some(door)
    }

    /// What kubectl says on standard error to a pod with this image and these other fields; the
    /// pull policy is `Always` unless they say otherwise.
    fn ask(&self, image: &str, spec: &Value) -> String {
        let policy = spec.get("imagePullPolicy").cloned().unwrap_or(json!("Always"));
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "asked", "namespace": NAMESPACE},
            "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]}});
        for (key, value) in spec.as_object().unwrap() {
            if key != "imagePullPolicy" {
                pod["spec"][key] = value.clone();
            }
        }
        let create = ["create", "--dry-run=server", "-f", "-"];
        self.cluster.admin().run_with(&create, &pod.to_string()).stderr
    }
}

fn secrets(names: &[&str]) -> Value {
    let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    json!({ "imagePullSecrets": list })
}

#[test]
fn the_kubelets_answer_through_the_front_door() {
    let Some(door) = Door::open() else { return };
    let private = door.private.image("team/app:1");
    let with = |names: &[&str]| door.ask(&private, &secrets(names));

    // Several secrets: tried in order until one works; one for another host does not count.
    assert_eq!(with(&["wrong", "good"]), "");
    assert_eq!(with(&["elsewhere", "good"]), "");
    // The first refusal warns; the second exchange, a second later, confirms it.
    wait_until("the confirmed refusal", || {
        let refused = with(&["wrong"]);
        let said = ["denied the request", "rejects the credentials in secret wrong"];
        if said.iter().all(|one| refused.contains(one)) { Ok(()) } else { Err(refused.into()) }
    })
    .unwrap();
    // One that is missing may yet be created, and another one works.
    assert_eq!(with(&["not-there", "good"]), "");

    // The ServiceAccount's secrets count where the pod names none.
    assert_eq!(door.ask(&private, &json!({"serviceAccountName": "puller"})), "");

    // A broken secret stops every pull, also of a public image.
    let public = door.open.image("team/app:1");
    assert_eq!(door.ask(&public, &json!({})), "");
    let broken = door.ask(&public, &secrets(&["good", "broken"]));
    assert!(broken.contains("pull secret broken is malformed"), "{broken}");
    assert!(broken.contains("denied the request"), "{broken}");

    // Never: no registry is asked.
    let never = door.ask(&public, &json!({"imagePullPolicy": "Never"}));
    assert!(never.contains("pull policy Never"), "{never}");

    // The index has nothing for the node; constraints that no node fulfils leave it open.
    let arm = door.open.image("team/arm:1");
    let platform = door.ask(&arm, &json!({}));
    assert!(platform.contains("built for linux/arm64 only"), "{platform}");
    assert_eq!(door.ask(&arm, &json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}})), "");

    // The mirror that the nodes have answers for a registry that cannot be reached.
    assert_eq!(door.ask("mirrored.example/team/app:1", &json!({})), "");
    let mirrored = door.ask("mirrored.example/team/arm:1", &json!({}));
    assert!(mirrored.contains("built for linux/arm64 only"), "{mirrored}");
}

/// A container that runs is not pulled again, so its tag may be gone.
#[test]
fn a_pod_whose_tag_is_gone_can_still_be_debugged_and_changed() {
    const RUNNING: &str = "running";
    let Some(door) = Door::open() else { return };
    let admin = door.cluster.admin();
    let image = |tag: &str| door.open.image(&format!("team/app:{tag}"));
    // Made while nobody looked at this namespace, as if the tag had been there then.
    door.cluster.namespace_called(RUNNING, &[]);
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": RUNNING},
            "spec": {"containers": [
                {"name": "gone", "image": image("gone"), "imagePullPolicy": "Always"},
                {"name": "side", "image": image("gone"), "imagePullPolicy": "Always"}]}})
    };
    admin.create(&pod("web"));
    let labels = ["door=yes", "pullgate.dev/mode=enforce"];
    admin.run(&[&["label", "namespace", RUNNING], &labels[..]].concat()).ok().unwrap();
    let create = ["create", "--dry-run=server", "-f", "-"];
    wait_until("a new pod with that tag to be denied", || {
        let said = admin.run_with(&create, &pod("other").to_string()).stderr;
        if said.contains("denied the request") { Ok(()) } else { Err(said.into()) }
    })
    .unwrap();

    let set = |tag: &str| {
        let side = format!("side={}", image(tag));
        admin.run(&["set", "image", "-n", RUNNING, "pod/web", &side])
    };
    let debug = |name: &str, tag: &str| {
        let image = format!("--image={}", image(tag));
        let words = ["debug", "-n", RUNNING, "pod/web", "--attach=false", "--target=gone"];
        let container = format!("--container={name}");
        let policy = "--image-pull-policy=Always";
        admin.run(&[&words[..], &[&image, &container, policy]].concat())
    };
    for done in [set("1"), debug("good", "1")] {
        assert!(done.code == 0 && !done.stderr.contains("team/app:gone"), "{done:?}");
    }
    for refused in [set("8"), debug("bad", "7")] {
        assert!(refused.stderr.contains("denied the request"), "{refused:?}");
        assert!(!refused.stderr.contains("team/app:gone"), "{refused:?}");
    }
}
