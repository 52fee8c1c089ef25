//! `pullgate serve` as a process: what stops its start, what it takes up while it runs, and how it
//! stops. The API server is a stub that has nothing to list.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::http::Uri;
use rstest::rstest;
use tempfile::TempDir;

const TOKEN: &str = "0123456789abcdef";

fn pullgate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullgate"));
    command.current_dir(folder).env_clear().arg("serve");
    command
}

fn kubeconfig(folder: &Path, server: &str) {
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: \
         {{server: '{server}'}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         users: [{{name: u, user: {{}}}}]}}"
    );
    std::fs::write(folder.join("kubeconfig"), text).unwrap();
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    std::fs::write(folder.path().join("short"), "abc\n").unwrap();
    std::fs::write(folder.path().join("bad.yaml"), "spec:\n  nods: {}\n").unwrap();
    std::fs::write(folder.path().join("junk"), "junk").unwrap();
    kubeconfig(folder.path(), "http://127.0.0.1:9");
    folder
}

const GOOD: [&str; 6] = [
    "--path-token-file=token",
    "--self-signed=tls",
    "--tls-san=localhost,127.0.0.1",
    "--kubeconfig=kubeconfig",
    "--listen=127.0.0.1:0",
    "--admin-listen=127.0.0.1:0",
];

