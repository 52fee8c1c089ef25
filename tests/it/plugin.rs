//! Credential plugins as real processes: what they answer, and what a bad one cannot do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pullgate::image::ImageReference;
use pullgate::node::{FollowedNodeFiles, NodeFilePaths, NodeFiles};
use pullgate::review::{NodeCredentialSource, NodeCredentials};
use rstest::rstest;

const ANSWER: &str = r#"{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"KIND","cacheDuration":"1h","auth":{"reg.example.com":{"username":"u","password":"p"}}}"#;

/// A folder with one plugin and its configuration.
fn folder(script: &str, token: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin");
    fs::write(
        &plugin,
        format!("#!/bin/sh\necho run >> {}/runs\n{script}\n", folder.path().display()),
    )
    .unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let token = if token { "\n  tokenAttributes: {serviceAccountTokenAudience: a}" } else { "" };
    let config = format!(
        "apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: plugin
  matchImages: [reg.example.com]
  defaultCacheDuration: 1m
  apiVersion: credentialprovider.kubelet.k8s.io/v1{token}
"
    );
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    folder
}

fn files(folder: &Path) -> NodeFiles {
    NodeFiles::read(None, Some((&folder.join("config.yaml"), folder))).unwrap()
}

async fn ask(files: &NodeFiles, image: &str, patience: Duration) -> NodeCredentials {
    let image = ImageReference::parse(image).unwrap();
    files.node_credentials(&image, Instant::now() + patience).await
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).map_or(0, |text| text.lines().count())
}

const LONG: Duration = Duration::from_secs(30);

#[rstest]
#[case("Image", 2)]
#[case("Registry", 1)]
#[case("Global", 1)]
#[tokio::test]
async fn an_answer_serves_as_far_and_as_long_as_it_says(
    #[case] kind: &str,
    #[case] expected: usize,
) {
    let script = format!("cat > /dev/null\necho '{}'", ANSWER.replace("KIND", kind));
    let folder = folder(&script, false);
    let files = files(folder.path());
    for image in ["reg.example.com/a:1", "reg.example.com/a:2", "reg.example.com/b"] {
        let found = ask(&files, image, LONG).await;
        assert_eq!((found.credentials.len(), found.unclear), (1, false));
    }
    assert_eq!(runs(folder.path()), expected);
    assert!(ask(&files, "other.example.com/a", LONG).await.credentials.is_empty());
}

#[tokio::test]
async fn equal_questions_at_the_same_time_run_it_once() {
    let script = format!("sleep 0.3\necho '{}'", ANSWER.replace("KIND", "Image"));
    let folder = folder(&script, false);
    let files = files(folder.path());
    let asked = (0..20).map(|_| ask(&files, "reg.example.com/a", LONG));
    for found in futures::future::join_all(asked).await {
        assert_eq!(found.credentials.len(), 1);
    }
    assert_eq!(runs(folder.path()), 1);
}

#[rstest]
#[case::junk("echo junk")]
#[case::fails("echo secret >&2; exit 3")]
#[case::endless("exec cat /dev/zero")]
#[case::other_protocol(
    "echo '{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"cacheKeyType\":\"Image\"}'"
)]
#[tokio::test]
async fn a_plugin_that_misbehaves_leaves_it_unclear(#[case] script: &str) {
    let folder = folder(script, false);
    let found = ask(&files(folder.path()), "reg.example.com/a", LONG).await;
    assert!(found.credentials.is_empty() && found.unclear);
}

#[tokio::test]
async fn a_plugin_that_hangs_costs_no_more_than_the_deadline() {
    let folder = folder("exec sleep 60", false);
    let files = files(folder.path());
    let found = ask(&files, "reg.example.com/a", Duration::from_millis(200)).await;
    assert!(found.credentials.is_empty() && found.unclear);
}

#[tokio::test]
async fn a_registry_whose_plugin_hangs_leaves_room_for_others() {
    let script = format!(
        "read -r question\ncase \"$question\" in *slow*) exec sleep 60;; esac\necho '{}'",
        ANSWER.replace("KIND", "Image")
    );
    let folder = folder(&script, false);
    let config = folder.path().join("config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let hosts = "[reg.example.com, slow.example.com]";
    fs::write(&config, text.replace("[reg.example.com]", hosts)).unwrap();
    let files = files(folder.path());
    let hang = (0..8).map(async |n| {
        ask(&files, &format!("slow.example.com/a{n}"), Duration::from_millis(300)).await
    });
    for found in futures::future::join_all(hang).await {
        assert!(found.unclear);
    }
    assert_eq!(runs(folder.path()), 2);
    let found = ask(&files, "reg.example.com/a", Duration::from_secs(8)).await;
    assert_eq!(found.credentials.len(), 1);
}

#[tokio::test]
async fn a_plugin_that_wants_a_pods_token_is_not_run() {
    let folder = folder("echo never", true);
    let found = ask(&files(folder.path()), "reg.example.com/a", LONG).await;
    assert!(found.unclear);
    assert_eq!(runs(folder.path()), 0);
}

#[test]
fn a_plugin_that_is_not_there_stops_the_start() {
    let folder = folder("true", false);
    fs::remove_file(folder.path().join("plugin")).unwrap();
    let config = folder.path().join("config.yaml");
    let error = NodeFiles::read(None, Some((&config, folder.path()))).err().unwrap();
    assert!(error.to_string().contains("plugin is not an executable file"), "{error}");
}

#[tokio::test]
async fn a_docker_configuration_of_the_nodes_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    fs::write(&path, r#"{"auths":{"reg.example.com":{"username":"u","password":"p"}}}"#).unwrap();
    let files = NodeFiles::read(Some(&path), None).unwrap();
    assert_eq!(ask(&files, "reg.example.com/a", LONG).await.credentials.len(), 1);
    fs::write(&path, "{").unwrap();
    assert!(NodeFiles::read(Some(&path), None).is_err());
}

#[tokio::test]
async fn changed_files_take_effect_and_bad_ones_leave_the_old_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = |user: &str| {
        format!(r#"{{"auths": {{"reg.example.com": {{"username": "{user}", "password": "p"}}}}}}"#)
    };
    let paths = NodeFilePaths { docker_config: Some(path.clone()), providers: None };
    fs::write(&path, "{").unwrap();
    assert!(FollowedNodeFiles::open(paths.clone()).is_err());
    fs::write(&path, config("first")).unwrap();
    let files = Arc::new(FollowedNodeFiles::open(paths).unwrap());
    let user = async |files: &FollowedNodeFiles| {
        let image = ImageReference::parse("reg.example.com/a:1").unwrap();
        let found = files.node_credentials(&image, Instant::now() + LONG).await;
        found.credentials.first().map(|credential| credential.username().into_owned())
    };
    let follow = tokio::spawn(Arc::clone(&files).follow(Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::write(&path, "{").unwrap();
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(user(&files).await.as_deref(), Some("first"));
    fs::write(&path, config("second")).unwrap();
    for _ in 0..200 {
        if user(&files).await.as_deref() == Some("second") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(user(&files).await.as_deref(), Some("second"));
    follow.abort();
}

#[tokio::test]
async fn logins_that_are_listed_without_any_file_are_not_listed() {
    let nothing = NodeFiles::read(None, None).unwrap();
    assert!(ask(&nothing, "reg.example.com/a:1", LONG).await.unclear);
}
