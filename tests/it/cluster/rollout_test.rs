//! A rollout of many pods: they share answers, and each is counted, told of and, where the namespace
//! enforces, kept out on its own.

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::images::Image;
use super::pullgate::{self, Proof, PullgateServer};
use super::registry::{Access, Registry};
use super::{NotYet, nodes, programs, skipped, wait_until};

const LABEL: (&str, &str) = ("pullgate", "rollout");
const VOUCHED: &str = include_str!("scenes/vouched.yaml");
const PODS: usize = 20;

struct House {
    server: PullgateServer,
    open: Registry,
    cluster: ControlPlane,
}

impl House {
    fn set_up(programs: &std::path::Path) -> Self {
        let cluster = ControlPlane::start(programs).unwrap();
        let open = Registry::start(programs, Access::Anonymous).unwrap();
        open.push("shop/app", &["1"], &Image::single("amd64", "1"));
        nodes::create_node(&cluster, "node-a", "amd64", &[], &[]);
        cluster.namespace_called("easy", &[LABEL]);
        cluster.namespace_called("strict", &[LABEL, ("pullgate.dev/mode", "enforce")]);
        pullgate::grant_rights(&cluster);
        let server = PullgateServer::start(&cluster, Some(VOUCHED), Proof::PathToken, &[]).unwrap();
        server.register(&cluster, "rollout", LABEL);
        let house = Self { server, open, cluster };
        house.until("the webhook", || {
            let words = ["run", "probe", "--dry-run=server", "-n", "easy", "--image"];
            let image = house.open.image("shop/app:probe");
            let said = house.cluster.admin().run_with(&[&words[..], &[&image]].concat(), "");
            if said.stderr.contains("tag not found") { Ok(()) } else { Err(said.stderr.into()) }
        });
        house
    }

    fn until(&self, what: &str, holds: impl FnMut() -> Result<(), NotYet>) {
        wait_until(what, holds).unwrap_or_else(|error| panic!("{error}\n{}", self.server.log()));
    }

    fn roll_out(&self, namespace: &str, name: &str, tag: &str) {
        let image = self.open.image(&format!("shop/app:{tag}"));
        self.cluster.admin().create(&json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}}));
    }

    fn pods(&self, namespace: &str, name: &str) -> Result<usize, NotYet> {
        let label = format!("app={name}");
        let pods = self.cluster.admin().get(&["pods", "-n", namespace, "-l", &label])?;
        Ok(pods["items"].as_array().map_or(0, Vec::len))
    }

    /// How many reviews were decided so.
    fn reviews(&self, decision: &str) -> usize {
        let page = self.server.admin_page("metrics").unwrap().1;
        let line =
            format!(r#"pullgate_reviews_total{{endpoint="validate",decision="{decision}"}} "#);
        page.lines().find_map(|one| one.strip_prefix(&line)?.parse().ok()).unwrap_or(0)
    }
}

#[test]
fn every_pod_of_a_rollout_is_let_in_and_counted_or_kept_out() {
    let programs = match programs() {
        Ok(programs) => programs,
        Err(reason) => return skipped(&reason),
    };
    let house = House::set_up(&programs);
    for (name, tag, decision) in [("good", "1", "allow"), ("bad", "9", "warn")] {
        let before = house.reviews(decision);
        house.roll_out("easy", name, tag);
        house.until("all pods", || match house.pods("easy", name)? {
            PODS => Ok(()),
            some => Err(format!("{some} pods").into()),
        });
        // The Deployment, and each of its pods.
        let more = house.reviews(decision) - before;
        assert!(more > PODS, "{more} of {name}");
    }
    let before = house.reviews("deny");
    house.roll_out("strict", "bad", "9");
    house.until("denials", || {
        let denied = house.reviews("deny") - before;
        let events = house.cluster.admin().get(&["events", "-n", "strict"])?;
        let told = |event: &Value| {
            let message = event["message"].as_str().unwrap_or_default();
            event["reason"] == "FailedCreate" && message.contains("tag not found in the registry")
        };
        let is_told = events["items"].as_array().is_some_and(|events| events.iter().any(told));
        if denied > 2 && is_told {
            Ok(())
        } else {
            Err(format!("{denied} denied: {events}").into())
        }
    });
    assert_eq!(house.pods("strict", "bad").unwrap_or(PODS), 0);
    house.roll_out("strict", "good", "1");
    house.until("all pods", || match house.pods("strict", "good")? {
        PODS => Ok(()),
        some => Err(format!("{some} pods").into()),
    });
}
