//! The report for programs.

use serde_json::{Value, json};

use super::run::{Scene, deployment};

#[tokio::test(flavor = "multi_thread")]
async fn one_entry_for_each_place() {
    let scene = Scene::new().await;
    let missing = deployment("missing", "REGISTRY/shop/web:9");
    let said = scene.run_with(&["check", "-f", "-", "-o", "json"], &missing).await;
    assert_eq!((said.code, &*said.err), (1, ""));
    let mut report: Value = serde_json::from_str(&said.out).unwrap();
    let seconds = report["images"][0]["seconds"].take();
    assert!(seconds.as_f64().is_some_and(|seconds| seconds < 60.0), "{seconds}");
    assert_eq!(
        report,
        json!({
            "apiVersion": "pullgate.dev/v1alpha1",
            "kind": "CheckReport",
            "images": [{
                "object": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "namespace": "shop",
                    "name": "missing",
                },
                "file": "stdin",
                "line": 9,
                "column": 16,
                "path": "/spec/template/spec/containers/0/image",
                "container": "web",
                "image": "REGISTRY/shop/web:9",
                "reference": "REGISTRY/shop/web:9",
                "verdict": "fails",
                "cause": "tag_not_found",
                "escapes": ["node_mirror", "node_credentials", "image_on_node", "node_network"],
                "message": "image REGISTRY/shop/web:9: tag not found in the registry \
                    — checked without credentials; may still work if nodes have a mirror, their own \
                    credentials, the image or another network",
                "advice": [],
                "decision": "warn", "known": false, "lock": null, "lockedDigest": null,
                "digest": null,
                "platforms": [],
                "pulledWith": null,
                "seconds": null,
            }],
            "unread": [],
            "summary": {
                "objects": 1,
                "images": 1,
                "verdicts": {"works": 0, "fails": 1, "cannot_tell": 0},
                "decisions": {"allow": 0, "warn": 1, "deny": 0},
            },
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_check_is_an_empty_report() {
    let scene = Scene::new().await;
    let empty = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    let said = scene.run_with(&["check", "-f", "-", "-o", "json"], empty).await;
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["images"], json!([]));
    assert_eq!(said.code, 0);
    assert!(said.err.contains("no object with images"), "{}", said.err);
}

/// `helm template … | pullgate check -f -` must not pass because helm failed.
#[rstest::rstest]
#[case::empty("")]
#[case::blank("\n\n")]
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_brings_nothing_does_not_pass(#[case] input: &str) {
    let scene = Scene::new().await;
    for what in ["-f", "--images-from"] {
        let said = scene.run_with(&["check", what, "-"], input).await;
        assert_eq!(said.code, 2, "{}", said.err);
        assert!(said.err.contains("stdin: nothing came"), "{}", said.err);
    }
}
