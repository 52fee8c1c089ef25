//! Pods that are alike and made within a second are asked about once, and each is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pullgate::policy::PullgatePolicy;
use pullgate::pull::Outcome;
use pullgate::review::{Endpoint, Proof, Reviewer};
use rstest::rstest;
use serde_json::{Value, json};

use super::NOW;
use super::fakes::{self, World, exists, missing};

const APP: &str = "reg.example.com/app:1";
const OTHER: &str = "reg.example.com/other:1";
const ENFORCING: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}}
";

struct Scene {
    world: Arc<World>,
    reviewer: Reviewer,
}

impl Scene {
    fn of(outcome: Outcome, policy: PullgatePolicy) -> Self {
        Self::of_world(World::enforcing(), outcome, policy)
    }

    fn of_world(world: World, outcome: Outcome, policy: PullgatePolicy) -> Self {
        let world = world
            .answer(APP, "", outcome.clone())
            .answer(APP, "regcred", outcome.clone())
            .answer(OTHER, "", outcome);
        let world = Arc::new(world);
        let reviewer = fakes::reviewer(&world, policy);
        Self { world, reviewer }
    }

    fn warning() -> Self {
        Self::of(missing(), PullgatePolicy::default())
    }

    /// Admits two pods, after which the third one like them is not asked about.
    async fn begin(&self, pod: fn(usize) -> Value) -> Value {
        let (first, asked) = self.admit(&pod(101), 0).await;
        let (second, asked_again) = self.admit(&pod(102), 0).await;
        assert!(asked > 0 && asked_again > 0 && first == second, "{first} {second}");
        first
    }

    /// The answer to a request so many milliseconds later, without its uid, and how often a registry
    /// was asked for it.
    async fn admit(&self, request: &Value, later: i64) -> (Value, usize) {
        self.admit_as(request, later, Proof::Certain).await
    }

    async fn admit_as(&self, request: &Value, later: i64, proof: Proof) -> (Value, usize) {
        let asked = || self.world.asked.lock().unwrap().len();
        let before = asked();
        let now: Timestamp = NOW.parse().unwrap();
        let now = now + SignedDuration::from_millis(later);
        let deadline = Instant::now() + Duration::from_secs(2);
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": request});
        let body = body.to_string();
        let admitted =
            self.reviewer.admit(Endpoint::Validate, proof, body.as_bytes(), (now, deadline));
        let outcome = admitted.await.unwrap();
        let mut answer: Value = serde_json::from_slice(&outcome.body).unwrap();
        assert_eq!(answer["response"]["uid"], request["uid"]);
        answer["response"]["uid"] = Value::Null;
        (answer, asked() - before)
    }
}

fn pod(nth: usize) -> Value {
    json!({"uid": format!("r-{nth}"), "operation": "CREATE", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "userInfo": {"username": "controller"},
        "object": {"metadata": {"name": format!("web-{nth}"), "uid": format!("pod-{nth}"),
                "annotations": {},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                    "uid": "5f6c0c9e-63ff-4e53-8a0a-5d9a3a3d0001", "controller": true}]},
            "spec": {"containers": [{"name": "c", "image": APP, "imagePullPolicy": "Always"}]}}})
}

#[tokio::test]
async fn the_next_pods_are_told_the_same_and_nobody_is_asked_again() {
    let scene = Scene::warning();
    let first = scene.begin(pod).await;
    assert!(first["response"]["warnings"][0].is_string(), "{first}");
    for nth in 2..5 {
        let (next, asked) = scene.admit(&pod(nth), 200 * i64::try_from(nth).unwrap()).await;
        assert_eq!((&next, asked), (&first, 0));
    }
    let (next, asked) = scene.admit(&pod(6), 1000).await;
    assert!(asked > 0, "a second later it is found out anew");
    assert_eq!(next, first);
    let remembered = scene.world.remembered.lock().unwrap();
    let remembered: Vec<_> = remembered.iter().map(|one| (&*one.uid, one.verdicts.len())).collect();
    let each = ["pod-101", "pod-102", "pod-2", "pod-3", "pod-4", "pod-6"].map(|uid| (uid, 1));
    assert_eq!(remembered, each, "each pod is recorded, whoever was asked");
    let noted = scene.world.noted.lock().unwrap().len();
    assert_eq!(noted, 6);
}

