//! Webhooks for the API server to call: their registration, and a small one of the tests' own that
//! shows what kubectl makes of warnings and denials.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum_server::tls_rustls::RustlsConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::pki::Authority;
use super::runtime;

/// A validating webhook as the API server is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// The name of the configuration and the first part of the webhook's name.
    pub name: &'a str,
    /// Where it answers, `https` only.
    pub url: &'a str,
    /// The certificate authority to trust, PEM.
    pub authority: &'a str,
    /// The namespaces it is asked about have this label.
    pub namespaces: (&'a str, &'a str),
    /// `Ignore` or `Fail`.
    pub failure_policy: &'a str,
}

impl Registration<'_> {
    /// Registers it for everything that makes pods. The API server watches configurations: the
    /// first requests after this may still go by without it.
    ///
    /// # Panics
    /// When the API server refuses it.
    pub fn create(&self, cluster: &ControlPlane) {
        let (key, value) = self.namespaces;
        let rule = |group: &str, resources: &[&str]| {
            json!({
                "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": resources, "scope": "Namespaced",
            })
        };
        cluster.admin().create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [{
                "name": format!("{}.pullgate.dev", self.name),
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "timeoutSeconds": 10,
                "failurePolicy": self.failure_policy,
                "matchPolicy": "Equivalent",
                "clientConfig": {"url": self.url, "caBundle": STANDARD.encode(self.authority)},
                "namespaceSelector": {"matchLabels": {key: value}},
                "rules": [
                    rule("", &["pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"]),
                    rule("apps", &["deployments", "replicasets", "statefulsets", "daemonsets"]),
                    rule("batch", &["jobs", "cronjobs"]),
                    rule("tekton.dev", &["tasks", "taskruns", "pipelines", "pipelineruns"]),
                ],
            }],
        }));
    }
}

/// A webhook that warns of images whose name contains `warn` and denies those with `deny`. It
/// shows that the API server, kubectl and the harness play together, without Pullgate.
#[derive(Debug)]
pub struct DummyWebhook {
    /// Where it answers.
    pub url: String,
    /// The authority of its certificate, PEM.
    pub authority: String,
    asked: Arc<AtomicU32>,
    handle: axum_server::Handle<SocketAddr>,
}

impl DummyWebhook {
    /// Starts it on a free port of loopback.
    pub fn start() -> Result<Self, String> {
        let _in_runtime = runtime().enter();
        let authority = Authority::new("pullgate-test-webhook");
        let identity = authority.server(&["127.0.0.1"]);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let config = RustlsConfig::from_pem(identity.certificate.into(), identity.key.into());
        let config = runtime().block_on(config).map_err(|error| error.to_string())?;
        let asked = Arc::new(AtomicU32::new(0));
        let router = axum::Router::new()
            .route("/validate", axum::routing::post(answer))
            .with_state(Arc::clone(&asked));
        let handle = axum_server::Handle::new();
        let server = axum_server::from_tcp_rustls(listener, config)
            .map_err(|error| error.to_string())?
            .handle(handle.clone());
        runtime().spawn(server.serve(router.into_make_service()));
        let url = format!("https://{address}/validate");
        Ok(Self { url, authority: authority.certificate(), asked, handle })
    }

    /// How often it was asked.
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for DummyWebhook {
    fn drop(&mut self) {
        self.handle.shutdown();
    }
}

async fn answer(State(asked): State<Arc<AtomicU32>>, body: String) -> impl IntoResponse {
    asked.fetch_add(1, Ordering::Relaxed);
    let review: Value = serde_json::from_str(&body).unwrap_or_default();
    let object = &review["request"]["object"];
    let spec =
        if object["kind"] == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] };
    let images = spec["containers"].to_string();
    let mut response =
        json!({"uid": review["request"]["uid"], "allowed": !images.contains("deny")});
    if images.contains("warn") {
        response["warnings"] = json!(["this image was warned of"]);
    }
    if images.contains("deny") {
        response["status"] = json!({
            "code": 403, "reason": "Forbidden", "message": "this image was denied",
        });
    }
    let kind = "AdmissionReview";
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": kind, "response": response});
    ([(CONTENT_TYPE, "application/json")], review.to_string())
}
