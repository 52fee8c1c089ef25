//! The commands of `pullgate explain`, run word for word as the developer pastes them, with nothing
//! filled in but what only a person knows; and what they make is what was said.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::control_plane::{ControlPlane, DEVELOPER};
use super::images::Image;
use super::registry::{Access, OTHER, PULLER, Registry};
use super::{PATIENCE, nodes, process, programs, pullgate, skipped, wait_until};

const REFUSED: (&str, &str) =
    ("ErrImagePull", "unexpected status from HEAD request: 401 Unauthorized");

struct Desk {
    open: Registry,
    private: Registry,
    cluster: ControlPlane,
    folder: tempfile::TempDir,
}

fn desk() -> Option<&'static Desk> {
    static DESK: OnceLock<Desk> = OnceLock::new();
    let programs = programs().inspect_err(|reason| skipped(reason)).ok()?;
    Some(DESK.get_or_init(|| {
        let cluster = ControlPlane::start(&programs).unwrap();
        let open = Registry::start(&programs, Access::Anonymous).unwrap();
        let private = Registry::start(&programs, Access::Basic).unwrap();
        open.push("shop/app", &["1.2.2"], &Image::single("amd64", "1.2.2"));
        private.push("shop/billing", &["3"], &Image::single("amd64", "3"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        Desk { open, private, cluster, folder: process::folder("commands") }
    }))
}

/// A namespace where the developer may edit.
struct Room<'d> {
    desk: &'d Desk,
    name: String,
}

impl Desk {
    fn room(&self, name: &str) -> Room<'_> {
        self.cluster.namespace_called(name, &[]);
        self.cluster.let_developer_edit(name);
        Room { desk: self, name: name.to_owned() }
    }
}

