//! Advice as kubectl shows it, and taken at its word: what is suggested is cut out of the text,
//! applied as it stands, and the second apply is silent.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{PATIENCE, nodes, programs, runtime, skipped, wait_until};

const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: site}
spec:
  cannotTell: warn
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  latePush: {grace: 0s}
  advice: {mutableTags: true, events: true}
";
/// The developer's namespace, and one that is nobody's business.
const SHOP: &str = "shop";
const HIDDEN: &str = "hidden";

/// A shop with a registry for everybody and one for those who log in.
struct Desk {
    server: PullgateServer,
    cluster: ControlPlane,
    open: Registry,
    private: Registry,
    vault: Registry,
    throttled: String,
    folder: tempfile::TempDir,
}

/// One test at a time: what one runs, the next one would be told of.
fn desk() -> Option<(&'static Desk, MutexGuard<'static, ()>)> {
    static DESK: OnceLock<Desk> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Some((DESK.get_or_init(|| Desk::set_up(&programs)), turn))
}

impl Desk {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        let private = Registry::start(programs, Access::Basic).unwrap();
        let vault = Registry::start(programs, Access::Basic).unwrap();
        vault.push("shop/invoices", &["1"], &Image::single("amd64", "invoices"));
        open.push("shop/app", &["1.2.2"], &Image::single("amd64", "1.2.2"));
        open.push("shop/app", &["1.2.3", "latest"], &Image::single("amd64", "1.2.3"));
        open.push("shop/moved", &["kept"], &Image::single("amd64", "moved"));
        open.push("shop/sensors", &["1"], &Image::index(&["arm64"], "sensors"));
        private.push("shop/billing", &["1"], &Image::single("amd64", "billing"));
        nodes::create_node(&cluster, "node-amd", "amd64", &[], &[]);
        nodes::create_node(&cluster, "node-arm", "arm64", &[], &[]);
        cluster.namespace_called(SHOP, &[("desk", "yes")]);
        cluster.namespace_called(HIDDEN, &[]);
        cluster.let_developer_edit(SHOP);
        pullgate::grant_rights(&cluster);
        grant_events(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
        server.register(&cluster, "desk", ("desk", "yes"));
        let throttled = throttled_registry();
        let folder = process::folder("advice");
        let desk = Self { server, cluster, open, private, vault, throttled, folder };
        let probe = deployment("probe", &desk.open.image("shop/none:1"));
        wait_until("the webhook", || {
            let text = probe.to_string();
            let dry = ["create", "--dry-run=server", "-f", "-"];
            let said = desk.cluster.admin().run_with(&dry, &text).stderr;
            if said.contains("shop/none:1") { Ok(()) } else { Err(said.into()) }
        })
        .unwrap();
        desk.run("app", &desk.open.image("shop/app:1.2.2"), 2, &Image::single("amd64", "1.2.2"));
        desk
    }

    /// A Deployment whose pods run.
    fn run(&self, name: &str, image: &str, replicas: usize, content: &Image) {
        let mut object = deployment(name, image);
        object["spec"]["replicas"] = replicas.into();
        let apply = ["apply", "-f", "-"];
        self.cluster.admin().run_with(&apply, &object.to_string()).ok().unwrap();
        let selector = format!("app={name}");
        for pod in nodes::wait_for_pods(&self.cluster, SHOP, &selector, replicas) {
            nodes::play_running(&self.cluster, SHOP, &pod, "node-amd", content.digest());
        }
    }

    /// What the developer is told on applying this.
    fn apply(&self, object: &Value) -> String {
        self.apply_as(DEVELOPER, object)
    }

    fn apply_as(&self, user: User, object: &Value) -> String {
        let kubectl = self.cluster.kubectl(user);
        let answer = kubectl.run_with(&["apply", "-f", "-"], &object.to_string());
        assert_eq!(answer.code, 0, "{answer:?}");
        for line in answer.stderr.lines() {
            let line = line.strip_prefix("Warning: ").unwrap_or(line);
            assert!(line.chars().count() <= 256, "{line}");
        }
        answer.stderr
    }