#[rstest]
#[case::image(|pod: &mut Value| pod["object"]["spec"]["containers"][0]["image"] = json!(OTHER))]
#[case::second_image(|pod: &mut Value| pod["object"]["spec"]["initContainers"] = json!([{"name": "i", "image": OTHER}]))]
#[case::pull_policy(|pod: &mut Value| pod["object"]["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent"))]
#[case::pull_secret(|pod: &mut Value| pod["object"]["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]))]
#[case::account(|pod: &mut Value| pod["object"]["spec"]["serviceAccountName"] = json!("deployer"))]
#[case::nodes(|pod: &mut Value| pod["object"]["spec"]["nodeSelector"] = json!({"pool": "arm"}))]
#[case::our_annotation(|pod: &mut Value| pod["object"]["metadata"]["annotations"]["pullgate.dev/break-glass"] = json!("why"))]
#[case::no_controller(|pod: &mut Value| pod["object"]["metadata"]["ownerReferences"] = json!([]))]
#[case::namespace(|pod: &mut Value| pod["namespace"] = json!("bank"))]
#[case::user(|pod: &mut Value| pod["userInfo"]["username"] = json!("ann"))]
#[case::groups(|pod: &mut Value| pod["userInfo"]["groups"] = json!(["a"]))]
#[case::dry_run(|pod: &mut Value| pod["dryRun"] = json!(true))]
#[tokio::test]
async fn any_other_pod_is_asked_about(#[case] change: fn(&mut Value)) {
    let scene = Scene::warning();
    scene.begin(pod).await;
    let mut other = pod(2);
    change(&mut other);
    let (_, asked) = scene.admit(&other, 0).await;
    assert!(asked > 0);
}

#[rstest]
#[case::bytes(|pod: &mut Value| pod["object"]["metadata"]["annotations"]["x"] = json!("x".repeat(20_000)))]
#[case::parts(|pod: &mut Value| pod["object"]["spec"]["tolerations"] = json!(vec![json!({}); 70]))]
#[tokio::test]
async fn what_is_large_is_not_kept(#[case] change: fn(&mut Value)) {
    let scene = Scene::warning();
    for nth in 1..4 {
        let mut large = pod(nth);
        change(&mut large);
        let (_, asked) = scene.admit(&large, 0).await;
        assert!(asked > 0);
    }
}

#[tokio::test]
async fn a_caller_that_may_be_anybody_neither_leaves_an_answer_nor_gets_one() {
    let scene = Scene::warning();
    for nth in 1..4 {
        scene.admit_as(&pod(nth), 0, Proof::Path).await;
    }
    scene.begin(pod).await;
    let (_, asked) = scene.admit_as(&pod(3), 0, Proof::Path).await;
    assert!(asked > 0);
}

#[tokio::test]
async fn what_had_to_be_waited_for_is_not_kept() {
    let world = World { slow: true, ..World::enforcing() };
    let scene = Scene::of_world(world, missing(), PullgatePolicy::default());
    for nth in 1..4 {
        let (_, asked) = scene.admit(&pod(nth), 0).await;
        assert!(asked > 0);
    }
}

#[tokio::test]
async fn each_denial_stands_on_answers_of_its_own() {
    let policy = PullgatePolicy::parse(ENFORCING, "policy.yaml").unwrap();
    let scene = Scene::of(missing(), policy);
    for nth in 0..3 {
        let (answer, asked) = scene.admit(&pod(nth), 0).await;
        assert_eq!(answer["response"]["allowed"], json!(false), "{answer}");
        assert!(asked > 0);
    }
}

#[tokio::test]
async fn a_new_policy_counts_at_once() {
    let scene = Scene::warning();
    scene.begin(pod).await;
    let policy = PullgatePolicy::parse(ENFORCING, "policy.yaml").unwrap();
    scene.reviewer.policy.store(Arc::new(policy));
    let (answer, _) = scene.admit(&pod(2), 0).await;
    assert_eq!(answer["response"]["allowed"], json!(false), "{answer}");
}

#[rstest]
#[case::of_one_controller(|_: &mut Value| ())]
#[case::of_another_one(|pod: &mut Value| {
    pod["object"]["metadata"]["ownerReferences"][0]["uid"] = json!("5f6c0c9e-63ff-4e53-8a0a-5d9a3a3d0002");
})]
#[tokio::test]
async fn what_works_is_asked_once_as_well(#[case] change: fn(&mut Value)) {
    let scene = Scene::of(exists(), PullgatePolicy::default());
    let first = scene.begin(pod).await;
    let mut next = pod(2);
    change(&mut next);
    assert_eq!(scene.admit(&next, 999).await, (first, 0));
}

#[rstest]
#[case::works(exists(), true)]
#[case::missing(missing(), false)]
#[tokio::test]
async fn of_pods_that_a_person_makes_only_silence_is_shared(
    #[case] outcome: Outcome,
    #[case] is_shared: bool,
) {
    let scene = Scene::of(outcome, PullgatePolicy::default());
    let single: fn(usize) -> Value = |nth| {
        let mut pod = pod(nth);
        pod["object"]["metadata"]["ownerReferences"] = json!([]);
        pod
    };
    let first = scene.begin(single).await;
    assert_eq!(first["response"]["warnings"].is_null(), is_shared, "{first}");
    let (_, asked) = scene.admit(&single(2), 0).await;
    assert_eq!(asked == 0, is_shared);
}

/// Pods that are like no other leave the answers of others where they are, and room for new ones.
#[tokio::test]
async fn a_crowd_of_pods_that_are_alike_in_nothing_does_not_end_it() {
    let scene = Scene::warning();
    for nth in 0..2000 {
        let mut other = pod(nth);
        other["userInfo"]["username"] = json!(format!("user-{nth}"));
        scene.admit(&other, 0).await;
    }
    scene.begin(pod).await;
    assert_eq!(scene.admit(&pod(1), 0).await.1, 0);
}
