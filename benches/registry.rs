//! What looking images up costs: ten images against one, a dead registry first and afterwards, a
//! thousand images at once.
//!
//! `cargo bench --profile release --bench registry` prints figures and ratios, and how they stand to the claims.
//! Pairs are measured in turn, so that a busy machine slows both. Registries are on loopback.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use pullgate::image::ImageReference;
use pullgate::node_config::Endpoint;
use pullgate::pull::{Detail, LookupRequest, Outcome, Purpose};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use tokio::task::JoinSet;

/// What a registry far away takes for an answer.
const ROUND_TRIP: Duration = Duration::from_millis(50);
const PAIRS: usize = 15;
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let host = slow_registry().await;
    let (mut one, mut ten) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        one.push(pod(&client(&host), &host, 1).await);
        ten.push(pod(&client(&host), &host, 10).await);
    }
    let (one, ten) = (median(one), median(ten));
    line("pod with one image, cold", one, "");
    line("pod with ten images, cold", ten, "about one round trip of 50 ms");
    println!("{:<34}{:>10.2} x   below 2", "  ratio", ten / one);

    let (mut first, mut again) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let host = silent_registry().await;
        let client = client(&host);
        first.push(pod(&client, &host, 10).await);
        again.push(pod(&client, &host, 10).await);
    }
    let (first, again) = (median(first), median(again));
    line("dead registry, first pod", first, "the bound (500 ms here), once");
    line("dead registry, next pod", again, "the cached price");
    println!("{:<34}{:>10.0} x   above 20", "  ratio", first / again);

    for (what, tokens) in [("open registry", false), ("registry with tokens", true)] {
        let host = registry_of_indexes(tokens).await;
        let client = client(&host);
        let first = burst(&client, &host).await;
        // What was late goes on by itself; a controller tries again seconds later.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let next = burst(&client, &host).await;
        println!("1000 images at once, cold, {what}: {first} within 2 s, {next} at the next try");
    }
}

/// How many of a thousand reviews, each of a repository of its own, know within 2 s.
async fn burst(client: &Arc<RegistryClient>, host: &str) -> usize {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut tasks = JoinSet::new();
    for n in 0..1000 {
        let client = Arc::clone(client);
        let reference = ImageReference::parse(&format!("{host}/team/app{n}:v1"));
        let request = LookupRequest {
            reference: reference.expect("a name"),
            credential: None,
            detail: Detail::Platforms,
            max_age: None,
            purpose: Purpose::Verdict,
            namespace: "shop".into(),
        };
        tasks.spawn(async move { client.look_up(request, deadline).await.outcome });
    }
    let outcomes = tasks.join_all().await;
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Exists(_))).count()
}

/// Answers every question about a manifest with an index, after a round trip; if it wants tokens, to
/// those who have one.
async fn registry_of_indexes(tokens: bool) -> String {
    const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"platform":{"os":"linux","architecture":"amd64"}}]}"#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    let answer = async move |uri: Uri, headers: HeaderMap| {
        tokio::time::sleep(ROUND_TRIP).await;
        let media = [(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json")];
        if uri.path() == "/token" {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, r#"{"token":"t","expires_in":300}"#).into_response()
        } else if tokens && !headers.contains_key(header::AUTHORIZATION) {
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response()
        } else {
            (media, INDEX).into_response()
        }
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

fn line(what: &str, seconds: f64, claim: &str) {
    println!("{what:<34}{:>10.2} ms  {claim}", seconds * 1e3);
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Answers every HEAD after a round trip.
async fn slow_registry() -> String {
    let answer = async || {
        tokio::time::sleep(ROUND_TRIP).await;
        let headers = [
            (header::CONTENT_TYPE.as_str(), "application/vnd.oci.image.manifest.v1+json"),
            ("docker-content-digest", DIGEST),
        ];
        (StatusCode::OK, headers, "").into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

/// Accepts connections and never says a word.
async fn silent_registry() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    host
}

fn client(host: &str) -> Arc<RegistryClient> {
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    let url = format!("http://{host}/v2").parse().expect("an address");
    options.hosts.insert(host, vec![Endpoint::at(url)]);
    options.limits.connect = Duration::from_millis(250);
    options.limits.first_byte = Duration::from_millis(250);
    RegistryClient::new(options).expect("a client")
}

/// Seconds until all images of a pod are looked up.
async fn pod(client: &Arc<RegistryClient>, host: &str, images: usize) -> f64 {
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for n in 0..images {
        let client = Arc::clone(client);
        let reference = ImageReference::parse(&format!("{host}/team/app{n}:v1"));
        let request = LookupRequest {
            reference: reference.expect("a name"),
            credential: None,
            detail: Detail::Presence,
            max_age: None,
            purpose: Purpose::Verdict,
            namespace: Arc::default(),
        };
        let deadline = started + Duration::from_secs(10);
        tasks.spawn(async move { client.look_up(request, deadline).await.outcome });
    }
    let outcomes = tasks.join_all().await;
    let answered = |outcome: &Outcome| matches!(outcome, Outcome::Exists(_) | Outcome::Timeout(_));
    assert!(outcomes.iter().all(answered), "{outcomes:?}");
    started.elapsed().as_secs_f64()
}