impl Room<'_> {
    fn create(&self, api_version: &str, kind: &str, name: &str, spec: &Value) {
        self.desk.cluster.admin().create(&json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": self.name}, "spec": spec}));
    }

    fn deploy(&self, name: &str, pod: &Value) -> String {
        self.create(
            "apps/v1",
            "Deployment",
            name,
            &json!({
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}),
        );
        self.pods(name, 1).remove(0)
    }

    fn pods(&self, app: &str, count: usize) -> Vec<String> {
        nodes::wait_for_pods(&self.desk.cluster, &self.name, &format!("app={app}"), count)
    }

    fn fails(&self, pod: &str, why: (&str, &str)) {
        nodes::play_failing(&self.desk.cluster, &self.name, pod, "node-a", why);
    }

    fn runs(&self, pod: &str) {
        let digest = Image::single("amd64", "1.2.2").digest().to_owned();
        nodes::play_running(&self.desk.cluster, &self.name, pod, "node-a", &digest);
    }

    /// The other pods end, as a kubelet would see to.
    fn forget_all_but(&self, pod: &str) {
        wait_until("one pod", || {
            let admin = self.desk.cluster.admin();
            let pods = admin.get(&["pods", "-n", &self.name])?;
            let names = pods["items"].as_array().unwrap().iter();
            let names = names.map(|one| one["metadata"]["name"].as_str().unwrap());
            let others: Vec<&str> = names.filter(|name| *name != pod).collect();
            if others.is_empty() {
                return Ok(());
            }
            let delete = ["delete", "pod", "-n", &self.name, "--force", "--grace-period=0"];
            admin.run(&[&delete[..], &others].concat()).ok()?;
            Err(format!("{others:?}").into())
        })
        .unwrap();
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.desk.cluster.admin().get(&[kind, name, "-n", &self.name]).unwrap()
    }

    /// What `explain` says of an object or an image.
    fn explain(&self, subject: &str) -> Value {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, self.desk.folder.path());
        command.env("KUBECONFIG", self.desk.cluster.kubeconfig(DEVELOPER));
        command.args(["explain", subject, "-n", &self.name, "--no-memory", "-o", "json"]);
        let said = process::run(&mut command, "", PATIENCE * 2);
        let json: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
        json["reports"][0].clone()
    }

    fn commands(&self, subject: &str) -> Vec<String> {
        let report = self.explain(subject);
        let commands = texts(&report["commands"]);
        assert!(!commands.is_empty(), "{report:#}");
        commands
    }

    /// The way out that is described so.
    fn way(&self, subject: &str, words: &str) -> Vec<String> {
        let report = self.explain(subject);
        let others = report["alternatives"].as_array().unwrap();
        let mut ways = [&report["commands"]].into_iter().chain(others).map(texts);
        let found = ways.find(|way| way.iter().any(|command| command.contains(words)));
        found.unwrap_or_else(|| panic!("no {words}: {report:#}"))
    }

    /// Runs them word for word, with a login where one is to be filled in.
    fn paste(&self, commands: &[String]) {
        for command in commands {
            let line = command.replace("<user>", PULLER.0).replace("<password>", PULLER.1);
            let done = self.desk.cluster.paste(DEVELOPER, &line);
            assert_eq!(done.code, 0, "{command}: {done:?}");
            if command.starts_with("kubectl patch serviceaccount") {
                self.waits_for_account();
            }
        }
    }

    /// The API server gives a pod its account's pull secrets from what it keeps of accounts, which
    /// a busy machine lets fall behind: a pod that comes at once may still be given the old ones.
    fn waits_for_account(&self) {
        let account = self.get("serviceaccount", "default");
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "asks-for-secrets", "namespace": self.name},
            "spec": {"containers": [{"name": "c", "image": "r.example.com/a:1"}]}});
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        wait_until("the account's pull secrets in new pods", || {
            let shown = self.desk.cluster.admin().run_with(&args, &pod.to_string()).ok()?;
            let given: Value = serde_json::from_str(&shown).map_err(|error| error.to_string())?;
            if given["spec"]["imagePullSecrets"] == account["imagePullSecrets"] {
                return Ok(());
            }
            Err(given["spec"]["imagePullSecrets"].to_string().into())
        })
        .unwrap();
    }

    fn secret(&self, name: &str, kind: &str, key: &str, config: &Value) {
        self.desk.cluster.admin().create(
            &json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": self.name},
            "stringData": {key: config.to_string()}}),
        );
    }

    /// That the registry now gives the image to the object's own pull secrets.
    fn works(&self, subject: &str) {
        let report = self.explain(subject);
        let tried = report["registry_now"]["tried"].as_array().unwrap();
        assert_eq!(tried.last().unwrap()["outcome"], "works", "{report:#}");
    }

    fn image_of(&self, deployment: &str) -> Value {
        let object = self.get("deployment", deployment);
        object["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    }

    /// The names of the pull secrets of the pods that come last.
    fn secrets_of_new_pod(&self, app: &str) -> Vec<String> {
        wait_until("a new pod", || {
            let admin = self.desk.cluster.admin();
            let label = format!("app={app}");
            let sets = admin.get(&["replicasets", "-n", &self.name, "-l", &label])?;
            let sets = sets["items"].as_array().unwrap().iter().filter_map(|set| {
                let revision = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                let revision: u32 = revision.as_str()?.parse().ok()?;
                Some((revision, set["metadata"]["uid"].clone()))
            });
            let (revision, set) =
                sets.max_by_key(|(revision, _)| *revision).ok_or("no revision".to_owned())?;
            if revision < 2 {
                return Err("no new revision".to_owned().into());
            }
            let list = admin.get(&["pods", "-n", &self.name, "-l", &label])?;
            let mut pods = list["items"].as_array().unwrap().iter();
            let new = pods.find(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == set);
            let new = new.ok_or("no pod of the new revision".to_owned())?;
            let secrets = new["spec"]["imagePullSecrets"].as_array().cloned().unwrap_or_default();
            Ok(secrets.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect())
        })
        .unwrap()
    }
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn container(image: &str) -> Value {
    json!({"containers": [{"name": "app", "image": image}]})
}

#[test]
fn another_image_is_set_and_a_rollout_undone() {
    let Some(desk) = desk() else { return };
    let room = desk.room("rollout");
    let (good, bad) = (desk.open.image("shop/app:1.2.2"), desk.open.image("shop/app:1.2.4"));
    let missing = format!("{bad}: not found");
    let pod = room.deploy("web", &container(&good));
    // A revision that runs with the same image is not what to go back to.
    room.runs(&pod);
    let to_bad = format!("kubectl set image deployment/web app={bad} -n rollout");
    let break_it = || {
        room.paste(std::slice::from_ref(&to_bad));
        let pods = room.pods("web", 2);
        let failing = pods.iter().find(|one| **one != pod).unwrap();
        room.fails(failing, ("ErrImagePull", &missing));
    };
    break_it();
    let set = format!("kubectl set image deployment/web app={good} -n rollout");
    let undo = "kubectl rollout undo deployment/web -n rollout".to_owned();
    let report = room.explain("deployment/web");
    // One after the other they would lead back to where it fails: each is a way of its own.
    let ways = (&report["commands"], &report["alternatives"]);
    assert_eq!(ways, (&json!([set]), &json!([[undo]])), "{report:#}");
    room.paste(&[set]);
    assert_eq!(room.image_of("web"), good);
    room.forget_all_but(&pod);
    let verify = room.explain("deployment/web")["verify"].clone();
    assert_eq!(verify, json!([]), "nothing is broken any more");
    break_it();
    let verify = room.explain("deployment/web")["verify"].clone();
    room.paste(&[undo]);
    assert_eq!(room.image_of("web"), good);
    room.forget_all_but(&pod);
    let status = verify[0].as_str().unwrap().to_owned();
    assert_eq!(status, "kubectl rollout status deployment/web -n rollout");
    room.paste(&[status]);
}

#[test]
fn a_rollout_is_not_undone_where_only_one_node_of_this_revision_fails() {
    let Some(desk) = desk() else { return };
    let room = desk.room("one-node");
    let image = desk.open.image("shop/app:1.2.2");
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": container(&image)});
    room.create(
        "apps/v1",
        "Deployment",
        "web",
        &json!({"replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": template}),
    );
    let pods = room.pods("web", 2);
    room.runs(&pods[0]);
    room.fails(&pods[1], ("ErrImagePull", "dial tcp 127.0.0.1:1: connect: connection refused"));
    let report = room.explain("deployment/web");
    let ways = format!("{}{}", report["commands"], report["alternatives"]);
    assert!(!ways.contains("undo"), "{report:#}");
}

#[test]
fn a_secret_that_works_is_named_at_the_service_account_beside_those_it_has() {
    let Some(desk) = desk() else { return };
    let room = desk.room("account");
    let admin = desk.cluster.admin();
    admin.create(&desk.private.pull_secret("registry-login", "account", PULLER));
    let elsewhere = json!({"auths": {"r.example.com": {"username": "u", "password": "p"}}});
    room.secret("old", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &elsewhere);
    let old = r#"{"imagePullSecrets":[{"name":"old"}]}"#;
    admin.run(&["patch", "serviceaccount", "default", "-n", "account", "-p", old]).ok().unwrap();
    room.waits_for_account();
    let image = desk.private.image("shop/billing:3");
    let mut reports = container(&image);
    reports["imagePullSecrets"] = json!([{"name": "registry-login"}]);
    room.create("v1", "Pod", "reports", &reports);
    let pod = room.deploy("billing", &container(&image));
    room.fails(&pod, REFUSED);
    let own = room.commands("deployment/billing");
    assert_eq!(
        own,
        [
            "kubectl patch serviceaccount default -n account -p \
             '{\"imagePullSecrets\":[{\"name\":\"old\"},{\"name\":\"registry-login\"}]}'",
            "kubectl rollout restart deployment/billing -n account",
        ]
    );
    // The image alone leads to the failing pod, whose template would hide the account's secrets.
    let by_image = room.commands(&image);
    assert_eq!(
        by_image[0],
        "kubectl patch deployment/billing -n account -p '{\"spec\":{\"template\":{\"spec\":\
         {\"imagePullSecrets\":[{\"name\":\"old\"},{\"name\":\"registry-login\"}]}}}}'"
    );
    let dry: Vec<String> =
        by_image[..1].iter().map(|one| format!("{one} --dry-run=server")).collect();
    room.paste(&dry);
    room.paste(&own);
    assert_eq!(room.secrets_of_new_pod("billing"), ["old", "registry-login"]);
    room.works("deployment/billing");
}

#[test]
fn where_nothing_works_a_secret_is_made_and_named() {
    let Some(desk) = desk() else { return };
    let room = desk.room("nothing");
    let pod = room.deploy("billing", &container(&desk.private.image("shop/billing:3")));
    room.fails(&pod, REFUSED);
    let commands = room.commands("deployment/billing");
    let [create, patch, restart] = commands.as_slice() else { panic!("{commands:#?}") };
    assert!(
        create.starts_with("kubectl create secret docker-registry pull-127-0-0-1-"),
        "{create}"
    );
    assert!(patch.starts_with("kubectl patch serviceaccount default -n nothing"), "{patch}");
    assert_eq!(restart, "kubectl rollout restart deployment/billing -n nothing");
    room.paste(&commands);
    let made = create.split(' ').nth(4).unwrap();
    assert_eq!(room.secrets_of_new_pod("billing"), [made]);
    room.works("deployment/billing");
}

#[test]
fn secrets_with_each_fault_are_made_good() {
    let Some(desk) = desk() else { return };
    let room = desk.room("faults");
    let host = desk.private.host();
    let of = |host: &str, login: &Value| json!({"auths": {host: login}});
    let wrong = json!({"username": OTHER.0, "password": "old"});
    let (json_type, key) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
    room.secret("rejected", json_type, key, &of(&host, &wrong));
    room.secret("malformed", json_type, key, &of(&host, &json!({"auth": "!"})));
    room.secret("no-type", "Opaque", key, &of(&host, &wrong));
    room.secret("elsewhere", json_type, key, &of("r.example.com", &wrong));
    let image = desk.private.image("shop/billing:3");
    let login = format!("pull-{}", host.replace(['.', ':'], "-"));
    for (secret, begins) in [
        ("missing", "kubectl create secret docker-registry missing -n faults"),
        ("rejected", "kubectl create secret docker-registry rejected -n faults"),
        ("malformed", "kubectl create secret docker-registry malformed -n faults"),
        ("no-type", "kubectl delete secret no-type -n faults && kubectl create secret"),
        ("elsewhere", "kubectl create secret docker-registry pull-127-0-0-1-"),
    ] {
        let mut pod = container(&image);
        pod["imagePullSecrets"] = json!([{"name": secret}]);
        room.deploy(secret, &pod);
        let subject = format!("deployment/{secret}");
        let way = room.way(&subject, "create secret");
        assert!(way[0].starts_with(begins), "{secret}: {way:#?}");
        room.paste(&way);
        room.works(&subject);
        // It is no help to the next one.
        let delete = ["delete", "deployment", secret, "-n", "faults", "--wait=false"];
        desk.cluster.admin().run(&delete).ok().unwrap();
        for name in [secret, "rejected", "malformed", "elsewhere"] {
            let delete = ["delete", "secret", name, "-n", "faults", "--ignore-not-found"];
            desk.cluster.admin().run(&delete).ok().unwrap();
        }
        let made = ["delete", "secret", &login, "-n", "faults", "--ignore-not-found"];
        desk.cluster.admin().run(&made).ok().unwrap();
        for (name, config) in [
            ("rejected", of(&host, &wrong)),
            ("malformed", of(&host, &json!({"auth": "!"}))),
            ("elsewhere", of("r.example.com", &wrong)),
        ] {
            room.secret(name, json_type, key, &config);
        }
    }
}

#[test]
fn a_cron_job_gets_its_image_and_its_secret_and_a_deployment_its_pull_policy() {
    let Some(desk) = desk() else { return };
    let room = desk.room("others");
    desk.cluster.admin().create(&desk.private.pull_secret("registry-login", "others", PULLER));
    let image = desk.private.image("shop/billing:3");
    let mut reports = container(&image);
    reports["imagePullSecrets"] = json!([{"name": "registry-login"}]);
    room.create("v1", "Pod", "reports", &reports);
    let cron = |name: &str, spec: &Value| {
        let mut spec = spec.clone();
        spec["restartPolicy"] = "Never".into();
        room.create(
            "batch/v1",
            "CronJob",
            name,
            &json!({"schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"spec": {"template": {"spec": spec}}}}),
        );
    };
    let mut named = container(&image);
    named["imagePullSecrets"] = json!([{"name": "gone"}]);
    cron("nightly", &named);
    let commands = room.commands("cronjob/nightly");
    assert!(commands[0].starts_with("kubectl patch cronjob/nightly -n others"), "{commands:#?}");
    room.paste(&commands);
    let template = "/spec/jobTemplate/spec/template/spec";
    let spec = room.get("cronjob", "nightly").pointer(template).unwrap().clone();
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "gone"}, {"name": "registry-login"}]));
    assert_eq!(spec["containers"][0]["image"], image, "all else stays");
    room.works("cronjob/nightly");

    room.deploy("app", &container(&desk.open.image("shop/app:1.2.2")));
    cron("weekly", &container(&desk.open.image("shop/app:v1.2.2")));
    let commands = room.commands("cronjob/weekly");
    room.paste(&commands);
    let spec = room.get("cronjob", "weekly").pointer(template).unwrap().clone();
    assert_eq!(spec["containers"][0]["image"], desk.open.image("shop/app:1.2.2"));

    let never = json!({"initContainers": [{"name": "load", "image": desk.open.image("shop/app:1.2.2"),
        "imagePullPolicy": "Never"}], "containers": [{"name": "app", "image": "other.example/x:1"}]});
    room.deploy("never", &never);
    let commands = room.commands("deployment/never");
    room.paste(&commands);
    let spec = &room.get("deployment", "never")["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"][0]["imagePullPolicy"], "IfNotPresent", "{commands:#?}");
    assert_eq!(spec["initContainers"].as_array().unwrap().len(), 1);
}

