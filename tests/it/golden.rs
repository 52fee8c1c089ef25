//! What users depend on, kept as files under `tests/golden`: help texts, metric names and labels,
//! the JSON of `check` and `explain`, the snapshot of the index. A change of any of them is a decision.
//!
//! `PULLGATE_BLESS=1` writes the files anew, except the old snapshot, which must stay readable.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use pullgate::history::{
    Freshness, HealthIndex, HistoryQuestion, ReportTarget, Snapshot, Visibility,
};
use pullgate::image::ImageReference;
use pullgate::telemetry::Metrics;
use rstest::rstest;
use serde_json::{Value, json};

use crate::check::credentials::with_secrets;
use crate::check::run::{Scene, deployment, pull_secret};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares with the file of this name.
fn same_as(name: &str, now: &str) {
    let path = golden(name);
    if std::env::var_os("PULLGATE_BLESS").is_some() {
        fs::write(&path, now).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let lost = before.lines().filter(|line| !now.lines().any(|other| other == *line));
    let new = now.lines().filter(|line| !before.lines().any(|other| other == *line));
    let changes: Vec<_> =
        lost.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect();
    assert!(before == now, "{name} has changed (PULLGATE_BLESS=1 writes it): {changes:#?}");
}

fn pullgate(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pullgate"));
    command.args(arguments).env_clear().env("COLUMNS", "100");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[rstest]
#[case("help.txt", &["--help"])]
#[case("help-serve.txt", &["serve", "--help"])]
#[case("help-lock.txt", &["lock", "--help"])]
#[case("help-pin.txt", &["pin", "--help"])]
#[case("help-check.txt", &["check", "--help"])]
#[case("help-explain.txt", &["explain", "--help"])]
#[case("help-risk.txt", &["risk", "--help"])]
#[case("help-whatif.txt", &["whatif", "--help"])]
#[case("help-try-webhook.txt", &["try-webhook", "--help"])]
#[case("help-version.txt", &["version", "--help"])]
#[case("help-completions.txt", &["completions", "--help"])]
#[case("help-man.txt", &["man", "--help"])]
fn help_texts(#[case] name: &str, #[case] arguments: &[&str]) {
    let text = pullgate(arguments);
    assert!(!text.contains('`'), "a terminal shows backticks as they are: {text}");
    same_as(name, &text);
}

#[test]
fn the_json_of_an_explained_message() {
    let message = "failed to resolve reference \"ghcr.io/a/b:1\": failed to do request: Head \
                   \"https://ghcr.io/v2/a/b/manifests/1\": dial tcp 1.2.3.4:443: i/o timeout";
    let said = pullgate(&["explain", "--message", message, "-o", "json"]);
    same_as("explain-message.json", &said);
}

/// What `check -o json` says of an image whose pull secret is refused, one that works and is worth a
/// note, one whose lock file is older, and a file that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn the_json_of_a_check() {
    let refused = with_secrets("{name: old}") + &pull_secret("old", "wrong");
    let noted =
        deployment("noted", "REGISTRY/shop/web:latest") + "        imagePullPolicy: IfNotPresent\n";
    let lock = format!(
        "{{\"apiVersion\": \"pullgate.dev/v1alpha1\", \"kind\": \"ImageLock\", \"images\": [\
         {{\"image\": \"REGISTRY/shop/web:1.0\", \"digest\": \"sha256:{}\", \"platforms\": []}}]}}",
        "0".repeat(64)
    );
    let scene = Scene::new()
        .await
        .file("k8s/app.yaml", &refused)
        .file("k8s/moved.yaml", &deployment("moved", "REGISTRY/shop/web:1.0"))
        .file("k8s/noted.yaml", &noted)
        .file("k8s/odd.yaml", "kind: Pod\n")
        .file("pullgate.lock", &lock);
    let flags = ["-o", "json", "--explain-credentials", "--locked"];
    let said = scene.run(&[&["check", "-f", "k8s"][..], &flags].concat()).await;
    let mut report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    for image in report["images"].as_array_mut().unwrap() {
        assert!(image["seconds"].take().is_number());
    }
    same_as("check.json", &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
}

/// Names, types, help texts, and the labels of those that have a value from the start.
#[test]
fn metrics() {
    let text = Metrics::new().render();
    let mut lines = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("# ") {
            lines.insert(line.to_owned());
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = rest.split('}').next().unwrap_or_default();
            let keys: BTreeSet<_> =
                labels.split("\",").filter_map(|label| label.split('=').next()).collect();
            lines.insert(format!("{name} {keys:?}"));
        }
    }
    let all: Vec<_> = lines.into_iter().collect();
    same_as("metrics.txt", &(all.join("\n") + "\n"));
}

const IMAGE: &str = "r.example/shop/app:1.2.2";

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

/// An index that has seen one pod run, as the snapshot in the file was made from.
fn index() -> HealthIndex {
    let mut index = HealthIndex::default();
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1",
            "creationTimestamp": at(1_800_000_000).to_string()},
        "spec": {"nodeName": "n", "containers":
            [{"name": "app", "image": IMAGE, "imagePullPolicy": "Always"}]},
        "status": {"containerStatuses": [{"name": "app",
            "imageID": format!("r.example/shop/app@sha256:{}", "a".repeat(64)),
            "state": {"running": {"startedAt": at(1_800_000_100).to_string()}}}]},
    }));
    index.apply_pod(&pod.unwrap(), at(1_800_000_200));
    index
}

