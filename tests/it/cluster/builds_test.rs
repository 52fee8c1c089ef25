//! What builds: pods of their own, runs of Tekton, nobody at all; and how a build ended.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{nodes, programs, runtime, skipped, wait_until};
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

    /// The command by which the build of an image is run again, as `explain` shows it to be pasted.
    fn again(&self, image: &str, of: &str) -> String {
        wait_until(of, || {
            let mut command = std::process::Command::new(pullgate::binary());
            command.env("KUBECONFIG", self.cluster.kubeconfig(ADMIN));
            let output = command.args(["explain", image, "-n", "shop", "-o", "json"]).output();
            let json = output.unwrap().stdout;
            let json: Value = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
            let report = &json["reports"][0];
            let told = report["advice"].as_array().into_iter().flatten();
            let mut told = told.filter(|one| one["message"].as_str().unwrap().contains(of));
            let shown = told.find_map(|one| one["command"].as_str());
            let shown = shown.ok_or_else(|| format!("{report:#}"))?;
            let remedy = report["remedy"].as_str().unwrap();
            assert!(remedy.starts_with("Run the build: "), "{report:#}");
            let ways = report["alternatives"].as_array().unwrap().iter();
            let mut ways = ways.chain([&report["commands"]]);
            assert!(ways.any(|way| *way == json!([shown])), "{report:#}");
            Ok(shown.to_owned())
        })
        .unwrap()
    }

    /// Runs it word for word.
    fn paste(&self, command: &str) {
        let done = self.cluster.paste(ADMIN, command);
        assert_eq!(done.code, 0, "{command}: {done:?}");
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.cluster.admin().get(&[kind, name, "-n", "ci"]).unwrap()
    }

    /// Every object of a kind whose name begins so.
    fn called(&self, kind: &str, start: &str) -> Vec<Value> {
        let list = self.cluster.admin().get(&[kind, "-n", "ci"]).unwrap();
        let mut all = list["items"].as_array().unwrap().clone();
        all.retain(|one| one["metadata"]["name"].as_str().unwrap().starts_with(start));
        all
    }

    /// The one pod of this Job fails.
    fn job_fails(&self, job: &str) {
        let pods = nodes::wait_for_pods(&self.cluster, "ci", &format!("job-name={job}"), 1);
        self.ends(&pods[0], "");
    }

    /// The template of a Job that builds this image.
    fn template(&self, image: &str) -> Value {
        json!({"metadata": {"labels": {"team": "builders"}}, "spec": {"restartPolicy": "Never",
            "containers": [{"name": "kaniko", "image": self.registry.image("shop/app:1"),
                "args": ["--context=/workspace", format!("--destination={image}")]}]}})
    }

    fn job(&self, name: &str, image: &str, suspend: bool) {
        self.cluster.admin().create(&json!({"apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "namespace": "ci"}, "spec": {"suspend": suspend,
                "backoffLimit": 0, "template": self.template(image)}}));
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
    works.told(ADMIN, &image, "build pod ci/bare that pushes it has never run");
    works.ends("bare", "building\nno space left on device\n");
    works.told(ADMIN, &image, "build pod ci/bare that pushes it failed");
    let said = works.told(ADMIN, &image, "its pod ended with exit code 2");
    // At apply nothing is repeated that somebody else wrote; whoever looks after it sees it.
    assert!(!said.contains("no space left"), "{said}");
    let page = works.explain(&image);
    let end = "container kaniko of build pod ci/bare ended with Error (exit code 2) and wrote \
               \"no space left on device\"";
    assert!(page.contains(end), "{page}");
    assert!(page.contains("kubectl patch pod bare -n ci --dry-run=client"), "{page}");
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
    let said = works.told(DEVELOPER, &asked, "build pod team/bare pushes 1, and not 3");
    assert!(!said.contains("ci/teams"), "{said}");

    // What stands there instead of a message is the log.
    let image = works.registry.image("shop/logged:1");
    works.builder(("ci", "logged"), &image, "FallbackToLogsOnError");
    works.ends("logged", "password=hunter2\n");
    works.told(ADMIN, &image, "build pod ci/logged that pushes it failed");
    let page = works.explain(&image);
    assert!(page.contains("of build pod ci/logged ended with Error (exit code 2)"), "{page}");
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
    works.told(ADMIN, &image, "PipelineRun ci/build-1 that pushes it has never run");
    works.status(
        "pipelinerun/build-1",
        &json!({"startTime": "2026-01-02T03:04:05Z", "conditions":
            [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]}),
    );
    works.told(ADMIN, &image, "PipelineRun ci/build-1 that pushes it is running");
    works.status(
        "pipelinerun/build-1",
        &json!({"completionTime": "2026-01-02T03:05:05Z", "conditions":
            [{"type": "Succeeded", "status": "False", "reason": "PipelineRunTimeout"}]}),
    );
    let said = works.told(ADMIN, &image, "PipelineRun ci/build-1 that pushes it failed");
    assert!(said.contains("it took too long"), "{said}");
    let page = works.explain(&image);
    assert!(page.contains("kubectl patch pipelinerun build-1 -n ci --dry-run=client"), "{page}");

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
    works.told(ADMIN, &asked, "TaskRun ci/push pushes 1.2.3, and not 1.2.4");
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
    let nobody = "no Job, CronJob, pod or Tekton run in this cluster pushes to this repository";
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
    works.told(ADMIN, &image, "build pod ci/somebody pushes 2, and not 1");
    let (_, page) = works.server.admin_page("metrics").unwrap();
    assert!(page.contains("pullgate_watch_synced{resource=\"taskruns\"} 1"), "{page}");
}

