//! Many images at once: equal questions are asked once, and nobody is turned away.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::Response;
use serde_json::Value;

use super::run::{Scene, deployment};

const IMAGES: usize = 2000;

type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// A registry that has every tag of `many/…` and counts what it is asked.
async fn registry() -> (std::net::SocketAddr, Asked) {
    let asked = Asked::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

async fn answer(State(asked): State<Asked>, method: Method, uri: Uri) -> Response {
    *asked.lock().unwrap().entry(format!("{method} {}", uri.path())).or_default() += 1;
    let (status, body) = match uri.path() {
        "/v2/absent/web/tags/list" => (200, r#"{"name": "absent/web", "tags": ["main"]}"#),
        path if path.starts_with("/v2/absent/") => {
            (404, r#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#)
        }
        _ => (200, ""),
    };
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(body) };
    let media = if status == 200 && !uri.path().ends_with("/tags/list") {
        "application/vnd.oci.image.manifest.v1+json"
    } else {
        "application/json"
    };
    Response::builder()
        .status(status)
        .header("content-type", media)
        .header("docker-content-digest", format!("sha256:{}", "a".repeat(64)))
        .body(body)
        .unwrap()
}

/// A scene with two thousand images in five hundred files, and each of them in one more.
async fn scene(of: impl Fn(usize) -> String) -> Scene {
    let mut scene = Scene::new().await;
    let mut all = String::new();
    for file in 0..500 {
        let mut text = String::new();
        for at in 0..4 {
            let number = file * 4 + at;
            let _ = write!(text, "---\n{}", deployment(&format!("d{number}"), &of(number)));
        }
        all.push_str(&text);
        scene = scene.file(&format!("k8s/{file}.yaml"), &text);
    }
    scene.file("k8s/all.yaml", &all)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_images_of_one_registry_are_each_asked_for_once() {
    let (registry, asked) = registry().await;
    let scene = scene(|number| format!("{registry}/many/web{number}:1")).await;
    let said = scene.run(&["check", "-f", "k8s", "-o", "json"]).await;
    assert_eq!((said.code, &*said.err), (0, ""), "{}", said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 2 * IMAGES);
    let unclear: Vec<&Value> = images.iter().filter(|image| image["verdict"] != "works").collect();
    assert!(unclear.is_empty(), "{} of {}: {}", unclear.len(), images.len(), unclear[0]);
    // In the order of the files, whatever came first.
    assert!(images.is_sorted_by_key(|image| image["file"].as_str().unwrap().to_owned()));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), IMAGES);
    let twice: Vec<_> = asked.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_proven_for_all_of_them() {
    let (registry, asked) = registry().await;
    let scene = scene(|number| format!("{registry}/absent/web:{number}")).await;
    let said = scene.run(&["check", "-f", "k8s", "-o", "json"]).await;
    assert_eq!((said.code, &*said.err), (1, ""), "{}", said.err);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["summary"]["verdicts"]["fails"], 2 * IMAGES);
    assert_eq!(asked.lock().unwrap()["GET /v2/absent/web/tags/list"], 1);
}
