//! The front door: who is answered, with what, however badly it is asked.

mod shares;
mod unproven;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use pullgate::admission::DecodeError;
use pullgate::pki::SelfSigned;
use pullgate::review::{AdmissionOutcome, Endpoint, ReviewRecord};
use pullgate::server::{
    AdmissionRoutes, Admit, Arrival, BODY_LIMIT, Bound, Callers, Limits, PathToken, Readiness,
    ServingTls, TlsFiles, WatchState, admin_router,
};
use pullgate::telemetry::Metrics;
use rstest::rstest;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const TOKEN: &str = "0123456789abcdef";
const REVIEW: &str =
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u\u003c1"}}"#;

fn word(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Validate => "validate",
        Endpoint::Mutate => "mutate",
    }
}

/// Does what the body says, as a stand-in for the review.
struct Scripted;

impl Admit for Scripted {
    fn admit(&self, review: Arrival) -> BoxFuture<'_, Result<AdmissionOutcome, DecodeError>> {
        let Arrival { endpoint, body, deadline, .. } = review;
        async move {
            let text = String::from_utf8_lossy(&body).into_owned();
            assert!(!text.contains("PANIC"), "a panic in a review");
            if text.contains("HANG") {
                std::future::pending::<()>().await;
            }
            if text.contains("SLOW") {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let told = format!("{} {}", word(endpoint), left.as_secs_f64().round());
            if text.contains("UNREADABLE") {
                return Err(DecodeError::NoRequest);
            }
            Ok(AdmissionOutcome { body: told.into_bytes(), record: ReviewRecord::default() })
        }
        .boxed()
    }
}

struct House {
    router: Router,
    metrics: Arc<Metrics>,
}

fn house(limits: Limits) -> House {
    let metrics = Arc::new(Metrics::new());
    let callers = Callers::new(vec![PathToken::new(TOKEN)], false);
    let routes = AdmissionRoutes::new(Arc::new(Scripted), callers, Arc::clone(&metrics), limits);
    House { router: routes.router(), metrics }
}