    /// Applies until these words are said: watches and caches are a moment behind.
    fn told(&self, object: &Value, words: &str) -> String {
        self.told_to(DEVELOPER, object, words)
    }

    fn told_to(&self, user: User, object: &Value, words: &str) -> String {
        let told = wait_until("the words", || {
            // A new generation is a new question.
            let said = self.apply_as(user, &touched(object));
            if said.contains(words) { Ok(said) } else { Err(format!("{words}: {said}").into()) }
        });
        told.unwrap()
    }

    /// Applies until nothing is said.
    fn silent(&self, object: &Value) {
        self.silent_to(DEVELOPER, object);
    }

    fn silent_to(&self, user: User, object: &Value) {
        let silent = wait_until("silence", || match self.apply_as(user, &touched(object)) {
            said if said.is_empty() => Ok(()),
            said => Err(said.into()),
        });
        silent.unwrap();
    }
}

fn grant_events(cluster: &ControlPlane) {
    let api = "rbac.authorization.k8s.io";
    let name = "pullgate-events";
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}],
    }));
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": api, "kind": "User", "name": super::control_plane::PULLGATE.name}],
    }));
}

/// A registry whose limit is used up for everybody; its host.
fn throttled_registry() -> String {
    let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let app = axum::Router::new().fallback(|| async { StatusCode::TOO_MANY_REQUESTS });
    runtime().spawn(async move { axum::serve(listener, app).await });
    host
}

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": "node-amd"},
                    "containers": [{"name": "app", "image": image}],
                },
            },
        },
    })
}

/// The same with an environment that no other has: it is reviewed again.
fn touched(object: &Value) -> Value {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut object = object.clone();
    let port = 10_000 + COUNT.fetch_add(1, Ordering::Relaxed);
    // A constraint that changes nothing: every node is below it.
    let key = format!("pullgate.test/{port}");
    object["spec"]["template"]["spec"]["tolerations"] = json!([{"key": key, "operator": "Exists"}]);
    object
}

fn with_image(object: &Value, image: &str) -> Value {
    let mut object = object.clone();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    object
}

/// The word behind these.
fn word_after<'t>(text: &'t str, before: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split([' ', ';', '?', '\n']).next().unwrap()
}

#[test]
fn the_tag_that_runs_here() {
    let Some((desk, _turn)) = desk() else { return };
    let object = deployment("known", &desk.open.image("shop/app:2.0.0"));
    let said = desk.told(&object, "run it here");
    let tag = word_after(&said, "use ");
    assert!(said.contains("use 1.2.2 (2 pods run it here)"), "{said}");
    desk.silent(&with_image(&object, &desk.open.image(&format!("shop/app:{tag}"))));
}

#[test]
fn the_tag_that_was_meant() {
    let Some((desk, _turn)) = desk() else { return };
    let object = deployment("meant", &desk.open.image("shop/app:v1.2.3"));
    let said = desk.told(&object, "did you mean 1.2.3 (");
    let tag = word_after(&said, "did you mean ");
    desk.silent(&with_image(&object, &desk.open.image(&format!("shop/app:{tag}"))));
}

#[test]
fn the_digest_that_ran_under_the_tag() {
    let Some((desk, _turn)) = desk() else { return };
    let image = desk.open.image("shop/moved:1");
    desk.run("moved", &image, 1, &Image::single("amd64", "moved"));
    let object = deployment("moved-too", &image);
    let said = desk.told(&object, "(ran here under this tag)");
    let digest = word_after(&said, "use ");
    desk.silent(&with_image(&object, &desk.open.image(&format!("shop/moved{digest}"))));
}

#[test]
fn the_secret_that_works() {
    let Some((desk, _turn)) = desk() else { return };
    let admin = desk.cluster.admin();
    admin.create(&desk.private.pull_secret("billing-login", SHOP, PULLER));
    let image = desk.private.image("shop/billing:1");
    admin.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reports", "namespace": SHOP},
        "spec": {"imagePullSecrets": [{"name": "billing-login"}],
            "containers": [{"name": "c", "image": image}]},
    }));
    let mut object = deployment("billing", &image);
    let said = desk.told(&object, "(tested)");
    let secret = word_after(&said, "add pull secret ").to_owned();
    object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": secret}]);
    desk.silent(&object);
}

