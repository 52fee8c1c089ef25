//! What tells others: the audit with its reports, and the metrics for an OpenTelemetry collector.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::audit::Audit;
use super::clock::clock;
use super::reports;
use crate::cluster::{Connection, ReportKind};
use crate::telemetry::{METRICS_EVERY, Metrics, Otlp};

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
            tasks.push(("reports", Box::pin(reports::write(findings, connection, kind))));
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
