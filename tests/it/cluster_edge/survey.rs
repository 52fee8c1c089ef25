//! Who lists once (`explain`) and who watches (`serve`) answer alike, over generated clusters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pullgate::cluster::{Cluster, Connection, WatchTuning};
use pullgate::history::{Freshness, HistoryQuestion, ReportTarget, Visibility};
use pullgate::image::ImageReference;
use pullgate::review::HealthSource;
use pullgate::telemetry::Metrics;
use serde_json::{Value, json};

use super::{Reply, Stub, list, node, run};

const MESSAGES: [&str; 5] = [
    "manifest unknown: manifest unknown",
    "Get \"https://x/v2/\": dial tcp 10.0.0.1:443: connect: connection refused",
    "Get \"https://x/v2/\": dial tcp 10.0.0.1:443: i/o timeout",
    "unauthorized: authentication required",
    "toomanyrequests: You have reached your pull rate limit",
];

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// The objects of a cluster, by the path that they are listed under.
#[derive(Clone)]
struct World {
    pods: Vec<Value>,
    sets: Vec<Value>,
    events: Vec<Value>,
    images: Vec<String>,
}

fn world(seed: u64) -> World {
    let mut dice = Dice(seed.wrapping_mul(7919) + 1);
    let registries = 1 + dice.roll(2);
    // A cluster in which everything of one registry fails, and others in which little does.
    let (fails, message) = ([1, 5, 10][usize::try_from(seed % 3).unwrap()], dice.roll(5));
    let images: Vec<String> =
        (0..6).map(|n| format!("r{}.example/app{}:{}", n % registries, n % 3, 1 + n / 3)).collect();
    let now = Timestamp::now();
    let mut world = World { pods: Vec::new(), sets: Vec::new(), events: Vec::new(), images };
    for nth in 0..4 + dice.roll(16) {
        let namespace = ["shop", "bank"][usize::try_from(dice.roll(2)).unwrap()];
        let image = &world.images[usize::try_from(dice.roll(6)).unwrap()];
        let at = now - jiff::SignedDuration::from_secs(i64::try_from(dice.roll(3000)).unwrap());
        let failing = dice.roll(10) < fails;
        let own = usize::try_from(if dice.roll(4) == 0 { dice.roll(5) } else { message }).unwrap();
        let state = match (failing, dice.roll(3)) {
            (true, 0) => {
                json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}})
            }
            (true, _) => json!({"waiting": {"reason": "ErrImagePull", "message": MESSAGES[own]}}),
            (false, _) => json!({"running": {"startedAt": at.to_string()}}),
        };
        let owner = format!("set-{}", nth % 5);
        let uid = format!("0b2f3c1e-0000-4000-8000-{nth:012x}");
        world.pods.push(json!({
            "metadata": {"name": format!("{owner}-{nth}"), "namespace": namespace, "uid": uid,
                "creationTimestamp": at.to_string(),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner,
                    "uid": "s", "controller": true}]},
            "spec": {"nodeName": format!("n{}", dice.roll(3)),
                "containers": [{"name": "c", "image": image,
                    "imagePullPolicy": if dice.roll(3) == 0 { "Always" } else { "IfNotPresent" }}]},
            "status": {"containerStatuses": [{"name": "c", "image": image, "state": state,
                "imageID": if failing { String::new() } else { format!("x@sha256:{}", "a".repeat(64)) }}]},
        }));
        let (reason, kind, words) = if failing {
            ("Failed", "Warning", format!("Failed to pull image \"{image}\": {}", MESSAGES[own]))
        } else {
            ("Pulled", "Normal", format!("Successfully pulled image \"{image}\" in 1s"))
        };
        world.events.push(json!({
            "metadata": {"name": format!("e{nth}"), "namespace": namespace}, "type": kind,
            "reason": reason, "message": words, "lastTimestamp": at.to_string(), "count": 1,
            "involvedObject": {"kind": "Pod", "namespace": namespace, "uid": uid},
        }));
        world.sets.push(json!({"metadata": {"name": owner, "namespace": namespace,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment",
                "name": format!("web-{}", nth % 2), "uid": "d", "controller": true}]}}));
    }
    world
}

/// `late` is what the API server takes its time for.
async fn api_server(world: &World, late: &'static str) -> Stub {
    let world = world.clone();
    Stub::start(move |seen| {
        let fields = seen.query.get("fieldSelector").map(String::as_str).unwrap_or_default();
        let of = |wanted: &str| -> Vec<Value> {
            world.events.iter().filter(|event| event["reason"] == wanted).cloned().collect()
        };
        let reply = match (seen.path.as_str(), seen.is_watch()) {
            (_, true) => Reply::Never,
            ("/api/v1/nodes", _) => list("1", &[node("n0"), node("n1"), node("n2")]),
            ("/api/v1/pods", _) => list("1", &world.pods),
            ("/apis/apps/v1/replicasets", _) => list("1", &world.sets),
            ("/api/v1/events", _) if fields.starts_with("type=Warning") => list("1", &of("Failed")),
            ("/api/v1/events", _) if fields.starts_with("reason=Pulled") => {
                list("1", &of("Pulled"))
            }
            _ => list("1", &[]),
        };
        match reply {
            Reply::Json(list) if seen.path.ends_with(late) => {
                Reply::Later(Duration::from_millis(1500), list)
            }
            reply => reply,
        }
    })
    .await
}

