//! What runs in other namespaces is not to be found out by dry runs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::json;

use super::control_plane::{ADMIN, ControlPlane, DEVELOPER, User};
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{nodes, programs, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "hidden");
const STRICT: (&str, &str) = ("pullgate.dev/mode", "enforce");
const DENIED: &str = "denied the request";

fn pod(namespace: &str, name: &str, image: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "a", "image": image}]},
    })
}

#[test]
fn dry_runs_with_anothers_images_are_all_answered_alike() {
    let Some(programs) = programs().inspect_err(|reason| skipped(reason)).ok() else { return };
    let cluster = ControlPlane::start(&programs).unwrap();
    let registry = Registry::start(&programs, Access::Anonymous).unwrap();
    registry.push("app", &["1.0.0"], &Image::single("amd64", "1"));
    nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
    cluster.namespace_called("shop", &[LABEL, STRICT]);
    cluster.namespace_called("bank", &[]);
    cluster.let_developer_edit("shop");
    pullgate::grant_rights(&cluster);
    let policy = include_str!("scenes/vouched.yaml");
    let server = PullgateServer::start(&cluster, Some(policy), Proof::PathToken, &[]).unwrap();
    server.register(&cluster, "hidden", LABEL);
    let image = |tag: &str| registry.image(&format!("app:{tag}"));
    let dry_run = |user: User, tag: &str| {
        let object = pod("shop", "probe", &image(tag)).to_string();
        let answer =
            cluster.kubectl(user).run_with(&["create", "--dry-run=server", "-f", "-"], &object);
        answer.stderr.replace(tag, "TAG")
    };
    let wait_for = |user: User, tag: &str, denied: bool| {
        wait_until("the answer", || {
            let said = dry_run(user, tag);
            if said.contains(DENIED) == denied && said.contains("app:TAG") {
                Ok(said)
            } else {
                Err(said.into())
            }
        })
        .unwrap()
    };
    // Nobody runs anything of this registry: what is certain is denied, whoever asks.
    let asked = [ADMIN, DEVELOPER].map(|user| wait_for(user, "1.0.9", true));
    assert_eq!(asked[0], asked[1]);

    let lately = Timestamp::try_from(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let lately = lately.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let digest = Image::single("amd64", "x").digest().to_owned();
    for (name, tag, since) in
        [("now", "1.0.1", &*lately), ("once", "1.0.2", "2026-01-02T03:04:05Z")]
    {
        cluster.admin().create(&pod("bank", name, &image(tag)));
        nodes::play_running_since(&cluster, "bank", name, ("node-a", &digest), since);
    }
    // Who may see all is told apart: it ran lately, it ran once, it never did.
    let seen = [("1.0.1", false), ("1.0.2", false), ("1.0.3", true)];
    let seen = seen.map(|(tag, denied)| wait_for(ADMIN, tag, denied));
    assert!(seen[0] != seen[1] && seen[1] != seen[2], "{seen:#?}");
    cluster
        .admin()
        .run(&["delete", "pod", "once", "-n", "bank", "--force", "--grace-period=0"])
        .ok()
        .unwrap();
    let told = ["1.0.1", "1.0.2", "1.0.3"].map(|tag| wait_for(DEVELOPER, tag, false));
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1], told[2]);
    assert!(told[0].contains("namespaces that you may not see use this registry"), "{}", told[0]);
}
