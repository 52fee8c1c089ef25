//! Verdicts against what nodes did.

use serde_json::json;

use super::*;
use crate::history::{HealthIndex, Snapshot};
use crate::kube_views::{EventView, PodView};
use crate::pull::{Cause, Escape};

const UID: &str = "00000000-0000-4000-8000-000000000001";
const IMAGE: &str = "r.example/app:1";

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn said(verdict: Verdict) -> RecordedVerdict {
    let cause = (verdict == Verdict::Fails).then_some(Cause::TagNotFound);
    let reference = ImageReference::parse(IMAGE).unwrap();
    let would_deny = verdict == Verdict::Fails;
    let escapes = if would_deny { vec![Escape::NodeMirror] } else { Vec::new() };
    let (credentials, secretless) = ([].into(), false);
    RecordedVerdict { reference, verdict, cause, credentials, secretless, would_deny, escapes }
}

fn of_pod(uid: &str, verdict: Verdict, denied: bool) -> PodVerdicts<'_> {
    PodVerdicts { namespace: "shop", uid, secrets: &[], denied, verdicts: vec![said(verdict)] }
}

fn pod(state: &serde_json::Value, policy: &str) -> PodView {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "shop", "uid": UID},
        "spec": {"nodeName": "n", "containers": [{"name": "a", "image": IMAGE, "imagePullPolicy": policy}]},
        "status": {"containerStatuses": [{"name": "a", "imageID": "", "state": state}]},
    }))
    .unwrap()
}

fn runs(minute: i64) -> serde_json::Value {
    json!({"running": {"startedAt": at(minute).to_string()}})
}

fn fails() -> serde_json::Value {
    json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}})
}

fn pulled(minute: i64) -> EventView {
    serde_json::from_value(json!({
        "reason": "Pulled", "message": format!("Successfully pulled image \"{IMAGE}\" in 1s"),
        "involvedObject": {"kind": "Pod", "namespace": "shop", "uid": UID},
        "lastTimestamp": at(minute).to_string(),
    }))
    .unwrap()
}

fn index(verdict: Verdict) -> HealthIndex {
    let mut index = HealthIndex::default();
    index.score_mut().remember(of_pod(UID, verdict, false), at(0));
    index
}

fn judged(index: &HealthIndex) -> Vec<(Verdict, NodeOutcome, u64)> {
    index.score().judged().collect()
}

#[test]
fn a_failure_that_lasts_is_the_nodes_word() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&fails(), "IfNotPresent"), at(1));
    index.tick(at(2));
    assert_eq!(judged(&index), []);
    index.tick(at(4));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::Failed, 1)]);
    assert_eq!(index.score().waiting(), 0);
}

#[test]
fn a_start_without_a_pull_event_is_one_from_disk() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&runs(1), "IfNotPresent"), at(1));
    index.tick(at(1));
    index.tick(at(3));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::RanFromCache, 1)]);
    assert_eq!(index.score_mut().take_rechecks(), []);
}

#[test]
fn a_pod_that_goes_first_leaves_the_verdict_open() {
    let mut index = index(Verdict::Works);
    index.apply_pod(&pod(&json!({"waiting": {"reason": "ContainerCreating"}}), "Always"), at(1));
    index.delete_pod(UID, at(2));
    assert_eq!(judged(&index), [(Verdict::Works, NodeOutcome::Gone, 1)]);
}

#[test]
fn a_denied_pod_is_never_judged() {
    let mut index = HealthIndex::default();
    index.score_mut().remember(of_pod(UID, Verdict::Fails, true), at(0));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::Denied, 1)]);
}

/// Registries of which nodes have shown nothing make room for one of which they do.
#[test]
fn made_up_registries_leave_room_for_real_ones() {
    let mut index = HealthIndex::default();
    for n in 0..2 * MAX_REGISTRIES {
        let reference = ImageReference::parse(&format!("r{n}.example/app:1")).unwrap();
        let verdicts = vec![RecordedVerdict { reference, ..said(Verdict::Fails) }];
        let given = PodVerdicts { verdicts, ..of_pod(UID, Verdict::Fails, true) };
        index.score_mut().remember(given, at(0));
    }
    index.score_mut().remember(of_pod(UID, Verdict::Fails, false), at(0));
    index.apply_pod(&pod(&runs(2), "Always"), at(3));
    let recheck = index.score_mut().take_rechecks().remove(0);
    index.score_mut().rechecked(&recheck, true, at(4));
    assert!(index.score().escapes_reopened_for("r.example", "shop", at(5)));
    assert!(index.score().registries().len() <= MAX_REGISTRIES);
}

