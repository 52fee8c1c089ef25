//! Pods that begin to fail to pull become one Event on their workload, by itself, once an hour.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::clock::clock;
use crate::cluster::Cluster;
use crate::history::FailingWorkload;
use crate::review::{EventRequest, Reviewer};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A pod that has failed for a shorter time may get its image yet.
const AT_LEAST: u32 = 20;
/// The same about the same workload is said again after so long.
const AGAIN: Duration = Duration::from_secs(3600);
/// Workloads that are remembered as told.
const MAX_TOLD: usize = 4096;
/// Workloads that are told of in one look.
const AT_ONCE: usize = 10;
/// How long the second look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the Events while this replica leads; where nobody leads, every replica does, and writes
/// the same Event. Never ends.
pub(super) async fn tell(
    cluster: Arc<Cluster>,
    reviewer: Arc<Reviewer>,
    leads: Option<watch::Receiver<bool>>,
) {
    let mut told: HashMap<String, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let leading = leads.as_ref().is_none_or(|leads| *leads.borrow());
        if !leading || !reviewer.policy.load().spec().advice.events {
            continue;
        }
        let (now, moment) = clock();
        told.retain(|_, at| moment.duration_since(*at) < AGAIN);
        let mut left = AT_ONCE;
        for failing in cluster.failing_now(AT_LEAST, now) {
            let FailingWorkload { kind, namespace, name, .. } = &failing;
            let key = format!("{kind}/{namespace}/{name}");
            if left == 0 || told.len() >= MAX_TOLD || told.contains_key(&key) {
                continue;
            }
            left -= 1;
            told.insert(key, moment);
            write(&cluster, &reviewer, &failing).await;
        }
    }
}

async fn write(cluster: &Cluster, reviewer: &Reviewer, failing: &FailingWorkload) {
    let Some(pod) = cluster.failing_pod(failing).await else { return };
    let event_request =
        EventRequest { workload: pod.workload, namespace: failing.namespace.clone() };
    let (now, moment) = clock();
    let times = (now, moment + PATIENCE);
    let about = (pod.about, pod.uid);
    if let Some(event) = reviewer.failing_event(&event_request, about, failing.cause, times).await {
        cluster.write_event(&event, now).await;
    }
}
