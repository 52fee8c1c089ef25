//! The health index as people meet it at kubectl: the picture in a warning, a registry in trouble,
//! the score of verdicts, and the memory that outlives a restart.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::process;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{nodes, programs, skipped, wait_until};

const POLICY: &str = include_str!("scenes/vouched.yaml");
const LABEL: (&str, &str) = ("pullgate", "lived");

/// A cluster with two nodes, and Pullgate in front of the namespaces of this module.
struct House {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    open: Registry,
    lost: Registry,
    cluster: ControlPlane,
}

fn house() -> Option<&'static House> {
    static HOUSE: OnceLock<House> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(HOUSE.get_or_init(|| House::set_up(&programs)))
}

impl House {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        let mut lost = Registry::start(programs, Access::Anonymous).unwrap();
        lost.stop();
        for node in ["node-a", "node-b"] {
            nodes::create_node(&cluster, node, "amd64", &[], &[]);
        }
        open.push("app", &["v2.3.0"], &Image::single("amd64", "v2.3.0"));
        open.push("other", &["1"], &Image::single("amd64", "other"));
        for namespace in ["shop", "bank"] {
            cluster.namespace_called(namespace, &[LABEL]);
        }
        cluster.let_developer_edit("shop");
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(POLICY), Proof::PathToken, &[]).unwrap();
        let house = Self { server, open, lost, cluster };
        house.live();
        house.server.register(&house.cluster, "lived", LABEL);
        house
    }

    /// The investigator's example: `v2.3.1` fails in two workloads, `v2.3.0` runs in three,
    /// another repository is well. All of another registry's images fail.
    fn live(&self) {
        let (bad, good, other) = (
            self.open.image("app:v2.3.1"),
            self.open.image("app:v2.3.0"),
            self.open.image("other:1"),
        );
        let missing = format!(
            "failed to pull and unpack image \"{bad}\": failed to resolve reference \"{bad}\": \
             {bad}: not found"
        );
        for (namespace, name) in [("shop", "cart"), ("bank", "ledger")] {
            self.fails(namespace, name, &bad, ("ImagePullBackOff", &missing), "node-a");
        }
        for (namespace, name) in [("shop", "front"), ("shop", "search"), ("bank", "teller")] {
            self.runs(namespace, name, &good);
        }
        self.runs("bank", "vault", &other);
        let refused = "Get \"https://x/v2/\": dial tcp 127.0.0.1:1: connect: connection refused";
        for (nth, (namespace, name)) in
            [("shop", "a"), ("shop", "b"), ("bank", "c"), ("bank", "d")].into_iter().enumerate()
        {
            let image = self.lost.image(&format!("app{}:1", nth % 3));
            let node = if nth.is_multiple_of(2) { "node-a" } else { "node-b" };
            self.fails(namespace, name, &image, ("ErrImagePull", refused), node);
        }
    }

    fn deploy(&self, namespace: &str, name: &str, image: &str) -> String {
        self.cluster.admin().create(&deployment(namespace, name, image));
        let selector = format!("app={name}");
        nodes::wait_for_pods(&self.cluster, namespace, &selector, 1).remove(0)
    }

    fn runs(&self, namespace: &str, name: &str, image: &str) {
        let pod = self.deploy(namespace, name, image);
        let digest = Image::single("amd64", name).digest().to_owned();
        nodes::play_running(&self.cluster, namespace, &pod, "node-a", &digest);
    }

    fn fails(&self, namespace: &str, name: &str, image: &str, why: (&str, &str), node: &str) {
        let pod = self.deploy(namespace, name, image);
        nodes::play_failing(&self.cluster, namespace, &pod, node, why);
    }

    /// What kubectl says on standard error when a user applies a Deployment, once it speaks of
    /// what is wanted: watches bring what was played a moment later.
    fn apply(&self, user: User, image: &str, wanted: &str) -> String {
        let object = deployment("shop", "third", image).to_string();
        let kubectl = self.cluster.kubectl(user);
        let arguments = ["apply", "--dry-run=server", "-f", "-"];
        wait_until("the warning", || {
            let answer = kubectl.run_with(&arguments, &object);
            if answer.stderr.contains(wanted) {
                Ok(answer.stderr)
            } else {
                Err(format!("{answer:?}").into())
            }
        })
        .unwrap()
    }
}

