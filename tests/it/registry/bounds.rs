//! Hostile answers: each becomes a typed outcome, none a panic, a hang, or growth.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use pullgate::image::{Digest, ImageReference};
use pullgate::pull::{Detail, MediaKind, NetworkFault, Outcome, Step, TlsFault};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::scripted::*;

/// A server that does with each connection what it is told, below HTTP.
async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    host
}

/// Reads a request and answers with these bytes, then holds the connection for a while.
async fn says(stream: TcpStream, bytes: Vec<u8>, hold: Duration) {
    let mut stream = stream;
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(&bytes).await;
    tokio::time::sleep(hold).await;
}

fn quick(host: &str) -> RegistryOptions {
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    options.hosts.insert(host, vec![endpoint(host)]);
    options.limits.connect = Duration::from_millis(150);
    options.limits.first_byte = Duration::from_millis(150);
    options.limits.body = Duration::from_millis(200);
    options
}

async fn ask(host: &str, detail: Detail) -> Outcome {
    ask_with(quick(host), host, detail).await
}

async fn ask_with(options: RegistryOptions, host: &str, detail: Detail) -> Outcome {
    let client = RegistryClient::new(options).unwrap();
    let reference = ImageReference::parse(&format!("{host}/a/b:v1")).unwrap();
    client.look_up(request(&reference, None, detail), soon()).await.outcome
}

fn head(lines: &[&str]) -> Vec<u8> {
    format!("HTTP/1.1 {}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Network(NetworkFault::Refused));
}

#[tokio::test]
async fn a_closed_connection_is_a_reset() {
    let host = raw(|stream| async move { drop(stream) }).await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Network(NetworkFault::Reset));
}

#[tokio::test]
async fn a_registry_that_never_answers_costs_the_time_for_a_first_byte() {
    let host = raw(|stream| says(stream, Vec::new(), Duration::from_secs(60))).await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Timeout(Step::FirstByte));
}

#[tokio::test]
async fn headers_that_trickle_cost_the_time_for_a_first_byte() {
    let host = raw(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: 1\r\nx-slow: 2\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Timeout(Step::FirstByte));
}

#[tokio::test]
async fn a_body_that_trickles_costs_the_time_for_a_body() {
    let host = raw(|mut stream| async move {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let start = head(&["404 Not Found", "content-length: 60000"]);
        let is_head = buffer.starts_with(b"HEAD");
        let _ = stream.write_all(&start).await;
        if is_head {
            return;
        }
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Timeout(Step::Body));
}

#[tokio::test]
async fn the_whole_look_up_has_a_limit_too() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.access(Access::Token(vec![user("", "", &["*"])])).delay(Duration::from_millis(100));
    let mut options = options(&[&registry]);
    options.limits.whole = Duration::from_millis(150);
    let host = registry.host();
    assert_eq!(ask_with(options, &host, Detail::Presence).await, Outcome::Timeout(Step::Whole));
}

#[rstest]
#[case::not_http(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "the answer is not HTTP")]
#[case::endless_headers(
    [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 2 << 20]].concat(),
    "headers are too large"
)]
#[case::many_headers(
    [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(5000), b"\r\n".to_vec()].concat(),
    "headers are too large"
)]
#[tokio::test]
async fn no_answer_of_a_registry(#[case] bytes: Vec<u8>, #[case] what: &'static str) {
    let host = raw(move |stream| says(stream, bytes.clone(), Duration::from_millis(500))).await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Malformed(what));
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_reset() {
    let host = raw(|stream| {
        let bytes = [head(&["404 Not Found", "content-length: 500"]), b"{".to_vec()].concat();
        says(stream, bytes, Duration::ZERO)
    })
    .await;
    assert_eq!(ask(&host, Detail::Presence).await, Outcome::Network(NetworkFault::Reset));
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_said_so() {
    let registry = Scripted::start().await;
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    let mut tls = endpoint(&registry.host());
    tls.url.set_scheme("https").unwrap();
    options.hosts.insert(registry.host(), vec![tls]);
    let outcome = ask_with(options, &registry.host(), Detail::Presence).await;
    assert_eq!(outcome, Outcome::Tls(TlsFault::PlainHttp));
}

#[tokio::test]
async fn loopback_falls_back_to_plain_http_as_in_containerd() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    let outcome = ask_with(options, &registry.host(), Detail::Presence).await;
    assert!(matches!(outcome, Outcome::Exists(_)), "{outcome:?}");
    assert_eq!(registry.log(), ["HEAD /v2/a/b/manifests/v1 200"]);
}

