//! What a large check costs, in time and memory.
//!
//! `cargo bench --profile release --bench check`: 2,000 images in 500 files, on 20 registries on loopback of which each
//! answers after 50 ms, over plain HTTP. Three runs of the program, each with its wall time and the
//! most memory that it had (`VmHWM`); every image has to be found.

#![expect(clippy::print_stdout, reason = "figures are its output")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_precision_loss, reason = "figures are rounded anyway")]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

const FILES: usize = 500;
const IMAGES_A_FILE: usize = 4;
const REGISTRIES: usize = 20;
const DELAY: Duration = Duration::from_millis(50);
const RUNS: usize = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let registries: Vec<SocketAddr> = (0..REGISTRIES).map(|_| runtime.block_on(start())).collect();
    write_files(folder.path(), &registries);
    let images = FILES * IMAGES_A_FILE;
    println!("{images} images in {FILES} files on {REGISTRIES} registries at {DELAY:?}:");
    for run in 1..=RUNS {
        let (time, memory) = check(folder.path());
        let megabytes = memory as f64 * 1024.0 / 1e6;
        println!("  run {run}: {:.2} s, {megabytes:.0} MB", time.as_secs_f64());
    }
}

/// Starts a registry that has every tag.
async fn start() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn answer(uri: Uri) -> Response {
    tokio::time::sleep(DELAY).await;
    if !uri.path().contains("/manifests/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let digest = format!("sha256:{}", "a".repeat(64));
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/vnd.oci.image.manifest.v1+json"),
        ("docker-content-digest", &digest),
    ];
    (headers, ()).into_response()
}

fn write_files(folder: &Path, registries: &[SocketAddr]) {
    for file in 0..FILES {
        let mut text = String::new();
        for image in file * IMAGES_A_FILE..(file + 1) * IMAGES_A_FILE {
            let registry = registries.get(image % REGISTRIES).expect("a registry");
            let _ = write!(
                text,
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d{image}}}\nspec:\n  \
                 template:\n    spec:\n      containers:\n      - name: web\n        \
                 image: {registry}/shop/app{image}:1.0\n"
            );
        }
        fs::write(folder.join(format!("{file}.yaml")), text).expect("a file");
    }
}

/// How long the check took, and the most memory that it had, in KiB.
fn check(folder: &Path) -> (Duration, u64) {
    let report = folder.join("report");
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pullgate"))
        .args(["check", "-f"])
        .arg(folder)
        .env("DOCKER_CONFIG", folder)
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("KUBECONFIG")
        .stdout(fs::File::create(&report).expect("a file"))
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the program");
    let mut memory = 0;
    let status = loop {
        memory = peak(&child).unwrap_or(memory);
        if let Some(status) = child.try_wait().expect("the program's end") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let time = started.elapsed();
    let report = fs::read_to_string(&report).expect("a report");
    let all = FILES * IMAGES_A_FILE;
    let wanted = format!("{all} images in {all} objects: {all} work, 0 fail, 0 unclear\n");
    assert!(status.success() && report == wanted, "{status}: {report}");
    (time, memory)
}

/// The most memory that the process had until now, in KiB.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
