//! Tags that move under pods that run are counted by the audit, with the rights that the chart gives.

use serde_json::json;

use super::deployed::{Deployed, Replica, eventually};
use crate::cluster::images::Image;
use crate::cluster::nodes;
use crate::cluster::registry::{Access, Registry};

/// How many tags of this registry differ.
fn count(replica: &Replica, registry: &Registry, against: &str) -> u32 {
    let (_, page) = replica.admin_page("metrics").unwrap();
    let mut lines = page.lines().filter(|line| {
        line.starts_with("pullgate_image_drift{")
            && line.contains(&format!("\"{}\"", registry.host()))
            && line.contains(&format!("against=\"{against}\""))
    });
    let line = lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    line.unwrap_or_default()
}

#[test]
fn a_tag_that_moves_is_counted_until_its_pods_follow() {
    let Some(deployed) = Deployed::start(&["audit.seconds=1"]) else { return };
    let registry = Registry::start(deployed.cluster.programs(), Access::Anonymous).unwrap();
    // One is a manifest, the other an index: both kinds are known from before the tag moved.
    let (old, new) = (Image::single("amd64", "old"), Image::single("amd64", "new"));
    let (old_index, new_index) =
        (Image::index(&["amd64"], "older"), Image::index(&["amd64"], "newer"));
    registry.push("shop/app", &["1"], &old);
    registry.push("shop/many", &["1"], &old_index);
    let cluster = &deployed.cluster;
    nodes::create_node(cluster, "node-a", "amd64", &[], &[]);
    nodes::create_node(cluster, "node-b", "amd64", &[], &[]);
    cluster.namespace_called("shop", &[]);
    let named = |repository: &str| registry.image(&format!("shop/{repository}:1"));
    deployed.kubectl.create(&json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "many", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": named("many")}]}}));
    deployed.kubectl.create(&json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {"containers": [{"name": "c", "image": named("app")}]}}}}));
    let pods = nodes::wait_for_pods(cluster, "shop", "app=app", 2);
    let play = |name: &str, node: &str, image: &Image| {
        nodes::play_running(cluster, "shop", name, node, image.digest());
    };
    play(&pods[0], "node-a", &old);
    play("many", "node-a", &old_index);
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    let looked =
        format!("pullgate_image_pullable{{registry=\"{}\",cause=\"none\"}} 2", registry.host());
    eventually("a look at both", || replica.admin_page("metrics").unwrap().1.contains(&looked));
    assert_eq!(
        (count(&replica, &registry, "registry"), count(&replica, &registry, "pods")),
        (0, 0)
    );

    registry.push("shop/app", &["1"], &new);
    registry.push("shop/many", &["1"], &new_index);
    eventually("the tags that moved", || count(&replica, &registry, "registry") == 2);
    let log = replica.process.output();
    assert!(log.contains("pods run another digest than the registry has"), "{log}");
    assert_eq!(count(&replica, &registry, "pods"), 0);
    // Another node pulls what the tag is now.
    play(&pods[1], "node-b", &new);
    eventually("pods that differ", || count(&replica, &registry, "pods") == 1);
    for gone in [&*pods[0], &*pods[1], "many"] {
        let delete = ["delete", "pod", gone, "-n", "shop", "--grace-period=0", "--force"];
        deployed.kubectl.run(&delete).ok().unwrap();
    }
    eventually("what is left", || {
        count(&replica, &registry, "pods") == 0 && count(&replica, &registry, "registry") == 0
    });
}