#[test]
fn the_pod_that_a_stateful_set_waits_for_is_deleted() {
    let Some(desk) = desk() else { return };
    let room = desk.room("stateful");
    let (good, bad) = (desk.open.image("shop/app:1.2.2"), desk.open.image("shop/app:1.2.4"));
    let pod = room.deploy("app", &container(&good));
    room.runs(&pod);
    room.create(
        "apps/v1",
        "StatefulSet",
        "web",
        &json!({"serviceName": "web", "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": container(&bad)}}),
    );
    room.pods("web", 1);
    room.fails("web-0", ("ErrImagePull", &format!("{bad}: not found")));
    let commands = room.commands("statefulset/web");
    let set = format!("kubectl set image statefulset/web app={good} -n stateful");
    assert_eq!(commands, [&*set, "kubectl delete pod web-0 -n stateful"]);
    room.paste(&commands[..1]);
    // Its controller has seen it, and goes on waiting for the pod with the old image.
    wait_until("the controller", || {
        let set = room.get("statefulset", "web");
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if seen { Ok(()) } else { Err("not yet".to_owned().into()) }
    })
    .unwrap();
    let before = room.get("pod", "web-0");
    assert_eq!(before["spec"]["containers"][0]["image"], bad);
    assert!(before["metadata"]["deletionTimestamp"].is_null(), "{before:#}");
    std::thread::scope(|scope| {
        scope.spawn(|| room.paste(&commands[1..]));
        // What the kubelet does once a pod is to end.
        wait_until("the pod is to end", || {
            let now = room.get("pod", "web-0")["metadata"]["deletionTimestamp"].is_string();
            if now { Ok(()) } else { Err("not yet".to_owned().into()) }
        })
        .unwrap();
        let gone = ["delete", "pod", "web-0", "-n", "stateful", "--force", "--grace-period=0"];
        desk.cluster.admin().run(&gone).ok().unwrap();
    });
    wait_until("a new pod", || {
        let pod = desk.cluster.admin().get(&["pod", "web-0", "-n", "stateful"])?;
        let image = &pod["spec"]["containers"][0]["image"];
        if *image == good { Ok(()) } else { Err(image.to_string().into()) }
    })
    .unwrap();
}
