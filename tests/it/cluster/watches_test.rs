//! The index after everything that can happen to a watch, against one built from a fresh list:
//! ten thousand pods at a real API server that is slow, cut off, restarted and has forgotten.
//!
//! The index is asked through the traits that a review asks; nothing is built in for this test.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::pullgate::cluster::{Cluster, ClusterTarget, Connection, WatchTuning};
use ::pullgate::history::{Freshness, HistoryQuestion, Visibility};
use ::pullgate::image::ImageReference;
use ::pullgate::review::HealthSource;
use ::pullgate::telemetry::Metrics;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::core::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::control_plane::{ADMIN, ControlPlane, PULLGATE};
use super::proxy::Proxy;
use super::{programs, pullgate, runtime, skipped};

const PODS: usize = 10_000;
const PODS_PATH: &str = "/api/v1/pods";
const NAMESPACES: usize = 5;
const IMAGES: usize = 100;
/// Writes under way at a time.
const WRITERS: usize = 48;
/// How long the index may take to catch up; continuous integration machines are slow.
const CATCH_UP: Duration = Duration::from_secs(120);

fn image(nth: usize) -> String {
    format!("r{}.example/app{}:{}", nth % 4, nth % 25, nth % IMAGES)
}

fn namespace(nth: usize) -> String {
    format!("many-{}", nth % NAMESPACES)
}

fn pod(nth: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{nth}"), "namespace": namespace(nth)},
        "spec": {
            "nodeName": format!("node-{}", nth % 20),
            "automountServiceAccountToken": false,
            "imagePullSecrets": if nth.is_multiple_of(3) { json!([{"name": "login"}]) } else { json!([]) },
            "containers": [{"name": "a", "image": image(nth)}],
        },
    })
}

/// What a node says of it, the `turn`-th time.
fn status(nth: usize, turn: usize) -> Value {
    let state = match (nth + turn) % 4 {
        0 => json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}),
        1 => {
            json!({"waiting": {"reason": "ErrImagePull", "message": "dial tcp 10.0.0.1:443: i/o timeout"}})
        }
        _ => json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}}),
    };
    json!({"status": {"containerStatuses": [{
        "name": "a", "image": image(nth), "imageID": "", "ready": false, "restartCount": 0,
        "state": state, "lastState": {},
    }]}})
}

/// One write to the API server.
enum Write {
    Create(usize),
    Status(usize, usize),
    Delete(usize),
}

/// The administrator, writing many things at a time.
struct Writer(Connection);

impl Writer {
    async fn all(&self, writes: impl IntoIterator<Item = Write>) {
        let writes = writes.into_iter().map(|write| self.write(write));
        stream::iter(writes).buffer_unordered(WRITERS).for_each(|()| async {}).await;
    }

