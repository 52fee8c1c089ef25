//! Whose credentials are tried, and how that is explained.

use super::registry::PASSWORD;
use super::run::{Scene, deployment, pull_secret, words};

pub fn with_secrets(names: &str) -> String {
    deployment("app", "REGISTRY/team/app:1.0").replace(
        "      containers:",
        &format!("      imagePullSecrets: [{names}]\n      containers:"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_the_files_are_tried_in_order() {
    let files = [
        with_secrets("{name: old}, {name: new}"),
        pull_secret("old", "wrong"),
        pull_secret("new", PASSWORD),
    ];
    let scene = Scene::new().await.file("app.yaml", &files.concat());
    let said = scene.run(&["check", "-f", "app.yaml", "--explain-credentials"]).await;
    insta::assert_snapshot!(said.out, @r"
    Deployment shop/app (app.yaml)
      works       container web  line 10
              REGISTRY/team/app:1.0
              can be pulled
              Credentials: pull secrets of the pod: old, new
                1. secret old, key REGISTRY: registry rejects the credentials (401)
                2. secret new, key REGISTRY: works

    1 image in 1 object: 1 works, 0 fail, 0 cannot tell
    ");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!format!("{said:?}").contains("hidden"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_fail() {
    let files = [with_secrets("{name: old}"), pull_secret("old", "wrong")].concat();
    let said = Scene::new().await.run_with(&["check", "-f", "-"], &files).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("unauthorized"), "{}", said.out);
    // The command that mends it stands on a line of its own, without any password.
    let command = said.out.lines().find(|line| line.contains("$ kubectl create secret"));
    let command = command.unwrap_or_else(|| panic!("{}", said.out));
    assert!(
        command.contains("docker-registry old -n shop --docker-server='REGISTRY'"),
        "{command}"
    );
    assert!(command.contains("--docker-password='<password>'"), "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_the_namespace_that_works_is_advised() {
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: \
                   shop}\n";
    let files =
        [deployment("app", "REGISTRY/team/app:1.0"), pull_secret("good", PASSWORD), account.into()];
    let said = Scene::new().await.run_with(&["check", "-f", "-"], &files.concat()).await;
    assert_eq!(said.code, 0, "nodes may log in: {said:?}");
    assert!(words(&said.out).contains("add pull secret good (tested)"), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_service_account_in_the_files_count() {
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: \
                   shop}\nimagePullSecrets: [{name: good}]\n";
    let files =
        [deployment("app", "REGISTRY/team/app:1.0"), pull_secret("good", PASSWORD), account.into()];
    let said = Scene::new().await.run_with(&["check", "-f", "-"], &files.concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_showed_us_is_no_proof() {
    let scene = Scene::new().await;
    for (file, expected) in [
        (deployment("app", "REGISTRY/team/app:1.0"), "may bring a pull secret"),
        (with_secrets("{name: elsewhere}"), "elsewhere is not in these files"),
    ] {
        let said = scene.run_with(&["check", "-f", "-", "--fail-on=cannot-tell"], &file).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains("1 cannot tell"), "{}", said.out);
        assert!(words(&said.out).contains(expected), "{}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_secret_is_the_end_of_every_pull() {
    let broken = pull_secret("old", "wrong").replace("{\"auths\"", "{auths");
    let files = [with_secrets("{name: old}"), broken].concat();
    let said =
        Scene::new().await.run_with(&["check", "-f", "-", "--explain-credentials"], &files).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("broken_pull_secret"), "{}", said.out);
    assert!(said.out.contains("pulls nothing at all"), "{}", said.out);
}

/// The person's own docker configuration.
pub fn own_login() -> String {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("robot:{PASSWORD}"));
    format!("{{\"auths\": {{\"REGISTRY\": {{\"auth\": \"{auth}\"}}}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_login_is_only_mentioned_for_objects() {
    let scene = Scene::new()
        .await
        .file("docker/config.json", &own_login())
        .file("app.yaml", &deployment("app", "REGISTRY/team/app:1.0"));
    let said = scene.run(&["check", "-f", "app.yaml", "-o=json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let image = &report["images"][0];
    assert_eq!(image["verdict"], "cannot_tell", "{image}");
    assert_eq!(image["advice"][0]["kind"], "own_login", "{image}");
    let message = image["message"].as_str().unwrap();
    assert!(message.contains("your own login can pull it"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_login_counts_for_an_image_by_itself() {
    let scene = Scene::new().await.file("docker/config.json", &own_login());
    let said =
        scene.run(&["check", "--explain-credentials", "--image", "REGISTRY/team/app:1.0"]).await;
    insta::assert_snapshot!(said.out, @r"
    REGISTRY/team/app:1.0
      works
              can be pulled; only your own login was used: nodes need a pull secret for it
              Credentials: pull secrets of ServiceAccount default: none
                1. own docker config: works (nodes do not have it)
                - ServiceAccount default is not in these files: it was taken to have no pull secrets

    1 image in 1 object: 1 works, 0 fail, 0 cannot tell
    ");
    assert_eq!(said.code, 0, "{said:?}");
    let said = scene.run(&["check", "--image", "REGISTRY/team/app:2.0"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("your own login"), "{}", said.out);
}

/// A credential helper as docker runs it.
fn helper(scene: Scene, script: &str) -> Scene {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene
        .file("docker/config.json", "{\"credsStore\": \"test\"}")
        .file("docker-credential-test", script);
    let path = scene.path().join("docker-credential-test");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_helpers_are_asked() {
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\necho '{{\"Username\": \"robot\", \"Secret\": \"{PASSWORD}\"}}'\n"
    );
    let scene = helper(Scene::new().await, &script);
    let said = scene.run(&["check", "--image", "REGISTRY/team/app:1.0"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_that_hangs_is_not_waited_for() {
    let scene = helper(Scene::new().await, "#!/bin/sh\nexec sleep 40\n");
    let before = std::time::Instant::now();
    let said = scene.run(&["check", "--image", "REGISTRY/team/app:1.0"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(words(&said.out).contains("did not answer in 10 s"), "{}", said.out);
    assert!(before.elapsed().as_secs() < 30);
}
