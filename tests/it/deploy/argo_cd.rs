//! Argo CD's own controller and repository server with the chart as an Application: it synchronises,
//! and whatever Pullgate writes at run time is no drift, in either way of comparing. `make gitops`
//! builds them and watches for ten minutes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::balancer::{Balancer, SERVICES_ON_LOOPBACK};
use super::deployed::Deployed;
use super::kept::wait_for;
use super::{program, root, strings};
use crate::cluster::control_plane::{ADMIN, ControlPlane};
use crate::cluster::images::Image;
use crate::cluster::kubectl::Kubectl;
use crate::cluster::process::{self, Process, tail};
use crate::cluster::registry::{Access, Registry};
use crate::cluster::{PATIENCE, free_port, nodes, pullgate, skipped, wait_until};

/// How long drift is looked for with each of two ways of comparing, in seconds; `make gitops` gives 300.
const WATCHED: &str = "PULLGATE_GITOPS_SECONDS";
const BRIEFLY: u64 = 15;
/// Argo CD compares each Application anew that often, in seconds; 120 in an installation.
const RESYNC: u64 = 2;

/// Argo CD without the parts that are for people, as processes with the administrator's rights.
struct ArgoCd {
    kubectl: Kubectl,
    cluster_url: String,
    repository: Repository,
    controller: Process,
    others: [Process; 2],
    _folder: TempDir,
}

/// A git repository with the chart and with another team's Deployment.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new(manifests: &[(&str, String)]) -> Self {
        let folder = process::folder("repository");
        copy(&root().join("deploy/chart/pullgate"), &folder.path().join("pullgate"));
        for (path, text) in manifests {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit();
        repository
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        let author = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
        self.git(&[&author[..], &["commit", "--quiet", "--message=all"]].concat());
    }

    fn git(&self, words: &[&str]) {
        let mut git = Command::new("git");
        process::clean_environment(&mut git, self.folder.path());
        git.current_dir(self.folder.path()).args(words);
        process::run(&mut git, "", PATIENCE).ok().unwrap();
    }
}

/// A folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

