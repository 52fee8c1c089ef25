//! The tasks that keep what is known of the cluster true: what nodes can do that Pullgate cannot, which
//! addresses are the cluster's own, and whether the policy fits what is seen. None of them ends.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use ipnet::IpNet;

use super::{expiries, snapshot};
use crate::cluster::Cluster;
use crate::policy::{IMAGE_SHARING, PullgatePolicy, contradictions};
use crate::pull::{BlindReason, BlindSpot};
use crate::registry::RegistryClient;
use crate::review::{ClusterSource as _, Reviewer, is_refused_to_anybody};
use crate::telemetry::{Metrics, clock};

/// A task that never ends, with its name.
type Task = (&'static str, BoxFuture<'static, ()>);

/// All of them; what they find for the policy's status goes to `found` and `spots`.
pub(super) fn tasks(
    cluster: &Arc<Cluster>,
    reviewer: &Arc<Reviewer>,
    registry: &Arc<RegistryClient>,
    metrics: &Arc<Metrics>,
    (found, spots): (&Contradictions, &BlindSpots),
) -> [Task; 7] {
    let policy = || Arc::clone(&reviewer.policy);
    let retention = snapshot::follow_retention(cluster.clone(), policy());
    let logins = find_node_logins(cluster.clone(), reviewer.clone());
    let plausible = watch_contradictions(cluster.clone(), policy(), metrics.clone(), found.clone());
    let score = snapshot::keep_score(cluster.clone(), reviewer.clone());
    let ranges = follow_ranges(cluster.clone(), registry.clone());
    let expiries = expiries::watch(cluster.clone(), registry.clone(), metrics.clone());
    let blind =
        watch_blind_spots(cluster.clone(), registry.clone(), metrics.clone(), spots.clone());
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

/// What is in the second and not in the first.
fn not_in<'a, T: PartialEq>(before: &'a [T], now: &'a [T]) -> impl Iterator<Item = &'a T> {
    now.iter().filter(|one| !before.contains(one))
}

/// Between two looks for registries that nodes use and Pullgate cannot reach.
const BLIND_SPOTS_EVERY: Duration = Duration::from_secs(10);

/// The registries that cannot be looked into, shared with who writes the policy's status.
pub(super) type BlindSpots = Arc<ArcSwap<Vec<BlindSpot>>>;

/// Which registries nodes use and Pullgate cannot reach: for the policy's status, the metrics and the
/// log. Never ends.
async fn watch_blind_spots(
    cluster: Arc<Cluster>,
    registry: Arc<RegistryClient>,
    metrics: Arc<Metrics>,
    spots: BlindSpots,
) {
    loop {
        tokio::time::sleep(BLIND_SPOTS_EVERY).await;
        let mut now = registry.blind_spots();
        // A name that nobody can resolve is somebody's slip, and no blindness.
        now.retain(|spot| cluster.runs_images_of(&spot.host));
        let before = spots.load();
        for new in not_in(&before, &now) {
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

/// Between two looks at what the policy says of nodes.
const CONTRADICTIONS_EVERY: Duration = Duration::from_secs(60);

/// What the policy says of nodes and the cluster does not show, shared with who writes the policy's status.
pub(super) type Contradictions = Arc<ArcSwap<Vec<String>>>;

/// Whether what the policy says of nodes fits what the cluster shows. Never ends.
async fn watch_contradictions(
    cluster: Arc<Cluster>,
    policy: Arc<ArcSwap<PullgatePolicy>>,
    metrics: Arc<Metrics>,
    found: Contradictions,
) {
    loop {
        tokio::time::sleep(CONTRADICTIONS_EVERY).await;
        let Some(nodes) = cluster.nodes() else { continue };
        let sharing = cluster.running_programs(IMAGE_SHARING);
        let mirror_sets = cluster.mirror_sets().await;
        let now = contradictions(policy.load().spec(), &nodes, &sharing, &mirror_sets);
        let before = found.load();
        for new in not_in(&before, &now) {
            tracing::warn!("the policy may be wrong about the nodes: {new}");
        }
        metrics.policy_contradictions(now.len());
        if **before != now {
            found.store(Arc::new(now));
        }
    }
}

/// Between two looks at the cluster's addresses.
const RANGES_EVERY: Duration = Duration::from_secs(60);
/// Between two looks while the nodes are not known yet.
const NODES_EVERY: Duration = Duration::from_secs(1);
/// Between two looks while the API server does not answer.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Closes the cluster's own addresses to registries that the policy does not declare to be in it; what was once told stays closed until something
/// else is. Never ends.
async fn follow_ranges(cluster: Arc<Cluster>, registry: Arc<RegistryClient>) {
    let (mut services, mut pods, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let (of_services, of_pods) = (cluster.service_ranges().await, cluster.pod_ranges());
        let pause = match (&of_services, &of_pods) {
            (_, None) => NODES_EVERY,
            (None, _) => RETRY_EVERY,
            _ => RANGES_EVERY,
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

/// Between two questions: one image a repository a day is not many.
const LOGINS_EVERY: Duration = Duration::from_secs(1);
/// How long one may take; it is nobody's deadline.
const LOGIN_TIME: Duration = Duration::from_secs(10);

/// Finds out whether nodes log in to registries by themselves: what pods got without a pull secret is
/// asked for without a login, one image at a time, and again a day later. Never ends.
async fn find_node_logins(cluster: Arc<Cluster>, reviewer: Arc<Reviewer>) {
    loop {
        tokio::time::sleep(LOGINS_EVERY).await;
        let (now, began) = clock();
        let Some(reference) = cluster.next_secretless(now) else { continue };
        let policy = reviewer.policy.load_full();
        let registry = &*reviewer.registry;
        let refused =
            is_refused_to_anybody(registry, &policy, &reference, began + LOGIN_TIME).await;
        if let Some(refused) = refused {
            let host = reference.host();
            tracing::debug!(registry = host, refused, "asked for what a pod got without a secret");
            cluster.note_anonymous(&reference, refused, clock().0);
        }
    }
}
