//! What a running `serve` says by itself: Events on workloads that begin to fail, lines where nodes
//! suffer, secrets that nobody names yet, builds, misspelt repositories, registries that it cannot
//! reach.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, PULLGATE, User};
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, PULLER, Registry};
use super::{nodes, programs, skipped, wait_until};

/// A registry at an address that is never contacted.
const UNSEEN: &str = "169.254.9.9:5000";
const LABEL: (&str, &str) = ("pullgate", "itself");

struct House {
    // The webhook ends before the cluster that calls it.
    server: PullgateServer,
    open: Registry,
    private: Registry,
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
        let private = Registry::start(programs, Access::Basic).unwrap();
        open.push("shop/app", &["1.2.2"], &Image::single("amd64", "1.2.2"));
        open.push("shop/wagon", &["1"], &Image::single("amd64", "wagon"));
        private.push("shop/billing", &["3"], &Image::single("amd64", "3"));
        for node in ["node-a", "node-b"] {
            nodes::create_node(&cluster, node, "amd64", &[], &[]);
        }
        for namespace in ["shop", "bank", "tls"] {
            cluster.namespace_called(namespace, &[LABEL]);
            cluster.let_developer_edit(namespace);
        }
        cluster.namespace_called("ci", &[]);
        pullgate::grant_rights(&cluster);
        grant_more(&cluster);
        let policy = include_str!("scenes/vouched.yaml").to_owned()
            + "  advice: {events: true, listSecrets: true}\n";
        let server = PullgateServer::start(&cluster, Some(&policy), Proof::PathToken, &[]).unwrap();
        let house = Self { server, open, private, cluster };
        house.server.register(&house.cluster, "itself", LABEL);
        house.runs("shop", "web", &house.open.image("shop/app:1.2.2"));
        house
    }

    fn deploy(&self, namespace: &str, name: &str, image: &str) -> String {
        self.cluster.admin().create(&deployment(namespace, name, image));
        nodes::wait_for_pods(&self.cluster, namespace, &format!("app={name}"), 1).remove(0)
    }

    fn runs(&self, namespace: &str, name: &str, image: &str) {
        let pod = self.deploy(namespace, name, image);
        let digest = Image::single("amd64", name).digest().to_owned();
        nodes::play_running(&self.cluster, namespace, &pod, "node-a", &digest);
    }

    fn fails(&self, namespace: &str, name: &str, image: &str, message: &str) {
        let pod = self.deploy(namespace, name, image);
        nodes::play_failing(&self.cluster, namespace, &pod, "node-a", ("ErrImagePull", message));
    }

    /// What kubectl says of a Deployment, once it speaks of what is wanted.
    fn apply(&self, user: User, namespace: &str, image: &str, wanted: &str) -> String {
        let object = deployment(namespace, "asked", image).to_string();
        let kubectl = self.cluster.kubectl(user);
        wait_until("the warning", || {
            let answer = kubectl.run_with(&["apply", "--dry-run=server", "-f", "-"], &object);
            if answer.stderr.contains(wanted) {
                Ok(answer.stderr)
            } else {
                let (_, page) = self.server.admin_page("metrics")?;
                let calls = page.lines().filter(|line| line.starts_with("pullgate_api_calls"));
                let calls: Vec<_> = calls.collect();
                Err(format!("no {wanted}: {answer:?} {calls:#?}").into())
            }
        })
        .unwrap()
    }
}

/// Events are written, and the names of pull secrets listed, only where the chart's values say so.
fn grant_more(cluster: &ControlPlane) {
    let api = "rbac.authorization.k8s.io";
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": "more"},
        "rules": [
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]},
        ],
    }));
    cluster.admin().create(&json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": "more"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "more"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": PULLGATE.name}],
    }));
}

fn deployment(namespace: &str, name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": image}]}}},
    })
}

#[test]
fn a_workload_that_begins_to_fail_gets_one_event_with_the_sentence() {
    let Some(house) = house() else { return };
    let bad = house.open.image("shop/app:1.2.4");
    house.fails("bank", "ledger", &bad, &format!("{bad}: not found"));
    let admin = house.cluster.admin();
    let events = || {
        let get = ["get", "events", "-n", "bank", "-o", "json"];
        let list: Value = serde_json::from_str(&admin.run(&get).ok().unwrap()).unwrap();
        let own = |event: &&Value| {
            event["reason"] == "ImagePullFailing" && event["involvedObject"]["name"] == "ledger"
        };
        list["items"].as_array().unwrap().iter().filter(own).cloned().collect::<Vec<_>>()
    };
    let event = wait_until("the Event", || events().pop().ok_or_else(|| "none".to_owned().into()));
    let event = event.unwrap();
    let about = &event["involvedObject"];
    assert_eq!((&about["kind"], &about["name"]), (&json!("Deployment"), &json!("ledger")));
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("tag not found in the registry"), "{message}");
    assert!(!message.contains("shop") || message.contains("shop/app"), "{message}");
    // Told by kubectl where people look.
    let described = admin.run(&["describe", "deployment", "ledger", "-n", "bank"]).ok().unwrap();
    assert!(described.contains("ImagePullFailing"), "{described}");
    assert_eq!(events().len(), 1, "once an hour");
}

