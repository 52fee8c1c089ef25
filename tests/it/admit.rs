//! One admission review from bytes to bytes: what is skipped, what is answered to odd input, and
//! the words in the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pullgate::history::Freshness;
use pullgate::policy::PullgatePolicy;
use pullgate::pull::Detail;
use pullgate::review::{Endpoint, EventQueue, EventRequest, Proof, Reviewer, Skip};
use rstest::rstest;
use serde_json::{Value, json};

use crate::review::fakes::{self, World, exists, missing};

const APP: &str = "reg.example.com/app";

fn reviewer(world: World, policy: &str) -> Reviewer {
    reviewer_of(&Arc::new(world), policy)
}

fn reviewer_of(world: &Arc<World>, policy: &str) -> Reviewer {
    let policy = match policy {
        "" => PullgatePolicy::default(),
        text => PullgatePolicy::parse(text, "policy.yaml").unwrap(),
    };
    let reviewer = fakes::reviewer(world, policy);
    Reviewer { own_namespace: Some("pullgate".into()), ..reviewer }
}

fn world() -> World {
    World::enforcing()
        .answer(&format!("{APP}:1"), "", exists())
        .answer(&format!("{APP}:2"), "", exists())
        .answer(&format!("{APP}:9"), "", missing())
}

const VOUCHED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}}
";

fn pod(image: &str) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": image, "imagePullPolicy": "Always"}]}})
}

fn request(object: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "namespace": "shop", "userInfo": {"username": "ann"}, "object": object}})
}

async fn answer(reviewer: &Reviewer, request: &Value) -> (Value, Option<Skip>) {
    let body = serde_json::to_vec(request).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let outcome =
        reviewer.admit(Endpoint::Validate, Proof::Certain, &body, (now, deadline)).await.unwrap();
    (serde_json::from_slice(&outcome.body).unwrap(), outcome.record.skipped)
}

#[tokio::test]
async fn a_denial_carries_the_line_and_where_the_policy_is() {
    let reviewer = reviewer(world(), VOUCHED);
    let (answer, _) = answer(&reviewer, &request(&pod(&format!("{APP}:9")))).await;
    let response = &answer["response"];
    assert_eq!(response["allowed"], json!(false));
    assert_eq!(response["status"]["code"], json!(403));
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("image reg.example.com/app:9: tag not found in the registry"));
    assert!(
        message.ends_with("; denied by PullgatePolicy default (namespace shop enforces)"),
        "{message}"
    );
    assert_eq!(message.matches(" — ").count(), 1, "{message}");
}

/// Each image is a question of its own, and each name of a secret a read: neither is without a bound.
#[tokio::test]
async fn an_object_of_thousands_of_images_and_secrets_asks_for_a_few() {
    let world = Arc::new(World { hides: true, ..world() });
    let reviewer = reviewer_of(&world, VOUCHED);
    let mut object = pod(&format!("{APP}:9"));
    let secrets: Vec<Value> = (0..5000).map(|n| json!({"name": format!("s{n}")})).collect();
    object["spec"]["imagePullSecrets"] = json!(secrets);
    let (said, _) = answer(&reviewer, &request(&object)).await;
    assert_eq!(said["response"]["allowed"], true, "what was not read may be what works: {said}");
    let containers: Vec<Value> = (0..5000)
        .map(|n| json!({"name": format!("c{n}"), "image": format!("{APP}:{n}")}))
        .collect();
    object["spec"]["containers"] = json!(containers);
    world.asked.lock().unwrap().clear();
    answer(&reviewer, &request(&object)).await;
    let asked: std::collections::BTreeSet<_> =
        world.asked.lock().unwrap().iter().map(|(reference, ..)| reference.clone()).collect();
    assert!(asked.len() < 300, "{}", asked.len());
}

#[tokio::test]
async fn an_enforcing_namespace_is_told_once_why_nothing_is_denied() {
    let reviewer = reviewer(world(), "");
    let object = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": format!("{APP}:9"), "imagePullPolicy": "Always"},
        {"name": "b", "image": format!("{APP}:8"), "imagePullPolicy": "Always"}]}});
    let (answer, _) = answer(&reviewer, &request(&object)).await;
    assert_eq!(answer["response"]["allowed"], json!(true));
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 3);
    assert!(
        warnings[2]
            .as_str()
            .unwrap()
            .starts_with("namespace shop enforces, but PullgatePolicy default")
    );
}

