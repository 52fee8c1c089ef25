//! The cluster edge against an API server that misbehaves in every way we know of.

mod neighbours;
mod survey;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use pullgate::cluster::{Cluster, Connection, WatchTuning};
use pullgate::history::Freshness;
use pullgate::review::{AccessSource, ClusterSource, Fetched, HealthSource, ObjectQuery, Reading};
use pullgate::telemetry::Metrics;
use pullgate::user::UserInfo;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A request as the stub saw it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    query: HashMap<String, String>,
    accept: String,
    body: Value,
}

impl Seen {
    fn is_watch(&self) -> bool {
        self.query.contains_key("watch")
    }
}

/// What the stub does about a request.
enum Reply {
    Json(Value),
    Status(u16),
    /// A watch: these lines as they come; ends when the sender is dropped.
    Lines(mpsc::UnboundedReceiver<String>),
    Never,
    /// After a while.
    Later(Duration, Value),
}

/// An API server that replies as a test says.
struct Stub {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&seen), Arc::new(reply));
        let app = axum::Router::new().fallback(move |request: Request<Body>| {
            let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
            async move {
                let request = read(request).await;
                log.lock().unwrap().push(request.clone());
                respond(reply(&request)).await
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen, task }
    }

    fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| wanted(seen)).count()
    }

    fn first(&self, wanted: impl Fn(&Seen) -> bool) -> Option<Seen> {
        self.seen.lock().unwrap().iter().find(|seen| wanted(seen)).cloned()
    }

    fn cluster(&self) -> (Arc<Cluster>, Arc<Metrics>) {
        let connection = Connection::with(kube::Config::new(self.url.parse().unwrap())).unwrap();
        let tuning = WatchTuning {
            page: 2,
            longest_page: 64 << 10,
            page_time: Duration::from_millis(500),
            watch_time: Duration::from_secs(2),
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_millis(50),
        };
        let metrics = Arc::new(Metrics::new());
        (Arc::new(Cluster::new(connection, tuning, &metrics)), metrics)
    }
}

async fn read(request: Request<Body>) -> Seen {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let accept = parts.headers.get("accept").map(|v| v.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    Seen {
        path: parts.uri.path().to_owned(),
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        accept: accept.unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

async fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Json(value) => value.to_string().into_response(),
        Reply::Status(code) => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": "as the test says", "reason": "Test", "code": code});
            (StatusCode::from_u16(code).unwrap(), status.to_string()).into_response()
        }
        Reply::Lines(lines) => {
            let lines = futures::stream::unfold(lines, |mut lines| async {
                let line = lines.recv().await?;
                Some((Ok::<_, std::io::Error>(Bytes::from(line)), lines))
            });
            // Something to flush the head with.
            let head = futures::stream::iter([Ok(Bytes::new())]);
            Body::from_stream(head.chain(lines)).into_response()
        }
        Reply::Never => std::future::pending().await,
        Reply::Later(pause, value) => {
            tokio::time::sleep(pause).await;
            value.to_string().into_response()
        }
    }
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "resourceVersion": "1"},
        "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}}})
}

