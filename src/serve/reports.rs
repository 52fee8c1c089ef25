//! What tells others: the audit's findings as one report a namespace, for UIs that show such reports
//! already, and the metrics for an OpenTelemetry collector. The leader writes reports; nobody reads them
//! back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::audit::Audit;
use super::findings::{Finding, Findings, Images};
use crate::cluster::{Connection, ReportKind, ReportWriter};
use crate::message::sentence;
use crate::pull::Verdict;
use crate::review::ProbeResult;
use crate::telemetry::{METRICS_EVERY, Metrics, Otlp, clock};

/// Between two looks for reports that have changed.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// Results in one report, those that fail first; the summary counts all.
const MAX_RESULTS: usize = 500;
/// Reports that are written in one turn.
const AT_A_TIME: usize = 50;

/// Writes what has changed of `findings` as reports of this kind, again and again. Never ends.
pub(super) async fn write(findings: Findings, connection: Connection, kind: ReportKind) {
    let writer = ReportWriter::new(&connection, kind);
    let mut failing = false;
    loop {
        tokio::time::sleep(WRITE_EVERY).await;
        for (namespace, images) in findings.changed(AT_A_TIME) {
            let written = match &images {
                Some(images) => {
                    let (summary, results) = report(images);
                    writer.write(&namespace, &summary, &results).await
                }
                None => writer.remove(&namespace).await,
            };
            let failed_before = std::mem::replace(&mut failing, written.is_err());
            if let Err(error) = written {
                if !failed_before {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a report about images in use cannot be written");
                }
                findings.changed_again(namespace);
                break;
            }
        }
    }
}

/// The word of a report for what was found: `fail` is what a node could not pull now.
const fn result_of(finding: &Finding) -> &'static str {
    match (finding.found, finding.loaded) {
        (ProbeResult::Pullable, _) => "pass",
        (_, true) => "warn",
        (ProbeResult::Refused(_), _) => "fail",
        (ProbeResult::Unclear(_), _) => "skip",
    }
}

fn message(finding: &Finding) -> String {
    let (verdict, cause) = match finding.found {
        ProbeResult::Pullable => return "can be pulled now".to_owned(),
        ProbeResult::Refused(cause) => (Verdict::Fails, cause),
        ProbeResult::Unclear(cause) => (Verdict::CannotTell, cause),
    };
    let words = sentence(cause, verdict);
    if finding.loaded {
        return format!("was loaded onto nodes, and cannot be pulled: {words}");
    }
    words.to_owned()
}

/// Summary and results of one namespace.
fn report(images: &Images) -> (Value, Value) {
    let count =
        |wanted: &str| images.values().filter(|finding| result_of(finding) == wanted).count();
    let summary = json!({"pass": count("pass"), "fail": count("fail"), "warn": count("warn"),
                         "error": 0, "skip": count("skip")});
    let rank = |finding: &Finding| match result_of(finding) {
        "fail" => 0,
        "warn" => 1,
        "skip" => 2,
        _ => 3,
    };
    let mut all: Vec<_> = images.iter().collect();
    all.sort_by_key(|(_, finding)| rank(finding));
    let results = all.into_iter().take(MAX_RESULTS).map(|(image, finding)| {
        let mut result = json!({
            "source": "pullgate", "policy": "image-pullable",
            "rule": finding.found.cause().map_or("pullable", |cause| cause.as_str()),
            "category": "Images", "result": result_of(finding), "message": message(finding),
            "scored": true, "properties": {"image": image, "registry": finding.registry},
            "timestamp": {"seconds": finding.at.as_second(), "nanos": 0},
        });
        // Older definitions know no `info`.
        match result_of(finding) {
            "fail" => result["severity"] = "high".into(),
            "warn" => result["severity"] = "medium".into(),
            _ => {}
        }
        result
    });
    (summary, Value::Array(results.collect()))
}

/// The tasks that there are to be: the audit where somebody leads, its reports, the metrics.
pub(super) fn tasks(
    audit: Option<(Audit, watch::Receiver<bool>)>,
    reported: Option<(Connection, ReportKind)>,
    otlp: Option<Arc<Otlp>>,
    metrics: &Arc<Metrics>,
) -> Vec<(&'static str, BoxFuture<'static, ()>)> {
    let mut tasks: Vec<(&'static str, BoxFuture<'static, ()>)> = Vec::new();
    if let Some((audit, leads)) = audit {
        if let Some((connection, kind)) = reported {
            let findings = audit.findings.clone();
            tasks.push(("reports", Box::pin(write(findings, connection, kind))));
        }
        tasks.push(("audit", Box::pin(audit.run(leads))));
    }
    if let Some(otlp) = otlp {
        tasks.push(("metrics for the collector", Box::pin(send(otlp, Arc::clone(metrics)))));
    }
    tasks
}

/// Sends the metrics to the collector again and again. Never ends; a collector that is away is told
/// of once.
async fn send(otlp: Arc<Otlp>, metrics: Arc<Metrics>) {
    let mut away = false;
    let mut tick = tokio::time::interval(METRICS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let taken = otlp.send_metrics(&metrics.render(), clock().0.into()).await;
        if taken == away {
            if taken {
                tracing::info!("the collector takes metrics again");
            } else {
                tracing::warn!("the collector does not take metrics; they are dropped");
            }
        }
        away = !taken;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::pull::Cause;

    fn finding(found: ProbeResult, loaded: bool) -> Finding {
        Finding {
            registry: "r.example".into(),
            found,
            loaded,
            at: Timestamp::UNIX_EPOCH,
            drift: None,
        }
    }

    #[test]
    fn what_fails_comes_first_and_all_are_counted() {
        let mut images: Images = (0..600)
            .map(|n| (format!("r.example/a:{n:03}").into(), finding(ProbeResult::Pullable, false)))
            .collect();
        let refused = ProbeResult::Refused(Cause::TagNotFound);
        images.insert("r.example/z:1".into(), finding(refused, false));
        images.insert("r.example/z:2".into(), finding(refused, true));
        images.insert("r.example/z:3".into(), finding(ProbeResult::Unclear(Cause::Timeout), false));
        let (summary, results) = report(&images);
        assert_eq!(summary, json!({"pass": 600, "fail": 1, "warn": 1, "error": 0, "skip": 1}));
        let results = results.as_array().unwrap();
        assert_eq!(results.len(), MAX_RESULTS);
        let words: Vec<_> =
            results[..4].iter().map(|one| one["result"].as_str().unwrap()).collect();
        assert_eq!(words, ["fail", "warn", "skip", "pass"]);
        assert_eq!(
            (&results[0]["rule"], &results[0]["severity"]),
            (&json!("tag_not_found"), &json!("high"))
        );
        assert!(results[1]["message"].as_str().unwrap().starts_with("was loaded onto nodes"));
    }
}
