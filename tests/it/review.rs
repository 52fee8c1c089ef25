//! The review as the webhook and the command line share it, over sources that answer from tables.

mod again;
mod denial;
mod expires;
mod filled_in;
mod hidden;
mod platforms;
mod shared_answers;
pub mod fakes;
mod tekton;
mod trial;
mod untried;
mod visibility;

use std::time::{Duration, Instant};

use fakes::{World, exists, index, missing, node, secret};
use jiff::Timestamp;
use pullgate::history::{Freshness, KnownTag, Success};
use pullgate::image::ImageReference;
use pullgate::policy::{Decision, PullgatePolicy};
use pullgate::pull::{Cause, Escape, NetworkFault, Outcome, Verdict};
use pullgate::review::{Review, ReviewRequest, review};
use pullgate::user::UserInfo;
use pullgate::workload::{Node, PodPlace, Rollout, TektonKind, pod_path};
use rstest::rstest;
use serde_json::json;

const NOW: &str = "2026-01-02T03:04:05Z";

pub const VOUCHED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
";

pub async fn run(world: &World, object: serde_json::Value, policy: &str) -> Review {
    run_for("ann", world, object, policy).await
}

pub async fn run_for(user: &str, world: &World, object: serde_json::Value, policy: &str) -> Review {
    run_as(world, object, policy, user, None).await
}

/// As somebody, of an object that is new or replaces its pods in this way.
pub async fn run_as(
    world: &World,
    object: serde_json::Value,
    policy: &str,
    username: &str,
    rollout: Option<Rollout>,
) -> Review {
    review_of(world, &object, None, policy, username, rollout).await
}

/// Of an object that was another one before, as far as it is pulled anew.
pub async fn run_update(
    world: &World,
    [old, new]: [&serde_json::Value; 2],
    policy: &str,
) -> Review {
    review_of(world, new, Some(old), policy, "ann", None).await
}

async fn review_of(
    world: &World,
    object: &serde_json::Value,
    old: Option<&serde_json::Value>,
    policy: &str,
    username: &str,
    rollout: Option<Rollout>,
) -> Review {
    let (group, kind) = match object["apiVersion"].as_str().unwrap().split_once('/') {
        Some((group, _)) => (group, object["kind"].as_str().unwrap()),
        None => ("", object["kind"].as_str().unwrap()),
    };
    let built_in = pod_path(group, kind).map(PodPlace::Template);
    let tekton = || TektonKind::ALL.into_iter().find(|known| known.as_str() == kind);
    let place = built_in.or_else(|| tekton().map(PodPlace::Tekton)).unwrap();
    let read = |object| place.read(&serde_json::value::to_raw_value(object).unwrap()).unwrap();
    let workload = match old {
        Some(old) => read(object).pulled_anew(&read(old)),
        None => read(object),
    };
    let policy = if policy.is_empty() {
        PullgatePolicy::default()
    } else {
        PullgatePolicy::parse(policy, "policy.yaml").unwrap()
    };
    let subject = ReviewRequest {
        workload: &workload,
        namespace: "shop",
        user: &UserInfo { username: username.into(), ..UserInfo::default() },
        policy: &policy,
        runtime: None,
        account_applied: workload.is_pod,
        patient: false,
        rollout,
        now: NOW.parse().unwrap(),
        deadline: Instant::now() + Duration::from_secs(2),
    };
    review(world.sources(), subject).await
}

pub fn pod(image: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "app", "image": image, "imagePullPolicy": "Always"}]}})
}

pub fn deployment(image: &str) -> serde_json::Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
}

fn line(review: &Review) -> String {
    review.finding(&review.images[0]).line()
}

#[tokio::test]
async fn what_works_is_silent() {
    let world = World::enforcing().answer("reg.example.com/app:1", "", exists());
    let review = run(&world, pod("reg.example.com/app:1"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Allow);
    assert_eq!(review.images[0].assessment.verdict, Verdict::Works);
}

#[tokio::test]
async fn a_confirmed_missing_tag_without_escapes_is_denied() {
    let world = World::enforcing().answer("reg.example.com/app:9", "", missing());
    let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Deny);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:9: tag not found in the registry — checked without credentials");
}

/// `app:9` on these runtimes, where CRI-O's list has a registry for it or not.
async fn short_name(runtimes: &[&str], listed: bool) -> (Verdict, Decision, Vec<String>) {
    let mut world = World::enforcing().answer("docker.io/library/app:9", "", missing()).answer(
        "quay.io/app:9",
        "",
        missing(),
    );
    if listed {
        world.short_names.insert("app".to_owned(), "quay.io/app".to_owned());
    }
    let on = |runtime: &&str| Node { runtime: (*runtime).into(), ..node("n", "linux/amd64") };
    world.nodes = Some(runtimes.iter().map(on).collect());
    let review = run(&world, pod("app:9"), VOUCHED).await;
    let mut asked: Vec<String> =
        world.asked.lock().unwrap().iter().map(|(image, ..)| image.clone()).collect();
    asked.retain(|image| image.ends_with(":9"));
    asked.dedup();
    (review.images[0].assessment.verdict, review.decision, asked)
}