impl ArgoCd {
    /// Starts it as its manifests say where they say something of how it compares: resources that it
    /// leaves out, updates that it does not look at.
    fn start(argo_cd: &Path, cluster: &ControlPlane, repository: Repository) -> Self {
        let kubectl = cluster.admin();
        cluster.namespace_called("argocd", &[]);
        let files = argo_cd.with_file_name("argo-cd-files");
        let apply = ["apply", "--server-side", "-n", "argocd", "-f", files.to_str().unwrap()];
        kubectl.run(&apply).ok().unwrap();
        kubectl.create(&json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "argocd-secret", "namespace": "argocd",
                "labels": {"app.kubernetes.io/part-of": "argocd"}},
            "stringData": {"server.secretkey": "not-a-secret"}}));
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        wait_until("its definitions", || Ok(kubectl.run(&established).ok()?)).unwrap();
        let config = kubectl.run(&["config", "view", "--raw", "-o", "json"]).ok().unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let cluster_url = cluster.url().to_owned();
        let authority = std::fs::read(cluster.authority()).unwrap();
        let log_in = json!({"bearerToken": config["users"][0]["user"]["token"],
            "tlsClientConfig": {"caData": base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD, authority)}});
        kubectl.create(&json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "cluster", "namespace": "argocd",
                "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
            "stringData": {"name": "here", "server": cluster_url, "config": log_in.to_string()}}));
        kubectl.create(&json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
            "metadata": {"name": "default", "namespace": "argocd"},
            "spec": {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}}));

        let folder = process::folder("argo-cd");
        // helm is ours; git is the machine's.
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", cluster.programs().display(), files.display());
        let run = |part: &str, arguments: &[String]| {
            let mut command = Command::new(argo_cd);
            command.arg(part).args(arguments).env("PATH", &path);
            command.env("ARGOCD_GPG_ENABLED", "false");
            command.env("ARGOCD_ASK_PASS_SOCK", folder.path().join("ask-pass.sock"));
            command.env("KUBECONFIG", cluster.kubeconfig(ADMIN));
            Process::start(part, &mut command, folder.path()).unwrap()
        };
        let [redis, server] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
        let in_memory = run("redis", std::slice::from_ref(&redis));
        let port = server.rsplit(':').next().unwrap();
        let manifests = run(
            "repo-server",
            &[
                "--address=127.0.0.1".to_owned(),
                format!("--port={port}"),
                "--metrics-address=127.0.0.1".to_owned(),
                format!("--metrics-port={}", free_port()),
                format!("--redis={redis}"),
                "--disable-tls".to_owned(),
                "--client-ca-path=".to_owned(),
                "--loglevel=warn".to_owned(),
            ],
        );
        let controller = run(
            "application-controller",
            &[
                "--namespace=argocd".to_owned(),
                format!("--repo-server={server}"),
                "--repo-server-plaintext".to_owned(),
                format!("--redis={redis}"),
                format!("--metrics-port={}", free_port()),
                format!("--app-resync={RESYNC}"),
                "--app-resync-jitter=0".to_owned(),
                "--self-heal-timeout-seconds=1".to_owned(),
                // What fails is to be seen at once.
                "--persist-resource-health".to_owned(),
                "--repo-error-grace-period-seconds=0".to_owned(),
                "--loglevel=warn".to_owned(),
            ],
        );
        let others = [in_memory, manifests];
        Self { kubectl, cluster_url, repository, controller, others, _folder: folder }
    }

    /// An Application that synchronises by itself, and heals what others change.
    fn create(&self, name: &str, namespace: &str, path: &str, helm: &Value) {
        let mut source = json!({"repoURL": self.repository.url(), "path": path,
            "targetRevision": "main"});
        if helm.is_object() {
            source["helm"] = json!({"releaseName": name, "valuesObject": helm});
        }
        self.kubectl.create(&json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"},
            "spec": {"project": "default", "source": source,
                "destination": {"server": self.cluster_url, "namespace": namespace},
                "syncPolicy": {"automated": {"selfHeal": true, "prune": true},
                    "syncOptions": ["CreateNamespace=true"]}}}));
    }

    /// Changes Applications as their owners do.
    fn change(&self, names: &[&str], change: &Value) {
        for name in names {
            let patch = ["patch", "application", "-n", "argocd", name, "--type=merge", "-p"];
            self.kubectl.run(&[&patch[..], &[&change.to_string()]].concat()).ok().unwrap();
        }
    }

    /// Deletes an Application with all that it made.
    fn delete(&self, name: &str) {
        let all = json!({"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}});
        self.change(&[name], &all);
        let delete = ["delete", "application", "-n", "argocd", name, "--wait=false"];
        self.kubectl.run(&delete).ok().unwrap();
    }

    fn application(&self, name: &str) -> Value {
        self.kubectl.get(&["application", "-n", "argocd", name]).unwrap()
    }

    /// Waits until an Application is synchronised.
    fn until_synced(&mut self, name: &str, cluster: &ControlPlane) {
        self.until(name, |status| {
            play_the_nodes(cluster);
            status["sync"]["status"] == "Synced"
        });
    }

    /// Waits until an Application is synchronised and all of it healthy.
    fn until_healthy(&mut self, name: &str, cluster: &ControlPlane) {
        self.until(name, |status| {
            play_the_nodes(cluster);
            status["sync"]["status"] == "Synced" && status["health"]["status"] == "Healthy"
        });
    }

    fn until(&mut self, name: &str, is_so: impl Fn(&Value) -> bool) {
        let waited = wait_until(name, || {
            self.controller.still_runs()?;
            self.others[1].still_runs()?;
            let status = self.application(name)["status"].take();
            if is_so(&status) { Ok(()) } else { Err(format!("{status:#}").into()) }
        });
        waited.unwrap_or_else(|error| {
            let [_, manifests] = &self.others;
            panic!("{error}\n{}\n{}", tail(manifests.log()), tail(self.controller.log()))
        });
    }
}

/// Every state in which Applications were seen, from now on.
struct Watch(Process, #[expect(dead_code, reason = "it holds the output")] TempDir);

impl Watch {
    fn begin(cluster: &ControlPlane) -> Self {
        let folder = process::folder("watch");
        let mut command = Command::new(cluster.programs().join("kubectl"));
        command.env("KUBECONFIG", cluster.kubeconfig(ADMIN));
        command.args(["get", "applications", "-n", "argocd", "--watch", "-o", "json"]);
        let process = Process::start("watch", &mut command, folder.path()).unwrap();
        wait_for("what there is at first", || (!process.output().is_empty()).then_some(()));
        Self(process, folder)
    }

    /// How often each Application was compared since, or what differed, was complained of or was
    /// synchronised.
    fn end(mut self) -> Result<usize, String> {
        self.0.still_runs().ok().expect("the watch goes on");
        let text = self.0.output();
        let seen = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
        let mut compared = [("pullgate", Vec::new()), ("shop", Vec::new())];
        let mut operations = [None, None];
        // The last one may not be whole yet.
        for application in seen.map_while(Result::ok) {
            let (name, status) = (&application["metadata"]["name"], &application["status"]);
            let at = compared.iter().position(|(one, _)| name == *one).unwrap();
            let resources = status["resources"].as_array().into_iter().flatten();
            let differs: Vec<_> = resources.filter(|one| one["status"] != "Synced").collect();
            let complaints = &status["conditions"];
            let started = status["operationState"]["startedAt"].clone();
            let is_new = *operations[at].get_or_insert(started.clone()) != started;
            if status["sync"]["status"] != "Synced" || !complaints.is_null() || is_new {
                return Err(format!("{name}: {differs:?}, {complaints}, synchronised {started}"));
            }
            let (when, known) = (&status["reconciledAt"], &mut compared[at].1);
            if known.last() != Some(when) {
                known.push(when.clone());
            }
        }
        Ok(compared.iter().map(|(_, times)| times.len()).min().unwrap())
    }
}

/// Does for new pods what a node would: they run, and the Job that checks the policy is really run.
fn play_the_nodes(cluster: &ControlPlane) {
    let pods = cluster.admin().get(&["pods", "--all-namespaces"]).unwrap();
    for pod in pods["items"].as_array().unwrap() {
        let [name, namespace] =
            ["name", "namespace"].map(|key| pod["metadata"][key].as_str().unwrap());
        if pod["metadata"]["deletionTimestamp"].is_string() {
            let gone = ["delete", "pod", "-n", namespace, name, "--grace-period=0", "--force"];
            cluster.admin().run(&gone);
            continue;
        }
        if pod["status"]["phase"] != "Pending" {
            continue;
        }
        if pod["metadata"]["labels"]["app.kubernetes.io/name"] == "pullgate-policy-check" {
            check_the_policy(&cluster.admin(), name, &pod["spec"]["containers"][0]);
        } else {
            let digest = Image::single("amd64", "1").digest().to_owned();
            nodes::play_running(cluster, namespace, name, "node-a", &digest);
        }
    }
}

/// Runs the container of the Job with the `ConfigMap` that it mounts, and says how it ended.
fn check_the_policy(kubectl: &Kubectl, pod: &str, container: &Value) {
    let folder = process::folder("policy-check");
    let map = kubectl.get(&["configmap", "-n", "pullgate", "pullgate-policy-check"]);
    let document = map.unwrap()["data"]["policy.yaml"].as_str().unwrap().to_owned();
    std::fs::write(folder.path().join("policy.yaml"), document).unwrap();
    let mut command = Command::new(pullgate::binary());
    let at = folder.path().display().to_string();
    for argument in strings(&container["args"]) {
        command.arg(argument.replace("/etc/pullgate/policy", &at));
    }
    command.env("PULLGATE_OWN_NAMESPACE", "pullgate").env("PULLGATE_OWN_NAME", pod);
    let finished = process::run(&mut command, "", PATIENCE);
    assert_eq!(finished.code, 0, "{finished:?}");
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [{
        "name": container["name"], "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0}}}]}})
    .to_string();
    let patch = ["patch", "pod", "-n", "pullgate", pod, "--subresource=status", "--type=merge"];
    kubectl.run(&[&patch[..], &["-p", &status]].concat()).ok().unwrap();
}

/// Another team's Application: a namespace, and pods that Pullgate pins to digests.
fn shop(registry: &Registry) -> String {
    format!(
        "{}\n---\n{}\n",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
            "labels": {"pullgate.dev/mode": "enforce"}}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": {
                "metadata": {"labels": {"app": "app"},
                    "annotations": {"pullgate.dev/mutate": "digest"}},
                "spec": {"containers": [{"name": "app", "image": registry.image("shop/app:1")}]}}}})
    )
}

