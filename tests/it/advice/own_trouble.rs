//! Trouble of Pullgate's own with a registry, by the default policy: a line where a way out was
//! proven, else silence.

use pullgate::advice::AdviceKind;
use pullgate::policy::Decision;
use pullgate::pull::{NetworkFault, Outcome, Step, TlsFault};
use rstest::rstest;

use super::{TALKATIVE, kinds, known, tail};
use crate::review::fakes::{World, exists};
use crate::review::{deployment, run};

const IMAGE: &str = "reg.example.com/app:1";
const ELSEWHERE: &str = "mirror.example.com/app:1";
/// Silence about limits, written down.
const QUIET: &str = "apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata: {name: default}
spec: {causes: {rate_limited: allow}}
";

fn troubled(outcome: &Outcome) -> World {
    World::enforcing().answer(IMAGE, "", outcome.clone())
}

#[rstest]
#[case::limit(Outcome::Throttled { retry_after: None }, "pull limit")]
#[case::tls(Outcome::Tls(TlsFault::UnknownAuthority), "certificate")]
#[case::tls_name(Outcome::Tls(TlsFault::WrongName), "certificate")]
#[case::connecting(Outcome::Timeout(Step::Connect), "in time")]
#[case::answering(Outcome::Timeout(Step::FirstByte), "in time")]
#[tokio::test]
async fn a_line_is_written_where_a_way_out_was_proven(
    #[case] outcome: Outcome,
    #[case] says: &str,
) {
    // Nothing to offer: not a word, whatever the registry's trouble is.
    let silent = run(&troubled(&outcome), deployment(IMAGE), "").await;
    assert_eq!((silent.decision, kinds(&silent)), (Decision::Allow, Vec::new()));
    assert!(!silent.images[0].is_noted());

    let mut world = troubled(&outcome).answer(ELSEWHERE, "", exists());
    world.namesakes = vec![known(ELSEWHERE, false)];
    let told = run(&world, deployment(IMAGE), "").await;
    assert_eq!(told.decision, Decision::Allow);
    assert!(told.images[0].is_noted());
    assert_eq!(kinds(&told)[0], (AdviceKind::OtherSource, ELSEWHERE));
    let line = told.finding(&told.images[0]).line();
    assert!(line.contains(says), "{line}");
    assert!(tail(&told).contains("use mirror.example.com/app:1 (the same name and tag)"), "{line}");

    // It was tried: what cannot be pulled either is no way out.
    let mut world = troubled(&outcome).answer(ELSEWHERE, "", outcome.clone());
    world.namesakes = vec![known(ELSEWHERE, false)];
    let untold = run(&world, deployment(IMAGE), "").await;
    assert_eq!((untold.decision, kinds(&untold)), (Decision::Allow, Vec::new()));
}

#[rstest]
#[case::refused(Outcome::Network(NetworkFault::Refused))]
#[case::dns(Outcome::Network(NetworkFault::Dns))]
#[tokio::test]
async fn of_other_trouble_nothing_is_said_by_default(#[case] outcome: Outcome) {
    let mut world = troubled(&outcome).answer(ELSEWHERE, "", exists());
    world.namesakes = vec![known(ELSEWHERE, false)];
    let review = run(&world, deployment(IMAGE), "").await;
    assert_eq!((review.decision, kinds(&review)), (Decision::Allow, Vec::new()));
}

/// Whoever writes it into the policy gets what is written: a warning for all of it, or silence.
#[tokio::test]
async fn the_policy_s_own_word_counts() {
    let limit = Outcome::Throttled { retry_after: None };
    let mut world = troubled(&limit).answer(ELSEWHERE, "", exists());
    world.namesakes = vec![known(ELSEWHERE, false)];
    let review = run(&world, deployment(IMAGE), TALKATIVE).await;
    assert_eq!(review.decision, Decision::Warn);
    let review = run(&world, deployment(IMAGE), QUIET).await;
    assert_eq!((review.decision, review.images[0].is_noted()), (Decision::Allow, false));
}