fn with(replaced: &str, new: &[&'static str]) -> Vec<&'static str> {
    let kept = GOOD.into_iter().filter(|flag| !flag.starts_with(replaced));
    kept.chain(new.iter().copied()).collect()
}

#[rstest]
#[case::no_proof(with("--path-token", &[]), "neither --aggregated nor --path-token-file nor --client-ca-file")]
#[case::no_certificate(with("--self-signed", &["--tls-san=a"]), "there is no serving certificate")]
#[case::no_token_file(with("--path-token", &["--path-token-file=none"]), "failed to read the path token none")]
#[case::a_short_token(with("--path-token", &["--path-token-file=short"]), "short, line 1: a path token has 16")]
#[case::a_bad_name(with("--tls-san", &["--tls-san=no name"]), "no name is neither a DNS name nor an IP address")]
#[case::no_authorities(with("--path-token", &["--client-ca-file=junk"]), "failed to find a certificate in junk")]
#[case::no_kubeconfig(with("--kubeconfig", &["--kubeconfig=none"]), "failed to read the kubeconfig none")]
#[case::no_context(with("--none", &["--context=none"]), "none")]
#[case::no_pod(with("--kubeconfig", &[]), "give --kubeconfig or --context")]
#[case::a_bad_policy(with("--none", &["--policy=bad.yaml"]), "bad.yaml:2:3: spec.nods: unknown field \"nods\", did you mean \"nodes\"?")]
#[case::no_policy(with("--none", &["--policy=none"]), "failed to read the policy none")]
#[case::no_hosts(with("--none", &["--registry-hosts-dir=none"]), "none")]
#[case::no_ca(with("--none", &["--ca-file=junk"]), "junk")]
#[case::no_plugin_config(with("--none", &["--image-credential-provider-config=junk", "--image-credential-provider-bin-dir=."]), "credential provider")]
#[case::an_unknown_flag(with("--none", &["--polcy=x"]), "--policy")]
#[case::an_address_in_use_elsewhere(with("--listen", &["--listen=192.0.2.1:1"]), "failed to listen on 192.0.2.1:1")]
fn what_cannot_be_used_stops_the_start_with_a_message(
    #[case] flags: Vec<&str>,
    #[case] message: &str,
) {
    let folder = folder();
    let Output { status, stdout, stderr } = pullgate(folder.path()).args(flags).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains(message), "{stderr}");
    assert!(stdout.is_empty());
    assert!(!stderr.contains("panicked") && !stderr.contains(TOKEN), "{stderr}");
}

/// Whether a replica could start with these flags, as `--check-only` says it.
fn checked(folder: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = pullgate(folder).arg("--check-only").args(flags).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[rstest]
#[case::no_token_file(&["--path-token-file=none", "--self-signed=tls", "--tls-san=a"], "failed to read the path token none")]
#[case::a_short_token(&["--path-token-file=short", "--self-signed=tls", "--tls-san=a"], "short, line 1: a path token has 16")]
#[case::no_certificate(&["--aggregated", "--tls-cert=none", "--tls-key=tls/tls.key"], "failed to read none")]
#[case::no_key(&["--aggregated", "--tls-cert=tls/tls.crt", "--tls-key=none"], "failed to read none")]
#[case::a_bad_key(&["--aggregated", "--tls-cert=tls/tls.crt", "--tls-key=junk"], "failed to find a private key in junk")]
#[case::no_authorities(&["--client-ca-file=none", "--tls-cert=tls/tls.crt", "--tls-key=tls/tls.key"], "failed to read none")]
#[case::no_authorities_of_a_kept_certificate(&["--client-ca-file=none", "--own-secret=a", "--own-namespace=a", "--own-service=a", "--own-name=a", "--webhook-configuration=a"], "failed to read the client authorities none")]
#[case::all_there(&["--path-token-file=token", "--tls-cert=tls/tls.crt", "--tls-key=tls/tls.key", "--client-ca-file=tls/ca.crt"], "")]
#[case::self_signed(&["--path-token-file=token", "--self-signed=new", "--tls-san=a"], "")]
fn check_only_reads_every_file_that_a_start_reads(#[case] flags: &[&str], #[case] message: &str) {
    let folder = folder();
    let now = jiff::Timestamp::now();
    pullgate::pki::SelfSigned::ensure(&folder.path().join("tls"), &["a".to_owned()], now).unwrap();
    let (code, said) = checked(folder.path(), flags);
    assert_eq!(code, Some(if message.is_empty() { 0 } else { 2 }), "{said}");
    assert!(said.contains(message) && !said.contains("panicked"), "{said}");
    assert!(!folder.path().join("new").exists(), "a check writes nothing");
}

#[test]
fn version_and_help_are_data() {
    for (arguments, word) in
        [(&["version"][..], "pullgate: "), (&["--help"], "serve"), (&["--version"], "pullgate ")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_pullgate")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains(word));
    }
    let nothing = Command::new(env!("CARGO_BIN_EXE_pullgate")).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
}

/// An API server with nothing in it.
async fn empty_cluster() -> String {
    let app = axum::Router::new().fallback(async |uri: Uri| {
        if uri.query().unwrap_or_default().contains("watch=true") {
            std::future::pending::<()>().await;
        }
        r#"{"metadata":{"resourceVersion":"1"},"items":[]}"#
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

struct Running {
    child: Child,
    folder: TempDir,
    reviews: String,
    admin: String,
    bundle: String,
    client: reqwest::Client,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Running {
    async fn start(more: &[&str]) -> Self {
        // For the client below; whichever test comes first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = folder();
        kubeconfig(folder.path(), &empty_cluster().await);
        std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
        let mut child = pullgate(folder.path())
            .args(GOOD)
            .args(["--log-format=json", "--reload-seconds=1"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut bundle = String::new();
        out.read_line(&mut bundle).unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"listening\"") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        }
        std::thread::spawn(move || {
            let mut rest = String::new();
            let _until_it_ends = log.read_to_string(&mut rest);
        });
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| told[name].as_str().unwrap().to_owned();
        let authority = std::fs::read(folder.path().join("tls/ca.crt")).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()])
            .no_proxy()
            .build()
            .unwrap();
        let running = Self {
            reviews: format!("https://{}", address("reviews")),
            admin: format!("http://{}", address("admin")),
            bundle,
            child,
            folder,
            client,
        };
        running.eventually("ready", async |r| r.admin("readyz").await.0 == 200).await;
        running
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn admin(&self, page: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}/{page}", self.admin)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn review(&self, token: &str) -> u16 {
        let url = format!("{}/validate/{token}?timeout=2s", self.reviews);
        self.client.post(url).body(REVIEW).send().await.unwrap().status().as_u16()
    }

    async fn eventually(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let started = Instant::now();
        while !holds(self).await {
            assert!(started.elapsed() < Duration::from_secs(20), "never came about: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    async fn ended(&mut self, within: Duration) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < within {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

const POLICY: &str =
    "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: p}\n";
const REVIEW: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":
    {"uid":"u","operation":"DELETE","kind":{"group":"","version":"v1","kind":"Pod"}}}"#;

#[tokio::test]
async fn it_becomes_ready_answers_and_stops_in_order() {
    let mut running = Running::start(&["--lame-duck-seconds=1"]).await;
    let bundle = running.bundle.trim().strip_prefix("caBundle: ").unwrap();
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bundle).unwrap();
    assert_eq!(pem, std::fs::read(running.file("tls/ca.crt")).unwrap());
    assert_eq!(running.review(TOKEN).await, 200);
    assert_eq!(running.review("0123456789abcdeF").await, 403);

    running.signal("-TERM");
    running.eventually("not ready", async |r| r.admin("readyz").await.0 == 503).await;
    assert_eq!(running.review(TOKEN).await, 200, "a lame duck still answers");
    assert_eq!(running.ended(Duration::from_secs(10)).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut running = Running::start(&["--lame-duck-seconds=200"]).await;
    running.signal("-INT");
    running.eventually("not ready", async |r| r.admin("readyz").await.0 == 503).await;
    running.signal("-TERM");
    assert_eq!(running.ended(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn a_new_token_and_a_new_policy_are_taken_up_and_bad_ones_are_not() {
    let running = Running::start(&["--policy=policy.yaml"]).await;
    let other = "fedcba9876543210";
    let told = async |line: &str| {
        running.eventually(line, async |r| r.admin("metrics").await.1.contains(line)).await;
    };
    std::fs::write(running.file("token"), "short").unwrap();
    std::fs::write(running.file("policy.yaml"), "kind: Wrong").unwrap();
    told(r#"file_reloads_total{file="path_token",result="refused"} 1"#).await;
    told(r#"file_reloads_total{file="policy",result="refused"} 1"#).await;
    assert_eq!(running.review(TOKEN).await, 200);

    std::fs::write(running.file("token"), format!("{other}\n{TOKEN}\n")).unwrap();
    std::fs::write(running.file("policy.yaml"), POLICY).unwrap();
    told(r#"file_reloads_total{file="path_token",result="taken"} 1"#).await;
    told(r#"file_reloads_total{file="policy",result="taken"} 1"#).await;
    assert_eq!((running.review(TOKEN).await, running.review(other).await), (200, 200));
}

/// A collector that takes everything.
async fn collector() -> (String, std::sync::Arc<std::sync::Mutex<Vec<(String, bytes::Bytes)>>>) {
    let taken: std::sync::Arc<std::sync::Mutex<Vec<(String, bytes::Bytes)>>> =
        std::sync::Arc::default();
    let kept = std::sync::Arc::clone(&taken);
    let app = axum::Router::new().fallback(async move |uri: Uri, body: bytes::Bytes| {
        kept.lock().unwrap().push((uri.path().to_owned(), body));
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, taken)
}

#[tokio::test]
async fn a_collector_gets_a_span_for_each_review_and_look_up_in_the_callers_trace_and_the_metrics()
{
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message as _;
    let (url, taken) = collector().await;
    let endpoint = format!("--otlp-endpoint={url}/");
    let running = Running::start(&[&endpoint, "--allow-address=127.0.0.0/8"]).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let image = format!("{nobody}/a/b:1");
    let review = serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u-7", "operation": "CREATE", "namespace": "shop",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "ann"},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                       "spec": {"containers": [{"name": "c", "image": image}]}}}});
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let answer = running
        .client
        .post(format!("{}/validate/{TOKEN}?timeout=2s", running.reviews))
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .body(review.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);

    let bodies = |path: &str| -> Vec<bytes::Bytes> {
        let taken = taken.lock().unwrap();
        taken.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    };
    let spans = || {
        let all = bodies("/v1/traces");
        let all = all.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap());
        all.flat_map(|request| request.resource_spans)
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans)
            .collect::<Vec<_>>()
    };
    let span_of = |name: &str| spans().into_iter().find(|span| span.name == name);
    running
        .eventually("both spans", async |_| {
            span_of("review").is_some() && span_of("look-up").is_some()
        })
        .await;
    let (review, look_up) = (span_of("review").unwrap(), span_of("look-up").unwrap());
    let hex = |bytes: &[u8]| {
        use std::fmt::Write as _;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    assert_eq!(hex(&review.trace_id), trace);
    assert_eq!(hex(&review.parent_span_id), "b7ad6b7169203331");
    assert_eq!((&look_up.trace_id, &look_up.parent_span_id), (&review.trace_id, &review.span_id));
    let attribute = |span: &opentelemetry_proto::tonic::trace::v1::Span, name: &str| {
        let found = span.attributes.iter().find(|one| one.key == name)?;
        match found.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            other => Some(format!("{other:?}")),
        }
    };
    let words = |span, name| attribute(span, name).unwrap_or_default();
    assert_eq!((words(&review, "uid"), words(&review, "decision")), ("u-7".into(), "allow".into()));
    assert_eq!(words(&look_up, "registry"), nobody.to_string());
    assert_eq!(words(&look_up, "outcome"), "network");
    // Names of objects and images are in no span, and neither is the way in.
    let all = format!("{:?}", spans());
    assert!(!all.contains("a/b:1") && !all.contains(TOKEN) && !all.contains("ann"), "{all}");

    running.eventually("the metrics", async |_| !bodies("/v1/metrics").is_empty()).await;
    let metrics = ExportMetricsServiceRequest::decode(bodies("/v1/metrics")[0].clone()).unwrap();
    let families: Vec<_> = metrics.resource_metrics[0].scope_metrics[0]
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    assert!(families.contains(&"pullgate_ready") && families.len() > 8, "{families:?}");
}
