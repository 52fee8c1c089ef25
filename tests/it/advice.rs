//! Advice, end to end over sources that answer from tables: what is said was tried.

mod mutation;
mod neighbours;
mod own_trouble;
mod properties;

use jiff::Timestamp;
use pullgate::advice::AdviceKind;
use pullgate::credential::PullSecret;
use pullgate::history::KnownTag;
use pullgate::image::{Digest, ImageReference};
use pullgate::message::DETAILS;
use pullgate::policy::Decision;
use pullgate::pull::{Cause, Doubt, NetworkFault, Outcome};
use pullgate::review::Review;
use rstest::rstest;
use serde_json::json;

use crate::review::fakes::{World, exists, exists_as, index, missing, node, secret};
use crate::review::{deployment, pod, run};

const APP: &str = "reg.example.com/app";

/// Warns of what cannot be told, too.
const TALKATIVE: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {cannotTell: warn}
";

pub fn known(image: &str, in_namespace: bool) -> KnownTag {
    KnownTag {
        reference: ImageReference::parse(image).unwrap(),
        pods: 2,
        in_namespace,
        last_started: Timestamp::UNIX_EPOCH,
        digest: None,
    }
}

fn tail(review: &Review) -> String {
    let line = review.finding(&review.images[0]).line();
    assert!(line.chars().count() <= 256, "{line}");
    let ends = ["; ", DETAILS].map(|mark| line.find(mark).map(|at| (at, at + mark.len())));
    let end = ends.into_iter().flatten().min();
    end.map_or(line.clone(), |(_, end)| line[end..].to_owned())
}

fn kinds(review: &Review) -> Vec<(AdviceKind, &str)> {
    review.images[0].advice.iter().map(|advice| (advice.kind, &*advice.value)).collect()
}

fn list(world: &mut World, secret: &str, tags: &[&str]) {
    let tags = tags.iter().map(|tag| (*tag).into()).collect();
    world.listed.insert((APP.to_owned(), secret.to_owned()), tags);
}

fn there(world: World, tags: &[&str]) -> World {
    tags.iter().fold(world, |world, tag| world.answer(&format!("{APP}:{tag}"), "", exists()))
}

fn gone(tag: &str) -> World {
    World::enforcing().answer(&format!("{APP}:{tag}"), "", missing())
}

#[tokio::test]
async fn a_spelling_is_tried_without_any_list() {
    let mut world = there(gone("1.2.3"), &["v1.2.3"]);
    world.hides = true;
    let review = run(&world, deployment("reg.example.com/app:1.2.3"), "").await;
    insta::assert_snapshot!(tail(&review), @"did you mean v1.2.3 (leading v)? — checked without credentials; or the registry hides it from these credentials");
}

#[tokio::test]
async fn near_tags_are_listed_with_the_pods_own_credential_and_tried() {
    let mut world = there(gone("1.25-apline"), &["1.25-alpine", "1.25"]);
    list(&mut world, "", &["1.24", "1.25", "1.25-alpine", "1.25-alpinee", "sha256-1.sig"]);
    let review = run(&world, deployment("reg.example.com/app:1.25-apline"), "").await;
    // `1.25-alpinee` is listed and does not exist.
    assert_eq!(
        kinds(&review),
        [(AdviceKind::NearestTag, "1.25-alpine"), (AdviceKind::NearestTag, "1.25")]
    );
    insta::assert_snapshot!(tail(&review), @"did you mean 1.25-alpine (differs in a letter or two)? — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn what_was_meant_comes_before_what_runs_here() {
    let mut world = there(gone("v2.0.1"), &["2.0.1", "2.0.0"]);
    list(&mut world, "", &["2.0.0", "2.0.1"]);
    world.known_tags = vec![known("reg.example.com/app:2.0.0", true)];
    let review = run(&world, deployment("reg.example.com/app:v2.0.1"), "").await;
    assert_eq!(
        kinds(&review),
        [(AdviceKind::NearestTag, "2.0.1"), (AdviceKind::KnownGoodTag, "2.0.0")]
    );
}

#[tokio::test]
async fn the_digest_that_ran_is_offered_while_it_can_be_pulled() {
    let digest = Digest::of_sha256(b"old");
    let mut world = gone("1").answer(&format!("{APP}@{digest}"), "", exists_as("old"));
    world.known_tags =
        vec![KnownTag { digest: Some(digest.clone()), ..known("reg.example.com/app:1", true) }];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [(AdviceKind::LastGoodDigest, digest.as_str())]);
    insta::assert_snapshot!(tail(&review), @"use @sha256:cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4 (ran here under this tag) — may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn what_only_the_nodes_may_read_is_not_listed() {
    use pullgate::credential::{Credential, CredentialOrigin};
    let node_login = Credential::new("node", "p", CredentialOrigin::NodePlugin("ecr".into()));
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "credential plugin ecr", missing())
        .answer("reg.example.com/app:2", "credential plugin ecr", exists());
    world.node_credentials.credentials = vec![node_login];
    list(&mut world, "credential plugin ecr", &["2"]);
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(review.images[0].assessment.cause, Some(Cause::TagNotFound));
    assert_eq!(kinds(&review), []);
    // What the asker may see in the cluster is proven with what the kubelet would use.
    world.known_tags = vec![known("reg.example.com/app:2", true)];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [(AdviceKind::KnownGoodTag, "2")]);
}