impl House {
    async fn send(&self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    fn counts(&self, line: &str) -> bool {
        self.metrics.render().lines().any(|l| l == line)
    }
}

#[tokio::test]
async fn the_two_endpoints_and_the_deadline_less_a_margin() {
    let house = house(Limits::default());
    let validate = house.post(&format!("/validate/{TOKEN}?timeout=4s"), REVIEW).await;
    assert_eq!(validate, (StatusCode::OK, "validate 3".into()));
    let mutate = house.post(&format!("/mutate/{TOKEN}"), REVIEW).await;
    assert_eq!(mutate, (StatusCode::OK, "mutate 9".into()));
    assert!(house.counts(r#"pullgate_reviews_total{endpoint="validate",decision="skip"} 1"#));
    let path = format!("/validate/{TOKEN}");
    let (status, words) = house.post(&path, "UNREADABLE").await;
    assert_eq!(
        (status, words.as_str()),
        (StatusCode::BAD_REQUEST, "the AdmissionReview has no request\n")
    );
    assert!(house.counts(r#"pullgate_requests_rejected_total{reason="unreadable"} 1"#));
}

#[rstest]
#[case::no_token("/validate", "token")]
#[case::wrong_token("/validate/0123456789abcdeF", "token")]
#[case::empty_token("/validate/", "path")]
#[case::prefix_of_the_token("/mutate/0123456789abcde", "token")]
#[case::encoded_wrong("/mutate/%00", "token")]
#[case::something_else("/", "path")]
#[case::deeper("/validate/0123456789abcdef/more", "path")]
#[tokio::test]
async fn unproven_callers_learn_nothing(#[case] path: &str, #[case] reason: &str) {
    for method in [Method::POST, Method::GET, Method::OPTIONS] {
        let house = house(Limits::default());
        let request = Request::builder().method(method).uri(path).body(Body::from(REVIEW)).unwrap();
        let response = house.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let headers = response.headers().keys().map(|k| k.as_str().to_owned());
        let headers = headers.filter(|k| k != "content-length").collect::<Vec<_>>();
        assert!(headers.is_empty(), "{headers:?}");
        let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        assert!(body.is_empty());
        assert!(house.counts(&format!(r#"pullgate_callers_refused_total{{reason="{reason}"}} 1"#)));
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_announced_or_not() {
    let house = house(Limits::default());
    let path = format!("/validate/{TOKEN}");
    let at_limit = house.post(&path, vec![b' '; BODY_LIMIT]).await;
    assert_eq!(at_limit.0, StatusCode::OK);
    let announced =
        Request::post(&path).header("content-length", BODY_LIMIT + 1).body(Body::empty()).unwrap();
    assert_eq!(house.send(announced).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = (0..=8).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024 * 1024]));
    let unannounced = Body::from_stream(futures::stream::iter(chunks));
    let (status, words) = house.post(&path, unannounced).await;
    assert_eq!(
        (status, words.as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 8 MiB\n")
    );
    assert!(house.counts(r#"pullgate_requests_rejected_total{reason="too_large"} 2"#));
}

#[tokio::test]
async fn get_is_405_and_a_broken_body_408() {
    let house = house(Limits::default());
    let path = format!("/validate/{TOKEN}");
    let get = house.send(Request::get(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(get.0, StatusCode::METHOD_NOT_ALLOWED);
    let broken = Body::from_stream(futures::stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("gone")),
    ]));
    assert_eq!(house.post(&path, broken).await.0, StatusCode::REQUEST_TIMEOUT);
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, _) = house.post(&format!("{path}?timeout=100ms"), never).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

fn with(word: &str) -> String {
    REVIEW.replace(r#""request":{"#, &format!(r#""request":{{"name":"{word}","#))
}

fn allowed_unseen() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": { "uid": "u<1", "allowed": true },
    })
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_panic_in_a_review_is_an_allowed_answer_with_the_requests_own_uid() {
    let house = house(Limits::default());
    let path = format!("/validate/{TOKEN}");
    let (status, body) = house.post(&path, with("PANIC")).await;
    assert_eq!((status, json(&body)), (StatusCode::OK, allowed_unseen()));
    assert!(house.counts(r#"pullgate_reviews_cut_short_total{reason="panic"} 1"#));
    assert!(house.counts("pullgate_reviews_in_flight 0"));
    let (status, _) = house.post(&path, "PANIC").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_review_that_never_answers_is_admitted_in_time() {
    let house = house(Limits::default());
    let started = Instant::now();
    let (status, body) = house.post(&format!("/mutate/{TOKEN}?timeout=300ms"), with("HANG")).await;
    assert_eq!((status, json(&body)), (StatusCode::OK, allowed_unseen()));
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(house.counts(r#"pullgate_reviews_cut_short_total{reason="late"} 1"#));
}

#[tokio::test]
async fn reviews_beyond_the_limit_are_admitted_at_once_and_counted() {
    let house = house(Limits { reviews: 1, body_mebibytes: 16 });
    let path = format!("/validate/{TOKEN}?timeout=2s");
    let hanging = {
        let (router, path) = (house.router.clone(), path.clone());
        tokio::spawn(router.oneshot(Request::post(path).body(Body::from(with("HANG"))).unwrap()))
    };
    while !house.counts("pullgate_reviews_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, body) = house.post(&path, REVIEW).await;
    assert_eq!((status, json(&body)), (StatusCode::OK, allowed_unseen()));
    assert!(house.counts(r#"pullgate_reviews_cut_short_total{reason="overload"} 1"#));
    hanging.await.unwrap().unwrap();
    assert_eq!(house.post(&path, REVIEW).await.1, "validate 1");
}

#[tokio::test]
async fn bodies_in_memory_are_bounded() {
    let house = house(Limits { reviews: 8, body_mebibytes: 1 });
    let path = format!("/validate/{TOKEN}");
    let (status, _) = house.post(&path, vec![b' '; 1024 * 1024 + 1]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _) = house.post(&path, vec![b' '; 1024 * 1024]).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn the_admin_port_is_not_ready_before_the_first_lists_and_when_stopping() {
    let synced = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watches = Arc::clone(&synced);
    let readiness = Arc::new(Readiness::new(Instant::now(), move || {
        let synced = watches.load(std::sync::atomic::Ordering::Relaxed);
        vec![WatchState { resource: "pods", synced }]
    }));
    let router = admin_router(Arc::clone(&readiness), Arc::new(Metrics::new()));
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(get("/livez").await, (200, "ok\n".into()));
    assert_eq!(get("/readyz").await, (503, "pods still learning\n".into()));
    // The probe of the start waits, and is not told of as a failure.
    let started = get("/startupz");
    tokio::pin!(started);
    let early = tokio::time::timeout(Duration::from_millis(200), &mut started).await;
    assert!(early.is_err(), "{early:?}");
    synced.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(started.await, (200, "ok\n".into()));
    assert_eq!(get("/readyz").await, (200, "pods ok\n".into()));
    assert!(get("/metrics").await.1.contains("\npullgate_ready 1\n"));
    readiness.stop();
    assert_eq!(get("/readyz").await, (503, "pods ok\nstopping\n".into()));
    assert_eq!(get("/livez").await.0, 200);
}

#[test]
fn a_minute_without_lists_is_ready_without_history() {
    let started = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
    let readiness =
        Readiness::new(started, || vec![WatchState { resource: "pods", synced: false }]);
    let (ready, page) = readiness.check();
    assert!(ready && page.contains("ready without history"), "{page}");
}

#[tokio::test]
async fn who_comes_while_it_stops_is_asked_to_leave_with_the_answer() {
    let readiness = Arc::new(Readiness::new(Instant::now(), Vec::new));
    let callers = Callers::new(vec![PathToken::new(TOKEN)], false);
    let (metrics, limits) = (Arc::new(Metrics::new()), Limits::default());
    let routes = AdmissionRoutes::new(Arc::new(Scripted), callers, metrics, limits);
    let routes = routes.close_when_stopping(Arc::clone(&readiness)).router();
    let asked = async |path: &str, version| {
        let method = if path.starts_with("/apis/") { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri(path).version(version);
        let request = request.body(Body::from(REVIEW)).unwrap();
        let response = routes.clone().oneshot(request).await.unwrap();
        response.headers().get("connection").map(|value| value.to_str().unwrap().to_owned())
    };
    let (one, two) = (http::Version::HTTP_11, http::Version::HTTP_2);
    let review = format!("/validate/{TOKEN}");
    // Of a connection on which something is refused reviews may come, too.
    let all = [&review, "/validate/other", "/validate", "/apis/admission.pullgate.dev/v1", "/else"];
    for path in all {
        assert_eq!((asked(path, one).await, asked(path, two).await), (None, None), "{path}");
    }
    readiness.stop();
    // HTTP/2 has its own way of saying so.
    let close = Some("close".to_owned());
    for path in all {
        assert_eq!(
            (asked(path, one).await, asked(path, two).await),
            (close.clone(), None),
            "{path}"
        );
    }
}

// ---- over TLS ----

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
    refresh: tokio::task::JoinHandle<()>,
}

fn serve(files: TlsFiles, certificates: bool) -> Served {
    let metrics = Arc::new(Metrics::new());
    let callers = Callers::new(vec![PathToken::new(TOKEN)], certificates);
    let routes =
        AdmissionRoutes::new(Arc::new(Scripted), callers, Arc::clone(&metrics), Limits::default());
    let tls = ServingTls::load(files, Timestamp::now(), Arc::clone(&metrics)).unwrap();
    let bound = Bound::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (address, stop) = (bound.address(), CancellationToken::new());
    let refresh = tokio::spawn(tls.keep_fresh(Duration::from_millis(20)));
    let running = tokio::spawn({
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        async move {
            let drain = Duration::from_secs(2);
            bound.serve_reviews(routes.router(), &tls, metrics, stop, drain).await
        }
    });
    Served { address, stop, metrics, running, refresh }
}

fn names() -> Vec<String> {
    vec!["localhost".into(), "127.0.0.1".into()]
}

fn certificate(directory: &Path) -> SelfSigned {
    SelfSigned::ensure(directory, &names(), Timestamp::now()).unwrap()
}

fn files(directory: &Path, client_authorities: Option<PathBuf>) -> TlsFiles {
    let made = certificate(directory);
    TlsFiles { certificate: made.certificate(), key: made.key(), client_authorities }
}

fn builder(directory: &Path) -> reqwest::ClientBuilder {
    let _already = rustls::crypto::ring::default_provider().install_default();
    let authority = std::fs::read(directory.join("ca.crt")).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
        .no_proxy()
}

async fn post(
    client: &reqwest::Client,
    address: SocketAddr,
    path: &str,
) -> Result<(u16, String), reqwest::Error> {
    let sent = client.post(format!("https://{address}{path}")).body(REVIEW).send().await?;
    let status = sent.status().as_u16();
    Ok((status, sent.text().await?))
}

#[tokio::test]
async fn a_self_signed_certificate_serves_http_1_and_2() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let path = format!("/validate/{TOKEN}");
    for http1 in [true, false] {
        let client = builder(directory.path());
        let client = if http1 { client.http1_only() } else { client };
        let client = client.build().unwrap();
        let (status, body) = post(&client, served.address, &path).await.unwrap();
        assert_eq!((status, body.as_str()), (200, "validate 9"));
    }
    served.stop.cancel();
    served.running.await.unwrap().unwrap();
}

#[test]
fn a_good_certificate_is_kept_and_a_bad_one_made_anew_under_the_same_authority() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let bundle = certificate(directory.path()).ca_bundle().unwrap();
    let (first, key) = (read("tls.crt"), read("tls.key"));
    assert_eq!(certificate(directory.path()).ca_bundle().unwrap(), bundle);
    assert_eq!((read("tls.crt"), read("tls.key")), (first.clone(), key));

    let more = [names(), vec!["pullgate.pullgate.svc".into()]].concat();
    let renewed = SelfSigned::ensure(directory.path(), &more, Timestamp::now()).unwrap();
    assert_ne!(read("tls.crt"), first, "another name");
    assert_eq!(renewed.ca_bundle().unwrap(), bundle);

    let in_a_year = Timestamp::now() + Duration::from_secs(330 * 24 * 3600);
    let second = read("tls.crt");
    SelfSigned::ensure(directory.path(), &more, in_a_year).unwrap();
    assert_ne!(read("tls.crt"), second, "about to expire");

    std::fs::write(directory.path().join("tls.key"), "junk").unwrap();
    SelfSigned::ensure(directory.path(), &more, in_a_year).unwrap();
    assert!(read("tls.key").starts_with(b"-----BEGIN"), "a broken key");
    assert_eq!(renewed.ca_bundle().unwrap(), bundle);

    std::fs::remove_file(directory.path().join("ca.key")).unwrap();
    SelfSigned::ensure(directory.path(), &more, in_a_year).unwrap();
    assert_ne!(renewed.ca_bundle().unwrap(), bundle, "no authority's key, no authority");

    let permissions = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((permissions("tls.key"), permissions("ca.key")), (0o600, 0o600));
    let wrong = SelfSigned::ensure(directory.path(), &["no name".into()], in_a_year).unwrap_err();
    assert!(wrong.to_string().contains("no name"), "{wrong}");
}

/// The certificate that a new connection is shown.
async fn shown(directory: &Path, address: SocketAddr) -> Vec<u8> {
    let client = builder(directory).tls_info(true).build().unwrap();
    let sent = client.post(format!("https://{address}/validate/{TOKEN}")).body(REVIEW).send();
    let sent = sent.await.unwrap();
    let info = sent.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

#[tokio::test]
async fn a_certificate_is_reloaded_through_the_kubelets_symlink_swap_and_a_bad_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    // As the kubelet mounts a Secret: files are links into `..data`, itself a link.
    certificate(&at("v1"));
    std::fs::create_dir(at("v2")).unwrap();
    for name in ["ca.crt", "ca.key"] {
        std::fs::copy(at("v1").join(name), at("v2").join(name)).unwrap();
    }
    certificate(&at("v2"));
    std::fs::create_dir(at("v3")).unwrap();
    std::fs::copy(at("v2").join("tls.crt"), at("v3").join("tls.crt")).unwrap();
    std::fs::copy(at("v1").join("tls.key"), at("v3").join("tls.key")).unwrap();
    let swap = |version: &str| {
        std::os::unix::fs::symlink(version, at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    swap("v1");
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let (certificate, key) = (at("tls.crt"), at("tls.key"));
    let served = serve(TlsFiles { certificate, key, client_authorities: None }, false);
    let authority = at("v1");
    let first = shown(&authority, served.address).await;

    let told = async |line: &str| {
        for _ in 0..500 {
            if served.metrics.render().lines().any(|l| l == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{line} was not told in\n{}", served.metrics.render());
    };
    swap("v3");
    told(r#"pullgate_file_reloads_total{file="certificate",result="refused"} 1"#).await;
    assert_eq!(shown(&authority, served.address).await, first, "a key of another certificate");
    swap("v2");
    told(r#"pullgate_file_reloads_total{file="certificate",result="taken"} 1"#).await;
    assert_ne!(shown(&authority, served.address).await, first);
    served.refresh.abort();
}

#[tokio::test]
async fn a_client_certificate_is_proof_and_none_or_a_foreign_one_is_not() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clients = tempfile::tempdir().unwrap();
    let authority = client_certificates(clients.path());
    client_certificates(theirs.path());
    let served = serve(files(ours.path(), Some(authority)), true);
    let with = |directory: &Path| {
        let pem = std::fs::read(directory.join("client.pem")).unwrap();
        let identity = reqwest::Identity::from_pem(&pem).unwrap();
        builder(ours.path()).identity(identity).build().unwrap()
    };
    let proven = post(&with(clients.path()), served.address, "/validate").await.unwrap();
    assert_eq!(proven, (200, "validate 9".into()));
    let nobody = builder(ours.path()).build().unwrap();
    let refused = post(&nobody, served.address, "/validate").await.unwrap();
    assert_eq!(refused, (403, String::new()));
    assert!(post(&with(theirs.path()), served.address, "/validate").await.is_err());
    let page = served.metrics.render();
    assert!(page.contains(r#"pullgate_callers_refused_total{reason="certificate"} 1"#), "{page}");
    assert!(page.contains("pullgate_tls_handshakes_failed_total 1"), "{page}");
}

/// An authority and a client certificate of it in `client.pem`; returns the authority's file.
fn client_certificates(directory: &Path) -> PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let path = directory.join("clients.crt");
    std::fs::write(&path, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let pem = client.signed_by(&key, &issuer).unwrap().pem() + &key.serialize_pem();
    std::fs::write(directory.join("client.pem"), pem).unwrap();
    path
}

#[tokio::test]
async fn a_handshake_that_never_comes_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(served.address).await.unwrap());
    }
    let client = builder(directory.path()).build().unwrap();
    let (status, _) = post(&client, served.address, &format!("/validate/{TOKEN}")).await.unwrap();
    assert_eq!(status, 200);
    // Five seconds for the handshake, then the connection is closed.
    let closed = tokio::time::timeout(Duration::from_secs(15), async {
        let mut byte = [0];
        tokio::io::AsyncReadExt::read(&mut silent[0], &mut byte).await
    });
    assert_eq!(closed.await.unwrap().unwrap_or(0), 0);
    assert!(served.metrics.render().contains("pullgate_tls_handshakes_failed_total"));
}

#[tokio::test]
async fn a_request_under_way_is_answered_when_the_server_stops_and_no_new_one_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let client = builder(directory.path()).build().unwrap();
    let url = format!("https://{}/validate/{TOKEN}", served.address);
    let under_way = tokio::spawn(client.post(&url).body(with("SLOW")).send());
    while !served.metrics.render().contains("pullgate_reviews_in_flight 1") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served.stop.cancel();
    assert_eq!(under_way.await.unwrap().unwrap().status().as_u16(), 200);
    let ended = tokio::time::timeout(Duration::from_secs(3), served.running).await;
    ended.unwrap().unwrap().unwrap();
    let fresh = builder(directory.path()).build().unwrap();
    assert!(fresh.post(&url).body(REVIEW).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_dropped_after_the_drain_time() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let silent = tokio::net::TcpStream::connect(served.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    served.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(4), served.running).await;
    ended.unwrap().unwrap().unwrap();
    drop(silent);
}
