//! Credentials that nobody tried: the nodes' own, and those of accounts and secrets that were not
//! to be seen. What a registry answers to others proves little about them.

use std::time::{Duration, Instant};

use pullgate::credential::{AuthFile, Credential, CredentialOrigin};
use pullgate::image::ImageReference;
use pullgate::node_config::{FilesOf, MirrorFiles};
use pullgate::policy::{Decision, PullgatePolicy};
use pullgate::pull::{Cause, Escape, NodeLogin, Outcome, Verdict};
use pullgate::review::is_refused_to_anybody;
use pullgate::workload::Node;
use rstest::rstest;
use serde_json::json;

use super::fakes::{World, exists, missing, node, secret};
use super::{VOUCHED, line, pod, run};

const APP: &str = "reg.example.com/app:1";
const CRI_O: &str = "cri-o://1.36.3";
const CONTAINERD: &str = "containerd://2.1.8";
const LISTED: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec:
  nodes: {mirrors: none, credentials: listed, preloadedImages: none, network: same, platforms: [linux/amd64]}
";

#[rstest]
#[case::unauthorized(Outcome::Unauthorized)]
#[case::forbidden(Outcome::Forbidden)]
#[case::denied_or_missing(Outcome::MissingOrDenied)]
#[tokio::test]
async fn an_anonymous_refusal_tells_nothing_where_nodes_may_log_in(#[case] outcome: Outcome) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    let review = run(&world, pod(APP), "").await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.decision, Decision::Warn);
    assert!(
        line(&review).contains("may still work if nodes have their own credentials"),
        "{}",
        line(&review)
    );

    world.history.registry.node_login = NodeLogin::Proven;
    let known = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(known.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(known.decision, Decision::Allow, "silent where nodes are known to log in");
}

#[tokio::test]
async fn a_login_that_is_refused_is_no_matter_of_the_nodes() {
    let world = World::enforcing().answer(APP, "regcred", Outcome::Unauthorized).secret(secret(
        "regcred",
        "reg.example.com",
        "ann",
    ));
    let mut object = pod(APP);
    object["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    let review = run(&world, object, "").await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::Fails);
    assert!(review.images[0].assessment.escapes.contains(&Escape::NodeCredentials));
}

/// CRI-O logs in with the nodes' file where the kubelet sends it no user name. It knows keys that the
/// kubelet does not, and programs that hold the login.
#[rstest]
#[case::the_kubelet_does_not_know_the_key(
    "https://reg.example.com/any/path",
    "",
    CRI_O,
    Verdict::Works
)]
#[case::not_for_containerd("https://reg.example.com/any/path", "", CONTAINERD, Verdict::Fails)]
#[case::nobodys("https://other.example.com/any/path", "", CRI_O, Verdict::Fails)]
#[case::a_secret_without_a_user("reg.example.com", "nobody", CRI_O, Verdict::Works)]
#[case::a_secret_with_a_user("reg.example.com", "ann", CRI_O, Verdict::Fails)]
#[tokio::test]
async fn the_login_of_cri_o_counts_for_the_registry_itself(
    #[case] key: &str,
    #[case] user: &str,
    #[case] runtime: &str,
    #[case] verdict: Verdict,
) {
    let mut world = World::enforcing()
        .answer(APP, "node docker config f", exists())
        .secret(secret("nobody", "reg.example.com", ""))
        .secret(secret("ann", "reg.example.com", "ann"));
    world.nodes = Some(vec![Node { runtime: runtime.into(), ..node("n", "linux/amd64") }]);
    let file = json!({"auths": {key: {"auth": "dTpw"}}});
    let origin = CredentialOrigin::NodeConfig("f".into());
    world.auth_file = AuthFile::parse(file.to_string().as_bytes(), origin);
    let mut object = pod(APP);
    if !user.is_empty() {
        object["spec"]["imagePullSecrets"] = json!([{"name": user}]);
    }
    let review = run(&world, object, LISTED).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
}

