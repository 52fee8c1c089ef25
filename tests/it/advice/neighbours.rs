//! What stands beside an image: its registry's Service, the job that pushes it, the pods that run,
//! what its tag means. Told within the asker's rights, and never where nothing is wrong.

use pullgate::advice::AdviceKind;
use pullgate::builds::{BuildJob, BuildKind, BuildState};
use pullgate::history::{PodTrouble, RegistryService, ServiceState};
use pullgate::image::Digest;
use pullgate::policy::{Decision, Reason};
use pullgate::pull::{NetworkFault, Outcome, Verdict};
use pullgate::workload::Rollout;
use rstest::rstest;
use serde_json::json;

use super::{gone, kinds, known, tail, there};
use crate::review::fakes::{World, exists, exists_as};
use crate::review::{deployment, pod, run, run_as};

const REGISTRY: &str = "registry.infra.svc:5000/app:1";
const VOUCHED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}}
";
const NOTED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {advice: {mutableTags: true}}
";
/// What the API server knows controllers as.
const CONTROLLER: &str = "system:serviceaccount:kube-system:replicaset-controller";

fn down(namespace: &str, state: ServiceState) -> World {
    let refused = Outcome::Network(NetworkFault::Refused);
    let mut world = World::enforcing().answer(REGISTRY, "", refused);
    world.service =
        Some(RegistryService { namespace: namespace.into(), name: "registry".into(), state });
    world
}

fn build(namespace: &str, state: BuildState) -> BuildJob {
    let (kind, pushes) = (BuildKind::Job, true);
    BuildJob {
        kind,
        namespace: namespace.into(),
        name: "build-app".into(),
        pushes,
        state,
        rerun_as: None,
    }
}

#[tokio::test]
async fn a_registry_without_ready_endpoints_is_told_although_nothing_can_be_told_of_the_image() {
    let trouble = Some(PodTrouble::Crashing);
    let world = down("infra", ServiceState::NotReady { pods: 2, trouble });
    let review = run(&world, deployment(REGISTRY), "").await;
    assert_eq!(review.decision, Decision::Warn);
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.images[0].ruling.reason, Reason::CannotTell);
    insta::assert_snapshot!(tail(&review), @"registry Service infra/registry has no ready endpoints (0 of 2): its pod keeps crashing");
    assert_eq!(kinds(&review), [(AdviceKind::RegistryService, "infra/registry")]);
}

#[rstest]
#[case(ServiceState::NoPods, "has no ready endpoints: no pod is behind it")]
#[case(ServiceState::Missing, "there is no Service infra/registry")]
#[tokio::test]
async fn what_is_wrong_with_the_service_is_said(#[case] state: ServiceState, #[case] said: &str) {
    let review = run(&down("infra", state), deployment(REGISTRY), "").await;
    assert!(tail(&review).contains(said), "{}", tail(&review));
}

#[tokio::test]
async fn a_service_with_ready_endpoints_changes_nothing() {
    let review = run(&down("infra", ServiceState::Ready(1)), deployment(REGISTRY), "").await;
    assert_eq!((review.decision, kinds(&review).len()), (Decision::Allow, 0));
}

#[tokio::test]
async fn an_image_that_works_is_not_asked_about() {
    let world = World {
        service: down("infra", ServiceState::NoPods).service,
        ..World::enforcing().answer(REGISTRY, "", exists())
    };
    let review = run(&world, deployment(REGISTRY), "").await;
    assert_eq!((review.decision, kinds(&review).len()), (Decision::Allow, 0));
}

#[rstest]
#[case("ann", false, "infra", true)]
#[case("ann", true, "infra", false)]
#[case("ann", true, "shop", true)]
#[case(CONTROLLER, false, "infra", false)]
#[case(CONTROLLER, false, "shop", true)]
#[tokio::test]
async fn neighbours_are_told_of_within_the_askers_rights(
    #[case] user: &str,
    #[case] only_own: bool,
    #[case] namespace: &str,
    #[case] told: bool,
) {
    let mut world = down(namespace, ServiceState::NoPods);
    world.only_own = only_own;
    let review = run_as(&world, deployment(REGISTRY), "", user, None).await;
    assert_eq!(!kinds(&review).is_empty(), told);
    assert_eq!(review.decision == Decision::Warn, told);

    let mut world = gone("9");
    world.only_own = only_own;
    world.builds = vec![build(namespace, BuildState::NeverRun { suspended: false })];
    let review = run_as(&world, deployment("reg.example.com/app:9"), "", user, None).await;
    assert_eq!(!kinds(&review).is_empty(), told);
    let words = review.finding(&review.images[0]).message();
    assert_eq!(words.contains("build-app"), told, "{words}");
}

