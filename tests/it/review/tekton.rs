//! Reviews of Tekton's objects where everything is vouched for and workloads are enforced: what is
//! not certain is not denied.

use pullgate::policy::Decision;
use pullgate::pull::Verdict;
use rstest::rstest;
use serde_json::{Value, json};

use super::fakes::{World, exists, index, missing, node, secret};
use super::run;

const ENFORCED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  nodes: {mirrors: none, credentials: none, preloadedImages: none, network: same, platforms: [linux/amd64]}
  enforceOn: [pods, workloads]
  cannotTell: warn
";
const IMAGE: &str = "reg.example.com/app:9";

fn object(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "tekton.dev/v1", "kind": kind, "spec": spec,
           "metadata": {"name": "x", "namespace": "shop"}})
}

fn steps() -> Value {
    json!({"steps": [{"name": "s", "image": IMAGE}]})
}

#[rstest]
#[case::run("TaskRun", json!({"taskSpec": steps(), "serviceAccountName": "b"}), Verdict::Fails)]
#[case::run_of_a_file("TaskRun", json!({"taskSpec": steps()}), Verdict::CannotTell)]
#[case::task("Task", steps(), Verdict::CannotTell)]
#[case::pipeline("Pipeline", json!({"tasks": [{"taskSpec": steps()}]}), Verdict::CannotTell)]
#[case::pipeline_run(
    "PipelineRun",
    json!({"pipelineSpec": {"tasks": [{"taskSpec": steps()}]},
           "taskRunTemplate": {"serviceAccountName": "b"}}),
    Verdict::Fails
)]
#[tokio::test]
async fn a_missing_tag(#[case] kind: &str, #[case] spec: Value, #[case] verdict: Verdict) {
    let world = World::enforcing().answer(IMAGE, "", missing());
    let review = run(&world, object(kind, &spec), ENFORCED).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
    let decision = if verdict == Verdict::Fails { Decision::Deny } else { Decision::Warn };
    assert_eq!(review.decision, decision);
    assert_eq!(run(&world, object(kind, &spec), "").await.decision.min(Decision::Warn), {
        if verdict == Verdict::Fails { Decision::Warn } else { Decision::Allow }
    });
}

#[tokio::test]
async fn the_account_and_the_pod_template_bring_the_pull_secrets() {
    let mut world = World::enforcing()
        .answer(IMAGE, "", missing())
        .answer(IMAGE, "own", exists())
        .secret(secret("own", "reg.example.com", "u"));
    let run_with = |more: Value| {
        let mut spec = more;
        spec["taskSpec"] = steps();
        object("TaskRun", &spec)
    };
    let template = json!({"podTemplate": {"imagePullSecrets": [{"name": "own"}]}});
    let review = run(&world, run_with(template), ENFORCED).await;
    assert_eq!(review.decision, Decision::Allow);
    world.account.pull_secrets = vec!["own".into()];
    let account = json!({"serviceAccountName": "builder"});
    let review = run(&world, run_with(account), ENFORCED).await;
    assert_eq!(review.decision, Decision::Allow);
}

#[tokio::test]
async fn what_works_or_is_put_in_later_is_silent() {
    let mut world = World::enforcing().answer(IMAGE, "", index(&["linux/arm64"]));
    world.nodes = Some(vec![node("n", "linux/amd64")]);
    // Where a Task will run nobody knows: not a word of platforms.
    let review = run(&world, object("Task", &steps()), ENFORCED).await;
    assert_eq!((review.decision, review.images.len()), (Decision::Allow, 1));
    let later = json!({"steps": [{"image": "$(params.image)"}]});
    let review = run(&world, object("Task", &later), ENFORCED).await;
    assert_eq!((review.decision, review.images.len()), (Decision::Allow, 0));
    // A name that no runtime parses is one whoever runs it.
    let broken = json!({"steps": [{"image": "Not A Name"}]});
    let review = run(&world, object("Task", &broken), ENFORCED).await;
    assert_eq!(review.decision, Decision::Deny);
}
