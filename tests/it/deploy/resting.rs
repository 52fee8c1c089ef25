//! What has no pods now: its images are looked at all the same, with the rights that the chart gives.

use serde_json::{Value, json};

use super::deployed::{Deployed, Replica, eventually};
use crate::cluster::images::Image;
use crate::cluster::registry::{Access, PULLER, Registry};

fn deployment(kind: &str, name: &str, image: &str, spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": image}],
                     "nodeSelector": {"none": "such"}}}}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// How many images of this registry came to this cause.
fn count(replica: &Replica, registry: &Registry, cause: &str) -> u32 {
    let (_, page) = replica.admin_page("metrics").unwrap();
    let mut lines = page.lines().filter(|line| {
        line.starts_with("pullgate_template_image_pullable")
            && line.contains(&format!("\"{}\"", registry.host()))
            && line.contains(&format!("cause=\"{cause}\""))
    });
    let line = lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok());
    line.unwrap_or_default()
}

#[test]
fn what_has_no_pods_now_is_looked_at_before_it_is_needed() {
    let Some(deployed) = Deployed::start(&["audit.seconds=1"]) else { return };
    let kubectl = &deployed.kubectl;
    let programs = deployed.cluster.programs();
    let open = Registry::start(programs, Access::Anonymous).unwrap();
    let private = Registry::start(programs, Access::Basic).unwrap();
    for name in ["zero", "set", "daemon", "held"] {
        open.push(&format!("shop/{name}"), &["1"], &Image::single("amd64", name));
    }
    private.push("shop/nightly", &["1"], &Image::single("amd64", "nightly"));
    deployed.cluster.namespace_called("shop", &[]);
    let image = |name: &str| open.image(&format!("shop/{name}:1"));
    let zero = json!({"replicas": 0});
    kubectl.create(&deployment("Deployment", "zero", &image("zero"), &zero));
    kubectl.create(&deployment("StatefulSet", "set", &image("set"), &zero));
    kubectl.create(&deployment("DaemonSet", "daemon", &image("daemon"), &json!({})));
    let pod = |image: &str| {
        json!({"spec": {"restartPolicy": "Never", "serviceAccountName": "builder",
            "containers": [{"name": "app", "image": image}]}})
    };
    kubectl.create(&json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "held", "namespace": "shop"},
        "spec": {"suspend": true, "template": pod(&image("held"))}}));
    // Its login is that of the account, of which the object says nothing.
    kubectl.create(&private.pull_secret("registry-login", "shop", PULLER));
    kubectl.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "builder", "namespace": "shop"},
        "imagePullSecrets": [{"name": "registry-login"}]}));
    kubectl.create(&json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "shop"},
        "spec": {"schedule": "0 3 1 1 *",
            "jobTemplate": {"spec": {"template": pod(&private.image("shop/nightly:1"))}}}}));
    let replica = deployed.replica("pullgate-0", &["--allow-address=127.0.0.0/8"]);
    eventually("a look at all", || {
        count(&replica, &open, "none") == 4 && count(&replica, &private, "none") == 1
    });
    for name in ["zero", "set", "daemon", "held"] {
        open.untag(&format!("shop/{name}"), "1");
    }
    eventually("the lost ones", || count(&replica, &open, "tag_not_found") == 4);
    assert_eq!(count(&replica, &private, "none"), 1);
    let log = replica.process.output();
    assert!(log.contains(&image("zero")), "{log}");
    // What is gone, or has an image that is there, is no more a risk.
    kubectl.run(&["delete", "daemonset", "daemon", "-n", "shop"]).ok().unwrap();
    kubectl.run(&["delete", "job", "held", "-n", "shop"]).ok().unwrap();
    open.push("shop/zero", &["2"], &Image::single("amd64", "zero"));
    let better = format!("app={}", open.image("shop/zero:2"));
    kubectl.run(&["set", "image", "deployment/zero", &better, "-n", "shop"]).ok().unwrap();
    eventually("what is left", || {
        count(&replica, &open, "tag_not_found") == 1 && count(&replica, &open, "none") == 1
    });
}
