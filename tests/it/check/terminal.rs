//! What a person at a terminal sees besides: colours, and how far the work is.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::run::{Scene, deployment};

/// Runs the check with standard output or standard error at a terminal, and answers what came there.
async fn at_terminal(scene: &Scene, error: bool, variables: &[(&str, &str)]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap());
    let slave = Stdio::from(slave.unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullgate"));
    command.args(["check", "-f", "app.yaml"]).current_dir(scene.path());
    command.env_clear().env("PULLGATE_ALLOW_ADDRESS", "127.0.0.0/8");
    command.env("TERM", "xterm").env("NO_PROXY", "127.0.0.1").env("HOME", scene.path());
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    if error {
        command.stdout(Stdio::null()).stderr(slave);
    } else {
        command.stdout(slave).stderr(Stdio::null());
    }
    let mut child = command.spawn().unwrap();
    // Ours is the last other end; without it reading ends when the program does.
    drop(command);
    let reading = tokio::task::spawn_blocking(move || {
        let (mut file, mut text) = (std::fs::File::from(master), Vec::new());
        // The end of a terminal is an error.
        let _ = file.read_to_end(&mut text);
        text
    });
    let text = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
    child.wait().unwrap();
    String::from_utf8_lossy(&text).replace(&scene.registry.to_string(), "REGISTRY")
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_only_where_they_are_seen_and_wanted() {
    let files = [
        deployment("missing", "REGISTRY/shop/web:9"),
        deployment("private", "REGISTRY/team/app:1.0"),
    ];
    let scene = Scene::new().await.file("app.yaml", &files.join("---\n"));
    let seen = at_terminal(&scene, false, &[]).await;
    for part in [
        "\u{1b}[1mDeployment shop/missing\u{1b}[0m (app.yaml)",
        "  \u{1b}[31mFAILS\u{1b}[0m       container web",
        "  \u{1b}[33mcannot tell\u{1b}[0m container web",
    ] {
        assert!(seen.contains(part), "{part:?}: {seen:?}");
    }
    for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = at_terminal(&scene, false, &[unwanted]).await;
        assert!(plain.contains("FAILS") && !plain.contains('\u{1b}'), "{plain:?}");
    }
    let piped = scene.run(&["check", "-f", "app.yaml"]).await;
    assert!(!piped.out.contains('\u{1b}') && piped.err.is_empty(), "{piped:?}");
}

/// A registry that takes its time, so that there is something to see.
async fn slow() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |uri: http::Uri| async move {
        let last = uri.path().ends_with("/2");
        tokio::time::sleep(Duration::from_millis(if last { 1500 } else { 1000 })).await;
        http::StatusCode::NOT_FOUND
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn long_work_says_how_far_it_is_and_leaves_nothing_behind() {
    let registry = slow().await;
    let files =
        ["1", "2"].map(|tag| deployment(&format!("d{tag}"), &format!("{registry}/shop/web:{tag}")));
    let scene = Scene::new().await.file("app.yaml", &files.join("---\n"));
    let seen = at_terminal(&scene, true, &[]).await;
    assert!(seen.contains("1 of 2 objects checked"), "{seen:?}");
    assert!(seen.ends_with("\r\u{1b}[2K"), "{seen:?}");
    let dumb = at_terminal(&scene, true, &[("TERM", "dumb")]).await;
    assert_eq!(dumb, "");
}
