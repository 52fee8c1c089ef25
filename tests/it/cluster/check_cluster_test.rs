//! `pullgate check` with a cluster says what admission there would say: by the cluster's policy, its
//! exceptions, its nodes, and what is seen of images in it.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process::{self, Finished};
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{PATIENCE, nodes, programs, skipped, wait_until};

const POLICY: &str = include_str!("scenes/vouched.yaml");

const LABEL: (&str, &str) = ("pullgate", "check");

/// A cluster with a shop that enforces, and a registry.
struct Desk {
    // The webhook ends before the cluster that calls it.
    server: Option<PullgateServer>,
    cluster: ControlPlane,
    registry: Registry,
    folder: tempfile::TempDir,
}

impl Desk {
    fn set_up() -> Option<Self> {
        let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
        let cluster = ControlPlane::start(&programs).unwrap();
        let registry = Registry::start(&programs, Access::Anonymous).unwrap();
        registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("shop", &[("pullgate.dev/mode", "enforce"), LABEL]);
        cluster.let_developer_edit("shop");
        Some(Self { server: None, cluster, registry, folder: process::folder("check") })
    }

    /// Starts `serve` and lets the API server ask it.
    fn serve(&mut self) {
        pullgate::grant_rights(&self.cluster);
        let server = PullgateServer::start(&self.cluster, Some(POLICY), Proof::PathToken, &[]);
        let server = self.server.insert(server.unwrap());
        server.register(&self.cluster, "check", LABEL);
    }

    fn apply(&self, policy: &str) {
        let admin = self.cluster.admin();
        wait_until("the policy is taken", || {
            let made = admin.run_with(&["apply", "-f", "-"], policy);
            if made.code == 0 { Ok(()) } else { Err(made.stderr.into()) }
        })
        .unwrap();
    }

    /// Runs the check of a pod with this image.
    fn check(&self, user: User, tag: &str, flags: &[&str]) -> Finished {
        let spec = json!({"containers": [{"name": "c", "image": self.image(tag)}]});
        self.check_pod(user, &spec, flags)
    }

    fn check_pod(&self, user: User, spec: &Value, flags: &[&str]) -> Finished {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "asked", "namespace": "shop"}, "spec": spec});
        self.check_object(user, &pod, flags)
    }

    fn check_deployment(&self, user: User, spec: &Value, flags: &[&str]) -> Finished {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "asked", "namespace": "shop"},
            "spec": {"template": {"spec": spec}}});
        self.check_object(user, &deployment, flags)
    }

    fn check_object(&self, user: User, object: &Value, flags: &[&str]) -> Finished {
        let file = self.folder.path().join("asked.json");
        fs::write(&file, object.to_string()).unwrap();
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.cluster.kubeconfig(user));
        command.env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8");
        command.args(["check", "--context", "test", "-f", "asked.json"]).args(flags);
        command.current_dir(self.folder.path());
        process::run(&mut command, "", PATIENCE * 2)
    }

    fn image(&self, tag: &str) -> String {
        self.registry.image(&format!("shop/app:{tag}"))
    }

    /// What is decided about it.
    fn decision(&self, tag: &str) -> (i32, Value) {
        let said = self.check(ADMIN, tag, &["-o", "json", "--fail-on", "deny"]);
        let report: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        (said.code, report["images"][0]["decision"].clone())
    }

    /// What was pulled a moment ago is gone, from the cluster and from the registry.
    fn forget_workload(&self) {
        self.registry.untag("shop/app", "1");
        let admin = self.cluster.admin();
        admin
            .run(&[
                "delete",
                "deployment",
                "good",
                "-n",
                "shop",
                "--cascade=foreground",
                "--wait=false",
            ])
            .ok()
            .unwrap();
        let pods = ["delete", "pods", "--all", "-n", "shop", "--force", "--grace-period=0"];
        admin.run(&pods).ok().unwrap();
        admin.run(&["delete", "events", "--all", "-n", "shop"]).ok().unwrap();
    }

    fn run_workload(&self) {
        let image = self.image("1");
        self.cluster.admin().create(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "good", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "good"}},
                "template": {
                    "metadata": {"labels": {"app": "good"}},
                    "spec": {"containers": [{"name": "good", "image": image}]},
                },
            },
        }));
        let pods = nodes::wait_for_pods(&self.cluster, "shop", "app=good", 1);
        let digest = Image::single("amd64", "1").digest().to_owned();
        nodes::play_running(&self.cluster, "shop", &pods[0], "node-a", &digest);
    }
}