fn list(version: &str, items: &[Value]) -> Reply {
    Reply::Json(json!({"metadata": {"resourceVersion": version}, "items": items}))
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

fn names(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.nodes().unwrap();
    nodes.iter().map(|node| node.name.to_string()).collect()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came about: {what}");
}

fn run(cluster: &Cluster) -> tokio::task::JoinSet<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (_, watch) in cluster.watches() {
        tasks.spawn(watch);
    }
    tasks
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

const NODES: &str = "/api/v1/nodes";

/// Watches whose lines a test sends, one after another as they are opened.
#[derive(Clone, Default)]
struct Watches(Arc<Mutex<Vec<mpsc::UnboundedSender<String>>>>);

impl Watches {
    fn open(&self) -> Reply {
        let (send, receive) = mpsc::unbounded_channel();
        self.0.lock().unwrap().push(send);
        Reply::Lines(receive)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn send(&self, line: String) {
        self.0.lock().unwrap().last().unwrap().send(line).unwrap();
    }

    /// Ends the watch that was opened last.
    fn end(&self) {
        *self.0.lock().unwrap().last_mut().unwrap() = mpsc::unbounded_channel().0;
    }
}

#[tokio::test]
async fn nodes_and_namespaces_are_listed_by_pages_then_watched() {
    let watches = Watches::default();
    let opened = watches.clone();
    let stub = Stub::start(move |seen| match (seen.path.as_str(), seen.is_watch()) {
        (NODES, true) => opened.open(),
        (NODES, false) => match seen.query.get("continue").map(String::as_str) {
            None => Reply::Json(json!({"metadata": {"resourceVersion": "7", "continue": "more"},
                "items": [node("a"), node("b")]})),
            Some(_) => list("7", &[node("c")]),
        },
        (_, true) => Reply::Never,
        (_, false) => list("3", &[json!({"metadata": {"name": "shop", "labels": {"x": "y"}}})]),
    })
    .await;
    let (cluster, metrics) = stub.cluster();
    assert_eq!(cluster.freshness(), Freshness::Learning);
    let _tasks = run(&cluster);
    eventually("synced", || cluster.freshness() == Freshness::Current).await;
    assert_eq!(names(&cluster), ["a", "b", "c"]);
    let facts = cluster.namespace("shop").unwrap();
    assert_eq!(facts.labels, [("x".into(), "y".into())]);
    assert_eq!(cluster.namespace("other"), None);

    eventually("watch", || watches.count() == 1).await;
    watches.send(line("ADDED", &node("d")));
    watches.send(line("DELETED", &node("a")));
    eventually("d for a", || names(&cluster) == ["b", "c", "d"]).await;
    let first = stub.first(|seen| seen.path == NODES && seen.is_watch()).unwrap();
    assert_eq!(first.query["resourceVersion"], "7");
    assert_eq!(first.query["allowWatchBookmarks"], "true");
    let namespaces = stub.first(|seen| seen.path == "/api/v1/namespaces").unwrap();
    assert!(namespaces.accept.contains("as=PartialObjectMetadataList"), "{}", namespaces.accept);
    assert_eq!(namespaces.query["limit"], "2");
    let page = metrics.render();
    assert!(page.contains(r#"pullgate_watch_synced{resource="nodes"} 1"#), "{page}");
}

/// A stub whose nodes are listed by `listed`, with watches that the test drives.
async fn nodes_only(
    watches: &Watches,
    listed: impl Fn(usize) -> Reply + Send + Sync + 'static,
    refused: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static,
) -> Stub {
    let (opened, lists) = (watches.clone(), std::sync::atomic::AtomicUsize::new(0));
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let order = Ordering::SeqCst;
    Stub::start(move |seen| match (seen.path.as_str(), seen.is_watch()) {
        (NODES, false) => listed(lists.fetch_add(1, order)),
        (NODES, true) => refused(tries.fetch_add(1, order)).unwrap_or_else(|| opened.open()),
        (_, false) => list("1", &[]),
        (_, true) => Reply::Never,
    })
    .await
}

#[tokio::test]
async fn a_410_in_the_watch_leads_to_a_new_list_and_what_vanished_is_gone() {
    let watches = Watches::default();
    let listed = |time| {
        if time == 0 { list("5", &[node("a"), node("b")]) } else { list("90", &[node("b")]) }
    };
    let stub = nodes_only(&watches, listed, |_| None).await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("watch", || watches.count() == 1).await;
    assert_eq!(names(&cluster), ["a", "b"]);
    watches.send(line("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired"})));
    eventually("new list", || names(&cluster) == ["b"]).await;
    eventually("new watch", || watches.count() == 2).await;
    assert_eq!(stub.count(|seen| seen.query.get("resourceVersion").is_some_and(|v| v == "90")), 1);
}

#[tokio::test]
async fn what_a_new_list_shows_and_cannot_be_read_stays_as_it_was_known() {
    let watches = Watches::default();
    let listed = |time| {
        let odd = json!({"metadata": {"name": 5, "uid": "b"}});
        let second = if time == 0 { node("b") } else { odd };
        list(&format!("{time}5"), &[node("a"), second])
    };
    let refuse = |time| (time == 0).then_some(Reply::Status(410));
    let stub = nodes_only(&watches, listed, refuse).await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("watch", || watches.count() == 1).await;
    assert_eq!(stub.count(|seen| seen.path == NODES && !seen.is_watch()), 2);
    assert_eq!(names(&cluster), ["a", "b"]);
}

#[tokio::test]
async fn a_410_that_refuses_the_watch_leads_to_a_new_list_too() {
    let watches = Watches::default();
    let refuse = |time| (time == 0).then_some(Reply::Status(410));
    let stub = nodes_only(&watches, |time| list(&format!("{time}5"), &[node("a")]), refuse).await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("watch", || watches.count() == 1).await;
    assert_eq!(stub.count(|seen| seen.path == NODES && !seen.is_watch()), 2);
}

#[tokio::test]
async fn a_watch_that_breaks_off_goes_on_from_the_last_bookmark_without_a_new_list() {
    let watches = Watches::default();
    let stub = nodes_only(&watches, |_| list("5", &[node("a")]), |_| None).await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("watch", || watches.count() == 1).await;
    watches.send(line("BOOKMARK", &json!({"kind": "Node", "metadata": {"resourceVersion": "77"}})));
    // In the middle of a line.
    watches.send(r#"{"type":"ADDED","object":{"metadata":{"na"#.to_owned());
    tokio::time::sleep(Duration::from_millis(50)).await;
    watches.end();
    eventually("next watch", || watches.count() == 2).await;
    assert_eq!(stub.count(|seen| seen.query.get("resourceVersion").is_some_and(|v| v == "77")), 1);
    assert_eq!(stub.count(|seen| seen.path == NODES && !seen.is_watch()), 1);
    watches.send(line("ADDED", &node("b")));
    eventually("b", || names(&cluster) == ["a", "b"]).await;
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_left_out_and_counted() {
    let watches = Watches::default();
    let odd = json!({"metadata": {"name": 5}});
    let in_list = odd.clone();
    let stub =
        nodes_only(&watches, move |_| list("5", &[in_list.clone(), node("a")]), |_| None).await;
    let (cluster, metrics) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("watch", || watches.count() == 1).await;
    watches.send(line("ADDED", &odd));
    watches.send(line("ADDED", &node("b")));
    eventually("b", || names(&cluster) == ["a", "b"]).await;
    let counted = r#"pullgate_watch_undecodable_objects_total{resource="nodes"} 2"#;
    assert!(metrics.render().contains(counted), "{}", metrics.render());
    assert_eq!(watches.count(), 1, "the watch goes on");
}

#[tokio::test]
async fn a_list_that_is_refused_or_never_answered_is_still_learning_and_asked_again() {
    for reply in [|| Reply::Status(403), || Reply::Status(500), || Reply::Never] {
        let watches = Watches::default();
        let listed = move |time| if time < 2 { reply() } else { list("5", &[node("a")]) };
        let stub = nodes_only(&watches, listed, |_| None).await;
        let (cluster, metrics) = stub.cluster();
        let _tasks = run(&cluster);
        eventually("asked", || stub.count(|seen| seen.path == NODES) > 0).await;
        assert_eq!(cluster.freshness(), Freshness::Learning);
        assert!(names(&cluster).is_empty());
        eventually("synced", || cluster.freshness() == Freshness::Current).await;
        assert_eq!(names(&cluster), ["a"]);
        assert!(metrics.render().contains(r#"pullgate_watch_failures_total{resource="nodes"} 2"#));
    }
}

#[tokio::test]
async fn a_half_list_never_replaces_a_whole_one() {
    let watches = Watches::default();
    let listed = |time| match time {
        0 => list("5", &[node("a"), node("b")]),
        1 => Reply::Json(json!({"metadata": {"continue": "more"}, "items": [node("a")]})),
        2 => Reply::Status(410),
        _ => list("8", &[node("a"), node("c")]),
    };
    let stub = nodes_only(&watches, listed, |time| (time == 0).then_some(Reply::Status(410))).await;
    let (cluster, _) = stub.cluster();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let _tasks = run(&cluster);
    eventually("second watch", || {
        seen.lock().unwrap().push(names(&cluster));
        watches.count() == 1
    })
    .await;
    assert_eq!(names(&cluster), ["a", "c"]);
    assert!(seen.lock().unwrap().iter().all(|names| names.len() != 1));
}

#[tokio::test]
async fn a_page_too_large_is_asked_for_again_with_fewer_objects() {
    let stub = Stub::start(|seen| {
        let large = |name: &str| {
            let mut node = node(name);
            node["metadata"]["annotations"] = json!({"large": "x".repeat(40 << 10)});
            node
        };
        let more = |items: &[Value], next: &str| {
            let metadata = json!({"resourceVersion": "5", "continue": next});
            Reply::Json(json!({"metadata": metadata, "items": items}))
        };
        if seen.path != NODES || seen.is_watch() {
            return if seen.is_watch() { Reply::Never } else { list("5", &[]) };
        }
        let from = seen.query.get("continue").map(String::as_str);
        match (from, seen.query["limit"].as_str()) {
            (None, "2") => more(&[large("a"), large("b")], "c"),
            (None, _) => more(&[large("a")], "b"),
            (Some("b"), "1") => more(&[large("b")], "c"),
            _ => list("5", &[large("c")]),
        }
    })
    .await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    eventually("synced", || cluster.freshness() == Freshness::Current).await;
    assert_eq!(names(&cluster), ["a", "b", "c"]);
    assert_eq!(stub.count(|seen| seen.path == NODES && !seen.is_watch()), 4);
}

#[tokio::test]
async fn looking_once_is_enough_for_the_command_line() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        NODES => list("5", &[node("a")]),
        _ => list("5", &[json!({"metadata": {"name": "shop"}})]),
    })
    .await;
    let (cluster, _) = stub.cluster();
    cluster.list_once(soon()).await.unwrap();
    assert_eq!(names(&cluster), ["a"]);
    assert!(cluster.namespace("shop").is_some());
    let deaf = Stub::start(|_| Reply::Never).await;
    let late = Instant::now() + Duration::from_millis(100);
    let error = deaf.cluster().0.list_once(late).await.unwrap_err();
    assert_eq!(error.to_string(), "the API server did not answer in time");
}

// ---- by name ----

const SECRET: &str = "/api/v1/namespaces/shop/secrets/regcred";

fn secret() -> Reply {
    // {"auths":{}}
    Reply::Json(json!({"kind": "Secret", "metadata": {"name": "regcred"},
        "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eyJhdXRocyI6e319"}}))
}

/// Rules of somebody's webhook and of somebody's policy: whether pods are rewritten.
#[rstest::rstest]
#[case::none(json!([]), json!([]), Some(false))]
#[case::ours(json!([hook("mutate.pullgate.dev", "pods")]), json!([]), Some(false))]
#[case::for_others(json!([hook("x.example.com", "services")]), json!([]), Some(false))]
#[case::webhook(json!([hook("x.example.com", "pods")]), json!([]), Some(true))]
#[case::everything(json!([hook("x.example.com", "*")]), json!([]), Some(true))]
#[case::policy(json!([]), json!([rule("pods")]), Some(true))]
#[tokio::test]
async fn who_else_changes_pods_is_found_out(
    #[case] webhooks: Value,
    #[case] rules: Value,
    #[case] expected: Option<bool>,
) {
    let stub = Stub::start(move |seen| {
        match seen.path.strip_prefix("/apis/admissionregistration.k8s.io/") {
            Some("v1/mutatingwebhookconfigurations") => {
                Reply::Json(json!({"items": [{"webhooks": webhooks}]}))
            }
            // An older server.
            Some("v1beta1/mutatingadmissionpolicies") => Reply::Json(
                json!({"items": [{"spec": {"matchConstraints": {"resourceRules": rules}}}]}),
            ),
            _ => Reply::Status(404),
        }
    })
    .await;
    let (cluster, _) = stub.cluster();
    assert_eq!(cluster.pods_are_rewritten(soon()).await, expected);
    let refused = Stub::start(|_| Reply::Status(403)).await;
    assert_eq!(refused.cluster().0.pods_are_rewritten(soon()).await, None);
}

/// A server of plain Kubernetes knows none of the kinds; one that may not be asked says so.
#[rstest::rstest]
#[case::none(404, &[])]
#[case::not_allowed(403, &[])]
#[case::there(200, &["ImageDigestMirrorSet"])]
#[tokio::test]
async fn objects_that_give_nodes_mirrors_are_found(
    #[case] status: u16,
    #[case] expected: &'static [&'static str],
) {
    let stub = Stub::start(move |seen| match &*seen.path {
        "/apis/config.openshift.io/v1/imagedigestmirrorsets" if status == 200 => {
            Reply::Json(json!({"metadata": {}, "items": [{"metadata": {"name": "hub"}}]}))
        }
        "/apis/config.openshift.io/v1/imagetagmirrorsets" if status == 200 => {
            Reply::Json(json!({"metadata": {}, "items": []}))
        }
        _ => Reply::Status(if status == 200 { 404 } else { status }),
    })
    .await;
    assert_eq!(stub.cluster().0.mirror_sets().await, expected);
}

/// It is asked for once, whoever asks; what is not there adds nothing.
#[tokio::test]
async fn a_runtime_class_is_read_by_name() {
    let stub =
        Stub::start(|seen| match seen.path.strip_prefix("/apis/node.k8s.io/v1/runtimeclasses/") {
            Some("sandboxed") => Reply::Json(json!({
                "metadata": {"name": "sandboxed"}, "handler": "sandboxed",
                "overhead": {"podFixed": {"cpu": "250m", "memory": 1}},
                "scheduling": {"nodeSelector": {"pool": "sandboxes"},
                    "tolerations": [{"key": "sandboxes", "operator": "Exists"}]},
            })),
            _ => Reply::Status(404),
        })
        .await;
    let (cluster, _) = stub.cluster();
    let class = cluster.runtime_class("sandboxed", soon()).await.unwrap();
    assert_eq!(cluster.runtime_class("sandboxed", soon()).await, Some(class));
    assert_eq!(cluster.runtime_class("other", soon()).await, None);
    assert_eq!(cluster.runtime_class("no/name", soon()).await, None);
    assert_eq!(stub.count(|_| true), 2);
}

fn rule(resource: &str) -> Value {
    json!({"operations": ["CREATE"], "apiGroups": [""], "resources": [resource]})
}

fn hook(name: &str, resource: &str) -> Value {
    json!({"name": name, "rules": [rule(resource)]})
}

#[tokio::test]
async fn what_a_denial_stands_on_is_read_past_what_is_kept() {
    const ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/app";
    let there = Arc::new(AtomicBool::new(false));
    let now_there = Arc::clone(&there);
    let stub = Stub::start(move |seen| match (seen.path.as_str(), there.load(Ordering::SeqCst)) {
        (SECRET, true) => secret(),
        (ACCOUNT, true) => Reply::Json(json!({"metadata": {"name": "app"}})),
        _ => Reply::Status(404),
    })
    .await;
    let (cluster, _) = stub.cluster();
    let kept = cluster.pull_secret(ObjectQuery::kept("shop", "regcred"), soon()).await;
    assert!(matches!(kept, Fetched::Missing), "{kept:?}");
    let kept = cluster.service_account(ObjectQuery::kept("shop", "app"), soon()).await;
    assert!(matches!(kept, Fetched::Missing), "{kept:?}");
    now_there.store(true, Ordering::SeqCst);
    let now = cluster
        .pull_secret(
            ObjectQuery { namespace: "shop", name: "regcred", reading: Reading::Now },
            soon(),
        )
        .await;
    assert!(matches!(now, Fetched::Found(_)), "{now:?}");
    let now = cluster
        .service_account(
            ObjectQuery { namespace: "shop", name: "app", reading: Reading::Now },
            soon(),
        )
        .await;
    assert!(matches!(now, Fetched::Found(_)), "{now:?}");
}

#[tokio::test]
async fn a_denial_does_not_stand_on_a_read_that_began_before_it() {
    let there = Arc::new(AtomicBool::new(false));
    let now_there = Arc::clone(&there);
    let stub = Stub::start(move |seen| match (seen.path.as_str(), there.load(Ordering::SeqCst)) {
        (SECRET, true) => secret(),
        // The API server has looked already; its answer is long under way.
        (SECRET, false) => Reply::Never,
        _ => Reply::Status(404),
    })
    .await;
    let (cluster, _) = stub.cluster();
    let first = Arc::clone(&cluster);
    let before = tokio::spawn(async move {
        first.pull_secret(ObjectQuery::kept("shop", "regcred"), soon()).await
    });
    while stub.count(|seen| seen.path == SECRET) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    now_there.store(true, Ordering::SeqCst);
    let now = cluster
        .pull_secret(
            ObjectQuery { namespace: "shop", name: "regcred", reading: Reading::Now },
            soon(),
        )
        .await;
    assert!(matches!(now, Fetched::Found(_)), "{now:?}");
    before.abort();
}

#[tokio::test]
async fn a_secret_is_read_by_name_once_for_all_who_ask_at_the_same_time() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        SECRET => secret(),
        "/api/v1/namespaces/shop/secrets/forbidden" => Reply::Status(403),
        _ => Reply::Status(404),
    })
    .await;
    let (cluster, _) = stub.cluster();
    let asked = (0..20).map(|_| cluster.pull_secret(ObjectQuery::kept("shop", "regcred"), soon()));
    for answer in futures::future::join_all(asked).await {
        let Fetched::Found(found) = answer else { panic!("{answer:?}") };
        assert_eq!((found.name(), found.kind()), ("regcred", "kubernetes.io/dockerconfigjson"));
        assert!(found.read().is_ok());
    }
    assert_eq!(stub.count(|seen| seen.path == SECRET), 1);
    let missing = cluster.pull_secret(ObjectQuery::kept("shop", "none"), soon()).await;
    assert!(matches!(missing, Fetched::Missing), "{missing:?}");
    let forbidden = cluster.pull_secret(ObjectQuery::kept("shop", "forbidden"), soon()).await;
    assert!(matches!(forbidden, Fetched::Unavailable), "{forbidden:?}");
    let elsewhere = cluster.pull_secret(ObjectQuery::kept("other", "regcred"), soon()).await;
    assert!(matches!(elsewhere, Fetched::Missing), "{elsewhere:?}");
}

