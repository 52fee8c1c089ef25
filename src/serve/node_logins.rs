//! Finds out whether nodes log in to registries by themselves: what pods got without a pull secret
//! is asked for without a login, one image at a time.

use std::sync::Arc;
use std::time::Duration;

use super::clock::clock;
use crate::cluster::Cluster;
use crate::review::{Reviewer, is_refused_to_anybody};

/// Between two questions: one image a repository a day is not many.
const PACE: Duration = Duration::from_secs(1);
/// How long one may take; it is nobody's deadline.
const LOOK: Duration = Duration::from_secs(10);

/// Asks for what is not known yet, and again a day later. Never ends.
pub(super) async fn find_out(cluster: Arc<Cluster>, reviewer: Arc<Reviewer>) {
    loop {
        tokio::time::sleep(PACE).await;
        let (now, began) = clock();
        let Some(reference) = cluster.next_secretless(now) else { continue };
        let policy = reviewer.policy.load_full();
        let registry = &*reviewer.registry;
        let refused = is_refused_to_anybody(registry, &policy, &reference, began + LOOK).await;
        if let Some(refused) = refused {
            let host = reference.host();
            tracing::debug!(registry = host, refused, "asked for what a pod got without a secret");
            cluster.note_anonymous(&reference, refused, clock().0);
        }
    }
}
