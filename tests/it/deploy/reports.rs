//! Reports about images in use, in both kinds, against the definitions that their projects publish:
//! nothing of them is dropped, nothing is refused, and what has not changed is not written again.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use super::deployed::{Deployed, eventually};
use super::program;
use crate::cluster::images::Image;
use crate::cluster::nodes::{create_node, play_running};
use crate::cluster::registry::{Access, Registry};

/// Brings a definition of another project into the cluster; nothing, if it is not there.
pub(super) fn define(deployed: &Deployed, name: &str) -> Option<()> {
    let file = program(&format!("definitions/{name}.yaml"))?;
    let apply = ["apply", "--server-side", "-f", file.to_str().unwrap()];
    deployed.kubectl.run(&apply).ok().unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    eventually("the definition", || deployed.kubectl.run(&established).code == 0);
    Some(())
}

#[rstest]
#[case::policy_report("wgpolicyk8s.io", "wgpolicyk8s.io_policyreports", "policyreports")]
#[case::report("openreports.io", "openreports.io_reports", "reports")]
fn a_report_is_whole_and_valid_and_written_only_when_something_changed(
    #[case] group: &str,
    #[case] definition: &str,
    #[case] resource: &str,
) {
    let chosen = format!("policyReports.group={group}");
    let values = ["audit.seconds=1", "policyReports.enabled=true", &chosen];
    let Some(deployed) = Deployed::start(&values) else { return };
    let Some(()) = define(&deployed, definition) else { return };
    let registry = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    for tag in ["1", "2"] {
        registry.push("shop/app", &[tag], &Image::single("amd64", tag));
    }
    deployed.cluster.namespace_called("shop", &[]);
    create_node(&deployed.cluster, "n1", "amd64", &[], &[]);
    let (one, two) = (registry.image("shop/app:1"), registry.image("shop/app:2"));
    let digest = format!("sha256:{}", "a".repeat(64));
    for (name, image) in [("one", &one), ("two", &two)] {
        deployed.kubectl.create(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"containers": [{"name": "c", "image": image}]}}));
        play_running(&deployed.cluster, "shop", name, "n1", &digest);
    }
    let resource = format!("{resource}.{group}");
    let read = || deployed.kubectl.get(&[&resource, "-n", "shop", "pullgate"]);
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    let counts = |pass: u32, fail: u32| {
        let summary = json!({"pass": pass, "fail": fail, "warn": 0, "error": 0, "skip": 0});
        eventually("the report", || read().is_ok_and(|report| report["summary"] == summary));
    };
    counts(2, 0);
    registry.untag("shop/app", "1");
    counts(1, 1);

    // Nothing of a result was dropped: this is all that is written.
    let written = read().unwrap();
    let mut result = written["results"][0].clone();
    let time = result.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(time["seconds"].as_i64().unwrap() > 1_700_000_000 && time["nanos"] == 0, "{time}");
    assert_eq!(
        result,
        json!({"source": "pullgate", "policy": "image-pullable", "rule": "tag_not_found",
               "category": "Images", "result": "fail", "severity": "high", "scored": true,
               "message": result["message"],
               "properties": {"image": one, "registry": registry.host()}})
    );
    assert!(!result["message"].as_str().unwrap().is_empty());
    assert_eq!(written["results"][1]["result"], "pass");
    // The API server takes it as it stands, where nothing unknown is let pass.
    let mut copy = json!({"apiVersion": written["apiVersion"], "kind": written["kind"],
        "metadata": {"name": "copy", "namespace": "shop"},
        "summary": written["summary"], "results": written["results"]});
    let strict = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
    let taken = deployed.kubectl.run_with(&strict, &copy.to_string());
    assert_eq!((taken.code, taken.stderr.as_str()), (0, ""), "{}", taken.stdout);
    // It does check.
    copy["results"][0]["result"] = "broken".into();
    assert_ne!(deployed.kubectl.run_with(&strict, &copy.to_string()).code, 0);

    // Every second an audit ends, every ten seconds what changed is written: nothing did.
    std::thread::sleep(Duration::from_secs(12));
    let later = read().unwrap();
    assert_eq!(later["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"]);
    assert_eq!(later["metadata"]["generation"], written["metadata"]["generation"]);

    // Nobody uses an image there any more.
    let delete = ["delete", "pods", "-n", "shop", "--all", "--force", "--grace-period=0"];
    deployed.kubectl.run(&delete).ok().unwrap();
    eventually("the report is gone", || read().is_err());
    assert!(!replica.process.output().contains("cannot be written"));
}
