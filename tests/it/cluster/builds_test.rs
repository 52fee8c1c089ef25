//! What builds: pods of their own, runs of Tekton, nobody at all; and how a build ended.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{programs, runtime, skipped, wait_until};
use crate::deploy::tekton;

const LABEL: (&str, &str) = ("pullgate", "builds");
/// Where the API server puts Services of type `NodePort`.
const NODE_PORTS: std::ops::Range<u16> = 30_500..32_700;

struct Works {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    registry: Registry,
    /// The same registry as a Service of the cluster.
    in_cluster: u16,
    cluster: ControlPlane,
}

fn works() -> Option<&'static Works> {
    static WORKS: OnceLock<Works> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(WORKS.get_or_init(|| Works::set_up(&programs)))
}

/// A way to this address by a port of nodes.
fn node_port(to: String) -> u16 {
    runtime().block_on(async {
        for port in NODE_PORTS {
            let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await else {
                continue;
            };
            tokio::spawn(async move {
                while let Ok((mut from, _)) = listener.accept().await {
                    let to = to.clone();
                    tokio::spawn(async move {
                        let mut there = tokio::net::TcpStream::connect(to).await?;
                        tokio::io::copy_bidirectional(&mut from, &mut there).await
                    });
                }
            });
            return port;
        }
        panic!("no port of nodes is free")
    })
}

impl Works {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        tekton::define(&cluster.admin());
        let registry = Registry::start(programs, Access::Anonymous).unwrap();
        registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
        for namespace in ["shop", "ci", "team"] {
            cluster.namespace_called(namespace, &[LABEL]);
        }
        cluster.let_developer_edit("shop");
        cluster.let_developer_edit("team");
        pullgate::grant_rights(&cluster);
        let policy = include_str!("scenes/vouched.yaml");
        let server = PullgateServer::start(&cluster, Some(policy), Proof::PathToken, &[]).unwrap();
        server.register(&cluster, "builds", LABEL);
        let in_cluster = node_port(registry.host());
        let works = Self { server, registry, in_cluster, cluster };
        works.cluster.admin().create(&json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "registry", "namespace": "ci"},
            "spec": {"type": "NodePort", "selector": {"app": "registry"},
                "ports": [{"port": 5000, "nodePort": in_cluster}]}}));
        works
    }

    /// What kubectl says of a Deployment with this image, once it speaks of what is wanted.
    fn told(&self, user: User, image: &str, wanted: &str) -> String {
        wait_until(wanted, || {
            let said = self.apply(user, image);
            if said.contains(wanted) { Ok(said) } else { Err(said.into()) }
        })
        .unwrap()
    }

    fn apply(&self, user: User, image: &str) -> String {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "asked", "namespace": "shop"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}});
        let apply = ["apply", "--dry-run=server", "-f", "-"];
        self.cluster.kubectl(user).run_with(&apply, &object.to_string()).stderr
    }

    fn status(&self, object: &str, status: &Value) {
        let patch = json!({"status": status}).to_string();
        let [patch, object] = [patch.as_str(), object];
        let arguments =
            ["patch", object, "-n", "ci", "--subresource=status", "--type=merge", "-p", patch];
        self.cluster.admin().run(&arguments).ok().unwrap();
    }

    fn explain(&self, image: &str) -> String {
        self.explains(ADMIN, image)[0].split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What `pullgate explain` says to somebody, and what beside it.
    fn explains(&self, user: User, image: &str) -> [String; 2] {
        let mut command = std::process::Command::new(pullgate::binary());
        command.env("KUBECONFIG", self.cluster.kubeconfig(user));
        let output = command.args(["explain", image, "-n", "shop"]).output().unwrap();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// A pod of its own with a builder in it, as runners make them.
    fn builder(&self, (namespace, name): (&str, &str), image: &str, policy: &str) {
        self.cluster.admin().create(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "kaniko",
                "image": self.registry.image("shop/app:1"), "terminationMessagePolicy": policy,
                "args": ["--context=/workspace", format!("--destination={image}")]}]}}));
    }

    fn ends(&self, name: &str, message: &str) {
        self.status(
            &format!("pod/{name}"),
            &json!({"phase": "Failed", "startTime": "2026-01-02T03:04:05Z", "containerStatuses": [{
            "name": "kaniko", "image": "kaniko", "imageID": "", "ready": false, "started": false,
            "restartCount": 0, "lastState": {}, "state": {"terminated": {"exitCode": 2,
                "reason": "Error", "message": message, "startedAt": "2026-01-02T03:04:05Z",
                "finishedAt": "2026-01-02T03:05:05Z"}}}]}),
        );
    }
}