#[tokio::test]
async fn a_dry_run_reads_no_manifest_that_counts_as_a_pull() {
    let mut world = World::enforcing().answer("docker.io/library/nginx:1", "", exists()).answer(
        &format!("{APP}:1"),
        "",
        exists(),
    );
    // No node is known: which platforms there are matters.
    world.nodes = Some(Vec::new());
    let world = Arc::new(world);
    let reviewer = reviewer_of(&world, "");
    for (image, dry_run, expected) in [
        ("nginx:1", true, Detail::Presence),
        ("nginx:1", false, Detail::Platforms),
        (&format!("{APP}:1"), true, Detail::Platforms),
    ] {
        let mut asked = request(&pod(image));
        asked["request"]["dryRun"] = dry_run.into();
        answer(&reviewer, &asked).await;
        assert_eq!(std::mem::take(&mut *world.details.lock().unwrap()), [expected], "{image}");
    }
}

#[rstest]
#[case::delete(|r: &mut Value| { r["request"]["operation"] = json!("DELETE"); r["request"]["object"] = Value::Null; }, Skip::Operation)]
#[case::no_object(|r: &mut Value| r["request"]["object"] = Value::Null, Skip::Operation)]
#[case::connect(|r: &mut Value| r["request"]["operation"] = json!("CONNECT"), Skip::Operation)]
#[case::unknown_kind(|r: &mut Value| r["request"]["kind"]["kind"] = json!("ConfigMap"), Skip::Kind)]
#[case::no_kind(|r: &mut Value| r["request"]["kind"] = Value::Null, Skip::Kind)]
#[case::status(|r: &mut Value| r["request"]["subResource"] = json!("status"), Skip::Kind)]
#[case::kube_system(|r: &mut Value| r["request"]["namespace"] = json!("kube-system"), Skip::Namespace)]
#[case::own_namespace(|r: &mut Value| r["request"]["namespace"] = json!("pullgate"), Skip::Namespace)]
#[case::mirror(|r: &mut Value| r["request"]["object"]["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"}), Skip::MirrorPod)]
#[case::no_images(|r: &mut Value| r["request"]["object"]["spec"] = json!({}), Skip::NoImages)]
#[case::junk_spec(|r: &mut Value| r["request"]["object"]["spec"] = json!("junk"), Skip::Unreadable)]
#[case::unchanged(|r: &mut Value| { r["request"]["operation"] = json!("UPDATE"); r["request"]["oldObject"] = r["request"]["object"].clone(); }, Skip::Unchanged)]
#[tokio::test]
async fn what_needs_no_judging_is_let_through(#[case] change: fn(&mut Value), #[case] skip: Skip) {
    let reviewer = reviewer(world(), VOUCHED);
    let mut request = request(&pod(&format!("{APP}:9")));
    change(&mut request);
    let (answer, skipped) = answer(&reviewer, &request).await;
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
    assert_eq!(skipped, Some(skip));
}

/// A pod that runs `9`, which was deleted from the registry since, beside a side-car.
fn running() -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": format!("{APP}:9"), "imagePullPolicy": "Always"},
        {"name": "sidecar", "image": format!("{APP}:1"), "imagePullPolicy": "Always"}]}})
}

fn update(old: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let mut request = request(old);
    request["request"]["operation"] = json!("UPDATE");
    request["request"]["oldObject"] = old.clone();
    change(&mut request["request"]);
    request
}

fn image_of(request: &mut Value, container: usize) -> &mut Value {
    &mut request["object"]["spec"]["containers"][container]["image"]
}

