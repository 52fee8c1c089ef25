//! What a denial stands on: secrets and accounts read a moment ago, and refusals heard twice.

use std::time::Duration;

use jiff::Timestamp;
use pullgate::credential::Keyring;
use pullgate::image::ImageReference;
use pullgate::policy::{Decision, Reason};
use pullgate::pull::{Cause, ErrorCode, Outcome, Verdict};
use pullgate::review::ServiceAccountFacts;
use rstest::rstest;
use serde_json::{Value, json};

use super::fakes::{World, exists, missing, secret};
use super::{NOW, VOUCHED, deployment, line, pod, run};

const APP: &str = "reg.example.com/app:1";

fn with_secret(image: &str) -> Value {
    let mut object = pod(image);
    object["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    object
}

#[rstest]
#[case::refused(Outcome::Unauthorized)]
#[case::denied_or_missing(Outcome::MissingOrDenied)]
#[case::hidden(missing())]
#[tokio::test]
async fn a_secret_that_does_not_exist_yet_is_doubt_that_is_named(#[case] outcome: Outcome) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    world.hides = true;
    let review = run(&world, with_secret(APP), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.decision, Decision::Warn);
    let said = line(&review);
    assert!(said.contains("pull secret regcred not found in namespace shop (yet)"), "{said}");
}

#[rstest]
#[case(
    Outcome::PasswordMissing,
    "image reg.example.com/app:1: the password in secret regcred is empty; update it"
)]
#[case(
    Outcome::RedirectRefused,
    "the registry wants credentials on another domain, where Pullgate sends none"
)]
#[tokio::test]
async fn what_runtimes_differ_about_is_told_and_not_denied(
    #[case] outcome: Outcome,
    #[case] words: &str,
) {
    let world = World::enforcing().answer(APP, "regcred", outcome).secret(secret(
        "regcred",
        "reg.example.com",
        "ann",
    ));
    let told = VOUCHED.replace("spec:", "spec:\n  cannotTell: warn");
    let review = run(&world, with_secret(APP), &told).await;
    assert_eq!(review.decision, Decision::Warn);
    assert!(line(&review).contains(words), "{}", line(&review));
}

/// Other credentials, or a slow registry, may take longer than an answer is worth.
#[rstest]
#[case::at_once(0, Decision::Deny)]
#[case::too_long_ago(1100, Decision::Warn)]
#[tokio::test]
async fn nothing_is_denied_by_an_answer_that_is_old_when_it_is_decided(
    #[case] took: u64,
    #[case] decision: Decision,
    #[values(missing(), Outcome::Unauthorized)] outcome: Outcome,
) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    world.took = Duration::from_millis(took);
    let review = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(review.decision, decision);
    let reason = review.images[0].ruling.reason;
    assert_eq!(reason == Reason::RefusedOnce, decision == Decision::Warn, "{reason:?}");
}

#[tokio::test]
async fn nothing_is_said_of_a_missing_secret_that_is_not_needed() {
    let world = World::enforcing().answer(APP, "", exists());
    assert_eq!(run(&world, with_secret(APP), VOUCHED).await.decision, Decision::Allow);
}

#[tokio::test]
async fn a_secret_rotated_a_moment_ago_counts_before_a_denial() {
    let mut world = World::enforcing()
        .answer(APP, "regcred", Outcome::Unauthorized)
        .answer(APP, "rotated", exists())
        .secret(secret("regcred", "reg.example.com", "ann"));
    assert_eq!(run(&world, with_secret(APP), VOUCHED).await.decision, Decision::Deny);

    world.secrets_now.insert("regcred".into(), secret("rotated", "reg.example.com", "ann"));
    let review = run(&world, with_secret(APP), VOUCHED).await;
    assert_eq!(review.decision, Decision::Allow);
    assert!(review.secrets.missing.is_empty());
}

#[tokio::test]
async fn an_account_that_got_a_secret_a_moment_ago_counts_before_a_denial() {
    let policy = format!("{VOUCHED}  enforceOn: [workloads]\n");
    let mut world = World::enforcing().answer(APP, "regcred", exists()).secret(secret(
        "regcred",
        "reg.example.com",
        "ann",
    ));
    assert_eq!(run(&world, deployment(APP), &policy).await.decision, Decision::Deny);

    let pull_secrets = vec!["regcred".into()];
    world.account_now = Some(ServiceAccountFacts { pull_secrets, ..world.account.clone() });
    assert_eq!(run(&world, deployment(APP), &policy).await.decision, Decision::Allow);
}

#[rstest]
#[case::unauthorized(Outcome::Unauthorized)]
#[case::forbidden(Outcome::Forbidden)]
#[case::denied_or_missing(Outcome::MissingOrDenied)]
#[tokio::test]
async fn a_first_refusal_warns_and_is_repeated(#[case] outcome: Outcome) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    world.refused_for = Duration::ZERO;
    let review = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(review.decision, Decision::Warn);
    assert_eq!(review.images[0].ruling.reason, Reason::RefusedOnce);
    assert_eq!(*world.repeated.lock().unwrap(), [(APP.to_owned(), String::new())]);

    world.refused_for = Duration::from_secs(1);
    assert_eq!(run(&world, pod(APP), VOUCHED).await.decision, Decision::Deny);
    assert_eq!(world.repeated.lock().unwrap().len(), 1, "confirmed is confirmed");
}