/// What `explain -o json` has under `pulls`.
#[test]
fn the_json_of_pull_times() {
    let mut index = index();
    let event = json!({"metadata": {"name": "e", "namespace": "shop"},
    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "u-1"},
    "reason": "Pulled", "lastTimestamp": at(1_800_000_150).to_string(),
    "message": format!(
        "Successfully pulled image \"{IMAGE}\" in 12.3s (12.4s including waiting). Image size: 350 bytes."
    )});
    index.apply_event(&serde_json::from_value(event).unwrap(), at(1_800_000_200));
    index.set_freshness(Freshness::Current);
    let target = ReportTarget::Image(ImageReference::parse(IMAGE).unwrap());
    let report = index.report(&target, &Visibility::Cluster, at(1_800_000_200));
    let text = serde_json::to_string_pretty(&report.pulls.unwrap()).unwrap();
    same_as("explain-pulls.json", &(text + "\n"));
}

/// The report that `explain -o json` begins with: of an image that runs and fails, and of its registry.
#[test]
fn the_json_of_reports() {
    let mut index = index();
    let waiting = |name: &str, since: i64| {
        let message = format!("failed to resolve reference \"{IMAGE}\": {IMAGE}: not found");
        let pod = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}"),
                "creationTimestamp": at(since).to_string(),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart",
                    "uid": "s-1", "controller": true}]},
            "spec": {"nodeName": "n", "containers":
                [{"name": "app", "image": IMAGE, "imagePullPolicy": "Always"}]},
            "status": {"containerStatuses": [{"name": "app", "image": IMAGE, "imageID": "",
                "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}]},
        });
        serde_json::from_value(pod).unwrap()
    };
    index.apply_pod(&waiting("cart-0", 1_800_000_110), at(1_800_000_200));
    index.apply_pod(&waiting("cart-1", 1_800_000_120), at(1_800_000_210));
    index.delete_pod("u-cart-1", at(1_800_000_220));
    index.set_freshness(Freshness::Current);
    let image = ImageReference::parse(IMAGE).unwrap();
    let registry = ReportTarget::Registry("r.example".into());
    for (name, target) in
        [("explain-image.json", ReportTarget::Image(image)), ("explain-registry.json", registry)]
    {
        let report = index.report(&target, &Visibility::Cluster, at(1_800_000_300));
        same_as(name, &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
    }
}

#[test]
fn a_snapshot_is_written_as_before() {
    let bytes = index().snapshot().encode("golden-cluster").unwrap();
    same_as("snapshot-now.txt", &(String::from_utf8(bytes).unwrap() + "\n"));
}

/// Written by the first version with this format; never written anew.
#[test]
fn an_old_snapshot_is_still_read() {
    let bytes = fs::read(golden("snapshot-v1.txt")).unwrap();
    let old = Snapshot::decode(bytes.trim_ascii_end(), "golden-cluster").unwrap();
    let mut index = HealthIndex::default();
    index.restore(old, at(1_800_000_300));
    index.set_freshness(Freshness::Current);
    let reference = ImageReference::parse(IMAGE).unwrap();
    let visibility = Visibility::Cluster;
    let question =
        HistoryQuestion { reference: &reference, namespace: "shop", visibility: &visibility };
    let success = index.history(&question, at(1_800_000_300)).last_success.unwrap();
    assert_eq!(success.at, at(1_800_000_100));
    assert!(success.pulled);
    assert_eq!(success.digest.unwrap().as_str(), format!("sha256:{}", "a".repeat(64)));
}
