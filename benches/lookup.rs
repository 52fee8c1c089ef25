//! How often a registry is asked, and for how many round trips a review waits for it.
//!
//! `cargo bench --profile release --bench lookup`: `pullgate serve` beside registries on loopback that answer after
//! 50 ms each. It prints how long single reviews of images wait that nobody has asked for before, in
//! round trips, and how many requests 10,000 reviews of 50 images make.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

#[path = "webhook/around.rs"]
mod around;
#[path = "webhook/bodies.rs"]
mod bodies;
#[path = "webhook/load.rs"]
mod load;
#[path = "webhook/servers.rs"]
mod servers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use pullgate::image::Digest;

use around::{Around, dead_registry};
use bodies::{review_of, review_of_images};
use load::{Target, measure};
use servers::pullgate;

/// What a registry far away takes for an answer.
const ROUND_TRIP: Duration = Duration::from_millis(50);
const TRIES: usize = 7;
const REVIEWS: usize = 10_000;
const IMAGES: usize = 50;

/// What a registry answers about every repository.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The tag `v1.2.3` is an index.
    Index,
    /// The tag `v1.2.3` is a single image.
    Single,
    /// Nobody may read it.
    Denied,
    /// Nobody may ask now.
    Limited,
}

/// A registry on loopback that counts what it is asked.
struct Registry {
    host: String,
    asked: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Registry {
    async fn start(kind: Kind) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let asked = Arc::<Mutex<BTreeMap<_, _>>>::default();
        let counted = Arc::clone(&asked);
        let answer = async move |method: Method, uri: Uri| {
            let what = if uri.path().ends_with("/tags/list") {
                "tags"
            } else if uri.path().contains("/blobs/") {
                "blob"
            } else if method == Method::HEAD {
                "HEAD"
            } else {
                "GET"
            };
            *counted.lock().expect("a count").entry(what).or_default() += 1;
            tokio::time::sleep(ROUND_TRIP).await;
            answer(kind, &method, uri.path())
        };
        let routes = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { host, asked }
    }

    /// What it was asked since the last time, as words.
    fn take(&self) -> String {
        let asked = std::mem::take(&mut *self.asked.lock().expect("a count"));
        let words: Vec<String> = asked.iter().map(|(what, n)| format!("{n} {what}")).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = r#"{"os":"linux","architecture":"amd64"}"#;

fn error(status: StatusCode, code: &str) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#);
    (status, json, body).into_response()
}

fn answer(kind: Kind, method: &Method, path: &str) -> Response {
    match kind {
        Kind::Denied => {
            let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            let challenge = header::HeaderValue::from_static(r#"Basic realm="r""#);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return response;
        }
        Kind::Limited => {
            let mut response = error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS");
            let wait = header::HeaderValue::from_static("300");
            response.headers_mut().insert(header::RETRY_AFTER, wait);
            return response;
        }
        Kind::Index | Kind::Single => {}
    }
    let (repository, _) = path.split_once("/manifests/").unwrap_or_default();
    let config = Digest::of_sha256(CONFIG.as_bytes());
    let (media, manifest) = if kind == Kind::Index {
        let entry = format!(
            r#"{{"mediaType":"{MANIFEST}","digest":"{config}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}"#
        );
        (INDEX, format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entry}]}}"#))
    } else {
        let size = CONFIG.len();
        (
            MANIFEST,
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{size}}},"layers":[],"annotations":{{"of":"{repository}"}}}}"#
            ),
        )
    };
    if path.ends_with("/tags/list") {
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (json, r#"{"tags":["v1.2.3"]}"#).into_response();
    }
    if path.contains("/blobs/") {
        return ([(header::CONTENT_TYPE, "application/octet-stream")], CONFIG).into_response();
    }
    let digest = Digest::of_sha256(manifest.as_bytes()).to_string();
    if path.ends_with("/manifests/v1.2.3") || path.ends_with(&digest) {
        let headers =
            [(header::CONTENT_TYPE.as_str(), media), ("docker-content-digest", digest.as_str())];
        let body = if *method == Method::HEAD { String::new() } else { manifest };
        return (headers, body).into_response();
    }
    error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let ["around", folder] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return around::serve(folder);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let kinds = [Kind::Index, Kind::Single, Kind::Denied, Kind::Limited];
    let registries = kinds.map(|kind| runtime.block_on(Registry::start(kind)));
    let folder = tempfile::tempdir().expect("a folder");
    let around = Around::start(folder.path(), dead_registry());
    cold(&around, &registries);
    println!();
    warm(&around, &registries);
}

/// What single reviews of unknown images wait.
fn cold(around: &Around, [index, single, ..]: &[Registry; 4]) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = pullgate(folder.path(), around);
    let target = Target::of(&server);
    println!("| cold, at {ROUND_TRIP:?} | median | round trips | requests of one |");
    println!("|---|---|---|---|");
    let cases: [(&str, &Registry, &str, usize); 6] = [
        ("index", index, "v1.2.3", 1),
        ("ten indexes of one pod", index, "v1.2.3", 10),
        ("single image", single, "v1.2.3", 1),
        ("ten single images of one pod", single, "v1.2.3", 10),
        ("tag missing, an index suggested", index, "v1.2.4", 1),
        ("tag missing, a single image suggested", single, "v1.2.4", 1),
    ];
    for (name, registry, tag, images) in cases {
        let mut times = Vec::new();
        let mut asked = String::new();
        // The first finds out how to speak with the registry.
        for nth in 0..=TRIES {
            let short = name.replace([' ', ','], "-");
            let named = |image: usize| format!("{}/{short}/{nth}-{image}:{tag}", registry.host);
            let images: Vec<String> = (0..images).map(named).collect();
            let took = target.time_one(&review_of_images(nth, &images));
            asked = registry.take();
            if nth > 0 {
                times.push(took);
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!(
            "| {name} | {:.1} ms | {:.2} | {asked} |",
            median * 1e3,
            median / ROUND_TRIP.as_secs_f64()
        );
    }
}

/// What many reviews of a few images ask.
fn warm(around: &Around, [index, single, denied, limited]: &[Registry; 4]) {
    println!("| {REVIEWS} reviews of {IMAGES} images | seconds | requests |");
    println!("|---|---|---|");
    let cases: [(&str, &str, Option<&Registry>, &str); 6] = [
        ("index", &index.host, Some(index), "v1.2.3"),
        ("single image", &single.host, Some(single), "v1.2.3"),
        ("missing", &index.host, Some(index), "v1.2.4"),
        ("denied", &denied.host, Some(denied), "v1.2.3"),
        ("limited", &limited.host, Some(limited), "v1.2.3"),
        ("dead", &around.dead, None, "v1.2.3"),
    ];
    for (name, host, registry, tag) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let server = pullgate(folder.path(), around);
        let target = Target::of(&server);
        let image = |nth: usize| format!("{host}/warm/app{}:{tag}", nth % IMAGES);
        let bodies: Vec<String> = (0..200).map(|nth| review_of(nth, &image(nth), 4_600)).collect();
        let figures = measure(&target, &bodies, 25, REVIEWS);
        let asked = registry.map_or_else(|| "not counted".to_owned(), Registry::take);
        println!("| {name} | {:.1} | {asked} |", REVIEWS as f64 / figures.throughput);
    }
}
