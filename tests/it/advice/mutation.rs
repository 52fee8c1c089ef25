//! Opt-in changes of pods: asked for, allowed, proven, and the same when applied twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use pullgate::credential::PullSecret;
use pullgate::image::Digest;
use pullgate::node_config::{FilesOf, MirrorFiles};
use pullgate::policy::PullgatePolicy;
use pullgate::pull::Outcome;
use pullgate::review::{Endpoint, Proof, Skip};
use pullgate::workload::Node;
use rstest::rstest;
use serde_json::{Value, json};

use crate::review::fakes::{World, exists, exists_as, missing, node, reviewer, secret};

const ALLOWING: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {nodes: {mirrors: none, network: same}, mutation: {allowed: [pull-secret, digest]}}
";

const ONLY_SECRETS: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {mutation: {allowed: [pull-secret]}}
";

fn world() -> World {
    let mut world = World::enforcing()
        .answer("reg.example.com/app:1", "", exists_as("app"))
        .answer(&format!("reg.example.com/app@{}", digest()), "", exists_as("app"))
        .answer("reg.example.com/private:1", "regcred", exists_as("private"))
        .answer(
            &format!("reg.example.com/private@{}", Digest::of_sha256(b"private")),
            "regcred",
            exists_as("private"),
        )
        .secret(secret("regcred", "reg.example.com", "u"));
    world.secrets_in_use = vec!["regcred".into()];
    world.annotations = vec![("pullgate.dev/mutate".into(), "pull-secret, digest".into())];
    world
}

/// What another webhook makes of a name need not have the digest.
#[rstest]
#[case::nobody(Some(false), true)]
#[case::somebody(Some(true), false)]
#[case::unknown(None, false)]
#[tokio::test]
async fn a_tag_is_pinned_only_where_nobody_else_changes_pods(
    #[case] rewritten: Option<bool>,
    #[case] pinned: bool,
) {
    let world = World { rewritten, ..world() };
    let (pod, _) = mutate(world, ALLOWING, pod("reg.example.com/app:1")).await;
    let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
    assert_eq!(image.contains("@sha256:"), pinned, "{image}");
}

fn digest() -> Digest {
    Digest::of_sha256(b"app")
}

fn pod(image: &str) -> Value {
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1",
        "controller": true});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "Always"}]}})
}

/// The pod after the webhook, and why it was not looked at if it was not.
async fn mutate(world: World, policy: &str, mut pod: Value) -> (Value, Option<Skip>) {
    let world = Arc::new(world);
    let policy = PullgatePolicy::parse(policy, "policy.yaml").unwrap();
    let reviewer = reviewer(&world, policy);
    let group = pod["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
    let request = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": group, "version": "v1", "kind": pod["kind"]},
        "operation": "CREATE", "namespace": "shop", "userInfo": {"username": "ann"}, "object": pod}});
    let deadline = Instant::now() + Duration::from_secs(2);
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let body = serde_json::to_vec(&request).unwrap();
    let outcome =
        reviewer.admit(Endpoint::Mutate, Proof::Certain, &body, (now, deadline)).await.unwrap();
    let answer: Value = serde_json::from_slice(&outcome.body).unwrap();
    assert_eq!(answer["response"]["allowed"], true, "mutating never denies");
    assert_eq!(
        answer["response"].get("patch").is_some(),
        answer["response"].get("patchType").is_some()
    );
    if let Some(patch) = answer["response"]["patch"].as_str() {
        let patch = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        assert!(!patch.is_empty(), "no patch without need");
        json_patch::patch(&mut pod, &patch).unwrap();
    }
    (pod, outcome.record.skipped)
}

#[tokio::test]
async fn a_tag_is_pinned_and_its_original_kept() {
    let (once, _) = mutate(world(), ALLOWING, pod("reg.example.com/app:1")).await;
    assert_eq!(once["spec"]["containers"][0]["image"], format!("reg.example.com/app@{}", digest()));
    assert_eq!(
        once["metadata"]["annotations"]["pullgate.dev/original-images"],
        r#"{"c":"reg.example.com/app:1"}"#
    );
    assert_eq!(once["spec"].get("imagePullSecrets"), None);
    let (twice, _) = mutate(world(), ALLOWING, once.clone()).await;
    assert_eq!(twice, once);
}

