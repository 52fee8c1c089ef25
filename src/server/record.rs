//! What is kept of a review: one log line and some counts. Names of objects go to the log only.
//!
//! Hundreds of pods of one rollout are hundreds of reviews: those with nothing to say are logged
//! for those who look for them (`debug`), what was warned of, denied or let past for everybody.

use crate::policy::Decision;
use crate::review::{ReviewRecord, Skip};
use crate::telemetry::{FailOpenReason, Metrics};

/// The word for what became of a review.
pub(super) const fn decision(record: &ReviewRecord) -> &'static str {
    match (record.skipped, record.decision) {
        (Some(_), _) | (None, None) => "skip",
        (None, Some(Decision::Allow)) => "allow",
        (None, Some(Decision::Warn)) => "warn",
        (None, Some(Decision::Deny)) => "deny",
    }
}

/// Records an answered review.
pub(super) fn record(
    metrics: &Metrics,
    endpoint: &'static str,
    record: &ReviewRecord,
    seconds: f64,
) {
    let decision = decision(record);
    metrics.review(endpoint, decision, seconds);
    for (verdict, cause) in &record.images {
        metrics.verdict(verdict.as_str(), cause.map_or("", |cause| cause.as_str()));
    }
    for _ in &record.exceptions {
        metrics.let_through("exception");
    }
    if record.break_glass.is_some() {
        metrics.let_through("break_glass");
    }
    // Values of a line that is not written are not made.
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                endpoint,
                uid = record.uid,
                kind = record.kind,
                namespace = record.namespace,
                name = record.name,
                dry_run = record.dry_run,
                decision,
                skipped = record.skipped.map(Skip::as_str),
                verdicts = verdicts(record),
                exceptions = exceptions(record),
                break_glass = record.break_glass,
                seconds,
                "reviewed"
            )
        };
    }
    let passes = record.exceptions.is_empty() && record.break_glass.is_none();
    if passes && matches!(decision, "skip" | "allow") { line!(debug) } else { line!(info) }
}

/// Verdict and cause of each image, as words.
fn verdicts(record: &ReviewRecord) -> String {
    let mut words = String::new();
    for (verdict, cause) in &record.images {
        for part in [if words.is_empty() { "" } else { " " }, verdict.as_str()] {
            words.push_str(part);
        }
        if let Some(cause) = cause {
            words.push(':');
            words.push_str(cause.as_str());
        }
    }
    words
}

fn exceptions(record: &ReviewRecord) -> Option<String> {
    (!record.exceptions.is_empty()).then(|| record.exceptions.join(" "))
}

/// Records an object that was admitted without review.
pub(super) fn fail_open(
    metrics: &Metrics,
    endpoint: &'static str,
    uid: &str,
    reason: FailOpenReason,
    seconds: f64,
) {
    metrics.review(endpoint, "allow", seconds);
    metrics.cut_short(reason);
    let reason = reason.as_str();
    tracing::warn!(endpoint, uid, reason, seconds, "admitted without review");
}
