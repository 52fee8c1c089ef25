//! A small registry on loopback: `shop/web:1.0` and `:latest` for everybody, `team/app:1.0` behind a login,
//! `multi/arm:1` as an index for linux/arm64 alone.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pullgate::image::Digest;

pub const USER: &str = "robot";
pub const PASSWORD: &str = "hidden-word";

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;
const INDEX: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2,"platform":{"os":"linux","architecture":"arm64"}}]}"#;

/// Starts it; it ends with the test's runtime.
pub async fn start() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    if uri.path().starts_with("/v2/elsewhere/") {
        let challenge = "Bearer realm=\"https://sso.example.net/token\",service=\"s\"";
        let refusal = Response::builder().status(StatusCode::UNAUTHORIZED);
        return refusal.header("www-authenticate", challenge).body(Body::empty()).unwrap();
    }
    let private = uri.path().starts_with("/v2/team/");
    if private && authorization != Some(&wanted) {
        return refusal(&method, StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
    }
    let (media, body) = match uri.path() {
        "/v2/shop/web/manifests/1.0"
        | "/v2/shop/web/manifests/latest"
        | "/v2/team/app/manifests/1.0" => ("application/vnd.oci.image.manifest.v1+json", MANIFEST),
        path if path == format!("/v2/shop/web/manifests/{}", digest(MANIFEST.as_bytes())) => {
            ("application/vnd.oci.image.manifest.v1+json", MANIFEST)
        }
        path if path == "/v2/multi/arm/manifests/1"
            || path == format!("/v2/multi/arm/manifests/{}", digest(INDEX.as_bytes())) =>
        {
            ("application/vnd.oci.image.index.v1+json", INDEX)
        }
        "/v2/shop/web/tags/list" | "/v2/team/app/tags/list" => {
            ("application/json", r#"{"name": "one", "tags": ["main"]}"#)
        }
        _ => {
            return refusal(&method, StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        }
    };
    let digest = digest(body.as_bytes());
    let response = Response::builder()
        .header("content-type", media)
        .header("content-length", body.len())
        .header("docker-content-digest", digest);
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(body) };
    response.body(body).unwrap()
}

fn digest(body: &[u8]) -> String {
    Digest::of_sha256(body).to_string()
}

fn refusal(method: &Method, status: StatusCode, code: &str) -> Response {
    let body = match *method {
        Method::HEAD => String::new(),
        _ => format!(r#"{{"errors":[{{"code":"{code}","message":"evil words of a registry"}}]}}"#),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("www-authenticate", "Basic realm=\"registry\"")
        .body(Body::from(body))
        .unwrap()
}