fn deployment(namespace: &str, name: &str, image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": name, "image": image}]},
            },
        },
    })
}

#[test]
fn a_third_workload_with_the_missing_tag_is_shown_the_picture() {
    let Some(house) = house() else { return };
    let bad = house.open.image("app:v2.3.1");
    let said = house.apply(ADMIN, &bad, "2 workloads fail with it in this cluster; all else");
    assert_eq!(
        said,
        format!(
            "Warning: image {bad}: tag not found in the registry; use v2.3.0 (3 pods run it here) — 2 workloads fail \
             with it in this cluster; all else from this registry runs (4); checked without credentials\n"
        )
    );
    assert!(said.trim_start_matches("Warning: ").trim_end().chars().count() <= 256);
}

#[test]
fn a_developer_is_shown_their_own_namespace_and_no_more() {
    let Some(house) = house() else { return };
    let bad = house.open.image("app:v2.3.1");
    let said = house.apply(DEVELOPER, &bad, "1 workload fails with it");
    assert_eq!(
        said,
        format!(
            "Warning: image {bad}: tag not found in the registry; use v2.3.0 (2 pods run it here) — 1 workload fails \
             with it in this namespace; all else from this registry runs (2); checked without credentials\n"
        )
    );
}

#[test]
fn a_registry_of_which_nothing_can_be_pulled_is_said_to_be_in_trouble() {
    let Some(house) = house() else { return };
    let image = house.lost.image("app7:1");
    let said = house.apply(ADMIN, &image, "registry problem");
    let line = format!(
        "Warning: image {image}: registry problem: 4 of 4 containers in this cluster cannot pull \
         from it; it now cannot be reached"
    );
    assert!(said.starts_with(&line), "{said}");
    // The developer is told the same in numbers of their own.
    let said = house.apply(DEVELOPER, &image, "registry problem");
    assert!(said.contains("2 of 2 containers in this namespace cannot pull from it"), "{said}");
}

/// A pod that asks for the image every time, with the log-in of its namespace: nodes that pulled
/// without one would be another reason to deny nothing.
fn pod(namespace: &str, name: &str, image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "imagePullSecrets": [{"name": "wrong"}, {"name": "late"}],
            "containers": [{"name": "a", "image": image, "imagePullPolicy": "Always"}],
        },
    })
}

/// A cluster in which nodes contradict what was said about one registry.
struct Contradicted {
    server: Option<PullgateServer>,
    wrong: Registry,
    late: Registry,
    cluster: ControlPlane,
    folder: TempDir,
}

const STRICT: (&str, &str) = ("pullgate.dev/mode", "enforce");

impl Contradicted {
    fn start(&mut self, name: &str) {
        let file = self.folder.path().join("snapshot");
        let flag = format!("--snapshot-file={}", file.display());
        let server =
            PullgateServer::start(&self.cluster, Some(POLICY), Proof::PathToken, &[&flag]).unwrap();
        server.register(&self.cluster, name, LABEL);
        self.server = Some(server);
    }

    fn stop(&mut self) {
        assert!(self.server.take().unwrap().stop().success());
    }

    fn metrics(&self) -> String {
        self.server.as_ref().unwrap().admin_page("metrics").unwrap().1
    }

    /// What kubectl says when a pod with this image is created where the namespace enforces.
    fn strict(&self, image: &str) -> String {
        let arguments = ["create", "--dry-run=server", "-f", "-"];
        let object = pod("strict", "probe", image).to_string();
        self.cluster.admin().run_with(&arguments, &object).stderr
    }

    fn until(&self, what: &str, holds: impl Fn() -> Result<(), String>) {
        wait_until(what, || holds().map_err(Into::into)).unwrap_or_else(|error| {
            panic!("{error}\n{}", self.server.as_ref().map(PullgateServer::log).unwrap_or_default())
        });
    }

