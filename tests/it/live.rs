//! `make live`: a real kubelet beside Pullgate. Every pod is made twice at the same moment, and what
//! Pullgate denied is compared with what the kubelet did within a minute. `make image-live`: the
//! container image on that kubelet, installed by helm.
//!
//! Shares the harness of the cluster tests. `tests/live/run.sh` opens the namespaces that it runs in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for a person at a terminal, made of test helpers"
)]

#[allow(dead_code, reason = "this program uses a part of the harness")]
mod cluster;
#[path = "live/installed.rs"]
mod installed;
#[path = "live/node.rs"]
mod node;
#[path = "live/twins.rs"]
mod twins;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use cluster::control_plane::{ControlPlane, DEVELOPER};
use cluster::images::Image;
use cluster::process::dismiss_guard;
use cluster::pullgate::{self, Proof, PullgateServer};
use cluster::registry::{Access, Registry};
use cluster::{NotYet, runtime, wait_until};
use node::Node;
use twins::{Api, JUDGED, KUBELETS, Kind, Outcome, Pair, Registries};

/// Pairs of each kind in a round; there are two rounds.
const OF_A_KIND: usize = 3;
/// The share of certain failures that has to be denied, in per cent.
const TO_DENY: usize = 90;

/// Everything is vouched for, and what comes late has ten seconds.
const POLICY: &str = "\
apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  defaultMode: enforce
  nodes:
    mirrors: none
    credentials: none
    preloadedImages: none
    network: same
    platforms: [linux/amd64]
    nodeStatusMaxImages: -1
  latePush: {grace: 10s}
";

fn main() -> ExitCode {
    cluster::end_on_signal();
    let started = Instant::now();
    let say = |what: &str| println!("{:6.1} s  {what}", started.elapsed().as_secs_f32());
    let mut arguments = std::env::args().skip(1);
    let played = match (arguments.next().as_deref(), arguments.next()) {
        (Some("image"), Some(archive)) => {
            installed::play(&say, &archive).map(|()| ExitCode::SUCCESS)
        }
        _ => play(&say),
    };
    let code = match played {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    };
    dismiss_guard();
    code
}

fn play(say: &dyn Fn(&str)) -> Result<ExitCode, String> {
    let programs = cluster::programs().map_err(|why| format!("{why}\nUse `make live`."))?;
    say("starting etcd, kube-apiserver and kube-controller-manager");
    let cluster = ControlPlane::start(&programs)?;
    say("starting three registries: for anybody, with passwords, with a token service");
    let registries = Registries {
        open: Registry::start(&programs, Access::Anonymous)?,
        private: Registry::start(&programs, Access::Basic)?,
        tokens: Registry::start(&programs, Access::Token)?,
    };
    registries.open.push("live/pause", &["1"], &Image::single("amd64", "pause"));
    say("starting containerd, the kubelet and kube-scheduler");
    let node = Node::start(&cluster, &registries.open.image("live/pause:1"))?;
    for namespace in [KUBELETS, JUDGED] {
        cluster.namespace_called(namespace, &[("live", namespace)]);
        cluster.let_developer_edit(namespace);
    }
    let rounds: Vec<Vec<Pair>> = (1..=2).map(|round| pairs(&registries, round)).collect();
    // What users may not see could let it work; what controllers make is denied by everything that counts.
    cluster.admin().create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "sees-all-pods"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DEVELOPER.name}],
    }));
    for pair in rounds.iter().flatten() {
        pair.push(&registries);
    }
    let api = Api::new(&cluster)?;
    say("letting the node pull what it is to hold already, then deleting these tags");
    hold(&cluster, &api, &registries, rounds.iter().flatten())
        .map_err(|error| format!("{error}\n{}", node.last_words()))?;

    say("starting pullgate serve, which enforces");
    pullgate::grant_rights(&cluster);
    let mut all = Vec::new();
    let mut server = start(&cluster, &registries, "first")?;
    for (number, pairs) in (1..).zip(&rounds) {
        if number > 1 {
            say("deleting the pods, and starting pullgate serve anew");
            delete_pods(&cluster)?;
            server.stop();
            drop(server);
            server = start(&cluster, &registries, "second")?;
        }
        say(&format!("round {number}: {} pods, each twice, for a minute", pairs.len()));
        let outcomes = runtime().block_on(twins::play(&api, &registries, pairs))?;
        all.extend(pairs.iter().cloned().zip(outcomes));
    }
    drop(server);
    drop(node);
    Ok(report(&all))
}

fn pairs(registries: &Registries, round: usize) -> Vec<Pair> {
    let kinds = Kind::ALL.into_iter();
    let numbered = kinds.flat_map(|kind| (0..OF_A_KIND).map(move |number| (kind, number)));
    numbered.map(|(kind, number)| Pair::new(registries, kind, round, number)).collect()
}