/// CRI-O asks as nobody only where its file has no login: with one that is refused its nodes fail on what
/// anybody may have.
#[rstest]
#[case::refused(CRI_O, Outcome::Unauthorized, &[], Verdict::CannotTell)]
#[case::a_secret_without_a_user(CRI_O, Outcome::Unauthorized, &["nobody"], Verdict::CannotTell)]
#[case::not_known(CRI_O, Outcome::TooLate, &[], Verdict::CannotTell)]
#[case::a_secret_after_that(CRI_O, Outcome::Unauthorized, &["nobody", "ann"], Verdict::Works)]
#[case::let_in(CRI_O, exists(), &[], Verdict::Works)]
#[case::not_for_containerd(CONTAINERD, Outcome::Unauthorized, &[], Verdict::Works)]
#[tokio::test]
async fn a_refused_login_of_cri_o_spoils_what_anybody_may_have(
    #[case] runtime: &str,
    #[case] outcome: Outcome,
    #[case] secrets: &[&str],
    #[case] verdict: Verdict,
) {
    let named = secrets.contains(&"ann");
    let unnamed = if named { Outcome::Unauthorized } else { exists() };
    let mut world = World::enforcing()
        .answer(APP, "node docker config f", outcome)
        .answer(APP, "nobody", unnamed)
        .answer(APP, "ann", exists())
        .answer(APP, "", exists())
        .secret(secret("nobody", "reg.example.com", ""))
        .secret(secret("ann", "reg.example.com", "ann"));
    world.nodes = Some(vec![Node { runtime: runtime.into(), ..node("n", "linux/amd64") }]);
    let file = json!({"auths": {"reg.example.com": {"auth": "dTpw"}}});
    let origin = CredentialOrigin::NodeConfig("f".into());
    world.auth_file = AuthFile::parse(file.to_string().as_bytes(), origin);
    let mut object = pod(APP);
    let names: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    object["spec"]["imagePullSecrets"] = json!(names);
    let review = run(&world, object, LISTED).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
    assert_ne!(review.decision, Decision::Deny);
}

#[rstest]
#[case::helped(json!({"credHelpers": {"reg.example.com": "ecr-login"}}), false, Decision::Warn)]
#[case::token(json!({"auths": {"reg.example.com": {"auth": "dTpw", "identitytoken": "t"}}}), false, Decision::Warn)]
#[case::helped_for_all(json!({}), true, Decision::Warn)]
#[case::none(json!({}), false, Decision::Deny)]
#[tokio::test]
async fn a_login_of_cri_o_that_a_program_holds_is_a_doubt(
    #[case] file: serde_json::Value,
    #[case] credential_helpers: bool,
    #[case] decision: Decision,
) {
    let mut world = World::enforcing().answer(APP, "", Outcome::Unauthorized);
    world.nodes = Some(vec![Node { runtime: CRI_O.into(), ..node("n", "linux/amd64") }]);
    world.auth_file =
        AuthFile::parse(file.to_string().as_bytes(), CredentialOrigin::NodeConfig("f".into()));
    let of = FilesOf::CriO;
    world.mirror_files =
        Some(MirrorFiles { of, routes: false, credential_helpers, since_2_2: false });
    assert_eq!(run(&world, pod(APP), LISTED).await.decision, decision);
}

/// The plugin runs here under another identity than on a node: what is refused to the one the other may
/// have.
#[rstest]
#[case::refused(Outcome::Forbidden, &[], Decision::Warn)]
#[case::hidden(missing(), &[], Decision::Warn)]
#[case::missing_where_it_may_look(missing(), &["2"], Decision::Deny)]
#[tokio::test]
async fn what_is_refused_to_a_plugin_a_node_may_have(
    #[case] outcome: Outcome,
    #[case] tags: &[&str],
    #[case] decision: Decision,
) {
    let plugin = "credential plugin ecr";
    let mut world = World::enforcing().answer(APP, plugin, outcome);
    world.node_credentials.credentials =
        vec![Credential::new("node", "p", CredentialOrigin::NodePlugin("ecr".into()))];
    world.hides = true;
    if !tags.is_empty() {
        let key = ("reg.example.com/app".to_owned(), plugin.to_owned());
        world.listed.insert(key, tags.iter().map(|tag| (*tag).into()).collect());
    }
    let mut object = pod(APP);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    assert_eq!(run(&world, object, LISTED).await.decision, decision);
}

