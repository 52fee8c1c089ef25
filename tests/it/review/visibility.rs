//! What may be shown to whom: found out once for an answer, with a bound to the access reviews.

use jiff::Timestamp;
use pullgate::history::{KnownTag, RegistryHealth};
use pullgate::image::ImageReference;
use pullgate::policy::Decision;
use pullgate::pull::Cause;
use pullgate::review::Review;
use serde_json::json;

use super::fakes::{World, exists, missing, secret};
use super::{deployment, line, run_for};

const APP: &str = "reg.example.com/app";
const TRUSTING: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {trustedServiceAccounts: [ci/deployer]}
";

fn world() -> World {
    let mut world = World::enforcing().answer(&format!("{APP}:9"), "", missing()).answer(
        &format!("{APP}:8"),
        "",
        exists(),
    );
    world.history.failures = vec![(Cause::TagNotFound, 3)];
    world.history.failing_workloads = 2;
    world.history.registry = RegistryHealth { healthy: 7, failing: 3, ..RegistryHealth::default() };
    world.known_tags = vec![KnownTag {
        reference: ImageReference::parse(&format!("{APP}:8")).unwrap(),
        pods: 3,
        in_namespace: true,
        last_started: Timestamp::UNIX_EPOCH,
        digest: None,
    }];
    world.namespaces = (0..40).map(|n| format!("ns{n}").into()).collect();
    world
}

async fn asked_by(world: &World, user: &str, policy: &str) -> Review {
    run_for(user, world, deployment(&format!("{APP}:9")), policy).await
}

fn reviews(world: &World) -> Vec<String> {
    world.reviews.lock().unwrap().clone()
}

#[tokio::test]
async fn who_may_list_everything_is_told_the_whole_picture() {
    let world = world();
    let review = asked_by(&world, "ann", "").await;
    assert_eq!(reviews(&world), ["*"]);
    insta::assert_snapshot!(line(&review), @"image reg.example.com/app:9: tag not found in the registry; use 8 (3 pods run it here) — 2 workloads fail with it in this cluster; all else from this registry runs (7); checked without credentials");
}

#[tokio::test]
async fn who_may_not_is_asked_about_namespace_by_namespace_within_a_bound() {
    let mut world = world();
    world.may_list_in = vec!["shop".into(), "ns3".into(), "ns39".into()];
    let review = asked_by(&world, "ann", "").await;
    let asked = reviews(&world);
    assert_eq!(
        asked.len(),
        17,
        "one is left for the name of a secret, two for Services: {asked:?}"
    );
    assert_eq!(asked[..3], ["*", "shop", "ns0"]);
    assert!(line(&review).contains("2 workloads fail with it in the namespaces you may see"));
}

#[tokio::test]
async fn an_answer_about_many_images_asks_no_more() {
    let world = world();
    let images: Vec<_> =
        (0..30).map(|n| json!({"name": n.to_string(), "image": format!("{APP}{n}:9")})).collect();
    let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": images}});
    let review = run_for("ann", &world, object, "").await;
    assert_eq!(review.images.len(), 30);
    assert_eq!(reviews(&world), ["*"]);
}

#[tokio::test]
async fn what_works_asks_nobody() {
    let world = World::enforcing().answer(&format!("{APP}:1"), "", exists());
    let review = run_for("ann", &world, deployment(&format!("{APP}:1")), "").await;
    assert_eq!(review.decision, Decision::Allow);
    assert!(reviews(&world).is_empty());
}

#[tokio::test]
async fn a_service_account_is_told_of_its_objects_own_namespace_alone() {
    let world = world();
    let review =
        asked_by(&world, "system:serviceaccount:kube-system:replicaset-controller", "").await;
    assert_eq!(reviews(&world), ["shop"]);
    assert!(
        line(&review).contains("2 workloads fail with it in this namespace;"),
        "{}",
        line(&review)
    );
    // Others that the policy trusts are told what they may see.
    let review = asked_by(&world, "system:serviceaccount:ci:deployer", TRUSTING).await;
    assert!(line(&review).contains("in this cluster"), "{}", line(&review));
}

#[tokio::test]
async fn an_account_that_may_list_nothing_is_told_nothing() {
    for user in ["system:serviceaccount:ci:deployer", "bob"] {
        let mut world = world();
        world.may_list = false;
        let review = asked_by(&world, user, "").await;
        insta::allow_duplicates! {
            insta::assert_snapshot!(line(&review), @"image reg.example.com/app:9: tag not found in the registry — checked without credentials; may still work if nodes have a mirror, their own credentials, the image or another network");
        }
    }
}

#[tokio::test]
async fn a_secrets_name_is_told_if_a_pod_names_it_or_the_asker_may_read_it() {
    let image = format!("{APP}:1");
    for (in_use, may_read, told) in
        [(true, false, true), (false, true, true), (false, false, false)]
    {
        let mut world = World::enforcing().answer(&image, "regcred", exists()).secret(secret(
            "regcred",
            "reg.example.com",
            "ann",
        ));
        if in_use {
            world.secrets_in_use = vec!["regcred".into()];
        }
        world.may_read_secrets = may_read;
        world.account.pull_secrets = vec!["regcred".into()];
        // A pod that names another secret does not get its account's.
        let mut object = deployment(&image);
        object["spec"]["template"]["spec"]["imagePullSecrets"] = json!([{"name": "other"}]);
        let review = run_for("ann", &world, object, "").await;
        let line = line(&review);
        assert_eq!(line.contains("regcred"), told, "{line}");
        let asked = world.reviews.lock().unwrap().contains(&"secret regcred".to_owned());
        assert_eq!(asked, !in_use);
    }
}