#[tokio::test]
async fn a_secret_that_works_is_appended_once() {
    let mut object = pod("reg.example.com/private:1");
    object["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let (once, _) = mutate(world(), ALLOWING, object).await;
    assert_eq!(once["spec"]["imagePullSecrets"], json!([{"name": "mine"}, {"name": "regcred"}]));
    // With the secret the image works, so that it is pinned in the same patch.
    let image = once["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("reg.example.com/private@sha256:"), "{image}");
    let (twice, _) = mutate(world(), ALLOWING, once.clone()).await;
    assert_eq!(twice, once);
}

/// A container beside the private one whose image nobody needs a login for, in a registry for which the
/// secret has one.
fn with_a_neighbour(hosts: &[&str]) -> (World, Value) {
    let logins =
        hosts.iter().map(|host| ((*host).to_owned(), json!({"username": "u", "password": "p"})));
    let config = json!({"auths": Value::Object(logins.collect())}).to_string();
    let world = world()
        .secret(PullSecret::docker_config_json("regcred", config.as_bytes()))
        .answer("docker.io/library/redis:7", "", exists_as("redis"));
    let mut object = pod("reg.example.com/private:1");
    object["spec"]["containers"].as_array_mut().unwrap().push(
        json!({"name": "redis", "image": "docker.io/library/redis:7", "imagePullPolicy": "Always"}),
    );
    (world, object)
}

/// With a login for its registry, expired or not, the kubelet makes no attempt without one.
#[tokio::test]
async fn a_secret_with_which_another_image_fails_is_not_added() {
    let hosts = ["reg.example.com", "https://index.docker.io/v1/"];
    let secrets = |pod: &Value| pod["spec"]["imagePullSecrets"].clone();
    let (world, object) = with_a_neighbour(&hosts[..1]);
    let (patched, _) = mutate(world, ALLOWING, object).await;
    assert_eq!(secrets(&patched), json!([{"name": "regcred"}]), "it has no other login");
    let (world, object) = with_a_neighbour(&hosts);
    let (patched, _) = mutate(world, ONLY_SECRETS, object.clone()).await;
    assert_eq!(patched, object, "the other login is refused");
    let (world, object) = with_a_neighbour(&hosts);
    let world = world.answer("docker.io/library/redis:7", "regcred", exists_as("redis"));
    let (patched, _) = mutate(world, ALLOWING, object).await;
    assert_eq!(secrets(&patched), json!([{"name": "regcred"}]), "the other login works too");
    // Nobody can tell what nodes get today, so nothing says that they lose nothing.
    for (refused, added) in [(Outcome::TooLate, false), (missing(), true)] {
        let (world, object) = with_a_neighbour(&hosts);
        let world = world.answer("docker.io/library/redis:7", "", refused.clone()).answer(
            "docker.io/library/redis:7",
            "regcred",
            refused.clone(),
        );
        let (patched, _) = mutate(world, ALLOWING, object).await;
        assert_eq!(secrets(&patched).is_array(), added, "{refused:?}");
    }
}

#[tokio::test]
async fn an_account_that_keeps_to_its_own_secrets_is_respected() {
    let mut world = world();
    world.account.enforce_mountable_secrets = true;
    let object = pod("reg.example.com/private:1");
    assert_eq!(mutate(world, ALLOWING, object.clone()).await.0, object);
}

#[tokio::test]
async fn a_tag_is_pinned_to_what_the_registry_says_just_now() {
    let mut moved = world();
    moved.age = Duration::from_secs(60);
    let (pinned, _) = mutate(moved, ALLOWING, pod("reg.example.com/app:1")).await;
    assert!(pinned["spec"]["containers"][0]["image"].as_str().unwrap().contains('@'));
    let unknown = World::enforcing().answer("reg.example.com/app:1", "", exists());
    let unknown = World { annotations: world().annotations, ..unknown };
    let object = pod("reg.example.com/app:1");
    assert_eq!(mutate(unknown, ALLOWING, object.clone()).await.0, object);
}

/// A mirror may have the tag of another digest, and be all that the nodes reach. What was put onto their
/// disks is there under its tag alone, and what they pulled may need a login of theirs now.
#[rstest]
#[case::always("Always", "mirrors: none, network: same", true)]
#[case::unknown("Always", "{}", false)]
#[case::unknown_mirrors("Always", "network: same", false)]
#[case::unknown_network("Always", "mirrors: listed", false)]
#[case::same_mirrors("Always", "mirrors: listed, network: same", true)]
#[case::on_disk("IfNotPresent", "mirrors: none, network: same, credentials: none", false)]
#[case::logins("IfNotPresent", "mirrors: none, network: same, preloadedImages: none", false)]
#[case::all(
    "IfNotPresent",
    "mirrors: none, network: same, credentials: none, preloadedImages: none",
    true
)]
#[tokio::test]
async fn a_tag_is_pinned_only_where_nodes_are_vouched_for(
    #[case] pull_policy: &str,
    #[case] nodes: &str,
    #[case] pinned: bool,
) {
    let policy = ALLOWING.replace("mirrors: none, network: same", nodes.trim_matches(['{', '}']));
    let mut object = pod("reg.example.com/app:1");
    object["spec"]["containers"][0]["imagePullPolicy"] = json!(pull_policy);
    let (after, _) = mutate(world(), &policy, object.clone()).await;
    assert_eq!(after != object, pinned);
    let mut reopened = world();
    reopened.history.registry.escapes_reopened = true;
    assert_eq!(
        mutate(reopened, &policy, object.clone()).await.0,
        object,
        "nodes got another answer"
    );
    // A node for which other mirror files count.
    let mut mixed = world();
    mixed.mirror_files = Some(MirrorFiles {
        of: FilesOf::CriO,
        routes: false,
        credential_helpers: false,
        since_2_2: false,
    });
    mixed.nodes = Some(vec![node("n1", "linux/amd64")]);
    let (after, _) = mutate(mixed, &policy, object.clone()).await;
    assert_eq!(after != object, pinned && nodes.contains("mirrors: none"));
}