#[rstest]
#[case::containerd(&["containerd://2.1.8"], true, Verdict::Fails, "docker.io/library/app:9")]
#[case::listed(&["cri-o://1.34.1"], true, Verdict::Fails, "quay.io/app:9")]
#[case::not_listed(&["cri-o://1.34.1"], false, Verdict::CannotTell, "docker.io/library/app:9")]
#[case::mixed(&["cri-o://1.34.1", "containerd://2.1.8"], true, Verdict::CannotTell, "docker.io/library/app:9")]
#[tokio::test]
async fn short_names_are_asked_for_as_the_nodes_complete_them(
    #[case] runtimes: &[&str],
    #[case] listed: bool,
    #[case] verdict: Verdict,
    #[case] asked: &str,
) {
    let found = short_name(runtimes, listed).await;
    let denied = if verdict == Verdict::Fails { Decision::Deny } else { Decision::Allow };
    assert_eq!(found, (verdict, denied, vec![asked.to_owned()]));
}

#[tokio::test]
async fn what_is_on_a_node_under_the_completed_name_is_there() {
    let mut world = World::enforcing().answer("quay.io/app:9", "", missing());
    world.short_names.insert("app".to_owned(), "quay.io/app".to_owned());
    let images = vec!["quay.io/app:9".into()];
    let runtime = "cri-o://1.34.1".into();
    world.nodes = Some(vec![Node { runtime, images: images.into(), ..node("n", "linux/amd64") }]);
    let mut object = pod("app:9");
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    let review = run(&world, object, VOUCHED).await;
    assert_ne!(review.decision, Decision::Deny);
}

#[tokio::test]
async fn nothing_is_denied_from_an_old_answer() {
    let mut world = World::enforcing().answer("reg.example.com/app:9", "", missing());
    world.age = Duration::from_secs(5);
    let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Deny);
    let asked = world.asked.lock().unwrap();
    let of_it = asked.iter().filter(|(image, ..)| image == "reg.example.com/app:9");
    assert_eq!(of_it.map(|(_, _, fresh)| *fresh).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn open_escapes_warn_and_are_named() {
    let world = World::enforcing().answer("reg.example.com/app:9", "", missing());
    let review = run(&world, pod("reg.example.com/app:9"), "").await;
    assert_eq!(review.decision, Decision::Warn);
    let open = [Escape::NodeMirror, Escape::NodeCredentials, Escape::NodeNetwork];
    assert_eq!(review.images[0].assessment.escapes, open);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:9: tag not found in the registry — checked without credentials; may still work if nodes have a mirror, their own credentials or another network");
}

#[tokio::test]
async fn nothing_is_denied_while_learning() {
    for freshness in [Freshness::Learning, Freshness::Stale] {
        let mut world = World::enforcing().answer("reg.example.com/app:9", "", missing());
        world.history.freshness = freshness;
        let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
        assert_eq!(review.decision, Decision::Warn, "{freshness:?}");
    }
}

#[tokio::test]
async fn a_recent_success_here_beats_a_failed_look_up() {
    let mut world = World::enforcing().answer("reg.example.com/app:9", "", missing());
    world.history.last_success = Some(Success {
        at: NOW.parse::<Timestamp>().unwrap() - Duration::from_secs(600),
        digest: None,
        pulled: true,
    });
    let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Warn);
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
}

#[tokio::test]
async fn registry_trouble_is_said_and_never_denied() {
    let mut world = World::enforcing().answer("reg.example.com/app:9", "", Outcome::Unauthorized);
    world.history.registry.in_trouble = true;
    let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Warn);
    assert!(line(&review).contains("registry problem"), "{}", line(&review));
}