#[tokio::test]
async fn a_name_that_would_be_a_path_is_never_asked_for() {
    let stub = Stub::start(|_| secret()).await;
    let (cluster, _) = stub.cluster();
    for name in ["../../../kube-system/secrets/x", "..", "a/b", "a?b", "a#b", "a%2fb", "", "A"] {
        let answer = cluster.pull_secret(ObjectQuery::kept("shop", name), soon()).await;
        assert!(matches!(answer, Fetched::Missing), "{name}: {answer:?}");
        let account = cluster.service_account(ObjectQuery::kept("shop", name), soon()).await;
        assert!(matches!(account, Fetched::Missing), "{name}");
        let answer = cluster.pull_secret(ObjectQuery::kept(name, "regcred"), soon()).await;
        assert!(matches!(answer, Fetched::Missing), "{name}: {answer:?}");
    }
    assert_eq!(stub.count(|_| true), 0);
}

#[tokio::test]
async fn a_late_secret_is_unavailable_and_serves_the_next_who_asks() {
    let stub =
        Stub::start(|_| Reply::Later(Duration::from_millis(300), json!({"type": "t"}))).await;
    let (cluster, metrics) = stub.cluster();
    let late = Instant::now() + Duration::from_millis(50);
    let answer = cluster.pull_secret(ObjectQuery::kept("shop", "regcred"), late);
    assert!(matches!(answer.await, Fetched::Unavailable));
    let answer = cluster.pull_secret(ObjectQuery::kept("shop", "regcred"), soon()).await;
    assert!(matches!(answer, Fetched::Found(_)), "{answer:?}");
    assert_eq!(stub.count(|seen| seen.path == SECRET), 1);
    assert!(metrics.render().contains(r#"resource="secret",outcome="late"} 1"#));
}

#[tokio::test]
async fn an_api_server_that_never_answers_is_unavailable_in_time() {
    let stub = Stub::start(|_| Reply::Never).await;
    let (cluster, _) = stub.cluster();
    let started = Instant::now();
    let deadline = started + Duration::from_millis(200);
    let user = UserInfo { username: "ann".into(), ..UserInfo::default() };
    let (secret, account, access) = futures::join!(
        cluster.pull_secret(ObjectQuery::kept("shop", "regcred"), deadline),
        cluster.service_account(ObjectQuery::kept("shop", "default"), deadline),
        cluster.may_list_pods(&user, None, deadline),
    );
    assert!(matches!(secret, Fetched::Unavailable));
    assert!(matches!(account, Fetched::Unavailable));
    assert!(!access);
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_service_account_is_reduced_to_what_matters() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        "/api/v1/namespaces/shop/serviceaccounts/app" => Reply::Json(json!({"metadata": {
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
            "imagePullSecrets": [{"name": "b"}, {}, {"name": "a"}]})),
        "/api/v1/namespaces/shop/serviceaccounts/plain" => Reply::Json(json!({"metadata": {}})),
        _ => Reply::Status(404),
    })
    .await;
    let (cluster, _) = stub.cluster();
    let Fetched::Found(app) =
        cluster.service_account(ObjectQuery::kept("shop", "app"), soon()).await
    else {
        panic!()
    };
    assert_eq!(app.pull_secrets, ["b".into(), "a".into()]);
    assert!(app.enforce_mountable_secrets);
    let Fetched::Found(plain) =
        cluster.service_account(ObjectQuery::kept("shop", "plain"), soon()).await
    else {
        panic!()
    };
    assert!(plain.pull_secrets.is_empty() && !plain.enforce_mountable_secrets);
    let missing = cluster.service_account(ObjectQuery::kept("shop", "none"), soon()).await;
    assert!(matches!(missing, Fetched::Missing));
}

#[tokio::test]
async fn what_a_user_may_list_is_asked_once_for_each_user_and_namespace() {
    let stub = Stub::start(|seen| {
        let spec = &seen.body["spec"];
        let allowed = spec["user"] == "ann" && spec["resourceAttributes"]["namespace"] == "shop";
        if spec["user"] == "broken" {
            return Reply::Status(500);
        }
        Reply::Json(json!({"kind": "SubjectAccessReview",
            "status": {"allowed": allowed || spec["user"] == "odd", "denied": spec["user"] == "odd"}}))
    })
    .await;
    let (cluster, _) = stub.cluster();
    let user = |name: &str| UserInfo {
        username: name.into(),
        uid: "7".into(),
        groups: vec!["dev".into()],
        extra: vec![("k".into(), vec!["v".into()])],
    };
    for _ in 0..3 {
        assert!(cluster.may_list_pods(&user("ann"), Some("shop"), soon()).await);
        assert!(!cluster.may_list_pods(&user("ann"), None, soon()).await);
        assert!(!cluster.may_list_pods(&user("bob"), Some("shop"), soon()).await);
        assert!(!cluster.may_list_pods(&user("odd"), Some("shop"), soon()).await);
    }
    assert!(!cluster.may_list_pods(&user("broken"), Some("shop"), soon()).await);
    assert_eq!(stub.count(|_| true), 5);
    let first = stub.first(|_| true).unwrap();
    assert_eq!(first.path, "/apis/authorization.k8s.io/v1/subjectaccessreviews");
    assert_eq!(
        first.body["spec"],
        json!({"user": "ann", "uid": "7", "groups": ["dev"], "extra": {"k": ["v"]},
            "resourceAttributes": {"namespace": "shop", "verb": "list", "version": "v1",
                "resource": "pods"}})
    );
}

/// Collects log lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_unavailable_and_never_logged() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let stub = Stub::start(|seen| match seen.path.as_str() {
        SECRET => {
            Reply::Json(json!({"type": "t", "data": {"password": "hunter2!", "x": ["hunter2"]}}))
        }
        _ => Reply::Json(json!("hunter2")),
    })
    .await;
    let (cluster, _) = stub.cluster();
    for name in ["regcred", "other"] {
        let answer = cluster.pull_secret(ObjectQuery::kept("shop", name), soon()).await;
        assert!(matches!(answer, Fetched::Unavailable), "{answer:?}");
    }
    let logged = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("could not be read"), "{logged}");
    assert!(!logged.contains("hunter2"), "{logged}");
}