/// It starts without asking anybody, and the tag is not there.
#[rstest]
#[case(&["reg.example.com/app"], true)]
#[case(&["reg.example.com/app", "reg.example.com/other"], false)]
#[tokio::test]
async fn a_tag_is_pinned_to_a_digest_that_every_node_has(
    #[case] names: &[&str],
    #[case] pinned: bool,
) {
    let policy = ALLOWING.replace("mirrors: none, network: same", "");
    let mut world = world();
    let has = |name: &&str| Node {
        images: [format!("{name}@{}", digest()).into()].into(),
        ..node(name, "linux/amd64")
    };
    world.nodes = Some(names.iter().map(has).collect());
    let mut object = pod("reg.example.com/app:1");
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    let (after, _) = mutate(world, &policy, object.clone()).await;
    assert_eq!(after != object, pinned);
}

/// A mirror that is asked for tags only (CRI-O's `pull-from-mirror`), before a registry that nodes do
/// not reach: what works by its tag would not start by its digest.
#[tokio::test]
async fn a_tag_is_not_pinned_to_a_digest_that_nobody_serves() {
    let by_digest = format!("reg.example.com/app@{}", digest());
    let object = pod("reg.example.com/app:1");
    for outcome in [Outcome::TooLate, Outcome::NoHost, missing(), exists_as("other")] {
        let world = world().answer(&by_digest, "", outcome);
        assert_eq!(mutate(world, ALLOWING, object.clone()).await.0, object);
    }
}

#[rstest]
#[case::not_allowed("spec: {}", None, None)]
#[case::not_asked("spec: {mutation: {allowed: [pull-secret, digest]}}", Some(""), None)]
#[case::only_the_other("spec: {mutation: {allowed: [pull-secret]}}", Some("digest"), None)]
#[case::foreign_controller(
    "spec: {mutation: {allowed: [digest]}}",
    None,
    Some(json!([{"apiVersion": "databases.example.com/v1", "kind": "ReplicaSet", "name": "r", "uid": "1", "controller": true}]))
)]
#[tokio::test]
async fn what_nobody_asked_for_is_not_even_looked_up(
    #[case] spec: &str,
    #[case] annotation: Option<&str>,
    #[case] owners: Option<Value>,
) {
    let policy = format!(
        "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: default}}\n{spec}\n"
    );
    let mut object = pod("reg.example.com/app:1");
    if let Some(annotation) = annotation {
        object["metadata"]["annotations"] = json!({"pullgate.dev/mutate": annotation});
    }
    if let Some(owners) = owners {
        object["metadata"]["ownerReferences"] = owners;
    }
    let (after, skipped) = mutate(world(), &policy, object.clone()).await;
    assert_eq!((after, skipped), (object, Some(Skip::NothingAsked)));
}

#[tokio::test]
async fn pods_of_built_in_controllers_are_changed_and_templates_never() {
    let object = pod("reg.example.com/app:1");
    let (after, _) = mutate(world(), ALLOWING, object.clone()).await;
    assert_ne!(after, object);
    let template = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": pod("reg.example.com/app:1")}});
    let (after, skipped) = mutate(world(), ALLOWING, template.clone()).await;
    assert_eq!((after, skipped), (template, Some(Skip::NothingAsked)));
}

/// A bare pod is what somebody keeps in Git: it is changed only if it says so itself.
#[tokio::test]
async fn a_bare_pod_is_not_changed_for_what_its_namespace_says() {
    let mut object = pod("reg.example.com/app:1");
    object["metadata"] = json!({"name": "p"});
    let (after, skipped) = mutate(world(), ALLOWING, object.clone()).await;
    assert_eq!((&after, skipped), (&object, Some(Skip::NothingAsked)));
    object["metadata"]["annotations"] = json!({"pullgate.dev/mutate": "digest"});
    let (after, skipped) = mutate(world(), ALLOWING, object.clone()).await;
    assert_ne!((&after, skipped), (&object, Some(Skip::NothingAsked)));
}