#[test]
fn a_late_push_is_no_disagreement() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&runs(2), "Always"), at(3));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::PulledFreshly, 1)]);
    let rechecks = index.score_mut().take_rechecks();
    assert_eq!(rechecks.len(), 1);
    assert_eq!((&*rechecks[0].namespace, rechecks[0].pulled), ("shop", at(2)));
    assert!(!index.score().escapes_reopened("r.example", at(3)), "a suspicion opens nothing");
    index.score_mut().rechecked(&rechecks[0], false, at(4));
    assert!(!index.score().escapes_reopened("r.example", at(4)));
    assert_eq!(index.score().registry("r.example").unwrap().late_pushes, 1);
}

#[test]
fn a_disagreement_opens_the_escapes_for_longer_each_time() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&runs(1), "IfNotPresent"), at(1));
    index.apply_event(&pulled(1), at(1));
    let recheck = index.score_mut().take_rechecks().remove(0);
    let day = 24 * 60;
    index.score_mut().rechecked(&recheck, true, at(2));
    assert!(!index.score().escapes_reopened("r.example", at(3)), "one tenant could make this up");
    assert!(index.score().escapes_reopened_for("r.example", "shop", at(3)));
    assert!(!index.score().escapes_reopened_for("r.example", "else", at(3)));
    let elsewhere = Recheck { namespace: "else".into(), ..recheck.clone() };
    index.score_mut().rechecked(&elsewhere, true, at(2));
    assert!(index.score().escapes_reopened("r.example", at(6 * day)));
    assert!(index.registry_health("r.example", at(6 * day)).escapes_reopened);
    assert!(!index.score().escapes_reopened("r.example", at(8 * day)));
    assert!(!index.score().escapes_reopened("q.example", at(3)));
    index.score_mut().rechecked(&recheck, true, at(8 * day));
    index.score_mut().rechecked(&elsewhere, true, at(8 * day));
    assert!(index.score().escapes_reopened("r.example", at(21 * day)), "two weeks now");
    assert!(!index.score().escapes_reopened("r.example", at(23 * day)));
    // Much later it is a first time again.
    index.score_mut().rechecked(&recheck, true, at(100 * day));
    index.score_mut().rechecked(&recheck, true, at(100 * day + 60));
    assert!(!index.score().escapes_reopened("r.example", at(101 * day)), "not hours apart");
    index.score_mut().rechecked(&recheck, true, at(100 * day + 181));
    assert!(index.score().escapes_reopened("r.example", at(101 * day)), "again hours later");
    assert!(!index.score().escapes_reopened("r.example", at(108 * day)));
}

#[test]
fn what_would_have_been_denied_is_compared_with_what_nodes_did() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&fails(), "IfNotPresent"), at(1));
    index.tick(at(4));
    let summary = |index: &HealthIndex, minute| index.score().summary(at(minute)).remove(0);
    let cause = "tag_not_found".to_owned();
    let failed = WouldDeny { cause: cause.clone(), count: 1, failed: 1, pulled: 0 };
    assert_eq!(summary(&index, 5).would_deny, [failed]);
    assert_eq!(summary(&index, 5).held_by["node_mirror"], 1);
    // Its next pod gets it, and after a restart that is known as well.
    index.score_mut().remember(of_pod(UID, Verdict::Fails, false), at(10));
    index.apply_pod(&pod(&runs(11), "Always"), at(11));
    let bytes = index.snapshot().encode("c").unwrap();
    let mut after = HealthIndex::default();
    after.restore(Snapshot::decode(&bytes, "c").unwrap(), at(12));
    let both = WouldDeny { cause, count: 2, failed: 1, pulled: 1 };
    assert_eq!(summary(&after, 12).would_deny, [both]);
    let labels: Vec<_> = index.score().would_deny().collect();
    assert_eq!(labels, [("r.example", Cause::TagNotFound, 2)]);
    // Not for ever.
    assert_eq!(summary(&after, 31 * 24 * 60).would_deny, []);
}

#[test]
fn what_was_denied_is_watched_for_with_the_same_credentials() {
    let denied = || {
        let mut index = HealthIndex::default();
        let secrets = ["regcred".into()];
        let given = PodVerdicts { secrets: &secrets, ..of_pod("u-0", Verdict::Fails, true) };
        index.score_mut().remember(given, at(0));
        index
    };
    let pulls = |namespace: &str, secret: &str| {
        let mut view = pod(&runs(3), "Always");
        view.metadata.namespace = Some(namespace.to_owned());
        view.spec.image_pull_secrets = serde_json::from_value(json!([{"name": secret}])).unwrap();
        let mut index = denied();
        index.apply_pod(&view, at(3));
        index.score_mut().take_rechecks()
    };
    assert_eq!(pulls("shop", "regcred").len(), 1);
    assert_eq!(pulls("shop", "other"), [], "other credentials say nothing");
    assert_eq!(pulls("else", "regcred"), [], "nor do those of another namespace");
}