// ---- the memory ----

const PODS: &str = "/api/v1/pods";

fn pod(name: &str, image: &str, state: &Value) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": "9",
            "uid": format!("0b2f3c1e-0000-4000-8000-{:012x}", name.len()),
            "creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": {"nodeName": "n", "imagePullSecrets": [{"name": "regcred"}],
            "containers": [{"name": "c", "image": image}]},
        "status": {"phase": "Running",
            "containerStatuses": [{"name": "c", "image": image, "imageID": "", "state": state}]},
    })
}

fn running(name: &str, image: &str) -> Value {
    let now = jiff::Timestamp::now().to_string();
    pod(name, image, &json!({"running": {"startedAt": now}}))
}

/// The tags of the repository that are known, of a reference in namespace `shop`.
fn known(cluster: &Cluster, image: &str) -> (Freshness, Vec<String>) {
    let reference = pullgate::image::ImageReference::parse(image).unwrap();
    let visibility = pullgate::history::Visibility::Cluster;
    let question = pullgate::history::HistoryQuestion {
        reference: &reference,
        namespace: "shop",
        visibility: &visibility,
    };
    let history = cluster.history(&question, jiff::Timestamp::now());
    let tags = history.known_tags.iter().map(|tag| tag.reference.to_string()).collect();
    (history.freshness, tags)
}