#[rstest]
#[case::side_car(|r: &mut Value| *image_of(r, 1) = json!(format!("{APP}:2")), true)]
#[case::debug(|r: &mut Value| {
    r["subResource"] = json!("ephemeralcontainers");
    r["object"]["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": format!("{APP}:1")}]);
}, true)]
#[case::tolerations(|r: &mut Value| r["object"]["spec"]["tolerations"] = json!([{"operator": "Exists"}]), true)]
#[case::debug_with_what_is_missing(|r: &mut Value| {
    r["subResource"] = json!("ephemeralcontainers");
    r["object"]["spec"]["ephemeralContainers"] =
        json!([{"name": "d", "image": format!("{APP}:9"), "imagePullPolicy": "Always"}]);
}, false)]
#[case::side_car_to_what_is_missing(|r: &mut Value| *image_of(r, 1) = json!(format!("{APP}:9")), false)]
#[case::other_secrets(|r: &mut Value| r["object"]["spec"]["imagePullSecrets"] = json!([{"name": ""}, {"name": "x"}]), false)]
#[tokio::test]
async fn of_a_pod_that_is_changed_only_what_is_pulled_anew_is_judged(
    #[case] change: fn(&mut Value),
    #[case] allowed: bool,
) {
    let reviewer = reviewer(world(), VOUCHED);
    let (answer, _) = answer(&reviewer, &update(&running(), change)).await;
    assert_eq!(answer["response"]["allowed"], json!(allowed), "{answer}");
}

/// Of a Deployment whose image `9` is missing: how many warnings there are after a change.
#[rstest]
#[case::side_car(|r: &mut Value| r["object"]["spec"]["template"]["spec"]["containers"][1]["image"] = json!(format!("{APP}:2")), false)]
#[case::it_itself(|r: &mut Value| r["object"]["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent"), true)]
#[case::secrets(|r: &mut Value| r["object"]["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "x"}]), true)]
#[case::account(|r: &mut Value| r["object"]["spec"]["template"]["spec"]["serviceAccountName"] = json!("x"), true)]
#[tokio::test]
async fn of_a_template_that_is_changed_the_rest_is_silent(
    #[case] change: fn(&mut Value),
    #[case] told: bool,
) {
    let reviewer = reviewer(world(), VOUCHED);
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": running()}});
    let mut request = update(&deployment, change);
    request["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let (answer, _) = answer(&reviewer, &request).await;
    let said = answer["response"]["warnings"].to_string();
    assert_eq!(said.contains("app:9"), told, "{said}");
}

#[rstest]
#[case("")]
#[case(" ")]
#[case("UPPER/case/X")]
#[case("a b")]
#[case("a\u{1b}[31m\nb\u{202e}")]
#[case(&"x".repeat(5000))]
#[case(&format!("{APP}@sha256:zz"))]
#[tokio::test]
async fn odd_images_get_a_well_formed_answer(#[case] image: &str) {
    let reviewer = reviewer(world(), "");
    let mut request = request(&pod(image));
    request["request"]["uid"] = json!("odd \u{7f}\"<uid>\u{202e}");
    let (answer, _) = answer(&reviewer, &request).await;
    assert_eq!(answer["response"]["uid"], request["request"]["uid"]);
    for warning in answer["response"]["warnings"].as_array().into_iter().flatten() {
        let text = warning.as_str().unwrap();
        assert!(text.chars().count() <= 256 && !text.chars().any(char::is_control), "{text:?}");
    }
}

#[tokio::test]
async fn the_mutating_webhook_neither_warns_nor_denies() {
    let reviewer = reviewer(world(), VOUCHED);
    let body = serde_json::to_vec(&request(&pod(&format!("{APP}:9")))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(2);
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let outcome =
        reviewer.admit(Endpoint::Mutate, Proof::Certain, &body, (now, deadline)).await.unwrap();
    let answer: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(answer["response"], json!({"uid": "u-1", "allowed": true}));
}

/// Concerns as they were offered.
#[derive(Default)]
struct Offered(std::sync::Mutex<Vec<EventRequest>>);

impl EventQueue for Offered {
    fn offer(&self, concern: EventRequest) {
        self.0.lock().unwrap().push(concern);
    }
}

#[tokio::test]
async fn what_is_warned_of_becomes_an_event_that_speaks_of_its_own_namespace_alone() {
    const EVENTS: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {advice: {events: true}}
";
    let mut world =
        world().answer(&format!("{APP}:7"), "", exists()).answer(&format!("{APP}:8"), "", exists());
    let known = |tag: &str, own| crate::advice::known(&format!("{APP}:{tag}"), own);
    world.known_tags = vec![known("8", false), known("7", true)];
    let offered = Arc::new(Offered::default());
    let mut reviewer = reviewer(world, EVENTS);
    reviewer.event_queue = Some(offered.clone());
    let mut object = pod(&format!("{APP}:9"));
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "name": "web-7c", "uid": "rs-1", "controller": true}]);
    let mut asked = request(&object);
    let (answered, _) = answer(&reviewer, &asked).await;
    let warning = answered["response"]["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.contains("pods run it in this cluster"), "{warning}");
    asked["request"]["dryRun"] = true.into();
    answer(&reviewer, &asked).await;
    answer(&reviewer, &request(&pod(&format!("{APP}:1")))).await;
    let concerns = std::mem::take(&mut *offered.0.lock().unwrap());
    assert_eq!(concerns.len(), 1, "neither a dry run nor what works");
    let deadline = Instant::now() + Duration::from_secs(2);
    let event =
        reviewer.event(&concerns[0], "2026-01-02T03:04:05Z".parse().unwrap(), deadline).await;
    let event = event.unwrap();
    assert_eq!(
        (&*event.about.kind, &*event.about.name, &*event.uid),
        ("ReplicaSet", "web-7c", "rs-1")
    );
    assert_eq!((&*event.about.namespace, event.reason), ("shop", "ImagePullWarning"));
    assert!(event.message.contains("use 7 ("), "{}", event.message);
    assert!(!event.message.contains(" 8 "), "{}", event.message);
    // Nobody wants Events any more.
    reviewer.policy.store(Arc::new(PullgatePolicy::default()));
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    assert_eq!(reviewer.event(&concerns[0], now, deadline).await, None);
    answer(&reviewer, &request(&object)).await;
    assert!(offered.0.lock().unwrap().is_empty());
}

