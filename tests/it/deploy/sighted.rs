//! A registry that nodes use and Pullgate cannot reach, as the platform team meets it: in the
//! status of the policy, in `pullgate explain --registry`, as a metric and in the log.

use std::process::Command;

use serde_json::{Value, json};

use super::deployed::{Deployed, eventually};
use crate::cluster::control_plane::ADMIN;
use crate::cluster::images::Image;
use crate::cluster::{PATIENCE, nodes, process, pullgate};

/// A registry at an address that is never contacted.
const UNSEEN: &str = "169.254.9.9:5000";

#[test]
fn the_status_and_explain_name_the_registry_the_reason_and_the_value_that_changes_it() {
    let values = ["policyFrom.kind=PullgatePolicy", "policyFrom.render=false"];
    let Some(deployed) = Deployed::start(&values) else { return };
    let mut replica = deployed.replica("pullgate-0", &[]);
    deployed.apply(&[&json!({"apiVersion": "pullgate.dev/v1alpha1", "kind": "PullgatePolicy",
        "metadata": {"name": "pullgate"}, "spec": {}})]);
    replica.until_metric("pullgate_policy_current 1");
    let sighted = || {
        let object = deployed.kubectl.get(&["pullgatepolicy", "pullgate"]).unwrap_or_default();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|one| one["type"] == "Sighted").unwrap_or_default()
    };
    eventually("all is seen", || sighted()["status"] == "True");

    nodes::create_node(&deployed.cluster, "node-a", "amd64", &[], &[]);
    deployed.cluster.namespace_called("shop", &[]);
    deployed.cluster.admin().create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "runs", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": format!("{UNSEEN}/shop/app:1")}]}}));
    let digest = Image::single("amd64", "1").digest().to_owned();
    nodes::play_running(&deployed.cluster, "shop", "runs", "node-a", &digest);
    let endpoint = deployed.endpoint();
    for nth in 0..3 {
        replica.review(&endpoint, "shop", &format!("{UNSEEN}/shop/new{nth}:1"));
    }
    let sentence = format!(
        "{UNSEEN}: its address is one that Pullgate does not contact (registries.inCluster in the \
         policy, or the chart value registries.allowAddresses)"
    );
    eventually("the status says so", || {
        let condition = sighted();
        condition["status"] == "False" && condition["message"] == sentence
    });
    assert_eq!(sighted()["reason"], "CannotLook");
    replica.until_metric(&format!(
        "pullgate_registry_blind{{registry=\"{UNSEEN}\",reason=\"address\"}} 1"
    ));
    let log = replica.process.output();
    assert!(log.contains("cannot reach a registry that nodes use"), "{log}");

    let folder = process::folder("explain");
    let explain = |more: &[&str]| {
        let mut command = Command::new(pullgate::binary());
        process::clean_environment(&mut command, folder.path());
        command.env("KUBECONFIG", deployed.cluster.kubeconfig(ADMIN));
        command.args(["explain", "--offline", "--registry", UNSEEN]).args(more);
        process::run(&mut command, "", PATIENCE).ok().unwrap()
    };
    let page = explain(&[]);
    assert!(page.contains(&format!("\nBlind       Pullgate cannot reach {sentence}\n")), "{page}");
    let report: Value = serde_json::from_str(&explain(&["-o", "json"])).unwrap();
    assert_eq!(report["blind"], format!("Pullgate cannot reach {sentence}"), "{report:#}");
}