/// A client that waits as long as a busy machine takes.
fn client(stub: &Stub) -> Cluster {
    let connection = Connection::with(kube::Config::new(stub.url.parse().unwrap())).unwrap();
    Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()))
}

fn patience() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// All answers of one cluster about everything that it could be asked.
fn answers(cluster: &Cluster, images: &[String], now: Timestamp) -> Vec<Value> {
    let mut answers = Vec::new();
    for visibility in [Visibility::Cluster, Visibility::Namespaces(vec!["shop".into()])] {
        for image in images {
            let reference = ImageReference::parse(image).unwrap();
            let host: Box<str> = reference.host().into();
            let question = HistoryQuestion {
                reference: &reference,
                namespace: "shop",
                visibility: &visibility,
            };
            answers.push(json!(format!("{:?}", cluster.history(&question, now))));
            for subject in [ReportTarget::Image(reference.clone()), ReportTarget::Registry(host)] {
                let report = cluster.index(|index| index.report(&subject, &visibility, now));
                let mut report = serde_json::to_value(report).unwrap();
                // Who watches knows when it began, and needs a minute to see where it goes.
                let registry = report["registry"].as_object_mut().unwrap();
                registry.remove("trend");
                registry.remove("trouble_since");
                answers.push(report);
            }
        }
    }
    answers
}

/// Fresh pulls are counted in windows of ten minutes of the clock.
fn window(at: Timestamp) -> i64 {
    at.as_second() / 600
}

/// Both answers, of the same window: a registry is judged by what was pulled in it.
async fn both(seed: u64) -> (Vec<Value>, Vec<Value>) {
    loop {
        let began = window(Timestamp::now());
        let (listed, watched) = both_now(seed).await;
        if listed == watched || window(Timestamp::now()) == began {
            return (listed, watched);
        }
    }
}

/// Both answers, once they are the same or it has taken too long.
async fn both_now(seed: u64) -> (Vec<Value>, Vec<Value>) {
    let world = world(seed);
    let late = ["nothing", "/events", "/pods", "/nodes"][usize::try_from(seed % 4).unwrap()];
    let stub = api_server(&world, late).await;
    let now = Timestamp::now();
    let explain = client(&stub);
    explain.survey("shop", now, patience()).await.unwrap();
    assert_eq!(explain.freshness(), Freshness::Current);
    let listed = answers(&explain, &world.images, now);
    let serve = client(&stub);
    let _tasks = run(&serve);
    for _ in 0..300 {
        let watched = answers(&serve, &world.images, now);
        if watched == listed {
            return (listed, watched);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (listed, answers(&serve, &world.images, now))
}

#[tokio::test]
async fn explain_and_serve_answer_the_same_questions_alike() {
    let all = futures::future::join_all((0..96).map(both)).await;
    let mut troubles = 0;
    for (seed, (listed, watched)) in all.into_iter().enumerate() {
        for (one, other) in listed.iter().zip(&watched) {
            assert_eq!(one, other, "cluster {seed}");
        }
        troubles +=
            usize::from(listed.iter().any(|answer| answer["registry"]["trouble"].is_string()));
    }
    assert!((12..88).contains(&troubles), "{troubles} of 96 clusters have a registry in trouble");
}

/// A list comes at one moment, in which nothing was judged before.
#[tokio::test]
async fn a_registry_of_which_everything_fails_is_in_trouble_at_the_first_look() {
    let mut pods = Vec::new();
    for nth in 0..6_u32 {
        let namespace = if nth % 2 == 0 { "shop" } else { "bank" };
        let at = Timestamp::now() - jiff::SignedDuration::from_mins(i64::from(nth) * 6);
        pods.push(json!({
            "metadata": {"name": format!("p{nth}"), "namespace": namespace,
                "uid": format!("0b2f3c1e-0000-4000-8000-{nth:012x}"),
                "creationTimestamp": at.to_string()},
            "spec": {"nodeName": format!("n{}", nth % 3),
                "containers": [{"name": "c", "image": format!("r.example/app{}:1", nth % 3)}]},
            "status": {"containerStatuses": [{"name": "c", "imageID": "",
                "state": {"waiting": {"reason": "ErrImagePull", "message": MESSAGES[1]}}}]},
        }));
    }
    let world = World { pods, sets: Vec::new(), events: Vec::new(), images: Vec::new() };
    let stub = api_server(&world, "nothing").await;
    let explain = client(&stub);
    let now = Timestamp::now();
    explain.survey("shop", now, patience()).await.unwrap();
    let subject = ReportTarget::Registry("r.example".into());
    let report = explain.index(|index| index.report(&subject, &Visibility::Cluster, now));
    assert!(report.registry.health.in_trouble, "{report:?}");
    let page = report.to_page(now, 96);
    assert!(!page.contains("No sign of trouble"), "{page}");
    // Three of the six have failed for more than a quarter of an hour.
    assert!(page.contains("rising"), "{page}");
}