/// A registry that answers every HEAD with 405, so that bodies are read, and every GET like this.
async fn with_body(
    headers: &'static [(&'static str, &'static str)],
    body: impl Fn() -> Body + Send + Sync + 'static,
) -> Scripted {
    let registry = Scripted::start().await;
    registry.replies(move |call| {
        let get = call.method == "GET";
        Some(if get { reply(200, headers, body()) } else { reply(405, &[], "") })
    });
    registry
}

#[rstest]
#[case::html(&[("content-type", "text/html")], "<html>log in</html>", "the body is not that of a manifest")]
#[case::html_as_json(&[("content-type", "application/json")], "<html>", "the body is not that of a manifest")]
#[case::empty(&[("content-type", MANIFEST)], "", "the body is not that of a manifest")]
#[case::a_list(&[("content-type", MANIFEST)], "[]", "the body is not that of a manifest")]
#[case::nested(&[("content-type", MANIFEST)], "deep", "the body is not that of a manifest")]
#[case::broken_utf8(&[("content-type", MANIFEST)], "utf8", "the body is not that of a manifest")]
#[case::wrong_type(&[("content-type", "application/octet-stream")], r#"{"schemaVersion":2,"config":{}}"#, "the content type is not that of a manifest")]
#[case::no_type(&[], r#"{"schemaVersion":2,"config":{}}"#, "the content type is not that of a manifest")]
#[case::another_type_inside(&[("content-type", MANIFEST)], r#"{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#, "the manifest says another type than its header")]
#[case::no_config(&[("content-type", MANIFEST)], r#"{"schemaVersion":2}"#, "a manifest without a configuration")]
#[case::no_entries(&[("content-type", INDEX)], r#"{"schemaVersion":2}"#, "an index without entries")]
#[case::entries_of_another_kind(&[("content-type", INDEX)], r#"{"manifests":7}"#, "the index cannot be read")]
#[case::compressed(&[("content-type", MANIFEST), ("content-encoding", "gzip")], "\x1f", "a compressed answer nobody asked for")]
#[tokio::test]
async fn a_body_that_is_no_manifest(
    #[case] headers: &'static [(&'static str, &'static str)],
    #[case] body: &'static str,
    #[case] what: &'static str,
) {
    let registry = with_body(headers, move || match body {
        "deep" => "[".repeat(100_000).into(),
        "utf8" => Body::from(vec![b'{', b'"', 0xff, 0xfe, b'"', b'}']),
        body => body.into(),
    })
    .await;
    assert_eq!(ask(&registry.host(), Detail::Platforms).await, Outcome::Malformed(what));
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let registry = with_body(&[("content-type", MANIFEST)], || {
        let chunk = bytes::Bytes::from(vec![b' '; 64 << 10]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(endless)
    })
    .await;
    let mut options = options(&[&registry]);
    options.limits.manifest_bytes = 1 << 20;
    let outcome = ask_with(options, &registry.host(), Detail::Platforms).await;
    assert_eq!(outcome, Outcome::Malformed("the answer is too large"));
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let registry = Scripted::start().await;
    registry.put("a/b", "v1", INDEX, " ".repeat(5 << 20).as_bytes());
    let outcome = ask(&registry.host(), Detail::Platforms).await;
    assert_eq!(outcome, Outcome::Malformed("the answer is too large"));
}

#[tokio::test]
async fn content_of_another_digest_is_corrupt() {
    let registry = Scripted::start().await;
    let index = index(&[("linux", "amd64")]);
    let digest = registry.put("a/b", "v1", INDEX, index.as_bytes());
    registry.replies(move |call| {
        let get = call.method == "GET";
        get.then(|| reply(200, &[("content-type", INDEX)], index.replace("amd64", "arm64")))
    });
    assert_eq!(ask(&registry.host(), Detail::Platforms).await, Outcome::CorruptContent);
    let client = client(&[&registry]);
    let by_digest = registry.reference(&format!("a/b@{digest}"));
    let lookup = client.look_up(request(&by_digest, None, Detail::Platforms), soon()).await;
    assert_eq!(lookup.outcome, Outcome::CorruptContent);
}

#[tokio::test]
async fn a_head_that_announces_another_digest_is_corrupt() {
    let registry = Scripted::start().await;
    let digest = registry.put_image("a/b", "v1", "linux", "amd64");
    let other = Digest::of_sha256(b"other").to_string();
    registry.replies(move |_| {
        let headers = [("content-type", MANIFEST), ("docker-content-digest", other.as_str())];
        Some(reply(200, &headers, ""))
    });
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference(&format!("a/b@{digest}")), None).await;
    assert_eq!(lookup.outcome, Outcome::CorruptContent);
}