    async fn write(&self, write: Write) {
        let params = kube::api::PostParams::default();
        let path = |nth: usize| Request::new(format!("/api/v1/namespaces/{}/pods", namespace(nth)));
        let name = |nth: usize| format!("pod-{nth}");
        let request = match &write {
            Write::Create(nth) => path(*nth).create(&params, pod(*nth).to_string().into_bytes()),
            Write::Status(nth, turn) => path(*nth).patch_subresource(
                "status",
                &name(*nth),
                &kube::api::PatchParams::default(),
                &kube::api::Patch::Merge(status(*nth, *turn)),
            ),
            Write::Delete(nth) => {
                let now = kube::api::DeleteParams::default().grace_period(0);
                path(*nth).delete(&name(*nth), &now)
            }
        };
        let answer = self.0.client().request_text(request.unwrap()).await;
        answer.unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Writer {
    /// The version that the pods stand at.
    async fn version(&self) -> String {
        let one = kube::api::ListParams::default().limit(1);
        let list = self.0.client().request::<Value>(Request::new(PODS_PATH).list(&one).unwrap());
        list.await.unwrap()["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// What the API server says to one who watches pods from this version on.
    async fn watch_from(&self, version: &str) -> String {
        let params = kube::api::WatchParams::default().timeout(1);
        let watch = Request::new(PODS_PATH).watch(&params, version).unwrap();
        match self.0.client().request_text(watch).await {
            Ok(lines) => lines,
            Err(kube::Error::Api(status)) => format!(r#""code":{}"#, status.code),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A cluster edge that watches.
struct Watching {
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    _tasks: JoinSet<()>,
}

impl Watching {
    /// Watches as the deployed server does, over this port of loopback.
    async fn through(plane: &ControlPlane, port: u16) -> Self {
        let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig(PULLGATE)).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.cluster_url = format!("https://127.0.0.1:{port}").parse().unwrap();
        let tuning = WatchTuning {
            page_time: Duration::from_secs(20),
            watch_time: Duration::from_secs(60),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(1),
            ..WatchTuning::default()
        };
        let metrics = Arc::new(Metrics::new());
        let cluster = Arc::new(Cluster::new(Connection::with(config).unwrap(), tuning, &metrics));
        let mut tasks = JoinSet::new();
        for (_, watch) in cluster.watches() {
            tasks.spawn(watch);
        }
        Self { cluster, metrics, _tasks: tasks }
    }

    async fn synced(&self) {
        let begun = Instant::now();
        while self.cluster.freshness() != Freshness::Current {
            assert!(begun.elapsed() < CATCH_UP, "never synced");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that it would tell, line by line; without times, which a fresh list cannot know.
    fn picture(&self) -> Vec<String> {
        let visibilities: Vec<Visibility> = (0..NAMESPACES)
            .map(|nth| Visibility::Namespaces(vec![namespace(nth).into()]))
            .chain([Visibility::Cluster])
            .collect();
        let mut lines = Vec::new();
        for nth in 0..IMAGES {
            let reference = ImageReference::parse(&image(nth)).unwrap();
            for visibility in &visibilities {
                let (namespace, reference) = (&*namespace(nth), &reference);
                let question = HistoryQuestion { reference, namespace, visibility };
                let history = self.cluster.history(&question, Timestamp::now());
                assert_eq!(history.freshness, Freshness::Current);
                let mut tags: Vec<_> = history
                    .known_tags
                    .iter()
                    .map(|tag| (tag.reference.to_string(), tag.pods, tag.in_namespace))
                    .collect();
                tags.sort();
                let mut line = format!("{reference} {tags:?} {:?} ", history.failures);
                let registry = &history.registry;
                let _ = write!(
                    line,
                    "{} {} {} {:?}",
                    history.failing_workloads,
                    registry.healthy,
                    registry.failing,
                    registry.main_cause
                );
                lines.push(line);
            }
        }
        for nth in 0..NAMESPACES {
            lines.push(format!("{:?}", self.cluster.pull_secrets_in_use(&namespace(nth))));
        }
        lines
    }

    /// How many complete lists of pods it has taken in.
    fn lists(&self) -> u32 {
        let page = self.metrics.render();
        let line = r#"pullgate_watch_lists_total{resource="pods"} "#;
        let count = page.lines().find_map(|one| one.strip_prefix(line));
        count.map_or(0, |count| count.parse().unwrap())
    }
}

/// Waits until the index is that of a fresh list; what happened before this is all there is.
async fn becomes_as_fresh(index: &Watching, plane: &ControlPlane, when: &str) {
    let port = plane.url().rsplit(':').next().unwrap().parse().unwrap();
    let fresh = Watching::through(plane, port).await;
    fresh.synced().await;
    let wanted = fresh.picture();
    let begun = Instant::now();
    loop {
        index.synced().await;
        let found = index.picture();
        if found == wanted {
            return;
        }
        if begun.elapsed() > CATCH_UP {
            let differs = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
            panic!("{when}: {differs:#?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn after_bursts_cuts_restarts_and_410_the_index_is_that_of_a_fresh_list() {
    let Some(programs) = programs().inspect_err(|reason| skipped(reason)).ok() else { return };
    let mut plane = ControlPlane::start(&programs).unwrap();
    pullgate::grant_rights(&plane);
    for nth in 0..NAMESPACES {
        plane.namespace_called(&namespace(nth), &[]);
    }
    let admin = ClusterTarget::Kubeconfig { path: Some(plane.kubeconfig(ADMIN)), context: None };
    let writer = runtime().block_on(async { Writer(Connection::to(admin).await.unwrap()) });
    let proxy = Proxy::start(plane.url().trim_start_matches("https://")).unwrap();

    let index = runtime().block_on(async {
        // It watches from the start: half of the pods come by its watch, half by its first list.
        writer.all((0..PODS / 2).map(Write::Create)).await;
        proxy.slow_down(Duration::from_millis(20));
        let index = Watching::through(&plane, proxy.port()).await;
        writer.all((PODS / 2..PODS).map(Write::Create)).await;
        writer.all((0..PODS).step_by(5).map(|nth| Write::Status(nth, 0))).await;
        index.synced().await;
        proxy.slow_down(Duration::ZERO);
        becomes_as_fresh(&index, &plane, "after a slow list and ten thousand pods").await;

        // Bursts, with every connection cut in their midst.
        let burst = writer.all((0..1000).flat_map(|nth| {
            let status = Write::Status(nth * 7, 1);
            let other = if nth.is_multiple_of(2) {
                Write::Delete(nth * 7 + 1)
            } else {
                Write::Status(nth * 7, 2)
            };
            [status, other]
        }));
        let cuts = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(300)).await;
                proxy.cut();
            }
        };
        futures::join!(burst, cuts);
        becomes_as_fresh(&index, &plane, "after bursts and cut connections").await;
        index
    });

    // Out of contact while pods come and go, and then before a server that has forgotten: 410.
    let lists = index.lists();
    let version = runtime().block_on(writer.version());
    proxy.refuse(true);
    proxy.cut();
    runtime().block_on(writer.all((0..300).map(|nth| Write::Delete(nth * 7 + 3))));
    runtime().block_on(writer.all((PODS..PODS + 300).map(Write::Create)));
    plane.restart_api_server().unwrap();
    let refused = runtime().block_on(writer.watch_from(&version));
    assert!(refused.contains(r#""code":410"#), "the API server has forgotten: {refused}");
    proxy.refuse(false);
    runtime().block_on(async {
        becomes_as_fresh(&index, &plane, "after a restart of the API server").await;
    });
    assert!(index.lists() > lists, "a server that has forgotten is listed anew");
    let page = index.metrics.render();
    assert!(page.contains("pullgate_index_pods 9"), "half a thousand of them are gone: {page}");
    drop(index);
}