#[rstest]
#[case::learning(|world: &mut World| world.history.freshness = Freshness::Learning, "still learning what runs here")]
#[case::stale(|world: &mut World| world.history.freshness = Freshness::Stale, "has lost contact with the API server")]
#[case::contradicted(|world: &mut World| world.history.registry.escapes_reopened = true, "for a while nothing is denied for it")]
#[tokio::test]
async fn why_nothing_is_denied_although_the_policy_vouches_is_said_plainly(
    #[case] change: fn(&mut World),
    #[case] words: &str,
) {
    let mut world = world();
    change(&mut world);
    let reviewer = reviewer(world, VOUCHED);
    let (answer, _) = answer(&reviewer, &request(&pod(&format!("{APP}:9")))).await;
    assert_eq!(answer["response"]["allowed"], json!(true));
    let warnings = answer["response"]["warnings"].as_array().unwrap();
    let said = warnings.iter().filter(|warning| warning.as_str().unwrap().contains(words)).count();
    assert_eq!(said, 1, "{warnings:?}");
    assert!(
        warnings.iter().all(|warning| !warning.as_str().unwrap().contains("does not rule out"))
    );
}

/// A Deployment of what was deleted from the registry, and of how many pods.
fn deployment(rest: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [
        {"name": "c", "image": format!("{APP}:9"), "imagePullPolicy": "Always"}]}}}});
    for (key, value) in rest.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// What pulls nothing now is warned of; a change that wakes it is judged like a new object, for nothing
/// else of it has changed.
#[rstest]
#[case::runs(None, json!({}), (false, false))]
#[case::at_zero(None, json!({"replicas": 0}), (true, true))]
#[case::suspended(None, json!({"suspend": true}), (true, true))]
#[case::paused(None, json!({"paused": true}), (true, true))]
#[case::scaled_up(Some(json!({"replicas": 0})), json!({"replicas": 2}), (false, false))]
#[case::resumed(Some(json!({"suspend": true})), json!({"suspend": false}), (false, false))]
#[case::unpaused(Some(json!({"paused": true})), json!({}), (true, false))]
#[case::scaled_further(Some(json!({"replicas": 1})), json!({"replicas": 2}), (true, false))]
#[case::scaled_down(Some(json!({"replicas": 2})), json!({"replicas": 0}), (true, false))]
#[tokio::test]
async fn what_makes_no_pods_now_is_warned_of_and_judged_when_it_does(
    #[case] before: Option<Value>,
    #[case] now: Value,
    #[case] (allowed, warned): (bool, bool),
) {
    let policy = VOUCHED.replace("spec: {", "spec: {enforceOn: [workloads], ");
    let reviewer = reviewer(world(), &policy);
    let mut request = request(&deployment(&now));
    request["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    request["request"]["object"]["kind"] = json!("Deployment");
    if let Some(before) = before {
        request["request"]["operation"] = json!("UPDATE");
        request["request"]["oldObject"] = deployment(&before);
        request["request"]["oldObject"]["kind"] = json!("Deployment");
    }
    let (answer, _) = answer(&reviewer, &request).await;
    let response = &answer["response"];
    assert_eq!((&response["allowed"], response["warnings"].is_array()), (&json!(allowed), warned));
}

/// The API server has been given another template, and no controller makes a pod of it: the pods that
/// there are stay, or new ones come at their time.
#[rstest]
#[case::rolled_out("apps", "Deployment", json!({}), json!({}), false)]
#[case::on_delete("apps", "StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({}), true)]
#[case::on_delete_and_more("apps", "StatefulSet",
    json!({"updateStrategy": {"type": "OnDelete"}}), json!({"replicas": 3}), false)]
