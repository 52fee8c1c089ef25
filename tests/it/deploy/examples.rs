//! The values by distribution: rendered by helm, taken by a real API server with strict validation,
//! and each policy read by the program.

use std::process::Command;

use pullgate::policy::PullgatePolicy;
use serde_json::json;

use super::chart::render_with;
use super::{one, program, root};
use crate::cluster::control_plane::ControlPlane;

#[test]
fn the_values_of_each_distribution_make_objects_that_an_api_server_takes() {
    let (Some(apiserver), Some(helm)) = (program("kube-apiserver"), program("helm")) else {
        return;
    };
    let cluster = ControlPlane::start(apiserver.parent().unwrap()).unwrap();
    let kubectl = cluster.admin();
    cluster.namespace_called("pullgate", &[]);
    // Helm makes it before the pod of the test, which nothing here does.
    kubectl.run(&["create", "serviceaccount", "-n", "pullgate", "pullgate-test"]).ok().unwrap();
    let folder = root().join("deploy/examples");
    let page = super::read("deploy/examples/README.md");
    let mut tried = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(page.contains(&format!("({name})")), "{name} is not in the table");
        let checked = Command::new(&helm)
            .args(["lint", "--quiet", "--strict", "-f"])
            .args([&path, &root().join("deploy/chart/pullgate")])
            .output()
            .unwrap();
        assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stdout));
        // With what helm runs beside it: the check before an upgrade, and the test.
        let objects = render_with(&helm, &["-f", path.to_str().unwrap()]).unwrap();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"];
        let applied = kubectl.run_with(&apply, &list.to_string());
        assert_eq!(applied.code, 0, "{name}: {}", applied.stderr);
        assert_eq!(applied.stdout.lines().count(), objects.len(), "{name}: {}", applied.stdout);
        let map = one(&objects, "ConfigMap", "pullgate-policy");
        let policy = map["data"]["policy.yaml"].as_str().unwrap();
        PullgatePolicy::parse(policy, &name).unwrap();
        // `listed` only where the files are given that it speaks of.
        let spec: serde_json::Value = serde_saphyr::from_str(policy).unwrap();
        let nodes = &spec["spec"]["nodes"];
        let pod = &one(&objects, "Deployment", "pullgate")["spec"]["template"]["spec"];
        let arguments = super::strings(&pod["containers"][0]["args"]).join(" ");
        let given = |flags: &[&str]| flags.iter().any(|flag| arguments.contains(flag));
        let mirrors = ["--registry-hosts-dir=", "--k3s-registries=", "--crio-registries="];
        let logins =
            ["--image-credential-provider-config=", "--node-docker-config=", "--k3s-registries="];
        assert!(nodes["mirrors"] != "listed" || given(&mirrors), "{name}");
        assert!(nodes["credentials"] != "listed" || given(&logins), "{name}");
        tried += 1;
    }
    assert_eq!(tried, 5);
}
