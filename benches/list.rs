//! What the first list of a large cluster costs, in time and memory, over TLS on loopback.
//!
//! `cargo bench --profile release --bench list [-- PODS]` (150,000 pods if no number is given). A stub API server in
//! a process of its own sends pages of 500 pods of about 8 KB, two containers each, forty pods an
//! image. Then, each in a process of its own, so that its memory is its own: the bare download of
//! those pages, Pullgate's watches, and a reflector's store of full pods at a size that fits.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::Request;
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use pullgate::cluster::{Cluster, ClusterTarget, Connection, WatchTuning};
use pullgate::telemetry::Metrics;

const PAGE: u32 = 500;
const PODS: usize = 150_000;
/// Full pods for the comparison: as many as fit beside the rest.
const FULL: usize = 10_000;
const PODS_PER_IMAGE: usize = 40;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    match words[..] {
        ["serve", folder, pods] => runtime.block_on(serve(folder, number(pods))),
        ["bare", kubeconfig] => runtime.block_on(bare(kubeconfig)),
        ["watch", kubeconfig] => runtime.block_on(watch(kubeconfig)),
        ["reflector", kubeconfig] => runtime.block_on(store(kubeconfig)),
        [] => compare(PODS),
        [pods] => compare(number(pods)),
        _ => println!("usage: cargo bench --profile release --bench list [-- PODS]"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number of pods")
}

/// One process per figure, twice in turns, the better of the two.
fn compare(pods: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let many = Server::start(&folder.path().join("many"), pods);
    let mut best = [f64::INFINITY; 2];
    let mut memory = Vec::new();
    for _ in 0..2 {
        for (nth, way) in ["bare", "watch"].into_iter().enumerate() {
            let figures = run(way, &many.kubeconfig);
            best[nth] = best[nth].min(figures[0]);
            if way == "watch" {
                memory = figures;
            }
        }
    }
    drop(many);
    let few = Server::start(&folder.path().join("few"), FULL.min(pods));
    let full = run("reflector", &few.kubeconfig);
    line("pods", pods as f64, "", "");
    line("bare download of the pages", best[0], "s", "");
    line("first list into the index", best[1], "s", "");
    line("  ratio", best[1] / best[0], "x", "at most 3");
    let [_, start, peak, rest] = memory[..] else { return };
    line("resident, all in all", rest, "MB", "at most 60");
    line("  a pod", (rest - start) * 1e6 / pods as f64, "B", "at most 250");
    line("peak during the list", peak, "MB", "at most rest + 48");
    let per_full = (full[3] - full[1]) * 1e6 / FULL.min(pods) as f64;
    line("reflector's store, a pod", per_full, "B", "");
    line("  ratio", per_full / ((rest - start) * 1e6 / pods as f64), "x", "");
}

fn line(what: &str, figure: f64, unit: &str, claim: &str) {
    println!("{what:<28}{figure:>14.2} {unit:<4}{claim}");
}

/// Runs one way in a process of its own; its figures: seconds, and resident megabytes before, at
/// the peak, and after.
fn run(way: &str, kubeconfig: &str) -> Vec<f64> {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args([way, kubeconfig]).output().expect("a run");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(figures.len(), 4, "{way}: {text}{}", String::from_utf8_lossy(&output.stderr));
    figures
}

/// The stub in its process.
struct Server {
    child: Child,
    kubeconfig: String,
}

impl Server {
    fn start(folder: &Path, pods: usize) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .args(["serve", &folder.display().to_string(), &pods.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its address");
        Self { child, kubeconfig: line.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves pages until it is killed; says where its kubeconfig is.
async fn serve(folder: &str, pods: usize) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
    let made = made.expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let config = axum_server::tls_rustls::RustlsConfig::from_pem(
        certificate.clone().into_bytes(),
        key.into_bytes(),
    );
    let config = config.await.expect("a TLS configuration");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    let path = Path::new(folder).join("kubeconfig");
    let ca = Path::new(folder).join("ca.crt");
    std::fs::write(&ca, certificate).expect("a file");
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": ca}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&path, kubeconfig.to_string()).expect("a file");
    let template = Arc::new(Template::new());
    let app = axum::Router::new().fallback(move |uri: Uri, RawQuery(query): RawQuery| {
        let answer = answer(&template, uri.path(), &query.unwrap_or_default(), pods);
        async move { answer }
    });
    println!("{}", path.display());
    let server = axum_server::from_tcp_rustls(listener, config).expect("a server");
    server.serve(app.into_make_service()).await.expect("a server that runs");
}

/// One page of pods, an empty list, or a watch in which nothing happens.
fn answer(template: &Template, path: &str, query: &str, pods: usize) -> Response {
    let parameter = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if !parameter("watch").is_empty() {
        let nothing = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        return (headers, axum::body::Body::from_stream(nothing)).into_response();
    }
    let (from, until) = if path == "/api/v1/pods" {
        let from = parameter("continue").parse().unwrap_or(0);
        let limit = parameter("limit").parse().unwrap_or(500);
        (from, (from + limit).min(pods))
    } else {
        (0, 0)
    };
    let next = if until < pods && until > 0 { until.to_string() } else { String::new() };
    let mut page = format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"1","continue":"{next}"}},"items":["#
    )
    .into_bytes();
    for nth in from..until {
        if nth > from {
            page.push(b',');
        }
        template.write(nth, &mut page);
    }
    page.extend_from_slice(b"]}");
    (headers, page).into_response()
}

/// A pod as API servers list them, with places for its number and its image's.
struct Template {
    parts: Vec<String>,
}

/// Stands for the number of the pod, of its image, of its owner, and of its namespace.
const PLACES: [&str; 4] = ["@pod@", "@image@", "@owner@", "@space@"];
const NAMESPACES: usize = 500;

impl Template {
    fn new() -> Self {
        let [pod, image, owner, space] = PLACES;
        let fields = |count: usize| {
            (0..count)
                .map(|n| (format!("f:field-{n}"), serde_json::json!({"f:inner": {}})))
                .collect::<serde_json::Map<_, _>>()
        };
        let container = |n: usize| {
            serde_json::json!({
                "name": format!("c{n}"), "imagePullPolicy": "IfNotPresent",
                "image": format!("registry.example.com/team/app-{n}-{image}:v1"),
                "env": (0..20).map(|n| serde_json::json!({
                    "name": format!("VARIABLE_{n}"), "value": "x".repeat(30)})).collect::<Vec<_>>(),
            })
        };
        let status = |n: usize| {
            serde_json::json!({
                "name": format!("c{n}"), "ready": true, "restartCount": 0, "started": true,
                "image": format!("registry.example.com/team/app-{n}-{image}:v1"),
                "imageID": format!("registry.example.com/team/app@sha256:{:0>56}{image}", n),
                "containerID": "containerd://0123456789abcdef", "lastState": {},
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            })
        };
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("application-{owner}-7d9c5b8f6d-{pod}"),
                "namespace": format!("namespace-{space}"),
                "uid": format!("{pod}-1111-4222-8333-444444444444"), "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                    "name": format!("application-{owner}-7d9c5b8f6d"), "controller": true}],
                "labels": (0..8).map(|n| (format!("label-{n}"), "value".into()))
                    .collect::<serde_json::Map<_, _>>(),
                "managedFields": (0..3).map(|n| serde_json::json!({
                    "manager": format!("m{n}"), "operation": "Update", "fieldsV1": fields(40)
                })).collect::<Vec<_>>(),
            },
            "spec": {
                "nodeName": "node-1", "containers": [container(0), container(1)],
                "volumes": (0..4).map(|n| serde_json::json!({"name": format!("v{n}"),
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}))
                    .collect::<Vec<_>>(),
            },
            "status": {"phase": "Running", "containerStatuses": [status(0), status(1)]},
        })
        .to_string();
        let mut parts = vec![text];
        for place in PLACES {
            parts = parts
                .iter()
                .flat_map(|part| {
                    let pieces: Vec<&str> = part.split(place).collect();
                    let last = pieces.len() - 1;
                    let piece = |(n, text): (usize, &str)| {
                        let mut both = vec![text.to_owned()];
                        if n < last {
                            both.push(place.to_owned());
                        }
                        both
                    };
                    pieces.into_iter().enumerate().flat_map(piece).collect::<Vec<_>>()
                })
                .collect();
        }
        Self { parts }
    }

    fn write(&self, nth: usize, page: &mut Vec<u8>) {
        let numbers = [nth, nth / PODS_PER_IMAGE, nth / 5, nth / 5 % NAMESPACES];
        let numbers = numbers.map(|number| format!("{number:08}"));
        for part in &self.parts {
            let place = PLACES.iter().position(|place| place == part);
            page.extend_from_slice(place.map_or(part, |place| &numbers[place]).as_bytes());
        }
    }
}