#[test]
fn check_says_what_admission_in_the_cluster_would_say() {
    let Some(desk) = Desk::set_up() else { return };
    let none = desk.check(ADMIN, "9", &["--fail-on", "deny"]);
    assert_eq!(none.code, 0, "{none:?}");
    assert!(none.stderr.contains("there is no PullgatePolicy in the cluster"), "{none:?}");

    let definition = ::pullgate::policy::custom_resource_definition().to_string();
    desk.apply(&definition);
    desk.apply(POLICY);
    assert_eq!(desk.decision("9"), (1, json!("deny")), "the cluster's policy vouches");
    let own = desk.folder.path().join("own.yaml");
    let milder = POLICY.replace("mirrors: none", "mirrors: unknown");
    fs::write(&own, milder).unwrap();
    let flags = ["--policy", "own.yaml", "--fail-on", "deny", "--no-memory"];
    let of_file = desk.check(ADMIN, "9", &flags);
    assert_eq!((of_file.code, &*of_file.stderr), (0, ""), "one that is given wins: {of_file:?}");

    // An exception in the cluster counts.
    let excepted = format!(
        "{POLICY}  exceptions:\n  - {{name: move, owner: shop team, reason: it moves, \
         expires: \"2999-01-01\", match: {{images: [\"{}/shop/*\"]}}}}\n",
        desk.registry.host()
    );
    desk.apply(&excepted);
    assert_eq!(desk.decision("9"), (0, json!("allow")));
    let said = desk.check(ADMIN, "9", &[]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("by exception move of shop team"), "{said:?}");
    desk.apply(POLICY);

    // What runs here is offered instead, and what was pulled here a moment ago is no failure.
    desk.run_workload();
    let said = desk.check(ADMIN, "9", &[]);
    assert!(said.stdout.contains("use 1 (1 pod runs it here)"), "{said:?}");
    desk.registry.untag("shop/app", "1");
    assert_eq!(desk.decision("1"), (0, json!("warn")), "a pull in this cluster beats a look-up");

    // Whose rights end at a namespace is told what does not count.
    let developer = desk.check(DEVELOPER, "9", &["-n", "shop"]);
    for words in [
        "you may not list nodes or namespaces there",
        "you may not list the cluster's PullgatePolicy objects",
        "what is seen of images in namespace shop counts",
    ] {
        assert!(developer.stderr.contains(words), "no {words}: {developer:?}");
    }
    assert_eq!(developer.code, 1, "{developer:?}");

    // Of several policies the one that a running Pullgate follows counts, or the one that is named.
    desk.apply(&POLICY.replace("name: pullgate", "name: site"));
    desk.apply(
        &POLICY
            .replace("name: pullgate", "name: mild")
            .replace("mirrors: none", "mirrors: unknown"),
    );
    desk.cluster.admin().run(&["delete", "pullgatepolicy", "pullgate"]).ok().unwrap();
    let several = desk.check(ADMIN, "9", &[]);
    assert_eq!(several.code, 2, "{several:?}");
    assert!(several.stderr.contains("name one with --policy-from-cluster"), "{several:?}");
    let flags = ["--fail-on", "deny", "--policy-from-cluster"];
    assert_eq!(desk.check(ADMIN, "9", &[&flags[..], &["site"]].concat()).code, 1);
    assert_eq!(desk.check(ADMIN, "9", &[&flags[..], &["mild"]].concat()).code, 0);
    let status = json!({"status": {"conditions": [{"type": "InForce", "status": "True"}]}});
    let patch = ["patch", "pullgatepolicy", "site", "--subresource=status", "--type=merge", "-p"];
    desk.cluster.admin().run(&[&patch[..], &[&status.to_string()]].concat()).ok().unwrap();
    assert_eq!(desk.check(ADMIN, "9", &["--fail-on", "deny"]).code, 1);
}

