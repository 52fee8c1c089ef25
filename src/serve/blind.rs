//! Which registries nodes use and Pullgate cannot reach: for the policy's status, the metrics
//! and the log.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cluster::Cluster;
use crate::pull::{BlindReason, BlindSpot};
use crate::registry::RegistryClient;
use crate::telemetry::Metrics;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// What was last found, shared with who writes the policy's status.
pub(super) type Spots = Arc<ArcSwap<Vec<BlindSpot>>>;

/// Looks, and tells what is new. Never ends.
pub(super) async fn watch(
    cluster: Arc<Cluster>,
    registry: Arc<RegistryClient>,
    metrics: Arc<Metrics>,
    spots: Spots,
) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut now = registry.blind_spots();
        // A name that nobody can resolve is somebody's slip, and no blindness.
        now.retain(|spot| cluster.runs_images_of(&spot.host));
        let before = spots.load();
        for new in now.iter().filter(|one| !before.contains(one)) {
            tracing::warn!(
                "cannot reach a registry that nodes use: {}",
                new.sentence_for_operators()
            );
        }
        let labels = now.iter().map(|spot| (&*spot.host, BlindReason::as_str(spot.reason)));
        metrics.blind(labels);
        if **before != now {
            spots.store(Arc::new(now));
        }
    }
}
