//! What Pullgate needs around it, in a process of its own: an API server with one node and one
//! namespace in which nothing happens, and a registry of single images.

#![allow(dead_code, reason = "several benchmarks share it")]

use std::path::{Path, PathBuf};
use std::process::Child;

use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use pullgate::image::Digest;
use serde_json::{Value, json};

use crate::servers::this_program;

/// What is around Pullgate; ends with it.
pub struct Around {
    child: Child,
    pub kubeconfig: PathBuf,
    /// Host and port of the registry.
    pub registry: String,
    /// Host and port of one that is not there.
    pub dead: String,
}

impl Around {
    pub fn start(folder: &Path, dead: String) -> Self {
        let (child, registry) = this_program("around", folder);
        Self { child, kubeconfig: folder.join("kubeconfig"), registry, dead }
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address at which nobody listens.
pub fn dead_registry() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").to_string()
}

/// Serves both until it is killed; says where the registry is.
pub fn serve(folder: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = registry.local_addr().expect("its address");
        tokio::spawn(async move {
            axum::serve(registry, axum::Router::new().fallback(answer_as_registry)).await
        });
        let api = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = api.local_addr().expect("its address");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(Path::new(folder).join("kubeconfig"), kubeconfig.to_string())
            .expect("a file");
        println!("{host}");
        let routes = axum::Router::new().fallback(answer_as_api_server);
        axum::serve(api, routes).await.expect("a server that runs");
    });
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = r#"{"os":"linux","architecture":"amd64"}"#;

/// Every repository has the tag `v1`, a single image.
async fn answer_as_registry(method: Method, uri: Uri) -> Response {
    let config = Digest::of_sha256(CONFIG.as_bytes()).to_string();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{}}},"layers":[]}}"#,
        CONFIG.len()
    );
    let own = Digest::of_sha256(manifest.as_bytes()).to_string();
    let path = uri.path();
    if path.ends_with("/tags/list") {
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (json, r#"{"name":"team/app","tags":["v1"]}"#).into_response();
    }
    if path.ends_with(&config) {
        return ([(header::CONTENT_TYPE, "application/octet-stream")], CONFIG).into_response();
    }
    if path.ends_with("/manifests/v1") || path.ends_with(&own) {
        let headers =
            [(header::CONTENT_TYPE.as_str(), MANIFEST), ("docker-content-digest", own.as_str())];
        let body = if method == Method::HEAD { String::new() } else { manifest };
        return (headers, body).into_response();
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#;
    (StatusCode::NOT_FOUND, json, unknown).into_response()
}

async fn answer_as_api_server(
    method: Method,
    uri: Uri,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    if method != Method::GET {
        let mut asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        asked["status"] = json!({"allowed": true});
        return (StatusCode::CREATED, json, asked.to_string()).into_response();
    }
    if query.is_some_and(|query| query.contains("watch=")) {
        let nothing = futures::stream::pending::<Result<Bytes, std::io::Error>>();
        return (json, Body::from_stream(nothing)).into_response();
    }
    let items = match uri.path() {
        "/api/v1/nodes" => json!([{"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-1", "uid": "n", "resourceVersion": "1",
                "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
                "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64",
                    "containerRuntimeVersion": "containerd://2.1.4", "kubeletVersion": "v1.34.0"}}}]),
        "/api/v1/namespaces" => {
            json!([{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "shop", "uid": "s", "resourceVersion": "1",
                "labels": {"kubernetes.io/metadata.name": "shop"}}}])
        }
        _ => json!([]),
    };
    let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
        "items": items});
    (json, list.to_string()).into_response()
}
