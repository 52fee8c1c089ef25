//! Trouble of every kind at once, while reviews come in steadily: registries that hang, break off,
//! answer garbage and errors, change their certificates; names that nobody resolves; a wall clock that
//! jumps; an API server that stands still or starts anew; a replica that is
//! killed; a policy that cannot be read. Two replicas share the load as behind a Service.
//!
//! Whatever happens, no image that can be pulled is denied, every review is answered within its own
//! time-out, and none is lost; afterwards everything is as before, and memory has not grown. A short
//! form runs with all tests; `make chaos` is the long one (`PULLGATE_CHAOS_SECONDS`,
//! `PULLGATE_CHAOS_RATE`, `PULLGATE_CHAOS_SEED`).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::control_plane::ControlPlane;
use crate::cluster::pullgate::{self, Proof, PullgateServer};
use crate::cluster::{nodes, programs, runtime, skipped};
use crate::registry::scripted::{Access, Scripted, user};

mod around;
mod load;
mod trouble;

use around::Around;
use load::{Images, Load, Replicas};
use trouble::Troubles;

/// Everything is vouched for: whatever fails for certain is denied.
const POLICY: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: chaos}
spec:
  defaultMode: enforce
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  latePush: {grace: 0s}
";
/// The namespace that all reviews are about.
const NAMESPACE: &str = "chaos";
/// How long everything may take to be as before.
const RECOVERY: Duration = Duration::from_secs(60);
/// What a replica's memory may grow by, in KiB: caches fill, and nothing else.
const GROWTH: u64 = 40 << 10;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One registry that is always well, one that is not, a private one that is not, and one that is
/// found by name.
fn registries() -> [Scripted; 4] {
    let start = || runtime().block_on(Scripted::start());
    let all = [start(), start(), start(), start()];
    for registry in &all {
        for nth in 0..load::TAGS {
            registry.put_image("team/app", &format!("v{nth}"), "linux", "amd64");
        }
    }
    all[2].access(Access::Basic(vec![user("robot", "word", &["team/app"])]));
    all
}

fn replica(cluster: &ControlPlane, around: &Around) -> PullgateServer {
    let flags = around.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let surroundings = around.surroundings();
    PullgateServer::start_in(&surroundings, cluster, Some(POLICY), Proof::PathToken, &flags)
        .unwrap()
}

/// Asks until a missing image is denied and one that is there is let through without a word, by
/// both replicas.
fn is_as_it_should_be(load: &Load, within: Duration) {
    let give_up = Instant::now() + within;
    loop {
        let wrong = load.what_is_not_as_it_should_be();
        if wrong.is_empty() {
            return;
        }
        assert!(Instant::now() < give_up, "not as before: {wrong:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn whatever_breaks_nothing_is_wrongly_denied_and_no_review_is_lost() {
    let programs = match programs() {
        Ok(programs) => programs,
        Err(reason) => return skipped(&reason),
    };
    let seconds = setting("PULLGATE_CHAOS_SECONDS", 20);
    let rate = setting("PULLGATE_CHAOS_RATE", 20);
    let seed = setting("PULLGATE_CHAOS_SEED", u64::from(std::process::id()));
    println!("chaos: {seconds} s at {rate} reviews a second, PULLGATE_CHAOS_SEED={seed}");

    let cluster = ControlPlane::start(&programs).unwrap();
    let registries = registries();
    nodes::create_node(&cluster, "n1", "amd64", &[], &[]);
    cluster.namespace_called(NAMESPACE, &[]);
    pullgate::grant_rights(&cluster);
    let auths = json!({"auths": {registries[2].host(): {"username": "robot", "password": "word"}}});
    cluster.admin().create(&json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "login", "namespace": NAMESPACE},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": auths.to_string()}}));

    let around = Around::new(&registries[3]);
    if let Err(reason) = &around.named {
        skipped(&format!("chaos without a registry that is found by name: {reason}"));
    }
    let pair = [replica(&cluster, &around), replica(&cluster, &around)];
    let replicas = Arc::new(Mutex::new(Replicas::new(pair)));
    let hosts = registries[..3].iter().map(Scripted::host).chain(around.named_host());
    let images = Images::new(hosts.collect());
    let load = Load::new(Arc::clone(&replicas), images);
    is_as_it_should_be(&load, RECOVERY);
    let before = replicas.lock().unwrap().memory();

    let until = Instant::now() + Duration::from_secs(seconds);
    let running = load.start(rate, until);
    let mut troubles =
        Troubles::new(seed, cluster, registries.to_vec(), around, Arc::clone(&replicas));
    troubles.make_until(until);
    let tally = runtime().block_on(running).unwrap();
    println!("chaos: {}; {tally}", troubles.summary());

    assert_eq!(tally.wrongly_denied, [""; 0], "{tally}");
    assert_eq!(tally.late, [""; 0], "answered after their time-out, or not at all; {tally}");
    assert_eq!(tally.lost, [""; 0], "no replica took them; {tally}");
    // It was trouble, and it was load.
    assert!(tally.answered as u64 >= seconds * rate / 2, "{tally}");
    assert!(troubles.count() >= 6 && tally.allowed > 0, "{}", troubles.summary());
    is_as_it_should_be(&load, RECOVERY);
    let after = replicas.lock().unwrap().memory();
    assert!(after <= before + GROWTH, "{before} KiB before, {after} KiB after");
}
