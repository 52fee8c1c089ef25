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
/// Between two looks while the API server does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Keeps closed what the cluster tells of its addresses; what was once told stays closed until something
/// else is. Never ends.
pub(super) async fn follow(cluster: Arc<Cluster>, registry: Arc<RegistryClient>) {
    let (mut services, mut pods, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let (of_services, of_pods) = (cluster.service_ranges().await, cluster.pod_ranges());
        let pause = match (&of_services, &of_pods) {
            (_, None) => LOOK_AGAIN,
            (None, _) => ASK_AGAIN,
            _ => LOOK_EVERY,
        };
        services = of_services.unwrap_or(services);
        pods = of_pods.unwrap_or(pods);
        let ranges = [services.as_slice(), &pods].concat();
        if ranges != closed {
            let shown: Vec<String> = ranges.iter().map(IpNet::to_string).collect();
            tracing::info!(
                ranges = shown.join(","),
                "only registries of registries.inCluster are contacted at the cluster's addresses"
            );
            registry.take_cluster_ranges(&ranges);
            closed = ranges;
        }
        tokio::time::sleep(pause).await;
    }
}
