//! Clusters with nodes of both runtimes: what containerd and CRI-O read or pull differently is
//! *cannot tell*, and never denied.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use pullgate::policy::Decision;
use pullgate::pull::{Escape, Verdict};
use pullgate::registry::{HostsSource, LoadLimits, RegistryClient, RegistryOptions};
use pullgate::workload::Node;
use serde_json::json;

use super::client::text;
use super::crio::{CrioNode, crio_nodes, read};
use super::live::Live;
use super::{compare, mirrors, names};
use crate::cluster::runtime;
use crate::review::fakes::{World, missing, node};
use crate::review::{VOUCHED, pod, run};

const BOTH: &[&str] = &["containerd://2.1.8", "cri-o://1.36.3"];
/// As distributions have it: aliases, and one registry for other short names.
const REGISTRIES_CONF: &str = "unqualified-search-registries = ['docker.io']\n\
    [aliases]\n'nginx' = 'docker.io/library/nginx'\n'alpine' = 'quay.io/libpod/alpine'\n";

fn images() -> impl Strategy<Value = String> {
    let known = select(
        &[
            "nginx",
            "nginx:1",
            "alpine",
            "busybox",
            "library/busybox",
            "t/app:1",
            "MyHost/app",
            "foo_bar.com/app",
            "[::1]:5000/app",
            "[2001:db8::1]/t/app:1",
            "docker.io/nginx",
            "quay.io/t/app",
            "quay.io/t/app:1",
            "ghcr.io/a/b:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ][..],
    )
    .prop_map(ToOwned::to_owned);
    let long =
        (235..250_usize).prop_map(|length| format!("reg.example.com/{}", "a".repeat(length)));
    prop_oneof![4 => known, 1 => long, 4 => names::images()]
}

#[test]
fn names_that_runtimes_read_differently_are_never_denied() {
    compare("names in a mixed cluster", 12, &images(), |oracle, image| {
        let containerd = oracle.ask(&json!({"op": "parse", "image": image}));
        if !text(&containerd, "error").is_empty() {
            return Ok("refused by the kubelet");
        }
        let pulled = text(&containerd, "pulled");
        let crio = oracle
            .ask(&json!({"op": "crio_names", "image": image, "registries_conf": REGISTRIES_CONF}));
        let alike = crio["candidates"] == json!([pulled]);
        // Nobody has it, wherever it is looked for.
        let mut world = World::enforcing().answer(pulled, "", missing());
        for candidate in crio["candidates"].as_array().into_iter().flatten() {
            world = world.answer(candidate.as_str().unwrap(), "", missing());
        }
        let on = |runtime: &&str| Node { runtime: (*runtime).into(), ..node("n", "linux/amd64") };
        world.nodes = Some(BOTH.iter().map(on).collect());
        let review = runtime().block_on(run(&world, pod(image), VOUCHED));
        let verdict = review.images[0].assessment.verdict;
        match (alike, verdict, review.decision) {
            (false, Verdict::CannotTell, Decision::Allow | Decision::Warn) => {
                Ok("read differently, cannot tell")
            }
            (true, _, Decision::Deny) => Ok("read alike, denied"),
            (true, Verdict::CannotTell, _) => Ok("read alike, cannot tell"),
            (_, verdict, decision) => {
                Err(format!("{verdict:?}, {decision:?}: containerd {pulled}, CRI-O {crio}"))
            }
        }
    });
}

/// A pull by nodes of both runtimes, each with mirrors of its own, of which Pullgate knows those
/// of one.
fn clusters() -> impl Strategy<Value = (CrioNode, Option<usize>, bool)> {
    (crio_nodes(), option::weighted(0.7, 0..3_usize), any::<bool>())
}

#[test]
fn what_one_runtime_pulls_from_its_mirrors_is_never_denied_for_the_other() {
    const VOUCHED: &str =
        "mirrors: listed, credentials: none, preloadedImages: none, network: same";
    let Some(live) = Live::start() else { return };
    let live = std::cell::RefCell::new(live);
    compare("mirrors in a mixed cluster", 24, &clusters(), |oracle, (node, mirror, crios)| {
        let folder = tempfile::tempdir().unwrap();
        let mut live = live.borrow_mut();
        let host = |at: usize| live.registries[at].host();
        if let Some(mirror) = mirror {
            mirrors::write_hosts(folder.path(), &host(node.pull.registry), &host(*mirror));
        }
        let hosts_dir = folder.path().to_str().unwrap();
        let containerd = live.theirs(oracle, &node.pull, &json!({"hosts_dir": hosts_dir}));
        let files = json!({"op": "crio_pull", "registries_conf": node.registries_conf(&live)});
        let crio = live.theirs(oracle, &node.pull, &files);
        let hosts = if *crios {
            read(&files).map_err(|error| format!("not read: {error}"))?
        } else {
            HostsSource::Containerd(folder.path().to_owned()).load().unwrap()
        };
        let options = RegistryOptions {
            contact_loopback: true,
            load: LoadLimits { requests_per_second: 100_000, ..LoadLimits::default() },
            hosts,
            ..RegistryOptions::default()
        };
        let in_runtime = runtime().enter();
        live.client = RegistryClient::new(options).unwrap();
        drop(in_runtime);
        let review = live.ours_on(BOTH, &node.pull, "Always", VOUCHED);
        let assessment = &review.images[0].assessment;
        let (one, other) = (containerd["ok"] == true, crio["ok"] == true);
        let differ = || {
            let given = if *crios { "CRI-O's" } else { "containerd's" };
            Err(format!("given {given}: {assessment:#?}, {containerd:#}, {crio:#}"))
        };
        if review.decision == Decision::Deny && (one || other) {
            return differ();
        }
        let open = assessment.escapes.contains(&Escape::NodeMirror);
        Ok(match (one, other, assessment.verdict) {
            // The registry itself was asked, since the files that are known say nothing of it.
            (true, false, Verdict::Fails) | (false, true, Verdict::Fails) if open => {
                "one can, fails unless nodes have a mirror"
            }
            (true, true, Verdict::Works) => "both can, works",
            (true, true, _) => "both can, not works",
            (false, false, Verdict::Works) => return differ(),
            (false, false, _) if review.decision == Decision::Deny => "neither can, denied",
            (false, false, _) => "neither can, not denied",
            (.., Verdict::CannotTell) => "one can, cannot tell",
            (.., Verdict::Works) => "one can, works",
            (.., Verdict::Fails) => return differ(),
        })
    });
}