#[rstest]
#[case(BuildState::Failed { at: "2026-01-02T02:52:05Z".parse().ok(), too_long: false }, Some(PodTrouble::OutOfMemory), "failed 12 min ago: its pod ran out of memory")]
#[case(BuildState::Failed { at: None, too_long: true }, None, "failed: it took too long")]
#[case(BuildState::Running { since: "2026-01-02T03:01:05Z".parse().ok(), failed: 0 }, None, "is running, started 3 min ago: wait for it")]
#[case(BuildState::Running { since: None, failed: 2 }, None, "is running after 2 failed attempts")]
#[case(BuildState::Running { since: None, failed: 0 }, Some(PodTrouble::Unschedulable), "is running, but its pod cannot be scheduled")]
#[case(BuildState::NeverRun { suspended: true }, None, "has never run: it is suspended")]
#[tokio::test]
async fn the_job_that_was_to_push_the_image_comes_first(
    #[case] state: BuildState,
    #[case] trouble: Option<PodTrouble>,
    #[case] how: &str,
) {
    let mut world = there(gone("9"), &["8"]);
    world.known_tags = vec![known("reg.example.com/app:8", true)];
    world.builds = vec![build("ci", state)];
    world.trouble = trouble;
    let review = run(&world, deployment("reg.example.com/app:9"), "").await;
    let expected = format!("build job ci/build-app that pushes it {how} — ");
    assert!(tail(&review).starts_with(&expected), "{}", tail(&review));
    assert_eq!(kinds(&review)[1], (AdviceKind::KnownGoodTag, "8"));
}

#[tokio::test]
async fn a_job_that_is_not_what_is_wrong_comes_behind() {
    let mut world = there(gone("9"), &["8"]);
    world.known_tags = vec![known("reg.example.com/app:8", true)];
    world.builds = vec![build("ci", BuildState::Completed { at: None })];
    let review = run(&world, deployment("reg.example.com/app:9"), "").await;
    let told: Vec<_> = kinds(&review).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(told, [AdviceKind::KnownGoodTag, AdviceKind::BuildJob]);
    insta::assert_snapshot!(tail(&review), @"use 8 (2 pods run it here) — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn an_image_of_the_cluster_never_makes_a_denial() {
    let mut world = down("shop", ServiceState::NoPods);
    world.builds = vec![build("shop", BuildState::NeverRun { suspended: true })];
    let review = run(&world, pod(REGISTRY), VOUCHED).await;
    assert_eq!(review.decision, Decision::Warn);
}

#[rstest]
#[case(Some(Rollout::Stops(0)), 3, "3 pods of the previous revision run and go on running")]
#[case(Some(Rollout::Stops(1)), 4, "3 of 4 pods of the previous revision go on running")]
#[case(Some(Rollout::StopsAll), 4, "its strategy Recreate stops the 4 running pods first")]
#[case(Some(Rollout::KeepsAll), 1, "1 pod of the previous revision runs and goes on running")]
#[case(Some(Rollout::KeepsAll), 0, "")]
#[case(None, 3, "")]
#[tokio::test]
async fn what_goes_on_running_is_said_of_what_is_changed(
    #[case] rollout: Option<Rollout>,
    #[case] running: u32,
    #[case] said: &str,
) {
    let mut world = gone("9");
    world.running = running;
    let object = || deployment("reg.example.com/app:9");
    let review = run_as(&world, object(), "", "ann", rollout).await;
    let told = kinds(&review).iter().any(|(kind, _)| *kind == AdviceKind::KeepsRunning);
    assert_eq!(told, !said.is_empty());
    assert!(tail(&review).contains(said), "{}", tail(&review));
    world.may_list = false;
    assert!(kinds(&run_as(&world, object(), "", "ann", rollout).await).is_empty());
}

#[tokio::test]
async fn tags_that_move_are_noted_where_the_policy_wants_it() {
    let world = World::enforcing().answer("reg.example.com/app:latest", "", exists_as("new"));
    let mut object = deployment("reg.example.com/app");
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    let review = run(&world, object.clone(), "").await;
    assert!(!review.images[0].is_noted(), "it is opt-in");
    let review = run(&world, object.clone(), NOTED).await;
    assert_eq!(review.decision, Decision::Allow);
    assert!(review.images[0].is_noted());
    insta::assert_snapshot!(review.finding(&review.images[0]).line(), @"image reg.example.com/app: can be pulled, but its tag may mean another image tomorrow; with IfNotPresent nodes keep older images: pin @sha256:11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437");
    let review = run(&world, deployment("reg.example.com/app"), NOTED).await;
    assert!(!review.images[0].is_noted(), "Always asks each time");
    object["metadata"]["ownerReferences"] =
        json!([{"kind": "X", "name": "x", "uid": "u", "controller": true}]);
    let review = run(&world, object, NOTED).await;
    assert!(!review.images[0].is_noted(), "the person is at the owner");
}

#[tokio::test]
async fn a_tag_that_is_several_images_is_noted_to_those_who_may_see_all() {
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", exists_as("new"));
    world.history.contents = 2;
    let review = run(&world, deployment("reg.example.com/app:1"), NOTED).await;
    let digest = Digest::of_sha256(b"new");
    assert_eq!(kinds(&review), [(AdviceKind::MutableTag, digest.as_str())]);
    let line = review.finding(&review.images[0]).line();
    assert!(line.contains("pods here have 2 images as 1: pin @sha256:"), "{line}");
    // The pinned one is not noted.
    let pinned = format!("reg.example.com/app@{digest}");
    let world = World {
        history: world.history.clone(),
        ..World::enforcing().answer(&pinned, "", exists_as("new"))
    };
    assert!(!run(&world, deployment(&pinned), NOTED).await.images[0].is_noted());
    world_of_one_namespace(world.history.clone()).await;
}

async fn world_of_one_namespace(history: pullgate::history::History) {
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", exists_as("new"));
    world.history = history;
    world.only_own = true;
    assert!(!run(&world, deployment("reg.example.com/app:1"), NOTED).await.images[0].is_noted());
}