async fn connect(kubeconfig: &str) -> Connection {
    let place = ClusterTarget::Kubeconfig { path: Some(kubeconfig.into()), context: None };
    Connection::to(place).await.expect("a connection")
}

/// Downloads every page as text and forgets it.
async fn bare(kubeconfig: &str) {
    let connection = connect(kubeconfig).await;
    let start = resident("VmRSS:");
    let begun = Instant::now();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let request = Request::new("/api/v1/pods").list(&params).expect("a request");
        let text = connection.client().request_text(request).await.expect("a page");
        // The token stands at the beginning.
        let token = text.split("\"continue\":\"").nth(1).and_then(|rest| rest.split('"').next());
        match token {
            Some(token) if !token.is_empty() => params.continue_token = Some(token.to_owned()),
            _ => break,
        }
    }
    told(begun, start);
}

/// Runs Pullgate's watches until the pods are in.
async fn watch(kubeconfig: &str) {
    let connection = connect(kubeconfig).await;
    let metrics = Arc::new(Metrics::new());
    let start = resident("VmRSS:");
    let begun = Instant::now();
    let cluster = Cluster::new(connection, WatchTuning::default(), &metrics);
    for (_, task) in cluster.watches() {
        tokio::spawn(task);
    }
    while !cluster.progress().iter().all(|watch| watch.is_synced()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    told(begun, start);
}

/// Fills a reflector's store with full pods.
async fn store(kubeconfig: &str) {
    let connection = connect(kubeconfig).await;
    let start = resident("VmRSS:");
    let begun = Instant::now();
    let (reader, writer) = reflector::store::<Pod>();
    let pods = kube::Api::<Pod>::all(connection.client().clone());
    let mut events = reflector(writer, watcher(pods, watcher::Config::default().page_size(PAGE)))
        .default_backoff()
        .boxed();
    let ready = reader.wait_until_ready();
    tokio::select! {
        () = async { while events.try_next().await.expect("events").is_some() {} } => {}
        ready = ready => ready.expect("a store"),
    }
    told(begun, start);
    drop(reader);
}

fn told(begun: Instant, start: f64) {
    let (rest, peak) = (resident("VmRSS:"), resident("VmHWM:"));
    println!("{} {start} {peak} {rest}", begun.elapsed().as_secs_f64());
}

/// Memory of this process, in megabytes.
fn resident(what: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0.0);
    kib * 1024.0 / 1e6
}