/// Lets the node pull the images of cached kinds, and takes their tags away.
fn hold<'a>(
    cluster: &ControlPlane,
    api: &Api,
    registries: &Registries,
    pairs: impl Iterator<Item = &'a Pair>,
) -> Result<(), String> {
    let cached: Vec<&Pair> = pairs.filter(|pair| pair.kind.is_cached()).collect();
    runtime().block_on(twins::make_holders(api, &cached))?;
    let admin = cluster.admin();
    wait_until("the pods that pull what the node is to hold", || {
        let pods = admin.get(&["pods", "-n", KUBELETS])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        if running == cached.len() {
            return Ok(());
        }
        let example = pods.iter().find(|pod| pod["status"]["phase"] != "Running");
        let status = example.map(|pod| pod["status"].to_string()).unwrap_or_default();
        Err(format!("{running} of {} run; {status}", cached.len()).into())
    })?;
    installed::images_listed(&admin)?;
    delete_pods(cluster)?;
    for pair in cached {
        pair.untag(registries);
    }
    Ok(())
}

fn delete_pods(cluster: &ControlPlane) -> Result<(), String> {
    let admin = cluster.admin();
    let all = ["delete", "pods", "--all", "-n", KUBELETS, "--wait=false", "--grace-period=0"];
    admin.run(&all).ok()?;
    wait_until("the end of the pods", || {
        let pods = admin.get(&["pods", "-n", KUBELETS])?;
        match pods["items"].as_array().map_or(0, Vec::len) {
            0 => Ok(()),
            left => Err(format!("{left} are left").into()),
        }
    })
}

fn start(
    cluster: &ControlPlane,
    registries: &Registries,
    name: &str,
) -> Result<PullgateServer, String> {
    let server = PullgateServer::start(cluster, Some(POLICY), Proof::ClientCertificate, &[])?;
    let _ = cluster.admin().run(&["delete", "validatingwebhookconfigurations", "--all"]);
    server.register(cluster, name, ("live", JUDGED));
    // The API server watches its configurations: wait until it asks.
    let admin = cluster.admin();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": JUDGED},
        "spec": {"containers": [{"name": "app", "image": registries.open.image("live/UPPER:1")}]},
    });
    wait_until("the webhook", || {
        let answer = admin.run_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string());
        if answer.stderr.contains("UPPER") { Ok(()) } else { Err(NotYet::from(answer.stderr)) }
    })?;
    Ok(server)
}

/// Counts of one kind.
#[derive(Default)]
struct Counts {
    pods: usize,
    pulled: usize,
    denied: usize,
    denied_at_once: usize,
    warned: usize,
}

fn report(all: &[(Pair, Outcome)]) -> ExitCode {
    let mut kinds: BTreeMap<Kind, Counts> = BTreeMap::new();
    for (pair, outcome) in all {
        let counts = kinds.entry(pair.kind).or_default();
        counts.pods += 1;
        counts.pulled += usize::from(outcome.pulled.is_some());
        counts.denied += usize::from(outcome.denied.is_some());
        counts.warned += usize::from(outcome.warned.is_some());
        let at_once = outcome.denied.as_ref().is_some_and(|(after, _)| after.as_secs() < 3);
        counts.denied_at_once += usize::from(at_once);
    }
    println!(
        "\n{:20}{:>6}{:>20}{:>9}{:>12}{:>9}",
        "", "pods", "pulled by kubelet", "denied", "(at once)", "warned"
    );
    for (kind, counts) in &kinds {
        println!(
            "{:20}{:>6}{:>20}{:>9}{:>12}{:>9}",
            format!("{kind:?}"),
            counts.pods,
            counts.pulled,
            counts.denied,
            counts.denied_at_once,
            counts.warned
        );
    }
    let wrong: Vec<_> = all
        .iter()
        .filter_map(|(pair, outcome)| Some((pair, outcome.pulled?, outcome.denied.as_ref()?)))
        .collect();
    for (pair, pulled, (denied, words)) in &wrong {
        println!(
            "\nDENIED WRONGLY {}: denied after {:.1} s, pulled after {:.1} s\n  {words}",
            pair.name(),
            denied.as_secs_f32(),
            pulled.as_secs_f32()
        );
    }
    // A kind that does not do on this node what it is there for proves nothing.
    let odd: Vec<_> = all
        .iter()
        .filter(|(pair, outcome)| pair.kind.works() != outcome.pulled.is_some())
        .collect();
    for (pair, outcome) in &odd {
        println!(
            "\nUNEXPECTED {}: pulled {:?}, {:?}",
            pair.name(),
            outcome.pulled,
            outcome.waiting
        );
    }
    let failing = all.iter().filter(|(_, outcome)| outcome.pulled.is_none());
    let (mut certain, mut denied) = (0, 0);
    for (pair, outcome) in failing {
        certain += 1;
        denied += usize::from(outcome.denied.is_some());
        if outcome.denied.is_none() {
            println!(
                "\nnot denied {}: {}\n  {}",
                pair.name(),
                outcome.waiting.as_deref().unwrap_or("-"),
                outcome.warned.as_deref().unwrap_or("in silence")
            );
        }
    }
    println!(
        "\n{} pods, {} denied that the kubelet pulled within a minute, {denied} of {certain} that it could not pull were denied",
        all.len(),
        wrong.len()
    );
    let enough = denied * 100 >= certain * TO_DENY;
    if wrong.is_empty() && odd.is_empty() && enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
