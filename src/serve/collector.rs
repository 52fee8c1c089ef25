//! Sends the metrics to an OpenTelemetry collector, where one is named.

use std::sync::Arc;

use super::wiring::clock;
use crate::telemetry::{METRICS_EVERY, Metrics, Otlp};

/// Sends the metrics to the collector again and again. Never ends; a collector that is away is told
/// of once.
pub(super) async fn send(otlp: Arc<Otlp>, metrics: Arc<Metrics>) {
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
