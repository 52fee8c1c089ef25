//! What the health index costs: bytes a pod, time a question, updates a second.
//!
//! `cargo bench --profile release --bench health` prints figures and ratios, and how they stand to the claims.
//! Synthetic cluster: two containers a pod, forty pods an image, five pods a ReplicaSet, whose
//! namespace they are in.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pullgate::failure::classify;
use pullgate::history::{Freshness, HealthIndex, HistoryQuestion, Visibility};
use pullgate::image::ImageReference;
use pullgate::kube_views::{ContainerStatusView, ContainerView, PodView, RunningView, WaitingView};
use serde_json::json;

const PODS_PER_IMAGE: usize = 40;
const LARGE: usize = 150_000;
const SMALL: usize = 10_000;
/// Full pods for the comparison: as many as fit beside the rest.
const FULL: usize = 5_000;

fn main() {
    let before = resident();
    let small = fill(SMALL);
    let small_query = query(&small, SMALL);
    drop(small);
    let start = resident().max(before);
    let mut large = fill(LARGE);
    let per_pod = (resident().saturating_sub(start)) as f64 / LARGE as f64;
    line("index, resident", per_pod, "B a pod", "at most 250");
    let large_query = query(&large, LARGE);
    line("question at 10,000 pods", small_query, "ns", "at most 1000");
    line("question at 150,000 pods", large_query, "ns", "at most 1000");
    line("  ratio", large_query / small_query, "x", "flat");
    line("pod updates", updates(&mut large), "a second", "at least 60,000");
    let begun = Instant::now();
    let bytes = large.snapshot().encode("bench").expect("a snapshot");
    line("snapshot", bytes.len() as f64 / 1024.0, "KiB", "");
    line("  written in", begun.elapsed().as_secs_f64() * 1e3, "ms", "");
    drop(large);
    decode_and_compare(per_pod);
    line("messages classified", classified(), "a second", "");
}

fn line(what: &str, figure: f64, unit: &str, claim: &str) {
    println!("{what:<28}{figure:>14.1} {unit:<12}{claim}");
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: usize = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    kib * 1024
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn image(nth: usize, container: usize) -> String {
    let number = nth / PODS_PER_IMAGE;
    let registry = number % 20;
    format!(
        "registry-{registry}.example.com/team-{}/app-{container}-{}:v1.{number}",
        number % 50,
        number / 5
    )
}

fn pod(nth: usize, failing: bool) -> PodView {
    let owner = format!("application-{}-7d9c5b8f6d", nth / 5);
    let uid = format!(
        "{:08x}-1111-4222-8333-{:012x}",
        nth.wrapping_mul(2_654_435_761) & 0xffff_ffff,
        nth
    );
    let mut pod: PodView = PodView::default();
    pod.metadata.name = Some(format!("{owner}-{:05}", nth % 100_000));
    pod.metadata.namespace = Some(format!("namespace-{}", nth / 5 % 500));
    pod.metadata.uid = Some(uid);
    pod.metadata.owner_references = Some(vec![
        serde_json::from_value(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "name": owner, "uid": "u", "controller": true}))
        .expect("an owner"),
    ]);
    pod.spec.node_name = Some(format!("ip-10-0-{}-{}.internal", nth % 20, nth % 250).into());
    for container in 0..2 {
        let name: Box<str> = format!("c{container}").into();
        let image = image(nth, container);
        let mut status = ContainerStatusView { name: name.clone(), ..Default::default() };
        if failing {
            status.state.waiting = Some(WaitingView {
                reason: Some("ErrImagePull".into()),
                message: Some(format!("reading manifest v1 in {image}: manifest unknown").into()),
            });
        } else {
            let digest = format!("{:064x}", nth / PODS_PER_IMAGE * 2 + container);
            status.image_id = format!("{image}@sha256:{digest}").into();
            status.state.running = Some(RunningView { started_at: Some(now()) });
        }
        pod.spec.containers.push(ContainerView {
            name,
            image: image.into(),
            image_pull_policy: Some("IfNotPresent".into()),
        });
        pod.status.container_statuses.push(status);
    }
    pod
}

fn fill(pods: usize) -> HealthIndex {
    let mut index = HealthIndex::default();
    for nth in 0..pods {
        index.apply_pod(&pod(nth, nth % 997 == 0), now());
    }
    index.set_freshness(Freshness::Current);
    index
}