#[test]
fn the_secret_that_is_missing_and_the_command_that_makes_it() {
    let Some((desk, _turn)) = desk() else { return };
    let mut object = deployment("invoices", &desk.vault.image("shop/invoices:1"));
    object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "not-there"}]);
    desk.told(&object, "pull secret not-there not found in namespace shop (yet)");
    // The long form has the command; only what a person knows is left to fill in.
    let file = desk.folder.path().join("invoices.json");
    std::fs::write(&file, object.to_string()).unwrap();
    let mut check = Command::new(pullgate::binary());
    process::clean_environment(&mut check, desk.folder.path());
    check.args(["check", "--output", "json", "--allow-address", "127.0.0.0/8", "-f"]).arg(&file);
    check.arg("--kubeconfig").arg(desk.cluster.kubeconfig(DEVELOPER));
    let report = process::run(&mut check, "", PATIENCE).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let advice = report["images"][0]["advice"].as_array().unwrap();
    let command = advice.iter().find_map(|one| one["command"].as_str()).unwrap();
    let command = command.replace("<user>", PULLER.0).replace("<password>", PULLER.1);
    let made = desk.cluster.paste(DEVELOPER, &command);
    assert_eq!(made.code, 0, "{command}: {made:?}");
    desk.silent(&object);
}

#[test]
fn the_selector_that_would_do() {
    let Some((desk, _turn)) = desk() else { return };
    let mut object = deployment("sensors", &desk.open.image("shop/sensors:1"));
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({});
    let said = desk.told(&object, "set nodeSelector ");
    let key = word_after(&said, "set nodeSelector ").trim_end_matches(':');
    let value = word_after(&said, &format!("{key}: "));
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({key: value});
    desk.silent(&object);
}

#[test]
fn another_source_for_a_limit_that_is_used_up() {
    let Some((desk, _turn)) = desk() else { return };
    let object = deployment("limited", &format!("{}/shop/app:1.2.2", desk.throttled));
    let said = desk.told(&object, "(the same name and tag)");
    assert!(said.contains("registry's pull limit reached (429)"), "{said}");
    assert!(said.contains("log in with a pull secret, or pull through a mirror"), "{said}");
    desk.silent(&with_image(&object, word_after(&said, "(429); use ")));
}

#[test]
fn an_image_that_is_on_the_nodes_and_the_pull_policy_that_would_do() {
    let Some((desk, _turn)) = desk() else { return };
    let image = format!("{}/shop/on-disk:1", desk.throttled);
    let listed = json!({"status": {"images": [{"names": [&image], "sizeBytes": 1}]}}).to_string();
    let patch =
        ["patch", "node", "node-amd", "--subresource=status", "--type=merge", "-p", &listed];
    desk.cluster.admin().run(&patch).ok().unwrap();
    let mut object = deployment("on-disk", &image);
    let policy = "/spec/template/spec/containers/0/imagePullPolicy";
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    let said = desk.told_to(ADMIN, &object, "it already: imagePullPolicy ");
    let said_to_others = desk.told(&object, "pull limit reached");
    assert!(!said_to_others.contains("already"), "somebody runs it: {said_to_others}");
    let (_, rest) = said.split_once("imagePullPolicy ").unwrap();
    *object.pointer_mut(policy).unwrap() = rest.split(' ').next().unwrap().into();
    desk.silent_to(ADMIN, &object);
}

#[test]
fn a_tag_that_moves_and_the_digest_to_pin() {
    let Some((desk, _turn)) = desk() else { return };
    let mut object = deployment("moving", &desk.open.image("shop/app"));
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    container["imagePullPolicy"] = "IfNotPresent".into();
    let said = desk.told(&object, "its tag may mean another image tomorrow");
    let digest = word_after(&said, "pin ");
    desk.silent(&with_image(&object, &desk.open.image(&format!("shop/app{digest}"))));
}

