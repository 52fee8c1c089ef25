//! The tasks that keep what is known of the cluster true.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{blind, expiries, node_logins, plausible, ranges, snapshot};
use crate::cluster::Cluster;
use crate::registry::RegistryClient;
use crate::review::Reviewer;
use crate::telemetry::Metrics;

/// A task that never ends, with its name.
type Task = (&'static str, BoxFuture<'static, ()>);

/// All of them; what they find for the policy's status goes to `found` and `spots`.
pub(super) fn tasks(
    cluster: &Arc<Cluster>,
    reviewer: &Arc<Reviewer>,
    registry: &Arc<RegistryClient>,
    metrics: &Arc<Metrics>,
    (found, spots): (&plausible::Found, &blind::Spots),
) -> [Task; 7] {
    let policy = || Arc::clone(&reviewer.policy);
    let retention = snapshot::follow_retention(cluster.clone(), policy());
    let logins = node_logins::find_out(cluster.clone(), reviewer.clone());
    let plausible = plausible::watch(cluster.clone(), policy(), metrics.clone(), found.clone());
    let score = snapshot::keep_score(cluster.clone(), reviewer.clone());
    let ranges = ranges::follow(cluster.clone(), registry.clone());
    let expiries = expiries::watch(cluster.clone(), registry.clone(), metrics.clone());
    let blind = blind::watch(cluster.clone(), registry.clone(), metrics.clone(), spots.clone());
    [
        ("retention", Box::pin(retention)),
        ("node logins", Box::pin(logins)),
        ("policy's plausibility", Box::pin(plausible)),
        ("score", Box::pin(score)),
        ("blind spots", Box::pin(blind)),
        ("ends of pull secrets", Box::pin(expiries)),
        ("cluster's ranges", Box::pin(ranges)),
    ]
}