/// Nanoseconds of a question, over all images in no order.
fn query(index: &HealthIndex, pods: usize) -> f64 {
    let images = pods / PODS_PER_IMAGE;
    let references: Vec<ImageReference> = (0..1000)
        .map(|n| image((n * 7919 % images) * PODS_PER_IMAGE, n % 2))
        .map(|text| ImageReference::parse(&text).expect("a reference"))
        .collect();
    let visibility = Visibility::Cluster;
    let mut answers = 0;
    let rounds = 200;
    let begun = Instant::now();
    for _ in 0..rounds {
        for reference in &references {
            let question =
                HistoryQuestion { reference, namespace: "namespace-1", visibility: &visibility };
            answers +=
                usize::from(black_box(index.history(&question, now())).last_success.is_some());
        }
    }
    let spent = begun.elapsed();
    assert!(answers > 0, "the images asked for are known");
    spent.as_nanos() as f64 / (rounds * references.len()) as f64
}

/// Updates of known pods, between running and failing, a second.
fn updates(index: &mut HealthIndex) -> f64 {
    let views: Vec<PodView> = (0..20_000).map(|n| pod(n * 7 % LARGE, n % 20 == 0)).collect();
    let begun = Instant::now();
    for _ in 0..5 {
        for view in &views {
            index.apply_pod(view, now());
        }
    }
    (5 * views.len()) as f64 / begun.elapsed().as_secs_f64()
}

/// A pod of about eight kilobytes, as API servers list them.
fn wire(nth: usize) -> String {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("application-{nth}-7d9c5b8f6d-abcde"), "namespace": "n",
            "uid": format!("{nth:08x}-1111-4222-8333-444444444444"), "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": (0..8).map(|n| (format!("label-{n}"), "value")).collect::<HashMap<_, _>>(),
            "managedFields": (0..3).map(|n| json!({"manager": format!("m{n}"), "operation": "Update",
                "fieldsV1": (0..30).map(|f| (format!("f:field-{f}"), json!({"f:inner": {}}))).collect::<HashMap<_, _>>()
            })).collect::<Vec<_>>()},
        "spec": {"nodeName": "node-1", "containers": [], "volumes": (0..4).map(|n| json!({
            "name": format!("v{n}"), "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}
        })).collect::<Vec<_>>()},
        "status": {"phase": "Running", "containerStatuses": []},
    });
    for container in 0..2 {
        let image = image(nth, container);
        object["spec"]["containers"].as_array_mut().expect("a list").push(json!({
            "name": format!("c{container}"), "image": image, "imagePullPolicy": "IfNotPresent",
            "env": (0..20).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "x".repeat(30)})).collect::<Vec<_>>(),
        }));
        object["status"]["containerStatuses"].as_array_mut().expect("a list").push(json!({
            "name": format!("c{container}"), "image": image, "imageID": format!("x@sha256:{:064x}", nth),
            "ready": true, "restartCount": 0, "started": true,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "lastState": {},
        }));
    }
    object.to_string()
}

/// What it costs to read a pod, and what whole pods would cost to keep.
fn decode_and_compare(per_pod: f64) {
    let texts: Vec<String> = (0..FULL).map(wire).collect();
    line("a pod on the wire", texts[0].len() as f64, "B", "");
    let begun = Instant::now();
    for text in &texts {
        black_box(serde_json::from_str::<PodView>(text).expect("a pod"));
    }
    let slim = FULL as f64 / begun.elapsed().as_secs_f64();
    line("slim pods decoded", slim, "a second", "");
    let before = resident();
    let begun = Instant::now();
    let mut store: HashMap<String, Arc<Pod>> = HashMap::new();
    for text in &texts {
        let pod: Pod = serde_json::from_str(text).expect("a pod");
        store.insert(pod.metadata.uid.clone().unwrap_or_default(), Arc::new(pod));
    }
    let full = FULL as f64 / begun.elapsed().as_secs_f64();
    line("full pods decoded", full, "a second", "");
    line("  ratio", slim / full, "x", "");
    let kept = resident().saturating_sub(before) as f64 / FULL as f64;
    line("full pods in a map", kept, "B a pod", "what a reflector's store keeps");
    line("  ratio", kept / per_pod, "x", "");
    drop(black_box(store));
}

fn classified() -> f64 {
    let messages: Vec<String> = (0..200)
        .map(|n| {
            format!(
                "Back-off pulling image \"{0}\": ErrImagePull: failed to pull and unpack image \"{0}\": \
                 failed to resolve reference \"{0}\": failed to do request: Head \"https://r.example/v2/x/manifests/1\": \
                 dial tcp 10.0.0.1:443: i/o timeout",
                image(n, 0)
            )
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..10 {
        for message in &messages {
            black_box(classify(Some("ImagePullBackOff"), message));
        }
    }
    (10 * messages.len()) as f64 / begun.elapsed().as_secs_f64()
}
