//! The continuous audit, with the rights that are deployed: a tag that is deleted and a login that
//! expires show in the metrics before a node needs them.

use serde_json::json;

use super::deployed::{Deployed, eventually};
use crate::cluster::images::Image;
use crate::cluster::nodes::{create_node, play_running};
use crate::cluster::registry::{Access, OTHER, PULLER, Registry};

#[test]
fn a_deleted_tag_and_a_login_that_is_refused_are_noticed_while_pods_run() {
    let values = ["audit.seconds=1", "policyReports.enabled=true"];
    let Some(deployed) = Deployed::start(&values) else { return };
    let Some(()) = super::reports::define(&deployed, "wgpolicyk8s.io_policyreports") else {
        return;
    };
    let programs = deployed.cluster.programs();
    let open = Registry::start(programs, Access::Anonymous).unwrap();
    let private = Registry::start(programs, Access::Basic).unwrap();
    for tag in ["1", "2"] {
        open.push("shop/app", &[tag], &Image::single("amd64", tag));
    }
    private.push("shop/billing", &["1"], &Image::single("amd64", "1"));
    deployed.cluster.namespace_called("shop", &[]);
    deployed.kubectl.create(&private.pull_secret("login", "shop", PULLER));
    let pod = |name: &str, image: String, secrets: &[&str]| {
        let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
        deployed.kubectl.create(&json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"imagePullSecrets": secrets, "containers": [{"name": "c", "image": image}]}}));
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    create_node(&deployed.cluster, "n1", "amd64", &[], &[]);
    let runs = |name: &str, digest: &str| {
        play_running(&deployed.cluster, "shop", name, "n1", digest);
    };
    pod("one", open.image("shop/app:1"), &[]);
    pod("two", open.image("shop/app:2"), &[]);
    pod("again", open.image("shop/app:2"), &[]);
    pod("billing", private.image("shop/billing:1"), &["login"]);
    pod("anonymous", private.image("shop/billing:2"), &[]);
    for name in ["one", "two", "again", "billing", "anonymous"] {
        runs(name, &digest);
    }
    // What never ran is not in use, and what was put onto the nodes was never pulled.
    pod("never", open.image("shop/app:never"), &[]);
    pod("loaded", open.image("lab/tool:1"), &[]);
    runs("loaded", "");

    let mut replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    let line = |registry: &Registry, cause: &str, count: u32| {
        let host = registry.host();
        format!(r#"pullgate_image_pullable{{registry="{host}",cause="{cause}"}} {count}"#)
    };
    replica.until_metric(&line(&open, "none", 2));
    replica.until_metric(&line(&private, "none", 1));
    // Whether the nodes have a login is not known: that is no alert.
    replica.until_metric(&line(&private, "unknown_nodes", 1));
    let asked = open.requests().len();

    open.untag("shop/app", "1");
    replica.until_metric(&line(&open, "tag_not_found", 1));
    replica.until_metric(&line(&open, "none", 1));
    let told = "an image in use can no longer be pulled";
    eventually("it is told", || replica.process.output().contains(told));
    let loaded = "an image in use was loaded onto nodes, not pulled";
    eventually("it is told", || replica.process.output().contains(loaded));
    assert!(!replica.process.output().contains("app:never"), "what never ran is audited");
    assert!(asked > 0 && open.requests().iter().take(asked).all(|one| !one.contains("GET /v2/s")));

    // The same as a report of the namespace.
    let report = || deployed.kubectl.get(&["policyreport", "-n", "shop", "pullgate"]);
    let result = |image: &str| {
        let report = report().ok()?;
        let results = report["results"].as_array()?.clone();
        results.into_iter().find(|one| one["properties"]["image"] == image)
    };
    eventually("the report", || {
        let is = |image: String, word: &str| {
            result(&image).is_some_and(|result| result["result"] == word)
        };
        is(open.image("shop/app:1"), "fail")
            && is(open.image("shop/app:2"), "pass")
            && is(open.image("lab/tool:1"), "warn")
            && is(private.image("shop/billing:1"), "pass")
            && is(private.image("shop/billing:2"), "skip")
    });
    let failed = result(&open.image("shop/app:1")).unwrap();
    assert_eq!((&failed["rule"], &failed["severity"]), (&json!("tag_not_found"), &json!("high")));
    let summary = json!({"pass": 2, "fail": 1, "warn": 1, "error": 0, "skip": 1});
    assert_eq!(report().unwrap()["summary"], summary);

    deployed.kubectl.run(&["delete", "secret", "-n", "shop", "login"]).ok().unwrap();
    let (user, _, hash) = OTHER;
    deployed.kubectl.create(&private.pull_secret("login", "shop", (user, "wrong", hash)));
    replica.until_metric(&line(&private, "unauthorized", 1));

    // An image that nobody uses any more is forgotten.
    deployed
        .kubectl
        .run(&["delete", "pod", "-n", "shop", "one", "--force", "--grace-period=0"])
        .ok()
        .unwrap();
    replica.until_metric(&line(&open, "tag_not_found", 0));
    eventually("the report forgets it too", || result(&open.image("shop/app:1")).is_none());
    let output = replica.process.output();
    assert_eq!(output.matches(loaded).count(), 1, "told once");
    assert!(!output.contains("app:never"), "what never ran is audited");
    assert!(!output.contains("wrong"));
}
