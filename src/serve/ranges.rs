//! Closes the cluster's own addresses to registries that the policy does not declare to be in it.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::cluster::Cluster;
use crate::registry::RegistryClient;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between two looks while the nodes are not known yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Keeps closed what the cluster tells of its addresses. Never ends.
pub(super) async fn follow(cluster: Arc<Cluster>, registry: Arc<RegistryClient>) {
    let mut closed = Vec::new();
    loop {
        let (ranges, complete) = cluster.own_ranges().await;
        if ranges != closed {
            let shown: Vec<String> = ranges.iter().map(IpNet::to_string).collect();
            tracing::info!(
                ranges = shown.join(","),
                "only registries of registries.inCluster are contacted at the cluster's addresses"
            );
            registry.take_cluster_ranges(&ranges);
            closed = ranges;
        }
        tokio::time::sleep(if complete { LOOK_EVERY } else { LOOK_AGAIN }).await;
    }
}