#[rstest]
#[case(json!({"auths": {"other.example.com": {"username": "u", "password": "p"}}}), "has no login for reg.example.com")]
#[case(json!({"auths": {"reg.example.com": {"username": "u", "password": "p"}}}), "update it")]
#[tokio::test]
async fn a_secret_of_no_use_is_named_with_its_fault(
    #[case] config: serde_json::Value,
    #[case] said: &str,
) {
    let secret = PullSecret::docker_config_json("regcred", config.to_string().as_bytes());
    let mut world = World::enforcing().secret(secret);
    world.account.pull_secrets = vec!["regcred".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert_eq!(review.images[0].assessment.cause, Some(Cause::Unauthorized));
    assert!(tail(&review).contains(said), "{}", tail(&review));
    let command = review.images[0].advice[0].command.as_deref().unwrap();
    assert!(command.contains("--docker-server='reg.example.com'"), "{command}");
}

#[rstest]
#[case("Opaque", ".dockerconfigjson", "not of a pull secret's type")]
#[case("kubernetes.io/dockerconfigjson", "other", "holds no login")]
#[tokio::test]
async fn a_secret_that_nodes_ignore_is_named(
    #[case] kind: &str,
    #[case] key: &str,
    #[case] said: &str,
) {
    let data = [(key.to_owned(), k8s_openapi::ByteString(b"{}".to_vec()))].into();
    let mut world = World::enforcing().secret(PullSecret::new("regcred", kind, &data));
    world.account.pull_secrets = vec!["regcred".into(), "gone".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    let words = review.finding(&review.images[0]).message();
    assert!(words.contains(said), "{words}");
    assert!(words.contains("pull secret gone not found in namespace shop (yet)"), "{words}");
}

#[tokio::test]
async fn a_login_that_worked_before_is_to_be_renewed() {
    let mut world = World::enforcing().secret(secret("regcred", "reg.example.com", "u"));
    world.account.pull_secrets = vec!["regcred".into()];
    world.known_tags = vec![known("reg.example.com/app:1", true)];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    insta::assert_snapshot!(tail(&review), @"this image was pulled here before: update it — may still work if nodes have a mirror, their own credentials, the image or another network");
}

#[tokio::test]
async fn an_account_that_keeps_to_its_own_secrets_is_told_apart() {
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "regcred", exists())
        .secret(secret("regcred", "reg.example.com", "u"));
    world.account.enforce_mountable_secrets = true;
    world.secrets_in_use = vec!["regcred".into()];
    let review = run(&world, deployment("reg.example.com/app:1"), "").await;
    assert!(
        tail(&review).contains("add pull secret regcred to ServiceAccount default (tested)"),
        "{}",
        tail(&review)
    );
}

#[tokio::test]
async fn who_may_not_see_the_namespace_learns_no_secret_and_no_tag() {
    let mut world =
        there(gone("1").answer("reg.example.com/other:1", "regcred", exists()), &["0.9"])
            .secret(secret("regcred", "reg.example.com", "u"));
    world.secrets_in_use = vec!["regcred".into()];
    world.known_tags = vec![known("reg.example.com/app:0.9", true)];
    world.may_list = false;
    for image in ["reg.example.com/app:1", "reg.example.com/other:1"] {
        let review = run(&world, deployment(image), "").await;
        assert_eq!(kinds(&review), [], "{image}");
    }
}

#[tokio::test]
async fn platforms_come_with_the_selector_that_would_do() {
    let mut world = World::enforcing().answer(
        "reg.example.com/app:1",
        "",
        index(&["linux/arm64", "linux/evil-word"]),
    );
    world.nodes = Some(vec![node("n1", "linux/amd64"), node("n2", "linux/arm64")]);
    let review = run(&world, pod("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [(AdviceKind::Platform, "kubernetes.io/arch=arm64")]);
    insta::assert_snapshot!(tail(&review), @"built for linux/arm64: set nodeSelector kubernetes.io/arch: arm64 (1 node fits)");

    world.nodes = Some(vec![node("n1", "linux/amd64")]);
    let review = run(&world, pod("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [(AdviceKind::Platform, "linux/arm64")]);
    let line = review.finding(&review.images[0]).line();
    assert!(line.contains(": built for linux/arm64 only, but its nodes are linux/amd64"), "{line}");
    assert_eq!(line.matches("arm64").count(), 1, "it is said once: {line}");
}

#[tokio::test]
async fn an_image_that_every_node_has_need_not_be_asked_for() {
    let refused = Outcome::Network(NetworkFault::Refused);
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", refused);
    let mut has_it = node("n1", "linux/amd64");
    has_it.images = ["reg.example.com/app:1".into()].into();
    world.nodes = Some(vec![has_it]);
    let review = run(&world, pod("reg.example.com/app:1"), TALKATIVE).await;
    insta::assert_snapshot!(tail(&review), @"the node has it already: imagePullPolicy IfNotPresent would do");
}

#[tokio::test]
async fn a_used_up_limit_is_met_with_another_name_or_a_login() {
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "", Outcome::Throttled { retry_after: None })
        .answer("mirror.example.com/app:1", "", exists());
    world.namesakes =
        vec![known("mirror.example.com/app:1", false), known("mirror.example.com/app:2", false)];
    let review = run(&world, pod("reg.example.com/app:1"), TALKATIVE).await;
    assert_eq!(
        kinds(&review),
        [
            (AdviceKind::OtherSource, "mirror.example.com/app:1"),
            (AdviceKind::Throttled, "authenticate"),
        ]
    );
    insta::assert_snapshot!(tail(&review), @"use mirror.example.com/app:1 (the same name and tag); log in with a pull secret, or pull through a mirror of your own — checked without credentials");
    world.only_own = true;
    let review = run(&world, pod("reg.example.com/app:1"), TALKATIVE).await;
    assert_eq!(kinds(&review), [(AdviceKind::Throttled, "authenticate")]);
}

#[tokio::test]
async fn a_missing_repository_is_looked_for_under_other_names() {
    let nameless =
        Outcome::RepositoryMissing { code: Some(pullgate::pull::ErrorCode::NameUnknown) };
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", nameless).answer(
        "reg.example.com/team/app:1",
        "",
        exists(),
    );
    world.namesakes = vec![known("reg.example.com/team/app:1", false)];
    let review = run(&world, pod("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [], "another team's");
    world.beside = vec![("team/web".into(), false)];
    let review = run(&world, pod("reg.example.com/app:1"), "").await;
    assert_eq!(kinds(&review), [], "of a namespace that is not the object's own");
    world.beside = vec![("team/web".into(), true)];
    let review = run(&world, pod("reg.example.com/app:1"), "").await;
    insta::assert_snapshot!(tail(&review), @"did you mean reg.example.com/team/app:1 (2 pods run it in this cluster)? — checked without credentials; may still work if nodes have a mirror, their own credentials or another network");
}

#[tokio::test]
async fn another_teams_repository_of_the_same_name_is_not_named() {
    let nameless =
        Outcome::RepositoryMissing { code: Some(pullgate::pull::ErrorCode::NameUnknown) };
    let mut world = ["team-b/app", "team-a/v2/app", "team-a/api"].iter().fold(
        World::enforcing().answer("reg.example.com/team-a/app:1", "", nameless),
        |world, there| world.answer(&format!("reg.example.com/{there}:1"), "", exists()),
    );
    // Here, and as the registry lists them to the pod.
    world.beside = vec![("team-b/app".into(), false)];
    world.catalogue = vec!["team-b/app".into(), "team-a/v2/app".into()];
    world.namesakes = vec![known("reg.example.com/team-b/app:1", false)];
    let review = run(&world, pod("reg.example.com/team-a/app:1"), TALKATIVE).await;
    assert_eq!(kinds(&review), []);
    world.catalogue.push("team-a/api".into());
    let review = run(&world, pod("reg.example.com/team-a/app:1"), TALKATIVE).await;
    let beside = (AdviceKind::NearestRepository, "reg.example.com/team-a/api:1");
    assert_eq!(kinds(&review), [beside], "spelt nearly so, in the team's own path");
    world.beside.push(("team-a/v2/app".into(), false));
    let review = run(&world, pod("reg.example.com/team-a/app:1"), TALKATIVE).await;
    let below = (AdviceKind::NearestRepository, "reg.example.com/team-a/v2/app:1");
    assert_eq!(kinds(&review), [below], "the user sees it, and it is the team's");
    world.may_list = false;
    world.catalogue.pop();
    let review = run(&world, pod("reg.example.com/team-a/app:1"), TALKATIVE).await;
    assert_eq!(kinds(&review), [], "whoever may not see it");
}

#[tokio::test]
async fn a_bad_name_is_corrected_if_that_can_be_pulled() {
    let world = World::enforcing().answer("reg.example.com/app:1", "", exists());
    let review = run(&world, pod("https://reg.example.com/App:1"), "").await;
    assert_eq!(review.decision, Decision::Deny);
    assert_eq!(kinds(&review), [(AdviceKind::CorrectName, "reg.example.com/app:1")]);
    let review = run(&world, pod("reg.example.com/Other:1"), "").await;
    assert_eq!(kinds(&review), []);
}

#[tokio::test]
async fn never_is_told_that_it_could_be_pulled() {
    let mut world = World::enforcing().answer("reg.example.com/app:1", "", exists());
    let mut object = pod("reg.example.com/app:1");
    object["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    for nodes in [None, Some(vec![node("n", "linux/amd64")])] {
        world.nodes = nodes;
        let review = run(&world, object.clone(), "").await;
        assert_eq!(kinds(&review), [(AdviceKind::PullPolicy, "IfNotPresent")]);
    }
}

#[tokio::test]
async fn other_peoples_pods_are_not_spoken_of() {
    let mut world = gone("1");
    world.history.last_success = Some(pullgate::history::Success {
        at: "2026-01-02T03:04:00Z".parse().unwrap(),
        digest: None,
        pulled: true,
    });
    let review = run(&world, pod("reg.example.com/app:1"), TALKATIVE).await;
    assert_eq!(review.images[0].assessment.doubt, Some(Doubt::RecentSuccess));
    assert!(!tail(&review).contains("recently"), "{}", tail(&review));
    world.known_tags = vec![known("reg.example.com/app:1", true)];
    let review = run(&world, pod("reg.example.com/app:1"), TALKATIVE).await;
    assert!(tail(&review).contains("pulled here recently"), "{}", tail(&review));
}

#[tokio::test]
async fn the_advice_applied_literally_works() {
    let mut world = there(gone("1.2.3"), &["v1.2.3"])
        .answer("reg.example.com/private:1", "regcred", exists())
        .secret(secret("regcred", "reg.example.com", "u"));
    world.secrets_in_use = vec!["regcred".into()];
    world.hides = true;
    let between = |line: &str, before: &str| {
        let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("{line}"));
        rest.split([' ', ';']).next().unwrap().to_owned()
    };
    let review = run(&world, deployment("reg.example.com/app:1.2.3"), "").await;
    let tag = between(&tail(&review), "did you mean ");
    let review = run(&world, deployment(&format!("{APP}:{tag}")), "").await;
    assert_eq!(review.decision, Decision::Allow);

    let mut object = deployment("reg.example.com/private:1");
    let review = run(&world, object.clone(), "").await;
    let name = between(&tail(&review), "secret ");
    object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": name}]);
    assert_eq!(run(&world, object, "").await.decision, Decision::Allow);
}