#[tokio::test]
async fn what_cannot_be_told_is_let_through_silently() {
    let refused = Outcome::Network(NetworkFault::Refused);
    let world = World::enforcing().answer("reg.example.com/app:9", "", refused);
    let review = run(&world, pod("reg.example.com/app:9"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Allow);
    assert_eq!(review.images[0].assessment.cause, Some(Cause::ConnectionRefused));
}

#[tokio::test]
async fn a_workload_is_warned_and_told_the_tag_that_runs_here() {
    let mut world = World::enforcing().answer("reg.example.com/app:9", "", missing()).answer(
        "reg.example.com/app:8",
        "",
        exists(),
    );
    world.known_tags = ["reg.example.com/app:7", "reg.example.com/app:8"]
        .into_iter()
        .enumerate()
        .map(|(n, reference)| KnownTag {
            reference: ImageReference::parse(reference).unwrap(),
            pods: 3,
            in_namespace: true,
            last_started: Timestamp::from_second(i64::try_from(n).unwrap()).unwrap(),
            digest: None,
        })
        .collect();
    let review = run(&world, deployment("reg.example.com/app:9"), "").await;
    assert_eq!(review.decision, Decision::Warn);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:9: tag not found in the registry; use 8 (3 pods run it here) — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn tags_that_would_do_are_named_together() {
    let mut world = World::enforcing().answer("reg.example.com/app:1.4", "", missing());
    for tag in ["1.1", "1.2", "1.3"] {
        world = world.answer(&format!("reg.example.com/app:{tag}"), "", exists());
    }
    let tags = ["1.1", "1.2", "1.3"].map(Into::into).to_vec();
    world.listed.insert(("reg.example.com/app".to_owned(), String::new()), tags);
    let review = run(&world, deployment("reg.example.com/app:1.4"), "").await;
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:1.4: tag not found in the registry; use 1.3 (the nearest version) or 1.2 — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn the_secret_that_works_is_named_after_it_was_tried() {
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "regcred", exists())
        .secret(secret("other", "reg.example.com", "x"))
        .secret(secret("regcred", "reg.example.com", "ann"));
    world.secrets_in_use = vec!["gone".into(), "other".into(), "regcred".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:1: needs credentials and the pod has none; add pull secret regcred (tested) — checked without credentials; may still work if nodes have their own credentials");
}

#[tokio::test]
async fn every_credential_is_tried_in_order_until_one_works() {
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "second", exists())
        .secret(secret("first", "reg.example.com", "x"))
        .secret(secret("second", "reg.example.com", "y"));
    world.account.pull_secrets = vec!["first".into(), "second".into(), "missing".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::Works);
    let asked: Vec<String> =
        world.asked.lock().unwrap().iter().map(|(_, secret, _)| secret.clone()).collect();
    assert_eq!(asked, ["first", "second"]);
}

/// A Deployment is often applied before its account, which may bring the pull secrets.
#[tokio::test]
async fn a_workload_whose_account_does_not_exist_yet_is_not_called_failing() {
    let policy = format!("{VOUCHED}  enforceOn: [workloads]\n  cannotTell: warn\n");
    let mut world = World::enforcing();
    let review = run(&world, deployment("reg.example.com/app:1"), &policy).await;
    assert_eq!(review.decision, Decision::Deny, "with an account that names no secret");

    world.account_missing = true;
    let review = run(&world, deployment("reg.example.com/app:1"), &policy).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.decision, Decision::Warn);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:1: needs credentials (401) — it is not known which pull secrets the pods get: checked without credentials");
}

#[tokio::test]
async fn an_index_is_compared_with_the_nodes() {
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", index(&["linux/arm64"]));
    world.nodes = Some(vec![node("n1", "linux/amd64")]);
    let review = run(&world, pod("reg.example.com/app:1"), VOUCHED).await;
    assert_eq!(review.decision, Decision::Deny);
    assert_eq!(review.images[0].assessment.cause, Some(Cause::PlatformMismatch));

    world.nodes = Some(vec![node("n1", "linux/amd64"), node("n2", "linux/arm64")]);
    let review = run(&world, pod("reg.example.com/app:1"), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::Works);
    assert_eq!(review.decision, Decision::Warn);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:1: is not built for node n1, where its pods may land; built for linux/arm64: set nodeSelector kubernetes.io/arch: arm64 (1 node fits)");

    world.nodes = Some(Vec::new());
    let review = run(&world, pod("reg.example.com/app:1"), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
}

#[tokio::test]
async fn a_broken_secret_fails_without_any_request() {
    let broken = pullgate::credential::PullSecret::docker_config_json("bad", b"{");
    let mut world = World::enforcing().secret(broken);
    world.account.pull_secrets = vec!["bad".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(review.images[0].assessment.cause, Some(Cause::BrokenPullSecret));
    assert!(world.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_name_is_said_with_its_offending_part() {
    let world = World::enforcing();
    let review = run(&world, pod("reg.example.com/App:1"), "").await;
    assert_eq!(review.decision, Decision::Deny);
    insta::assert_snapshot!(line(&review), @r#"image reg.example.com/App:1: invalid name (uppercase letter in "App")"#);
}

/// `app:9` where the policy names a registry for short names: verdict, decision, who was asked.
async fn in_default_registry(outcome: Option<Outcome>) -> (Verdict, Decision, Vec<String>) {
    let mut world = World::enforcing().answer("docker.io/library/app:9", "", missing());
    if let Some(outcome) = outcome {
        world = world.answer("r.example.com/app:9", "", outcome);
    }
    world.nodes = Some(vec![node("n", "linux/amd64")]);
    let policy = format!("{VOUCHED}  registries: {{default: r.example.com}}\n");
    let review = run(&world, pod("app:9"), &policy).await;
    let asked = world.asked.lock().unwrap().iter().map(|(image, ..)| image.clone()).collect();
    (review.images[0].assessment.verdict, review.decision, asked)
}

#[rstest]
#[case::found(Some(exists()), Verdict::Works)]
#[case::missing(Some(missing()), Verdict::CannotTell)]
#[case::refused(None, Verdict::CannotTell)]
#[tokio::test]
async fn a_short_name_is_looked_up_in_the_policys_default_registry_and_never_denied(
    #[case] outcome: Option<Outcome>,
    #[case] verdict: Verdict,
) {
    let (found, decision, asked) = in_default_registry(outcome).await;
    assert_eq!((found, decision), (verdict, Decision::Allow));
    assert!(asked.iter().all(|image| image == "r.example.com/app:9"), "{asked:?}");
    assert!(!asked.is_empty());
}