/// Harbor's proxy caches answer `NOT_FOUND`, too, for what their upstream has while it is down.
#[rstest]
#[case::just_now(2, Decision::Warn)]
#[case::for_less_than_ten_minutes(599, Decision::Warn)]
#[case::for_ten_minutes(600, Decision::Deny)]
#[tokio::test]
async fn a_tag_that_a_proxy_cache_may_miss_is_denied_once_it_has_stood(
    #[case] seconds: u64,
    #[case] decision: Decision,
) {
    let harbor = Outcome::TagMissing { code: Some(ErrorCode::NotFound) };
    let mut world = World::enforcing().answer(APP, "", harbor);
    world.refused_for = Duration::from_secs(seconds);
    let review = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(review.decision, decision);
    let said = line(&review);
    assert!(said.contains("tag not found in the registry"), "{said}");
    let words = "not denied unless seen again after 10m: a proxy cache also answers this";
    assert_eq!(said.contains(words), decision == Decision::Warn, "{said}");
    assert!(world.repeated.lock().unwrap().is_empty(), "a second later it would be no surer");
}

#[rstest]
#[case::all_tried(9, Decision::Deny)]
#[case::one_left_untried(65, Decision::Warn)]
#[tokio::test]
async fn a_login_of_the_nodes_that_was_not_tried_is_a_way_left_open(
    #[case] logins: usize,
    #[case] decision: Decision,
) {
    let policy = VOUCHED.replace("credentials: none", "credentials: listed");
    let secrets: Vec<_> =
        (0..logins).map(|n| secret(&format!("n{n}"), "reg.example.com", &n.to_string())).collect();
    let keyring = Keyring::from_secrets(&secrets).unwrap();
    let mut world = World::enforcing();
    world.node_credentials.credentials = keyring.lookup(&ImageReference::parse(APP).unwrap());
    assert_eq!(world.node_credentials.credentials.len(), logins);
    let mut object = pod(APP);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    assert_eq!(run(&world, object, &policy).await.decision, decision);
}

/// With one login refused once and nothing behind the other: the refused one may yet be let in.
#[tokio::test]
async fn a_missing_tag_beside_a_first_refusal_only_warns() {
    let mut world = World::enforcing()
        .answer(APP, "first", Outcome::Unauthorized)
        .answer(APP, "second", missing())
        .secret(secret("first", "reg.example.com", "ann"))
        .secret(secret("second", "reg.example.com", "ben"));
    world.refused_for = Duration::ZERO;
    let mut object = pod(APP);
    object["spec"]["imagePullSecrets"] = json!([{"name": "first"}, {"name": "second"}]);
    let review = run(&world, object, VOUCHED).await;
    assert_eq!(review.images[0].assessment.cause, Some(Cause::TagNotFound));
    assert_eq!(review.decision, Decision::Warn);
    assert_eq!(*world.repeated.lock().unwrap(), [(APP.to_owned(), "first".to_owned())]);
}

#[rstest]
#[case::never_seen(None, missing(), Decision::Warn)]
#[case::a_minute_ago(Some(60), missing(), Decision::Warn)]
#[case::refused_a_minute_ago(Some(60), Outcome::Unauthorized, Decision::Warn)]
#[case::long_ago(Some(121), missing(), Decision::Deny)]
#[case::refused_long_ago(Some(121), Outcome::Forbidden, Decision::Deny)]
#[tokio::test]
async fn a_bare_pod_has_grace_from_when_its_name_was_first_seen(
    #[case] seconds: Option<u64>,
    #[case] outcome: Outcome,
    #[case] decision: Decision,
) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    let now: Timestamp = NOW.parse().unwrap();
    world.first_seen = seconds.map(|seconds| now - Duration::from_secs(seconds));
    assert_eq!(run(&world, pod(APP), VOUCHED).await.decision, decision);
}

/// A Deployment where workloads are enforced: what is decided, why, and whether it is told.
#[rstest]
#[case::nobody(Some(false), Decision::Deny, Reason::Denied, false)]
#[case::somebody(Some(true), Decision::Warn, Reason::Rewritten, true)]
#[case::nobody_knows(None, Decision::Warn, Reason::Rewritten, false)]
#[tokio::test]
async fn a_workload_whose_pods_others_rewrite_is_never_denied(
    #[case] rewritten: Option<bool>,
    #[case] decision: Decision,
    #[case] reason: Reason,
    #[case] told: bool,
) {
    let policy = format!("{VOUCHED}  enforceOn: [workloads, pods]\n");
    let mut world = World::enforcing().answer(APP, "", missing());
    world.rewritten = rewritten;
    let mut object = deployment(APP);
    object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let review = run(&world, object, &policy).await;
    assert_eq!((review.decision, review.images[0].ruling.reason), (decision, reason));
    assert_eq!(line(&review).contains("unless a mutating webhook here"), told, "{}", line(&review));
    assert_eq!(run(&world, pod(APP), &policy).await.decision, Decision::Deny);
}
