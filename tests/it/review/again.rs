//! Keeping score: what is remembered of a pod's verdicts, and the look-up that is repeated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pullgate::history::Recheck;
use pullgate::image::ImageReference;
use pullgate::policy::PullgatePolicy;
use pullgate::pull::{Cause, NetworkFault, Outcome};
use pullgate::review::{Endpoint, ProbeResult, Proof, Reviewer};
use rstest::rstest;
use serde_json::{Value, json};

use super::NOW;
use super::fakes::{self, Remembered, World, exists, missing, secret};

const APP: &str = "reg.example.com/app:1";

fn reviewer(world: World) -> (Arc<World>, Reviewer) {
    let world = Arc::new(world);
    let reviewer = fakes::reviewer(&world, PullgatePolicy::default());
    (world, reviewer)
}

async fn admit(world: World, change: impl Fn(&mut Value)) -> Vec<Remembered> {
    let (world, reviewer) = reviewer(world);
    let mut review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "r", "operation": "CREATE", "namespace": "shop",
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "userInfo": {"username": "ann"},
        "object": {"metadata": {"name": "p", "namespace": "shop", "uid": "pod-1"},
            "spec": {"imagePullSecrets": [{"name": "regcred"}],
                "containers": [{"name": "a", "image": APP, "imagePullPolicy": "Always"}]}}}});
    change(&mut review["request"]);
    let deadline = Instant::now() + Duration::from_secs(2);
    let body = review.to_string();
    reviewer
        .admit(
            Endpoint::Validate,
            Proof::Certain,
            body.as_bytes(),
            (NOW.parse().unwrap(), deadline),
        )
        .await
        .unwrap();
    let mut remembered = world.remembered.lock().unwrap();
    std::mem::take(&mut *remembered)
}

fn world(outcome: Outcome) -> World {
    World::enforcing().answer(APP, "regcred", outcome).secret(secret(
        "regcred",
        "reg.example.com",
        "ann",
    ))
}

#[tokio::test]
async fn a_new_pods_verdicts_are_remembered_with_its_secrets() {
    let remembered = admit(world(missing()), |_| ()).await;
    assert_eq!(remembered.len(), 1);
    let one = &remembered[0];
    assert_eq!((&*one.uid, one.denied, &*one.secrets), ("pod-1", false, &["regcred".into()][..]));
    assert_eq!(one.verdicts[0].credentials.len(), 1);
    assert_eq!(one.verdicts[0].verdict.as_str(), "fails");
}

/// What is put into a pod later is pulled as well.
#[tokio::test]
async fn so_are_those_of_a_changed_pod() {
    let remembered = admit(world(missing()), |request| {
        request["operation"] = json!("UPDATE");
        request["oldObject"] = request["object"].clone();
        request["oldObject"]["spec"]["containers"][0]["image"] = json!("reg.example.com/app:0");
    });
    let remembered = remembered.await;
    assert_eq!((remembered.len(), remembered[0].verdicts.len()), (1, 1));
    assert_eq!(remembered[0].verdicts[0].verdict.as_str(), "fails");
}

#[rstest]
#[case::dry_run(|request: &mut Value| request["dryRun"] = json!(true))]
#[case::workload(|request: &mut Value| {
    request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    request["object"] = json!({"metadata": {"name": "d", "uid": "d-1"},
        "spec": {"template": {"spec": request["object"]["spec"]}}});
})]
#[tokio::test]
async fn nothing_else_is(#[case] change: fn(&mut Value)) {
    assert!(admit(world(missing()), change).await.is_empty());
}

/// What a verdict about the image asked for with this login would have a node contradict.
async fn suspicion(login: &str) -> Recheck {
    let world = World::enforcing().answer(APP, "regcred", missing()).secret(secret(
        "regcred",
        "reg.example.com",
        login,
    ));
    let verdicts = admit(world, |_| ()).await.remove(0).verdicts;
    Recheck {
        namespace: "shop".into(),
        uid: "pod-1".into(),
        secrets: ["regcred".into()].into(),
        reference: ImageReference::parse(APP).unwrap(),
        credentials: verdicts[0].credentials.clone(),
        pulled: NOW.parse().unwrap(),
    }
}

#[rstest]
#[case::still_missing(missing(), "ann", Some(ProbeResult::Refused(Cause::TagNotFound)))]
#[case::still_forbidden(Outcome::Forbidden, "ann", Some(ProbeResult::Refused(Cause::Forbidden)))]
#[case::pushed_late(exists(), "ann", Some(ProbeResult::Pullable))]
#[case::unreachable(
    Outcome::Network(NetworkFault::Refused),
    "ann",
    Some(ProbeResult::Unclear(Cause::ConnectionRefused))
)]
#[case::missing_without_a_word(Outcome::TagMissing { code: None }, "ann", Some(ProbeResult::Unclear(Cause::TagNotFound)))]
#[case::another_login(missing(), "somebody else", None)]
#[tokio::test]
async fn a_look_up_after_the_pull_tells(
    #[case] outcome: Outcome,
    #[case] login: &str,
    #[case] expected: Option<ProbeResult>,
) {
    let recheck = suspicion("ann").await;
    let world = World::enforcing().answer(APP, "regcred", outcome).secret(secret(
        "regcred",
        "reg.example.com",
        login,
    ));
    let (world, reviewer) = reviewer(world);
    let deadline = Instant::now() + Duration::from_secs(2);
    let again = reviewer.recheck(&recheck, NOW.parse().unwrap(), deadline).await;
    assert_eq!(again, expected);
    assert!(world.asked.lock().unwrap().iter().all(|(_, _, fresh)| *fresh), "no old answer");
}

#[tokio::test]
async fn a_secret_that_is_gone_is_no_disagreement() {
    let recheck = suspicion("ann").await;
    let (_, reviewer) = reviewer(World::enforcing().answer(APP, "", missing()));
    let deadline = Instant::now() + Duration::from_secs(2);
    let again = reviewer.recheck(&recheck, NOW.parse().unwrap(), deadline).await;
    assert_eq!(again, None);
}