    /// Whether `pullgate explain` says this of an image.
    fn explains(&self, image: &str, wanted: &str) -> Result<(), String> {
        let mut command = std::process::Command::new(pullgate::binary());
        command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN));
        let output = command.args(["explain", image, "-n", "easy"]).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        if page.contains(wanted) { Ok(()) } else { Err(page) }
    }

    fn until_said(&self, image: &str, wanted: &str) {
        self.until(wanted, || {
            let said = self.strict(image);
            if said.contains(wanted) { Ok(()) } else { Err(said) }
        });
    }
}

const DENIED: &str = "denied the request";
const REOPENED: &str = "so for a while nothing is denied for it";

#[test]
fn nodes_that_pull_what_was_refused_open_the_registrys_escapes_and_a_restart_does_not_forget() {
    let Some(programs) = programs().inspect_err(|reason| skipped(reason)).ok() else { return };
    let cluster = ControlPlane::start(&programs).unwrap();
    let registry = || Registry::start(&programs, Access::Basic).unwrap();
    let (wrong, late) = (registry(), registry());
    for registry in [&wrong, &late] {
        registry.push("app", &["1"], &Image::single("amd64", "1"));
    }
    nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
    cluster.namespace_called("easy", &[LABEL]);
    cluster.namespace_called("other", &[LABEL]);
    cluster.namespace_called("strict", &[LABEL, STRICT]);
    for namespace in ["easy", "other", "strict"] {
        for (name, registry) in [("wrong", &wrong), ("late", &late)] {
            cluster.admin().create(&registry.pull_secret(name, namespace, PULLER));
        }
    }
    pullgate::grant_rights(&cluster);
    let folder = process::folder("memory");
    let mut world = Contradicted { server: None, wrong, late, cluster, folder };
    world.start("first");
    let images = [world.wrong.image("app:2"), world.late.image("app:2")];
    for image in &images {
        world.until_said(image, DENIED);
    }
    // Both are let in where nothing is denied, and both are then pulled by a node: one that
    // Pullgate still cannot see, and one that was pushed in between. The first is seen in two
    // namespaces: one tenant alone could make it up.
    let pods = [
        ("easy", "wrong", &images[0]),
        ("other", "wrong", &images[0]),
        ("easy", "late", &images[1]),
    ];
    for (namespace, name, image) in pods {
        world.cluster.admin().create(&pod(namespace, name, image));
    }
    world.late.push("app", &["2"], &Image::single("amd64", "2"));
    let digest = Image::single("amd64", "2").digest().to_owned();
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    for (namespace, name, _) in pods {
        nodes::play_running_since(&world.cluster, namespace, name, ("node-a", &digest), &now);
    }
    let judged = r#"pullgate_verdicts_judged_total{verdict="fails",outcome="pulled_freshly"} 3"#;
    world.until(judged, || {
        let page = world.metrics();
        if page.contains(judged) { Ok(()) } else { Err(page) }
    });
    // Another tag: what a node just ran is let in for that alone.
    let missing = &world.wrong.image("app:3");
    world.until_said(missing, REOPENED);
    let still = world.strict(&world.late.image("app:3"));
    assert!(still.contains(DENIED), "a late push opens nothing: {still}");

    // Whose pods are gone is remembered, too, and told by whoever asks the next process.
    let gone = ["delete", "pod", "wrong", "-n", "other", "--force", "--grace-period=0"];
    world.cluster.admin().run(&gone).ok().unwrap();
    let told = "pod/wrong in other: gone; had it";
    world.until("who is gone", || world.explains(&images[0], told));

    world.stop();
    world.start("second");
    world.until_said(missing, REOPENED);
    world.until("who is gone, after a restart", || world.explains(&images[0], told));
    let read = r#"pullgate_snapshots_total{operation="read",result="ok"} 1"#;
    world.until("the score of before", || {
        let page = world.metrics();
        if [read, judged].iter().all(|line| page.contains(line)) { Ok(()) } else { Err(page) }
    });

    // What was kept is damaged: it is dropped with a line, and the gate is as on the first day.
    world.stop();
    let file = world.folder.path().join("snapshot");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, bytes).unwrap();
    world.start("third");
    world.until_said(missing, DENIED);
    let log = world.server.as_ref().unwrap().log();
    assert_eq!(log.matches("dropped the snapshot").count(), 1, "{log}");
    let begun = Instant::now();
    world.stop();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(fs::metadata(&file).unwrap().len() > 100, "a new one takes its place");
}
