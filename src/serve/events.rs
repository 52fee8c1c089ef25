//! What becomes an Event: what a review asks for, and pods that begin to fail to pull. In tasks of their
//! own, seldom enough, and never before an answer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::cluster::Cluster;
use crate::history::FailingWorkload;
use crate::review::{EventQueue, EventRequest, Reviewer};
use crate::telemetry::{ApiCall, Metrics, clock};

/// Concerns that may wait; more are dropped.
const WAITING: usize = 64;
/// The same about the same workload is said again after so long.
const AGAIN: Duration = Duration::from_secs(3600);
/// Workloads that are remembered as told.
const MAX_TOLD: usize = 4096;
/// At most so many at once, half of them about pods, and then one each [`PACE`].
const BURST: u32 = 20;
const FOR_WORKLOADS: u32 = BURST / 2;
const PACE: Duration = Duration::from_secs(2);
/// How long the second look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way in.
pub(super) struct BoundedEventQueue {
    sender: mpsc::Sender<EventRequest>,
    metrics: Arc<Metrics>,
}

/// The way out.
pub(super) type Waiting = mpsc::Receiver<EventRequest>;

impl BoundedEventQueue {
    /// Both ends.
    pub(super) fn new(metrics: &Arc<Metrics>) -> (Self, Waiting) {
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self { sender, metrics: Arc::clone(metrics) }, waiting)
    }
}

impl EventQueue for BoundedEventQueue {
    fn offer(&self, event_request: EventRequest) {
        if self.sender.try_send(event_request).is_err() {
            self.metrics.api_call(ApiCall::Event, "dropped");
        }
    }
}

/// Writes an Event for each concern that is not told yet. Never ends.
pub(super) async fn write_requested(
    mut waiting: Waiting,
    reviewer: Arc<Reviewer>,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
) {
    let mut told = SentEvents::default();
    while let Some(event_request) = waiting.recv().await {
        let (now, moment) = clock();
        let Some(key) = told.is_new(&event_request, moment) else { continue };
        if !told.has_room(moment, event_request.workload.is_pod) {
            metrics.api_call(ApiCall::Event, "dropped");
            continue;
        }
        told.when.insert(key, moment);
        if let Some(event) = reviewer.event(&event_request, now, moment + PATIENCE).await {
            cluster.write_event(&event, now).await;
        }
    }
    // The reviewer holds the other end: only at the end of the process.
    std::future::pending::<()>().await;
}

/// What was said recently, and how often.
#[derive(Default)]
struct SentEvents {
    when: HashMap<u64, Instant>,
    tokens: Option<(u32, Instant)>,
}

impl SentEvents {
    /// What it is known by, if it was not said recently.
    fn is_new(&mut self, event_request: &EventRequest, now: Instant) -> Option<u64> {
        let (_, uid) = event_request.about()?;
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        for image in &event_request.workload.images {
            image.image.hash(&mut hasher);
        }
        let key = hasher.finish();
        self.when.retain(|_, at| now.duration_since(*at) < AGAIN);
        (self.when.len() < MAX_TOLD && !self.when.contains_key(&key)).then_some(key)
    }

    /// Whether one more may be shown now. Pods leave room for workloads: that is where people look.
    fn has_room(&mut self, now: Instant, is_pod: bool) -> bool {
        let (mut tokens, mut since) = self.tokens.unwrap_or((BURST, now));
        while tokens < BURST && now.duration_since(since) >= PACE {
            tokens += 1;
            since += PACE;
        }
        if tokens == BURST {
            since = now;
        }
        let room = tokens > if is_pod { FOR_WORKLOADS } else { 0 };
        self.tokens = Some((if room { tokens - 1 } else { tokens }, since));
        room
    }
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A pod that has failed for a shorter time may get its image yet.
const AT_LEAST: u32 = 20;
/// Workloads that are told of in one look.
const AT_ONCE: usize = 10;

/// Pods that begin to fail to pull become one Event on their workload, by itself, once an hour.
///
/// Writes the Events while this replica leads; where nobody leads, every replica does, and writes
/// the same Event. Never ends.
pub(super) async fn write_of_failing_pods(
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::{extract, pod_path};

    fn event_request(uid: &str, image: &str) -> EventRequest {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "uid": uid},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}}});
        let raw = serde_json::value::to_raw_value(&object).unwrap();
        let workload = extract(&raw, &pod_path("apps", "Deployment").unwrap()).unwrap();
        EventRequest { workload, namespace: "shop".into() }
    }

    #[test]
    fn the_same_is_told_once_an_hour() {
        let (_, now) = clock();
        let mut told = SentEvents::default();
        let mut tell = |uid: &str, image: &str, now| {
            let key = told.is_new(&event_request(uid, image), now);
            told.when.extend(key.map(|key| (key, now)));
            key.is_some()
        };
        assert!(tell("u", "a:1", now));
        assert!(!tell("u", "a:1", now));
        assert!(tell("u", "a:2", now));
        assert!(tell("v", "a:1", now));
        assert!(!tell("", "a:1", now), "nothing to write it about");
        assert!(tell("u", "a:1", now + AGAIN));
    }

    #[test]
    fn a_flood_becomes_a_trickle() {
        let (_, now) = clock();
        let mut told = SentEvents::default();
        let pods = (0..100).filter(|_| told.has_room(now, true)).count();
        assert_eq!(pods, (BURST - FOR_WORKLOADS) as usize);
        let workloads = (0..100).filter(|_| told.has_room(now, false)).count();
        assert_eq!(workloads, FOR_WORKLOADS as usize);
        let later = (0..100).filter(|_| told.has_room(now + PACE * 3, false)).count();
        assert_eq!(later, 3);
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_nobody_waits() {
        let metrics = Arc::new(Metrics::new());
        let (event_requests, _waiting) = BoundedEventQueue::new(&metrics);
        for _ in 0..=WAITING {
            event_requests.offer(event_request("u", "a:1"));
        }
        assert!(metrics.render().contains(r#"resource="event",outcome="dropped"} 1"#));
    }
}