/// What ran here an hour ago may still be on a node; a list made now does not know of it.
#[test]
fn check_asks_a_running_serve_for_what_it_remembers() {
    let Some(mut desk) = Desk::set_up() else { return };
    desk.serve();
    desk.run_workload();
    let file = desk.folder.path().join("own.yaml");
    fs::write(&file, POLICY).unwrap();
    let asked = |user, flags: &[&str]| {
        let all = ["--policy", "own.yaml", "--fail-on", "deny"];
        desk.check(user, "1", &[&all[..], flags].concat())
    };
    // Until it has seen the pod run there is nothing to remember.
    let server = desk.server.as_ref().unwrap();
    wait_until("serve has seen it", || {
        let page = server.admin_page("metrics")?.1;
        let mut lines = page.lines();
        let pods = lines.find_map(|line| line.strip_prefix("pullgate_index_pods "));
        if pods == Some("1") { Ok(()) } else { Err(format!("{pods:?}").into()) }
    })
    .unwrap();
    desk.forget_workload();
    let alone = asked(ADMIN, &["--no-memory"]);
    assert_eq!((alone.code, &*alone.stderr), (1, ""), "a list made now knows nothing: {alone:?}");
    wait_until("serve remembers", || {
        let said = asked(ADMIN, &[]);
        if said.code == 0 { Ok(()) } else { Err(format!("{said:?}").into()) }
    })
    .unwrap();
    // Where nobody answers that is said.
    drop(desk.server.take());
    let nobody = desk.check(ADMIN, "1", &["--policy", "own.yaml", "--fail-on", "deny"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(
        nobody.stderr.contains("the history of a running pullgate serve does not count"),
        "{nobody:?}"
    );
}

/// What is worth knowing of images that work, as text and as JSON: that nodes fail to reach the
/// registry, and that a login in the cluster ends soon.
#[test]
fn check_notes_what_the_cluster_shows_of_images_that_work() {
    let Some(desk) = Desk::set_up() else { return };
    let report = |user, spec: &Value| {
        let flags = ["-n", "shop", "--no-memory", "-o", "text", "-o", "json=r.json"];
        let said = desk.check_pod(user, spec, &flags);
        let json = fs::read_to_string(desk.folder.path().join("r.json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        let text = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(said.code, 0, "{said:?}");
        (text, json["images"][0].clone())
    };
    let spec = json!({"containers": [{"name": "c", "image": desk.image("1")}]});
    let (text, image) = report(ADMIN, &spec);
    assert_eq!((&image["verdict"], &image["advice"]), (&json!("works"), &json!([])), "{text}");
    assert!(text.starts_with("1 image in 1 object: 1 works"), "{text}");

    // The login is read from the cluster.
    let end = jiff::Timestamp::now().as_second() + 5 * 3600 + 600;
    let body = URL_SAFE_NO_PAD.encode(json!({"exp": end}).to_string());
    let token = format!("eyJhbGciOiJub25lIn0.{body}.c2ln");
    let auths = json!({"auths": {desk.registry.host(): {"username": "r", "password": token}}});
    desk.cluster.admin().create(&json!({"apiVersion": "v1", "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "ends", "namespace": "shop"},
        "stringData": {".dockerconfigjson": auths.to_string()}}));
    let mut with_login = spec.clone();
    with_login["imagePullSecrets"] = json!([{"name": "ends"}]);
    let (text, image) = report(DEVELOPER, &with_login);
    let note = format!(
        "works container c line 1 pull_secret_expires {} can be pulled now, but not for long; the \
         login in secret ends expires in 5 h: renew it",
        desk.image("1")
    );
    assert!(text.contains(&note), "{text}");
    assert_eq!(image["verdict"], "works", "{image:#}");
    assert_eq!(image["note"], "pull_secret_expires", "{image:#}");
    assert_eq!(image["advice"][0]["kind"], "secret_expires", "{image:#}");

    // Nodes fail to reach the registry that answers here.
    let refused =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    for nth in 0..4 {
        let (name, image) = (format!("f{nth}"), desk.image(&format!("1.{nth}")));
        desk.cluster.admin().create(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"containers": [{"name": "c", "image": image}]}}));
        nodes::play_failing(&desk.cluster, "shop", &name, "node-a", ("ErrImagePull", refused));
    }
    for user in [ADMIN, DEVELOPER] {
        let (text, image) = report(user, &spec);
        let host = desk.registry.host();
        let note = format!(
            "works container c line 1 nodes_fail {} pullable, but 4 of 4 recent pulls from {host} \
             failed on nodes (TLS)",
            desk.image("1")
        );
        assert!(text.contains(&note), "{text}");
        assert_eq!(image["verdict"], "works", "{image:#}");
        assert_eq!(image["note"], "nodes_fail", "{image:#}");
        assert!(image["message"].as_str().unwrap().contains("4 of 4 recent pulls"), "{image:#}");
    }
}

/// The API server adds to pods what their class says; a template has only its name.
#[test]
fn check_puts_a_template_where_its_runtime_class_does() {
    let Some(desk) = Desk::set_up() else { return };
    nodes::create_node(&desk.cluster, "node-arm", "arm64", &[], &[]);
    // Of a list of platforms only what is in it can be pulled.
    desk.registry.push("shop/app", &["listed"], &Image::index(&["amd64"], "listed"));
    let spec = json!({"runtimeClassName": "kata",
        "containers": [{"name": "c", "image": desk.image("listed")}]});
    let report = || {
        let said = desk.check_deployment(ADMIN, &spec, &["-o", "json", "--no-memory"]);
        let report: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        assert_eq!(report["images"][0]["cause"], "platform_mismatch", "{report:#}");
        report["images"][0]["verdict"].clone()
    };
    assert_eq!(report(), "works", "one of the nodes will do");
    desk.cluster.admin().create(&json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
        "handler": "kata", "scheduling": {"nodeSelector": {"kubernetes.io/arch": "arm64"}},
    }));
    assert_eq!(report(), "fails", "the class has others");
}

