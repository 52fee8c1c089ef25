//! A cluster that is not watched: what a person may list there is listed once, with their own rights.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use jiff::Timestamp;

use crate::cluster::{Cluster, Connection, Survey, WatchTuning};
use crate::telemetry::Metrics;

/// A cluster of which nothing is listed yet.
pub(super) fn unwatched(connection: Connection) -> Cluster {
    Cluster::new(connection, WatchTuning::default(), &Arc::new(Metrics::new()))
}

/// A cluster, and what was listed: of all namespaces if that may be, else of this one.
pub(super) async fn survey(
    connection: Connection,
    namespace: &str,
    now: Timestamp,
    deadline: Instant,
) -> anyhow::Result<(Cluster, Survey)> {
    let cluster = unwatched(connection);
    let survey = cluster.survey(namespace, now, deadline).await;
    let survey = survey.context("failed to list the pods that you may see")?;
    Ok((cluster, survey))
}