/// ECR fetches for a node's identity what it does not fetch for Pullgate's.
#[rstest]
#[case::pulled_through("docker-hub/library/nginx", Decision::Warn)]
#[case::pushed("team/nginx", Decision::Deny)]
#[tokio::test]
async fn what_ecr_lacks_it_may_fetch_for_a_node(
    #[case] repository: &str,
    #[case] decision: Decision,
) {
    let name = format!("123456789012.dkr.ecr.eu-west-1.amazonaws.com/{repository}");
    let (image, plugin) = (format!("{name}:1.27"), "credential plugin ecr");
    let mut world = World::enforcing().answer(&image, plugin, missing());
    world.node_credentials.credentials =
        vec![Credential::new("node", "p", CredentialOrigin::NodePlugin("ecr".into()))];
    world.listed.insert((name, plugin.to_owned()), vec!["1.26".into()]);
    let mut object = pod(&image);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    assert_eq!(run(&world, object, LISTED).await.decision, decision);
}

#[rstest]
#[case::hidden("reg.example.com/app:1", true, "", Verdict::CannotTell)]
#[case::listed("reg.example.com/app:1", false, "", Verdict::Fails)]
#[case::never_hides("docker.io/library/nginx:1.99", true, "", Verdict::Fails)]
#[case::never_hides_below("europe-docker.pkg.dev/p/r/app:1", true, "", Verdict::Fails)]
#[case::sounds_like_it("notgcr.io/app:1", true, "", Verdict::CannotTell)]
#[case::all_credentials_tried("reg.example.com/app:1", true, VOUCHED, Verdict::Fails)]
#[tokio::test]
async fn a_404_proves_a_missing_tag_only_in_a_repository_that_is_seen(
    #[case] image: &str,
    #[case] hides: bool,
    #[case] policy: &str,
    #[case] verdict: Verdict,
) {
    let mut world = World::enforcing().answer(image, "", missing());
    world.hides = hides;
    let review = run(&world, pod(image), policy).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
    assert!(review.decision >= Decision::Warn, "it is said all the same");
}

