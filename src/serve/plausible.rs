//! Looks now and then whether what the policy says of nodes fits what the cluster shows.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cluster::Cluster;
use crate::policy::{IMAGE_SHARING, PullgatePolicy, contradictions};
use crate::review::ClusterSource as _;
use crate::telemetry::Metrics;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What was last found, shared with who writes the policy's status.
pub(super) type Found = Arc<ArcSwap<Vec<String>>>;

/// Looks, and tells what is new. Never ends.
pub(super) async fn watch(
    cluster: Arc<Cluster>,
    policy: Arc<ArcSwap<PullgatePolicy>>,
    metrics: Arc<Metrics>,
    found: Found,
) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(nodes) = cluster.nodes() else { continue };
        let sharing = cluster.running_programs(IMAGE_SHARING);
        let mirror_sets = cluster.mirror_sets().await;
        let now = contradictions(policy.load().spec(), &nodes, &sharing, &mirror_sets);
        let before = found.load();
        for new in now.iter().filter(|one| !before.contains(one)) {
            tracing::warn!("the policy may be wrong about the nodes: {new}");
        }
        metrics.policy_contradictions(now.len());
        if **before != now {
            found.store(Arc::new(now));
        }
    }
}