#[test]
fn what_goes_on_running_when_a_workload_is_changed() {
    let Some((desk, _turn)) = desk() else { return };
    let content = Image::single("amd64", "1.2.2");
    desk.run("rolling", &desk.open.image("shop/app:1.2.2"), 2, &content);
    let mut object = deployment("rolling", &desk.open.image("shop/app:9.9.9"));
    object["spec"]["replicas"] = 2.into();
    let said = desk.told(&object, "2 pods of the previous revision run and go on running");
    assert!(said.contains("use 1.2.2 ("), "{said}");
    object["spec"]["strategy"] = json!({"type": "Recreate"});
    desk.told(&object, "its strategy Recreate stops the 2 running pods first");
}

#[test]
fn a_registry_of_the_cluster_without_ready_endpoints() {
    let Some((desk, _turn)) = desk() else { return };
    let admin = desk.cluster.admin();
    let service = |namespace: &str, ip: &str, port: u16| {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "registry", "namespace": namespace},
            "spec": {"type": "NodePort", "clusterIP": ip,
                "ports": [{"port": 5000, "nodePort": port}]}})
    };
    admin.create(&service(SHOP, "10.96.7.7", 30_577));
    admin.create(&service(HIDDEN, "10.96.8.8", 30_588));
    let by_address = deployment("inside", "10.96.7.7:5000/app:1");
    let words = "registry Service shop/registry has no ready endpoints: no pod is behind it";
    desk.told(&by_address, words);
    desk.told(&deployment("inside-too", "127.0.0.1:30577/app:1"), words);
    // A pod that is not ready, with its reason.
    admin.create(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "registry-0", "namespace": SHOP, "labels": {"app": "registry"}},
        "spec": {"containers": [{"name": "c", "image": desk.open.image("shop/app:1.2.2")}]}}));
    let crashing = ("CrashLoopBackOff", "back-off 5m0s restarting failed container");
    nodes::play_failing(&desk.cluster, SHOP, "registry-0", "node-amd", crashing);
    let slice = |ready: bool| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "registry-1", "namespace": SHOP,
                "labels": {"kubernetes.io/service-name": "registry"}},
            "addressType": "IPv4", "ports": [{"port": 5000}],
            "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": ready},
                "targetRef": {"kind": "Pod", "namespace": SHOP, "name": "registry-0"}}]})
    };
    admin.create(&slice(false));
    desk.told(&by_address, "has no ready endpoints (0 of 1): its pod keeps crashing");
    // Ready again: it is not the Service any more, and nothing is said of it.
    let replaced = admin.run_with(&["replace", "-f", "-"], &slice(true).to_string());
    replaced.ok().unwrap();
    let quiet = wait_until("no word of the Service", || match desk.apply(&touched(&by_address)) {
        said if said.contains("registry Service") => Err(said.into()),
        said => Ok(said),
    });
    assert!(quiet.unwrap().contains("10.96.7.7:5000/app:1"));
    // What the developer may not see is not spoken of.
    let said = desk.apply(&deployment("outside", "10.96.8.8:5000/app:1"));
    assert!(said.contains("10.96.8.8") && !said.contains("Service"), "{said}");
}