#[case::from_zero("apps", "StatefulSet",
    json!({"updateStrategy": {"type": "OnDelete"}, "replicas": 0}), json!({"replicas": 2}), false)]
#[case::all_below_the_partition("apps", "StatefulSet",
    json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}, "replicas": 2}), json!({}), true)]
#[case::one_above_it("apps", "StatefulSet",
    json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}, "replicas": 2}), json!({}), false)]
#[case::daemons("apps", "DaemonSet", json!({}), json!({}), false)]
#[case::daemons_on_delete("apps", "DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({}), true)]
#[case::daemons_on_other_nodes("apps", "DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}),
    json!({"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}), false)]
#[case::replica_set("apps", "ReplicaSet", json!({"replicas": 2}), json!({}), true)]
#[case::more_replicas("apps", "ReplicaSet", json!({"replicas": 2}), json!({"replicas": 3}), false)]
#[case::replication_controller("", "ReplicationController", json!({"replicas": 2}), json!({}), true)]
#[tokio::test]
async fn a_changed_template_of_which_no_pod_is_made_now_is_warned_of(
    #[case] group: &str,
    #[case] kind: &str,
    #[case] before: Value,
    #[case] change: Value,
    #[case] passes: bool,
) {
    let mut old = deployment(&json!({}));
    old["kind"] = json!(kind);
    old["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("{APP}:1"));
    json_patch::merge(&mut old["spec"], &before);
    let mut new = old.clone();
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("{APP}:9"));
    json_patch::merge(&mut new["spec"], &change);
    let mut request = request(&new);
    request["request"]["kind"] = json!({"group": group, "version": "v1", "kind": kind});
    let policy = VOUCHED.replace("spec: {", "spec: {enforceOn: [workloads], ");
    let allowed = async |request: &Value| {
        let (answer, _) = answer(&reviewer(world(), &policy), request).await;
        let response = &answer["response"];
        assert_eq!(response["warnings"].is_array(), response["allowed"] == true, "{response}");
        response["allowed"].clone()
    };
    assert_eq!(allowed(&request).await, false, "whoever creates it makes pods");
    request["request"]["operation"] = json!("UPDATE");
    request["request"]["oldObject"] = old;
    assert_eq!(allowed(&request).await, passes);
}

/// Its Jobs are judged when their time has come.
#[rstest]
#[case("CREATE")]
#[case("UPDATE")]
#[tokio::test]
async fn a_cron_job_is_warned_of(#[case] operation: &str) {
    let of = |tag: &str| {
        json!({"kind": "CronJob", "metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {
            "template": {"spec": {"containers": [{"name": "c", "image": format!("{APP}:{tag}")}]}}}}}})
    };
    let mut request = request(&of("9"));
    request["request"]["kind"] = json!({"group": "batch", "version": "v1", "kind": "CronJob"});
    request["request"]["operation"] = json!(operation);
    if operation == "UPDATE" {
        request["request"]["oldObject"] = of("1");
    }
    let policy = VOUCHED.replace("spec: {", "spec: {enforceOn: [workloads], ");
    let (answer, _) = answer(&reviewer(world(), &policy), &request).await;
    let response = &answer["response"];
    assert_eq!((&response["allowed"], response["warnings"].is_array()), (&json!(true), true));
}