#[tokio::test]
async fn pods_are_remembered_once_all_needed_lists_are_in_and_forgotten_when_a_list_lacks_them() {
    let (watches, lists) = (Watches::default(), std::sync::atomic::AtomicUsize::new(0));
    let opened = watches.clone();
    let stub = Stub::start(move |seen| match (seen.path.as_str(), seen.is_watch()) {
        (PODS, true) => opened.open(),
        (PODS, false) => match lists.fetch_add(1, Ordering::SeqCst) {
            0 => list("5", &[running("a", "r.example/app:1"), running("bb", "r.example/app:2")]),
            _ => list("50", &[running("bb", "r.example/app:2")]),
        },
        // Not needed: nothing waits for events.
        ("/api/v1/events", _) => Reply::Status(403),
        ("/apis/batch/v1/jobs", false) => list(
            "5",
            &[json!({"metadata": {"uid": "j", "creationTimestamp": "2026-01-02T03:04:05Z"}})],
        ),
        (_, true) => Reply::Never,
        (_, false) => list("5", &[]),
    })
    .await;
    let (cluster, metrics) = stub.cluster();
    assert_eq!(known(&cluster, "r.example/app:3"), (Freshness::Learning, vec![]));
    let _tasks = run(&cluster);
    eventually("current", || cluster.freshness() == Freshness::Current).await;
    let both = ["r.example/app:1", "r.example/app:2"].map(str::to_owned);
    let (freshness, mut tags) = known(&cluster, "r.example/app:3");
    tags.sort();
    assert_eq!((freshness, tags.as_slice()), (Freshness::Current, both.as_slice()));
    assert_eq!(cluster.pull_secrets_in_use("shop"), ["regcred".into()]);
    assert_eq!(cluster.pull_secrets_in_use("other"), Vec::<Box<str>>::new());
    assert_eq!(cluster.created("Job", "j"), "2026-01-02T03:04:05Z".parse().ok());

    eventually("watch", || watches.count() == 1).await;
    watches.send(line("ADDED", &running("ccc", "r.example/app:4")));
    eventually("a new tag", || known(&cluster, "r.example/app:3").1.len() == 3).await;
    watches.send(line("ERROR", &json!({"kind": "Status", "code": 410})));
    eventually("a new watch", || watches.count() == 2).await;
    assert_eq!(known(&cluster, "r.example/app:3").1, ["r.example/app:2".to_owned()]);
    watches.send(line("DELETED", &running("bb", "r.example/app:2")));
    eventually("no pod", || cluster.pull_secrets_in_use("shop").is_empty()).await;
    assert!(metrics.render().contains(r#"pullgate_watch_synced{resource="events_pulled"} 0"#));
}

#[tokio::test]
async fn only_the_events_that_count_are_asked_for() {
    let stub =
        Stub::start(|seen| if seen.is_watch() { Reply::Never } else { list("5", &[]) }).await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    let events = |seen: &Seen| seen.path == "/api/v1/events" && seen.is_watch();
    eventually("three watches", || stub.count(events) >= 3).await;
    let mut fields: Vec<_> = stub
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|seen| events(seen))
        .map(|seen| seen.query["fieldSelector"].clone())
        .collect();
    fields.sort();
    fields.dedup();
    let expected = [
        "reason=FailedCreate",
        "reason=Pulled,involvedObject.kind=Pod",
        "type=Warning,involvedObject.kind=Pod",
    ];
    assert_eq!(fields, expected);
    let secrets = |seen: &Seen| seen.path.contains("secrets");
    assert_eq!(stub.count(secrets), 0, "secrets are never listed or watched");
}