/// The arguments of the first container of a pod or a template.
fn arguments(spec: &Value) -> &Value {
    &spec["containers"][0]["args"]
}

#[test]
fn a_job_of_a_cron_job_is_made_again_by_the_command_that_is_shown() {
    let Some(works) = works() else { return };
    let image = works.registry.image("shop/nightly:1");
    works.cluster.admin().create(&json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "ci"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": {"spec": {
            "backoffLimit": 0, "template": works.template(&image)}}}}));
    // The first that is made fails, too; the second has another name.
    for (of, made) in [("CronJob", "nightly-again"), ("build job", "nightly-again-2")] {
        let command = works.again(&image, of);
        assert_eq!(command, format!("kubectl create job {made} --from=cronjob/nightly -n ci"));
        works.paste(&command);
        let job = works.get("job", made);
        assert_eq!(job["metadata"]["ownerReferences"][0]["name"], "nightly");
        let built = &arguments(&job["spec"]["template"]["spec"])[1];
        assert_eq!(*built, format!("--destination={image}"));
        works.told(ADMIN, &image, &format!("build job ci/{made} that pushes it"));
        works.job_fails(made);
        works.told(ADMIN, &image, &format!("build job ci/{made} that pushes it failed"));
    }
}

#[test]
fn a_job_and_a_pod_of_their_own_are_run_again_by_the_commands_that_are_shown() {
    let Some(works) = works() else { return };
    let image = works.registry.image("shop/waits:1");
    works.job("waits", &image, true);
    works.paste(&works.again(&image, "it is suspended"));
    nodes::wait_for_pods(&works.cluster, "ci", "job-name=waits", 1);

    let image = works.registry.image("shop/once:1");
    works.job("once", &image, false);
    works.job_fails("once");
    let command = works.again(&image, "ci/once that pushes it failed");
    let before = works.get("job", "once");
    works.paste(&command);
    let now = works.get("job", "once");
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    assert!(now["status"]["failed"].is_null(), "{now:#}");
    assert_eq!(now["spec"]["template"]["spec"], before["spec"]["template"]["spec"]);
    let pods = nodes::wait_for_pods(&works.cluster, "ci", "job-name=once,team=builders", 1);
    let owner = &works.get("pod", &pods[0])["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(*owner, now["metadata"]["uid"], "a pod of the new Job");

    let image = works.registry.image("shop/alone:1");
    works.builder(("ci", "alone"), &image, "File");
    nodes::play_running(&works.cluster, "ci", "alone", "node-that-was", "");
    works.ends("alone", "");
    let command = works.again(&image, "ci/alone that pushes it failed");
    let before = works.get("pod", "alone");
    works.paste(&command);
    let now = works.get("pod", "alone");
    assert_ne!(now["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(arguments(&now["spec"]), arguments(&before["spec"]));
    assert!(now["spec"]["nodeName"].is_null(), "the scheduler finds a node: {now:#}");
    assert_eq!(now["status"]["phase"], "Pending");
}

#[test]
fn runs_of_tekton_are_run_again_by_the_commands_that_are_shown() {
    let Some(works) = works() else { return };
    let run = |kind: &str, name: &str, spec: &Value| {
        works.cluster.admin().create(&json!({"apiVersion": "tekton.dev/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "ci",
                "labels": {"tekton.dev/written": "by-tekton"}}, "spec": spec}));
    };
    let image = works.registry.image("shop/held:1");
    let params = json!([{"name": "IMAGE", "value": image}]);
    let held = json!({"pipelineRef": {"name": "build"}, "params": params,
        "status": "PipelineRunPending"});
    run("PipelineRun", "held", &held);
    works.paste(&works.again(&image, "it is suspended"));
    assert!(works.get("pipelinerun", "held")["spec"]["status"].is_null());

    let failed = json!({"completionTime": "2026-01-02T03:05:05Z", "conditions":
        [{"type": "Succeeded", "status": "False", "reason": "Failed"}]});
    for (kind, name) in [("PipelineRun", "piped-again"), ("TaskRun", "tasked-again")] {
        let image = works.registry.image(&format!("shop/{name}:1"));
        let params = json!([{"name": "IMAGE", "value": image}]);
        let reference = if kind == "TaskRun" { "taskRef" } else { "pipelineRef" };
        run(kind, name, &json!({reference: {"name": "build"}, "params": params}));
        let resource = kind.to_lowercase();
        works.status(&format!("{resource}/{name}"), &failed);
        works.paste(&works.again(&image, &format!("{kind} ci/{name} that pushes it failed")));
        let made = works.called(&resource, &format!("{name}-"));
        let [made] = made.as_slice() else { panic!("one {kind}: {made:#?}") };
        assert_eq!(made["spec"], works.get(&resource, name)["spec"]);
        assert!(made["status"].is_null() && made["metadata"]["labels"].is_null(), "{made:#}");
    }
}