#[test]
fn where_nodes_fail_and_the_registry_answers_one_line_says_so() {
    let Some(house) = house() else { return };
    let flaky = house.open.host();
    let refused =
        "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    // A registry of its own, by another of its names.
    let host = flaky.replace("127.0.0.1", "localhost");
    for nth in 0..4 {
        let namespace = if nth % 2 == 0 { "shop" } else { "bank" };
        house.fails(namespace, &format!("f{nth}"), &format!("{host}/shop/app:1.2.{nth}"), refused);
    }
    let said = house.apply(DEVELOPER, "shop", &format!("{host}/shop/app:1.2.2"), "recent pulls");
    assert!(said.contains("pullable, but 4 of 4 recent pulls"), "{said}");
    assert!(said.contains("failed on nodes (TLS)"), "{said}");
    assert_eq!(said.matches("recent pulls").count(), 1, "{said}");
}

#[test]
fn a_secret_that_nobody_names_yet_is_found_tried_and_named() {
    let Some(house) = house() else { return };
    let image = house.private.image("shop/billing:3");
    house.cluster.admin().create(&house.private.pull_secret("fresh-login", "shop", PULLER));
    let said = house.apply(DEVELOPER, "shop", &image, "fresh-login");
    assert!(said.contains("add pull secret fresh-login (tested)"), "{said}");
}

#[test]
fn a_misspelt_repository_is_told_apart_here_and_by_the_registrys_catalogue() {
    let Some(house) = house() else { return };
    let said = house.apply(DEVELOPER, "shop", &house.open.image("shop/ap:1.2.2"), "did you mean");
    assert!(said.contains("did you mean shop/app?"), "{said}");
    // Nobody runs this one: the registry lists it.
    let said = house.apply(DEVELOPER, "shop", &house.open.image("shop/wagno:1"), "did you mean");
    assert!(said.contains("did you mean shop/wagon?"), "{said}");
}

#[test]
fn a_build_of_another_tag_is_named_and_one_that_failed_with_the_command_to_run_it_again() {
    let Some(house) = house() else { return };
    let destination = format!("--destination={}", house.open.image("shop/tool:1.2.3"));
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [
        {"name": "kaniko", "image": "gcr.io/kaniko-project/executor:v1", "args": [destination]}]}});
    house.cluster.admin().create(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "build", "namespace": "ci"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true,
            "jobTemplate": {"spec": {"template": template}}},
    }));
    let said = house.apply(ADMIN, "shop", &house.open.image("shop/tool:1.2.4"), "build CronJob");
    assert!(said.contains("ci/build pushes 1.2.3, and not 1.2.4"), "{said}");
    let asked = house.open.image("shop/tool:1.2.3");
    house.apply(ADMIN, "shop", &asked, "it is suspended");
    let mut command = std::process::Command::new(pullgate::binary());
    command.env("KUBECONFIG", house.cluster.kubeconfig(ADMIN));
    let page = command.args(["explain", &asked, "-n", "shop"]).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("kubectl create job build-again --from=cronjob/build -n ci"), "{page}");
}

#[test]
fn a_registry_that_cannot_be_looked_into_is_named_once_with_what_changes_it() {
    let Some(house) = house() else { return };
    house.runs("tls", "old", &format!("{UNSEEN}/shop/old:1"));
    let asked = std::cell::Cell::new(0);
    let kubectl = house.cluster.kubectl(DEVELOPER);
    let ask = || {
        asked.set(asked.get() + 1);
        let image = format!("{UNSEEN}/shop/new{}:1", asked.get());
        let object = deployment("tls", "asked", &image).to_string();
        kubectl.run_with(&["apply", "--dry-run=server", "-f", "-"], &object)
    };
    let said = wait_until("the line", || {
        let answer = ask();
        let said = answer.stderr.contains("cannot reach");
        if said { Ok(answer.stderr) } else { Err(format!("{answer:?}").into()) }
    })
    .unwrap();
    assert!(said.contains("registries.allowAddresses"), "{said}");
    let again = ask();
    assert!(!again.stderr.contains("cannot reach"), "once an hour: {again:?}");
    let metric = format!("pullgate_registry_blind{{registry=\"{UNSEEN}\",reason=\"address\"}} 1");
    wait_until("the metric", || {
        let (_, page) = house.server.admin_page("metrics")?;
        if page.contains(&metric) { Ok(()) } else { Err("not yet".to_owned().into()) }
    })
    .unwrap();
}