#[test]
fn an_update_adds_to_what_was_said_of_a_pod() {
    let mut index = index(Verdict::Fails);
    let other = ImageReference::parse("r.example/side:1").unwrap();
    let mut update = of_pod(UID, Verdict::Works, false);
    update.verdicts[0].reference = other;
    index.score_mut().remember(update, at(1));
    index.apply_pod(&pod(&fails(), "IfNotPresent"), at(1));
    index.tick(at(4));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::Failed, 1)]);
}

#[test]
fn the_score_survives_a_restart() {
    let mut before = index(Verdict::Fails);
    before.apply_pod(&pod(&runs(1), "Always"), at(1));
    let recheck = before.score_mut().take_rechecks().remove(0);
    before.score_mut().rechecked(&recheck, true, at(2));
    let elsewhere = Recheck { namespace: "else".into(), ..recheck };
    before.score_mut().rechecked(&elsewhere, true, at(2));
    let bytes = before.snapshot().encode("c").unwrap();
    let mut after = HealthIndex::default();
    after.restore(Snapshot::decode(&bytes, "c").unwrap(), at(3));
    assert!(after.score().escapes_reopened("r.example", at(3)));
    assert_eq!(judged(&after), judged(&before));
    assert_eq!(after.score().summary(at(3)), before.score().summary(at(3)));
    // Of whom it was seen is nothing that a file should tell.
    assert!(!String::from_utf8(bytes).unwrap().contains("else"));
}

#[test]
fn what_waits_is_bounded() {
    let mut score = Score::default();
    for n in 0..12_000 {
        score.remember(of_pod(&n.to_string(), Verdict::Fails, false), at(0));
    }
    assert_eq!(score.waiting(), 10_000);
    score.tick(super::super::index::seconds(at(60 * 7)));
    assert_eq!(score.waiting(), 0);
}

#[test]
fn what_ran_before_the_verdict_says_nothing_of_it() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&runs(-5), "Always"), at(1));
    assert_eq!(judged(&index), []);
    assert_eq!(index.score_mut().take_rechecks(), []);
}

#[test]
fn only_missing_and_forbidden_are_looked_up_again() {
    let mut given = of_pod(UID, Verdict::Fails, false);
    given.verdicts[0].cause = Some(Cause::PlatformMismatch);
    let mut index = HealthIndex::default();
    index.score_mut().remember(given, at(0));
    index.apply_pod(&pod(&runs(1), "Always"), at(1));
    assert_eq!(judged(&index), [(Verdict::Fails, NodeOutcome::PulledFreshly, 1)]);
    assert_eq!(index.score_mut().take_rechecks(), []);
}

#[test]
fn the_summary_shows_disagreements_first() {
    let mut index = index(Verdict::Fails);
    index.apply_pod(&pod(&runs(1), "Always"), at(1));
    let recheck = index.score_mut().take_rechecks().remove(0);
    index.score_mut().rechecked(&recheck, true, at(2));
    index.score_mut().rechecked(&Recheck { namespace: "else".into(), ..recheck }, true, at(2));
    let mut other = of_pod("2", Verdict::Works, true);
    other.verdicts[0].reference = ImageReference::parse("a.example/x:1").unwrap();
    index.score_mut().remember(other.clone(), at(2));
    index.score_mut().remember(other, at(2));
    let summary = index.score().summary(at(3));
    assert_eq!(
        serde_json::to_value(&summary).unwrap(),
        json!([
            {"registry": "r.example", "disagreements": 1, "escapesOpenUntil": "2027-01-22T08:02:00Z",
             "verdicts": [{"verdict": "fails", "outcome": "pulled_freshly", "count": 1}],
             "wouldDeny": [{"cause": "tag_not_found", "count": 1, "failed": 0, "pulled": 1}],
             "heldBy": {"node_mirror": 1}},
            {"registry": "a.example", "disagreements": 0,
             "verdicts": [{"verdict": "works", "outcome": "denied", "count": 2}]},
        ])
    );
}

/// ServiceAccounts bring secrets for other registries into every pod.
#[test]
fn a_pull_with_secrets_for_other_registries_shows_a_login_of_the_nodes() {
    for secretless in [true, false] {
        let mut index = HealthIndex::default();
        let verdicts = vec![RecordedVerdict { secretless, ..said(Verdict::CannotTell) }];
        let given = PodVerdicts { verdicts, ..of_pod(UID, Verdict::CannotTell, false) };
        index.score_mut().remember(given, at(0));
        let mut with_secret = pod(&runs(1), "Always");
        with_secret.spec.image_pull_secrets =
            serde_json::from_value(json!([{"name": "dockercfg"}])).unwrap();
        index.apply_pod(&with_secret, at(1));
        assert_eq!(index.next_secretless(at(2)).is_some(), secretless);
    }
}