#[test]
fn the_build_job_that_was_to_push_the_image() {
    let Some((desk, _turn)) = desk() else { return };
    let admin = desk.cluster.admin();
    // Nobody runs it: any image that is there will do for the builder.
    let builder = desk.open.image("shop/app:1.2.2");
    let job = |namespace: &str, name: &str, image: &str, suspend: bool| {
        json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"suspend": suspend, "backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "kaniko", "image": builder,
                    "args": ["--context=/workspace", format!("--destination={image}")]}]}}}})
    };
    let image = desk.open.image("shop/built:1");
    admin.create(&job(SHOP, "build", &image, true));
    let object = deployment("built", &image);
    desk.told(&object, "build job shop/build that pushes it has never run: it is suspended");
    admin
        .run(&["patch", "job", "build", "-n", SHOP, "-p", r#"{"spec":{"suspend":false}}"#])
        .ok()
        .unwrap();
    let pods = nodes::wait_for_pods(&desk.cluster, SHOP, "job-name=build", 1);
    desk.told(&object, "build job shop/build that pushes it is running, started");
    let failed = json!({"status": {"phase": "Failed", "containerStatuses": [{
        "name": "kaniko", "image": builder, "imageID": "",
        "ready": false, "started": false, "restartCount": 0, "lastState": {},
        "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled",
            "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:05:05Z"}}}]}});
    let patch = failed.to_string();
    let patched = [
        "patch",
        "pod",
        &pods[0],
        "-n",
        SHOP,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    admin.run(&patched).ok().unwrap();
    let said = desk.told(&object, "ago: its pod ran out of memory");
    assert!(said.contains("build job shop/build that pushes it failed"), "{said}");
    // It is pushed after all.
    desk.open.push("shop/built", &["1"], &Image::single("amd64", "built"));
    desk.silent(&object);
    // A job that the developer may not see is not spoken of.
    let image = desk.open.image("shop/secretly:1");
    admin.create(&job(HIDDEN, "build", &image, true));
    admin.create(&job(SHOP, "after-it", &desk.open.image("shop/after:1"), true));
    desk.told(&deployment("after", &desk.open.image("shop/after:1")), "shop/after-it");
    let said = desk.apply(&deployment("secretly", &image));
    assert!(said.contains("shop/secretly:1") && !said.contains("build"), "{said}");
}

#[test]
fn the_long_form_is_an_event_on_the_workload_and_never_of_a_dry_run() {
    let Some((desk, _turn)) = desk() else { return };
    let admin = desk.cluster.admin();
    let object = |name: &str| deployment(name, &desk.open.image("shop/app:3.0.0"));
    let dry = ["apply", "--dry-run=server", "-f", "-"];
    desk.cluster.kubectl(DEVELOPER).run_with(&dry, &object("dry").to_string()).ok().unwrap();
    desk.apply(&object("eventful"));
    let of = |name: &str| {
        let selector = format!("involvedObject.kind=Deployment,involvedObject.name={name}");
        let events = admin.get(&["events", "-n", SHOP, "--field-selector", &selector]).unwrap();
        let items = events["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|one| one["source"]["component"] == "pullgate").collect::<Vec<_>>()
    };
    let told = wait_until("an Event", || match of("eventful") {
        none if none.is_empty() => {
            // Other tests may have used up what may be written at once.
            desk.apply(&touched(&object("eventful")));
            Err("none yet".to_owned().into())
        }
        some => Ok(some),
    })
    .unwrap();
    let deployed = admin.get(&["deployment", "eventful", "-n", SHOP]).unwrap();
    assert_eq!(told[0]["involvedObject"]["uid"], deployed["metadata"]["uid"]);
    assert_eq!(
        (&told[0]["reason"], &told[0]["type"]),
        (&json!("ImagePullWarning"), &json!("Warning"))
    );
    let message = told[0]["message"].as_str().unwrap();
    assert!(message.contains("shop/app:3.0.0: tag not found in the registry"), "{message}");
    assert!(message.contains("use 1.2.2 ("), "{message}");
    desk.apply(&touched(&object("eventful")));
    assert_eq!(of("eventful").len(), 1, "the same is written once");
    assert!(of("dry").is_empty());
}

/// A tenant's image name is no probe of other tenants' Services, whoever forgot to say where they are.
#[test]
fn the_cluster_s_own_addresses_are_closed_by_themselves() {
    let Some((desk, _turn)) = desk() else { return };
    let ranges = || {
        if desk.server.log().contains("10.96.0.0/16") {
            Ok(())
        } else {
            Err("not yet".to_owned().into())
        }
    };
    wait_until("the ranges", ranges).unwrap();
    let address = "10.96.77.77:5000";
    desk.apply(&deployment("probing", &format!("{address}/a/b:1")));
    let (_, page) = desk.server.admin_page("metrics").unwrap();
    let mut lookups = page.lines().filter(|line| line.contains("lookups_total"));
    assert!(lookups.any(|line| line.contains("forbidden_address")), "{page}");
}
