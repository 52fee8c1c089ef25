//! The trial before enforcement: what would be denied if everything were vouched for and the
//! namespace enforced, in whatever mode, by whatever is known.

use pullgate::policy::Decision;
use pullgate::pull::{NodeLogin, Outcome, Step};
use pullgate::workload::Node;
use rstest::rstest;
use serde_json::{Value, json};

use super::fakes::{World, exists, index, missing, node};
use super::{VOUCHED, pod, run};

const APP: &str = "reg.example.com/app:1";
/// Only warns, and vouches for nothing.
const UNVOUCHED: &str = "";

fn answered(outcome: Outcome) -> World {
    let mut world = World::enforcing().answer(APP, "", outcome);
    world.labels.clear();
    world.nodes = Some(vec![node("n", "linux/amd64")]);
    world
}

async fn would_deny(world: &World, object: Value, policy: &str) -> bool {
    let review = run(world, object, policy).await;
    assert!(review.decision < Decision::Deny, "nothing enforces here");
    review.images[0].would_deny
}

#[rstest]
#[case::missing(missing(), true)]
#[case::refused(Outcome::Unauthorized, true)]
#[case::platform(index(&["linux/arm64"]), true)]
#[case::there(exists(), false)]
#[case::late(Outcome::Timeout(Step::FirstByte), false)]
#[case::limited(Outcome::Throttled { retry_after: None }, false)]
#[case::from_the_wrong_address(Outcome::AddressRefused, false)]
#[tokio::test]
async fn what_certainly_fails_would_be_denied_in_every_mode(
    #[case] outcome: Outcome,
    #[case] expected: bool,
) {
    assert_eq!(would_deny(&answered(outcome), pod(APP), UNVOUCHED).await, expected);
}

#[rstest]
#[case::just_wanted(|world: &mut World| world.first_seen = None)]
#[case::nodes_log_in(|world: &mut World| world.history.registry.node_login = NodeLogin::Proven)]
#[case::contradicted(|world: &mut World| world.history.registry.escapes_reopened = true)]
#[case::in_trouble(|world: &mut World| world.history.registry.in_trouble = true)]
#[tokio::test]
async fn what_spares_a_denial_spares_it_here(#[case] change: fn(&mut World)) {
    let mut world = answered(Outcome::Unauthorized);
    assert!(would_deny(&world, pod(APP), UNVOUCHED).await);
    change(&mut world);
    assert!(!would_deny(&world, pod(APP), UNVOUCHED).await);
}

#[rstest]
#[case::by_cause("  causes: {tag_not_found: warn}\n")]
#[case::skipped("  registries: {skip: [reg.example.com]}\n")]
#[tokio::test]
async fn what_the_policy_lets_through_would_not_be_denied(#[case] spec: &str) {
    let policy = format!("{VOUCHED}{spec}");
    assert!(!would_deny(&answered(missing()), pod(APP), &policy).await);
}

/// What the nodes show is no matter of a word: it would stay open.
#[tokio::test]
async fn evidence_that_a_node_has_it_counts_whatever_is_vouched_for() {
    let mut object = pod(APP);
    object["spec"]["containers"][0]["imagePullPolicy"] = json!("IfNotPresent");
    let mut world = answered(missing());
    assert!(would_deny(&world, object.clone(), UNVOUCHED).await);
    let has_it = Node { images: [APP.into()].into(), ..node("n2", "linux/amd64") };
    world.nodes = Some(vec![node("n", "linux/amd64"), has_it]);
    assert!(!would_deny(&world, object, UNVOUCHED).await);
    let mut elsewhere = pod(APP);
    elsewhere["spec"]["schedulerName"] = json!("fargate-scheduler");
    let world = answered(index(&["linux/arm64"]));
    assert!(!would_deny(&world, elsewhere, UNVOUCHED).await);
}