/// A mirror in the place of a registry that hides nothing hides what its own software hides, and lists
/// no tag of what one may not see.
#[rstest]
#[case::of_the_registry(None, true, Verdict::Fails)]
#[case::of_a_mirror(Some("artifactory.corp"), true, Verdict::CannotTell)]
#[case::of_a_mirror_that_lists_it(Some("artifactory.corp"), false, Verdict::Fails)]
#[tokio::test]
async fn a_mirrors_404_is_not_that_of_the_registry_that_it_stands_for(
    #[case] mirror: Option<&'static str>,
    #[case] hides: bool,
    #[case] verdict: Verdict,
) {
    let image = "docker.io/library/nginx:1.99";
    let mut world = World::enforcing().answer(image, "", missing());
    (world.hides, world.mirror) = (hides, mirror);
    let mut object = pod(image);
    object["spec"]["imagePullSecrets"] = json!([{"name": "to-come"}]);
    let review = run(&world, object.clone(), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
    world.listed.insert(("docker.io/library/nginx".into(), String::new()), Vec::new());
    let review = run(&world, object, VOUCHED).await;
    let empty = if mirror.is_some() { Verdict::CannotTell } else { Verdict::Fails };
    assert_eq!(review.images[0].assessment.verdict, empty, "an empty list shows nothing");
}

/// Credentials that could not be read leave a hidden image open, and not one that is not there.
#[rstest]
#[case::hidden(true, Verdict::CannotTell)]
#[case::listed(false, Verdict::Fails)]
#[tokio::test]
async fn a_secret_to_come_brings_no_tag_into_a_repository_that_is_seen(
    #[case] hides: bool,
    #[case] verdict: Verdict,
) {
    let mut world = World::enforcing().answer(APP, "", missing());
    world.hides = hides;
    let mut object = pod(APP);
    object["spec"]["imagePullSecrets"] = json!([{"name": "to-come"}]);
    let review = run(&world, object, VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, verdict);
    let world = World::enforcing().answer(APP, "", exists());
    assert_eq!(run(&world, pod(APP), "").await.decision, Decision::Allow);
}

/// Nodes ask from addresses of their own: a registry's firewall says nothing about them.
#[tokio::test]
async fn a_refusal_of_the_address_asked_from_denies_nothing() {
    let world = World::enforcing().answer(APP, "regcred", Outcome::AddressRefused).secret(secret(
        "regcred",
        "reg.example.com",
        "ann",
    ));
    let mut object = pod(APP);
    object["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    let review = run(&world, object, VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.images[0].assessment.cause, Some(Cause::NetworkRestricted));
    assert!(review.decision < Decision::Deny);
}

fn pod_if_absent(image: &str) -> serde_json::Value {
    let mut object = pod(image);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    object
}

/// The kubelet lists the fifty largest images, or as many as it is set to: what a full list does
/// not name may be there. It lists none until its runtime has answered.
#[rstest]
#[case::full(50, "", Decision::Warn)]
#[case::whole(49, "", Decision::Deny)]
#[case::set_lower(20, ", nodeStatusMaxImages: 20", Decision::Warn)]
#[case::set_higher(50, ", nodeStatusMaxImages: 100", Decision::Deny)]
#[case::without_a_limit(500, ", nodeStatusMaxImages: -1", Decision::Deny)]
#[case::not_looked_yet(0, "", Decision::Warn)]
#[case::told_to_list_none(0, ", nodeStatusMaxImages: 0", Decision::Warn)]
#[tokio::test]
async fn a_full_list_of_images_proves_nothing_about_what_it_leaves_out(
    #[case] listed_images: usize,
    #[case] limit: &str,
    #[case] decision: Decision,
) {
    let mut world = World::enforcing().answer(APP, "", missing());
    world.nodes = Some(vec![Node { listed_images, ..node("n", "linux/amd64") }]);
    let policy = VOUCHED.replace("network: same", &format!("network: same{limit}"));
    let review = run(&world, pod_if_absent(APP), &policy).await;
    let assessment = &review.images[0].assessment;
    assert_eq!(assessment.verdict, Verdict::Fails);
    assert_eq!(
        assessment.escapes.contains(&Escape::ImageOnNode),
        decision == Decision::Warn,
        "{assessment:?}"
    );
    assert_eq!(review.decision, decision);
}

/// Until it is known whether anybody may have what such pods got, it may be a login: nothing is
/// denied, and it is said.
#[tokio::test]
async fn a_pull_without_a_secret_may_be_a_login_until_it_is_known() {
    let mut world = World::enforcing().answer(APP, "", Outcome::Unauthorized);
    assert_eq!(run(&world, pod(APP), VOUCHED).await.decision, Decision::Deny);
    world.history.registry.node_login = NodeLogin::Possible;
    let review = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::CannotTell);
    assert_eq!(review.decision, Decision::Warn);
}

#[rstest]
#[case::public(exists(), false, Some(false))]
#[case::private(Outcome::Unauthorized, false, Some(true))]
#[case::denied_or_missing(Outcome::MissingOrDenied, false, Some(true))]
#[case::deleted_from_a_public_repository(missing(), false, Some(false))]
#[case::hidden(missing(), true, Some(true))]
#[case::nobody_knows(Outcome::Throttled { retry_after: None }, false, None)]
#[tokio::test]
async fn an_anonymous_question_tells_whether_nodes_log_in(
    #[case] outcome: Outcome,
    #[case] hides: bool,
    #[case] refused: Option<bool>,
) {
    let mut world = World::enforcing().answer(APP, "", outcome);
    world.hides = hides;
    let reference = ImageReference::parse(APP).unwrap();
    let policy = PullgatePolicy::default();
    let deadline = Instant::now() + Duration::from_secs(5);
    assert_eq!(is_refused_to_anybody(&world, &policy, &reference, deadline).await, refused);
}