/// How long a rollout will pull is estimated by what was seen: of the image, of its other tags, or of
/// its registry by size; for the nodes that lack it, and for who may list all pods.
#[test]
fn check_estimates_how_long_nodes_will_pull() {
    let Some(desk) = Desk::set_up() else { return };
    nodes::create_node(&desk.cluster, "node-b", "amd64", &[], &[]);
    nodes::create_node(&desk.cluster, "node-arm", "arm64", &[], &[]);
    desk.registry.push("shop/app", &["2"], &Image::single("amd64", "2"));
    desk.registry.push("shop/other", &["1"], &Image::single("amd64", "other"));
    desk.registry.push("shop/both", &["1"], &Image::index(&["amd64", "arm64"], "both"));
    let report = |user, image: &str| {
        let spec = json!({"containers": [{"name": "c", "image": image}],
            "nodeSelector": {"kubernetes.io/arch": "amd64"}});
        let flags = ["-n", "shop", "--no-memory", "-o", "text", "-o", "json=r.json"];
        let said = desk.check_pod(user, &spec, &flags);
        let json = fs::read_to_string(desk.folder.path().join("r.json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((said.code, &json["images"][0]["verdict"]), (0, &json!("works")), "{said:?}");
        let text = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        (text, json["images"][0]["pullForecast"].clone())
    };
    // Nothing was seen, so nothing is said.
    let (text, forecast) = report(ADMIN, &desk.image("1"));
    assert_eq!(forecast, Value::Null, "{text}");
    assert!(!text.contains("to pull"), "{text}");

    desk.run_workload();
    let image = desk.image("1");
    let admin = desk.cluster.admin();
    let pod = nodes::wait_for_pods(&desk.cluster, "shop", "app=good", 1).remove(0);
    let pod = admin.get(&["pod", "-n", "shop", &pod]).unwrap();
    let message = format!(
        "Successfully pulled image \"{image}\" in 12.3s (12.4s including waiting). \
         Image size: 350 bytes."
    );
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    admin.create(&json!({"apiVersion": "v1", "kind": "Event",
        "metadata": {"generateName": "good.", "namespace": "shop"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop",
            "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
        "reason": "Pulled", "message": message, "type": "Normal",
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "source": {"component": "kubelet", "host": "node-a"}}));
    let (text, forecast) = report(ADMIN, &image);
    let wanted = json!({"seconds": 13, "nodes": 2, "basis": "image", "pulls": 1});
    assert_eq!(forecast, wanted, "{text}");
    let line = format!(
        "Pulls to come, estimated: {image}: about 13 s to pull on each of 2 nodes that lack it \
         (by its last pull here)"
    );
    assert!(text.contains(&line), "{text}");

    // A node that lists it has it.
    let listed = json!({"status": {"images": [{"names": [image], "sizeBytes": 350}]}});
    let patch = ["patch", "node", "node-a", "--subresource=status", "--type=merge", "-p"];
    admin.run(&[&patch[..], &[&listed.to_string()]].concat()).ok().unwrap();
    let (text, forecast) = report(ADMIN, &image);
    assert_eq!(forecast["nodes"], 1, "{text}");
    assert!(text.contains("on 1 node that lacks it"), "{text}");

    // Another tag took about as long; of another repository the size tells, where it was read.
    let (text, forecast) = report(ADMIN, &desk.image("2"));
    let wanted = json!({"seconds": 13, "nodes": 2, "basis": "repository", "pulls": 1});
    assert_eq!(forecast, wanted, "{text}");
    let (text, forecast) = report(ADMIN, &desk.registry.image("shop/other:1"));
    assert_eq!((&forecast["basis"], &forecast["nodes"]), (&json!("registry"), &json!(2)), "{text}");
    let seconds = forecast["seconds"].as_u64().unwrap();
    assert!((1..600).contains(&seconds), "{text}");
    let (text, forecast) = report(ADMIN, &desk.registry.image("shop/both:1"));
    assert_eq!(forecast, Value::Null, "an index does not say how large an image is: {text}");

    // Who may not list all pods learns nothing of what others pull.
    let (text, forecast) = report(DEVELOPER, &image);
    assert_eq!(forecast, Value::Null, "{text}");
}

/// Nodes of containerd do not read CRI-O's mirrors: what was found by them, or not, is not denied
/// where both kinds of nodes may take the pod.
#[test]
fn mirrors_of_one_runtime_say_nothing_for_nodes_of_another() {
    let Some(desk) = Desk::set_up() else { return };
    nodes::create_node(&desk.cluster, "node-b", "amd64", &[], &[]);
    let admin = desk.cluster.admin();
    let of_crio = json!({"status": {"nodeInfo": {"containerRuntimeVersion": "cri-o://1.36.3"}}});
    let patch = ["patch", "node", "node-b", "--subresource=status", "--type=merge", "-p"];
    admin.run(&[&patch[..], &[&of_crio.to_string()]].concat()).ok().unwrap();
    let mirror = Registry::start(desk.cluster.programs(), Access::Anonymous).unwrap();
    mirror.push("shop/app", &["2"], &Image::single("amd64", "2"));
    let conf = format!(
        "[[registry]]\nlocation = \"{}\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
        desk.registry.host(),
        mirror.host()
    );
    fs::write(desk.folder.path().join("registries.conf"), conf).unwrap();
    fs::write(desk.folder.path().join("own.yaml"), POLICY).unwrap();
    let said = |tag: &str, more: &[&str]| {
        let flags = ["--policy", "own.yaml", "--no-memory", "--fail-on", "deny", "-o", "json"];
        let said = desk.check(ADMIN, tag, &[&flags[..], more].concat());
        let report: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        let image = &report["images"][0];
        let word = |field: &str| image[field].as_str().unwrap().to_owned();
        (word("verdict"), word("decision") == "deny")
    };
    let mirrors = ["--crio-registries", "registries.conf"];
    let (fails, cannot_tell) = (("fails".to_owned(), true), ("cannot_tell".to_owned(), false));
    let works = ("works".to_owned(), false);
    assert_eq!(said("9", &[]), fails, "both runtimes ask the registry itself");
    assert_eq!(said("9", &mirrors), cannot_tell);
    assert_eq!(said("2", &mirrors), cannot_tell, "only the mirror of one runtime has it");
    assert_eq!(said("1", &mirrors), works, "the registry itself has it");
    // Where all nodes are CRI-O's, its mirrors are theirs.
    admin.run(&["delete", "node", "node-a"]).ok().unwrap();
    assert_eq!(said("9", &mirrors), fails);
    assert_eq!(said("2", &mirrors), works);
}