#[test]
fn a_pod_that_builds_by_itself_and_what_it_wrote_before_it_ended() {
    let Some(works) = works() else { return };
    let image = works.registry.image("shop/bare:1");
    works.builder(("ci", "bare"), &image, "File");
    works.told(ADMIN, &image, "build pod `ci/bare` that pushes it has never run");
    works.ends("bare", "building\nno space left on device\n");
    works.told(ADMIN, &image, "build pod `ci/bare` that pushes it failed");
    let said = works.told(ADMIN, &image, "its pod ended with exit code 2");
    // At apply nothing is repeated that somebody else wrote; whoever looks after it sees it.
    assert!(!said.contains("no space left"), "{said}");
    let page = works.explain(&image);
    let end = "container `kaniko` of build pod `ci/bare` ended with Error (exit code 2) and wrote \
               \"no space left on device\"";
    assert!(page.contains(end), "{page}");
    assert!(page.contains("kubectl get pod bare -n ci -o json | jq"), "{page}");
    // Who may not see the namespace hears nothing of it.
    let other = works.apply(DEVELOPER, &image);
    assert!(other.contains("not found") && !other.contains("ci/bare"), "{other}");

    let [page, beside] = works.explains(DEVELOPER, &image);
    assert!(!page.contains("ci/bare") && !page.contains("no space left"), "{page}");
    // Most clusters have no Tekton; that its runs may not be listed is worth no word.
    assert!(!beside.contains("taskruns"), "{beside}");

    // A build of another tag is told of in every namespace that they may see.
    works.builder(("team", "bare"), &works.registry.image("shop/teams:1"), "File");
    works.builder(("ci", "teams"), &works.registry.image("shop/teams:2"), "File");
    let asked = works.registry.image("shop/teams:3");
    let said = works.told(DEVELOPER, &asked, "build pod `team/bare` pushes `1`, and not `3`");
    assert!(!said.contains("ci/teams"), "{said}");

    // What stands there instead of a message is the log.
    let image = works.registry.image("shop/logged:1");
    works.builder(("ci", "logged"), &image, "FallbackToLogsOnError");
    works.ends("logged", "password=hunter2\n");
    works.told(ADMIN, &image, "build pod `ci/logged` that pushes it failed");
    let page = works.explain(&image);
    assert!(page.contains("of build pod `ci/logged` ended with Error (exit code 2)"), "{page}");
    assert!(!page.contains("hunter2"), "{page}");
}

#[test]
fn runs_of_tekton_that_build() {
    let Some(works) = works() else { return };
    let admin = works.cluster.admin();
    let run = |kind: &str, name: &str, spec: &Value| {
        admin.create(&json!({"apiVersion": "tekton.dev/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "ci"}, "spec": spec}));
    };
    let image = works.registry.image("shop/piped:1");
    run(
        "PipelineRun",
        "build-1",
        &json!({"pipelineRef": {"name": "build"}, "params": [{"name": "IMAGE", "value": image}]}),
    );
    works.told(ADMIN, &image, "PipelineRun `ci/build-1` that pushes it has never run");
    works.status(
        "pipelinerun/build-1",
        &json!({"startTime": "2026-01-02T03:04:05Z", "conditions":
            [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]}),
    );
    works.told(ADMIN, &image, "PipelineRun `ci/build-1` that pushes it is running");
    works.status(
        "pipelinerun/build-1",
        &json!({"completionTime": "2026-01-02T03:05:05Z", "conditions":
            [{"type": "Succeeded", "status": "False", "reason": "PipelineRunTimeout"}]}),
    );
    let said = works.told(ADMIN, &image, "PipelineRun `ci/build-1` that pushes it failed");
    assert!(said.contains("it took too long"), "{said}");
    let page = works.explain(&image);
    assert!(page.contains("kubectl get pipelinerun build-1 -n ci -o json | jq"), "{page}");

    // A step of a task of its own; another tag of the same repository.
    let destination = works.registry.image("shop/tasked:1.2.3");
    run(
        "TaskRun",
        "push",
        &json!({"params": [{"name": "to", "value": destination}], "taskSpec": {"steps": [
            {"name": "build", "image": "gcr.io/kaniko-project/executor:v1",
             "args": ["--destination=$(params.to)"]}]}}),
    );
    let asked = works.registry.image("shop/tasked:1.2.4");
    works.told(ADMIN, &asked, "TaskRun `ci/push` pushes `1.2.3`, and not `1.2.4`");
    admin.run(&["delete", "taskrun", "push", "-n", "ci"]).ok().unwrap();
    wait_until("the run is forgotten", || {
        let said = works.apply(ADMIN, &asked);
        if said.contains("TaskRun") { Err(said.into()) } else { Ok(()) }
    })
    .unwrap();
}

#[test]
fn that_nobody_builds_is_said_where_the_registry_is_one_of_this_cluster() {
    let Some(works) = works() else { return };
    let nobody = "no Job, CronJob, pod or run of Tekton in this cluster pushes to this repository";
    let image = format!("127.0.0.1:{}/shop/nobody:1", works.in_cluster);
    works.told(ADMIN, &image, nobody);
    // Of a registry elsewhere nothing is known of who pushes there.
    let elsewhere = works.apply(ADMIN, &works.registry.image("shop/nobody:1"));
    assert!(elsewhere.contains("not found") && !elsewhere.contains(nobody), "{elsewhere}");
    // Who may not see every namespace cannot be told that there is nobody.
    let other = works.apply(DEVELOPER, &image);
    assert!(other.contains("not found") && !other.contains(nobody), "{other}");
    // A tag of a repository that is there is another matter.
    let there = works.apply(ADMIN, &format!("127.0.0.1:{}/shop/app:2", works.in_cluster));
    assert!(there.contains("not found") && !there.contains(nobody), "{there}");
    // Somebody does.
    works.builder(
        ("ci", "somebody"),
        &format!("127.0.0.1:{}/shop/nobody:2", works.in_cluster),
        "File",
    );
    works.told(ADMIN, &image, "build pod `ci/somebody` pushes `2`, and not `1`");
    let (_, page) = works.server.admin_page("metrics").unwrap();
    assert!(page.contains("pullgate_watch_synced{resource=\"taskruns\"} 1"), "{page}");
}