#[rstest]
#[case::no_digest(&[("content-type", MANIFEST)])]
#[case::broken_digest(&[("content-type", MANIFEST), ("docker-content-digest", "sha256:xyz")])]
#[case::no_type(&[("docker-content-digest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")])]
#[tokio::test]
async fn a_head_without_what_is_needed_is_followed_by_a_get(
    #[case] headers: &'static [(&'static str, &'static str)],
) {
    let registry = Scripted::start().await;
    let digest = registry.put_image("a/b", "v1", "linux", "amd64");
    registry.replies(move |call| (call.method == "HEAD").then(|| reply(200, headers, "")));
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
    assert_eq!((found.digest, found.media), (Some(digest), MediaKind::Manifest));
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (1, 1));
}

#[rstest]
#[case::newline(r#"{"token":"a\nx-evil: b"}"#, "the token cannot stand in a header")]
#[case::nothing("{}", "the token answer has no token")]
#[case::empty(r#"{"token":""}"#, "the token answer has no token")]
#[case::html("<html>", "the token answer cannot be read")]
#[case::number(r#"{"token":5}"#, "the token answer cannot be read")]
#[tokio::test]
async fn a_token_answer_without_a_token(#[case] body: &'static str, #[case] what: &'static str) {
    let registry = Scripted::start().await;
    registry.access(Access::Token(Vec::new()));
    registry.replies(move |call| (call.path == "/token").then(|| reply(200, &[], body)));
    assert_eq!(ask(&registry.host(), Detail::Presence).await, Outcome::Malformed(what));
}

#[tokio::test]
async fn a_token_answer_that_is_too_large() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(Vec::new()));
    registry.replies(|call| {
        (call.path == "/token")
            .then(|| reply(200, &[], format!(r#"{{"token":"{}"}}"#, "x".repeat(100 << 10))))
    });
    let outcome = ask(&registry.host(), Detail::Presence).await;
    assert_eq!(outcome, Outcome::Malformed("the answer is too large"));
}

#[tokio::test]
async fn a_registry_that_will_not_answer_does_not_hold_the_caller() {
    let host = raw(|stream| says(stream, Vec::new(), Duration::from_secs(60))).await;
    let client = RegistryClient::new(RegistryOptions {
        contact_loopback: true,
        hosts: quick(&host).hosts,
        ..RegistryOptions::default()
    })
    .unwrap();
    let reference = ImageReference::parse(&format!("{host}/a/b:v1")).unwrap();
    let started = tokio::time::Instant::now();
    let deadline = started.into_std() + Duration::from_millis(100);
    let lookup =
        Arc::clone(&client).look_up(request(&reference, None, Detail::Presence), deadline).await;
    assert_eq!(lookup.outcome, Outcome::TooLate);
    assert!(started.elapsed() < Duration::from_secs(2));
}