/// What Pullgate writes beside what is declared.
fn written(kubectl: &Kubectl) -> Vec<Value> {
    let secret = kubectl.get(&["secret", "-n", "pullgate", "pullgate"]).unwrap();
    let policy = kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap();
    let kept = ["configmap", "-n", "pullgate", "pullgate-policy-in-force"];
    let kept = kubectl.get(&kept).unwrap();
    let [token, status] = [&secret["data"]["token"], &policy["status"]["conditions"]];
    let mut all = vec![token.clone(), status.clone(), kept["data"].clone()];
    if let Ok(service) = kubectl.get(&["apiservice", pullgate::API_SERVICE]) {
        all.push(service["spec"]["caBundle"].clone());
        return all;
    }
    for kind in ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"] {
        let configuration = kubectl.get(&[kind, "pullgate"]).unwrap();
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let client = &webhook["clientConfig"];
            all.extend([client["caBundle"].clone(), client["service"]["path"].clone()]);
        }
    }
    all
}

/// One of the ways in which Argo CD compares and applies, as its users choose it.
fn compare_on_the_server(argo_cd: &ArgoCd) {
    let change = json!({
        "metadata": {"annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}},
        "spec": {"syncPolicy": {"syncOptions": ["CreateNamespace=true", "ServerSideApply=true"]}}});
    argo_cd.change(&["pullgate", "shop"], &change);
}

/// What is synchronised anew takes nothing away of what Pullgate wrote.
fn synchronise_anew(argo_cd: &mut ArgoCd, cluster: &ControlPlane, replicas: u32) {
    let kubectl = cluster.admin();
    let before = written(&kubectl);
    assert!(before.iter().all(|one| !one.is_null()), "{before:?}");
    let change = json!({"spec": {"source": {"helm": {"valuesObject": {"replicas": replicas}}}}});
    argo_cd.change(&["pullgate"], &change);
    wait_for("the change in the cluster", || {
        play_the_nodes(cluster);
        let now = kubectl.get(&["deployment", "-n", "pullgate", "pullgate"]).unwrap();
        (now["spec"]["replicas"] == replicas).then_some(())
    });
    argo_cd.until_healthy("pullgate", cluster);
    assert_eq!(written(&kubectl), before);
}

/// While Argo CD compares again and again, Pullgate makes authority and certificate anew, and pods of the
/// other team come and go and are pinned on their way in. How often was compared.
fn watch_for_drift(cluster: &ControlPlane, seconds: u64) -> usize {
    let kubectl = cluster.admin();
    let (watch, began) = (Watch::begin(cluster), Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        let before = written(&kubectl);
        let gone = ["ca.crt", "tls.crt"]
            .map(|key| json!({"op": "remove", "path": format!("/data/{key}")}));
        let gone = json!(gone).to_string();
        let patch = ["patch", "secret", "-n", "pullgate", "pullgate", "--type=json", "-p", &gone];
        kubectl.run(&patch).ok().unwrap();
        let pods = ["delete", "pod", "-n", "shop", "--selector=app=app", "--wait=false"];
        kubectl.run(&[&pods[..], &["--grace-period=0", "--force"]].concat()).ok().unwrap();
        wait_for("another authority in what the API server trusts", || {
            std::thread::sleep(Duration::from_secs(1));
            play_the_nodes(cluster);
            (written(&kubectl)[3] != before[3]).then_some(())
        });
    }
    watch.end().unwrap()
}

#[rstest]
#[case::by_the_aggregation_layer("aggregation")]
#[case::by_a_path("path")]
fn argo_cd_synchronises_the_chart_and_sees_no_drift(#[case] proof: &str) {
    let (Some(apiserver), Some(argo_cd), Some(_helm)) =
        (program("kube-apiserver"), program("argo-cd"), program("helm"))
    else {
        return;
    };
    if Command::new("git").arg("--version").output().is_err() {
        return skipped("there is no git");
    }
    let cluster =
        ControlPlane::start_with(apiserver.parent().unwrap(), &[SERVICES_ON_LOOPBACK]).unwrap();
    let kubectl = cluster.admin();
    nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
    let registry = Registry::start(cluster.programs(), Access::Anonymous).unwrap();
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    let repository = Repository::new(&[("shop/app.yaml", shop(&registry))]);
    let mut argo_cd = ArgoCd::start(&argo_cd, &cluster, repository);
    let values = json!({
        "image": {"repository": "127.0.0.1:9/pullgate"}, "service": {"port": free_port()},
        "webhook": {"proof": proof, "trustPath": true}, "mutation": {"enabled": true},
        "events": {"enabled": true}, "policyFrom": {"kind": "PullgatePolicy"},
        "policy": {
            "defaultMode": "warn", "mutation": {"allowed": ["digest", "pull-secret"]},
            "nodes": {"mirrors": "none", "credentials": "none", "preloadedImages": "none", "network": "same"},
        },
    });
    argo_cd.create("pullgate", "pullgate", "pullgate", &values);
    argo_cd.until_synced("pullgate", &cluster);
    argo_cd.create("shop", "shop", "shop", &Value::Null);
    argo_cd.until_synced("shop", &cluster);

    // From here on Pullgate writes what it writes: the bundle, its certificates, the policy's status.
    let watch = Watch::begin(&cluster);
    let balancer = Balancer::of_the_service(&kubectl);
    let deployment = kubectl.get(&["deployment", "-n", "pullgate", "pullgate"]).unwrap();
    let deployed = Deployed::of(cluster, vec![deployment]);
    let start = |name: &str| {
        let replica = deployed.replica(name, &["--allow-address=127.0.0.0/8"]);
        balancer.add(&replica);
        replica
    };
    let mut leader = start("pullgate-0");
    for name in ["pullgate", "shop"] {
        argo_cd.until_healthy(name, &deployed.cluster);
    }
    wait_for("a status of the policy", || {
        written(&kubectl).iter().all(|one| !one.is_null()).then_some(())
    });
    watch.end().unwrap();
    let seconds = std::env::var(WATCHED).ok().and_then(|seconds| seconds.parse().ok());
    let seconds = seconds.unwrap_or(BRIEFLY);
    for (way, replicas) in [("its own", 3), ("the API server's", 2)] {
        if replicas == 2 {
            compare_on_the_server(&argo_cd);
            // Another one leads from now on.
            let other = start("pullgate-1");
            leader.process.terminate(PATIENCE);
            leader = other;
        }
        synchronise_anew(&mut argo_cd, &deployed.cluster, replicas);
        let compared = watch_for_drift(&deployed.cluster, seconds);
        println!(
            "{proof}, {way} way to compare: compared {compared} times in {seconds} s, no drift"
        );
        assert!(u64::try_from(compared).unwrap() * RESYNC * 3 > seconds, "only {compared} times");
    }
    // It does watch: what somebody changes is seen, and taken back.
    let watch = Watch::begin(&deployed.cluster);
    kubectl
        .run(&["scale", "deployment", "-n", "pullgate", "pullgate", "--replicas=4"])
        .ok()
        .unwrap();
    wait_for("two replicas again", || {
        let now = kubectl.get(&["deployment", "-n", "pullgate", "pullgate"]).unwrap();
        (now["spec"]["replicas"] == 2).then_some(())
    });
    let drift = watch.end().unwrap_err();
    assert!(drift.starts_with("\"pullgate\": "), "{drift}");
    let pinned = registry.image(&format!("shop/app@{}", Image::single("amd64", "1").digest()));
    let pods = kubectl.get(&["pods", "-n", "shop"]).unwrap();
    let pods = pods["items"].as_array().unwrap().iter();
    let images: Vec<_> = pods.map(|pod| pod["spec"]["containers"][0]["image"].clone()).collect();
    assert_eq!(images, [json!(pinned), json!(pinned)]);

    drop(leader);
    argo_cd.delete("pullgate");
    // Nothing is left of it: what it wrote itself goes with what is declared.
    wait_for("nothing left", || {
        play_the_nodes(&deployed.cluster);
        let kinds = "secrets,leases.coordination.k8s.io,configmaps,roles,serviceaccounts,jobs,pods";
        let left = kubectl.get(&[kinds, "-n", "pullgate"]).unwrap();
        let own = |one: &Value| {
            let name = one["metadata"]["name"].as_str().unwrap();
            !matches!(name, "default" | "kube-root-ca.crt")
        };
        (!left["items"].as_array().unwrap().iter().any(own)).then_some(())
    });
    wait_for("no Application", || {
        let left = kubectl.get(&["application", "-n", "argocd", "pullgate", "--ignore-not-found"]);
        left.is_err().then_some(())
    });
}
