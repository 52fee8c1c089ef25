//! Nodes that do not exist. There is no kubelet: what one would write, this module writes through
//! the API – Node objects with their status, and the status of pods that run or cannot pull.

use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::wait_until;

/// A taint of a node.
#[derive(Clone, Copy, Debug)]
pub struct Taint {
    /// Its key.
    pub key: &'static str,
    /// Its value.
    pub value: &'static str,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: &'static str,
}

/// Writes a ready Linux node of the architecture `arch` (as Go calls it: `amd64`, `arm64`).
///
/// # Panics
/// When the API server refuses it.
pub fn create_node(
    cluster: &ControlPlane,
    name: &str,
    arch: &str,
    labels: &[(&str, &str)],
    taints: &[Taint],
) {
    let mut all_labels = json!({
        "kubernetes.io/arch": arch, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name,
    });
    for (key, value) in labels {
        all_labels[*key] = json!(value);
    }
    let admin = cluster.admin();
    admin.create(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": all_labels},
    }));
    let resources = json!({"cpu": "8", "memory": "32Gi", "pods": "110"});
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        "nodeInfo": {
            "architecture": arch, "operatingSystem": "linux", "machineID": "", "systemUUID": "",
            "bootID": "", "kernelVersion": "6.12.0", "osImage": "simulated",
            "containerRuntimeVersion": "containerd://2.1.8", "kubeletVersion": "v1.34.4",
            "kubeProxyVersion": "",
        },
        // Of its own pods' sandboxes, at least, a kubelet has one.
        "images": [{"names": ["registry.k8s.io/pause:3.10"], "sizeBytes": 320_000}],
    }});
    patch(cluster, &["node", name, "--subresource=status"], &status);
    // The API server taints every new node as not ready; on a real cluster the node controller
    // takes that away once the kubelet reports.
    let taints: Vec<Value> = taints
        .iter()
        .map(|taint| json!({"key": taint.key, "value": taint.value, "effect": taint.effect}))
        .collect();
    patch(cluster, &["node", name], &json!({"spec": {"taints": taints}}));
}

/// Waits until the workload controllers have made `count` pods that match `selector`; their names.
///
/// # Panics
/// When they have not within a minute.
pub fn wait_for_pods(
    cluster: &ControlPlane,
    namespace: &str,
    selector: &str,
    count: usize,
) -> Vec<String> {
    let admin = cluster.admin();
    wait_until("pods", || {
        let pods = admin.get(&["pods", "-n", namespace, "-l", selector])?;
        let names: Vec<String> = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        if names.len() == count {
            Ok(names)
        } else {
            Err(format!("{} of {count}", names.len()).into())
        }
    })
    .unwrap_or_else(|error| panic!("{selector} in {namespace}: {error}"))
}

/// Plays a pod that runs on `node`: every image of it was pulled, its containers are ready.
/// `digest` is the manifest's that the node reports as the containers' `imageID`; empty for an
/// image that was loaded onto the node, of which containerd reports the configuration's alone.
///
/// # Panics
/// When the API server refuses it.
pub fn play_running(cluster: &ControlPlane, namespace: &str, pod: &str, node: &str, digest: &str) {
    play_running_since(cluster, namespace, pod, (node, digest), "2026-01-02T03:04:05Z");
}

/// The same, with containers that were started at a given time.
///
/// # Panics
/// When the API server refuses it.
pub fn play_running_since(
    cluster: &ControlPlane,
    namespace: &str,
    pod: &str,
    (node, digest): (&str, &str),
    started: &str,
) {
    let object = bind(cluster, namespace, pod, node);
    let status = |container: &Value| {
        let image = container["image"].as_str().unwrap_or_default();
        let pulled = format!("{}@{digest}", repository(image));
        let loaded = format!("sha256:{}", "0".repeat(64));
        json!({
            "name": container["name"], "image": image, "ready": true, "started": true,
            "restartCount": 0, "lastState": {},
            "imageID": if digest.is_empty() { loaded } else { pulled },
            "containerID": format!("containerd://{pod}"),
            "state": {"running": {"startedAt": started}},
        })
    };
    play(cluster, namespace, pod, &object, "Running", &status);
}

/// Plays a pod whose containers wait on `node` with `reason` (`ErrImagePull`,
/// `ImagePullBackOff`, …) and the kubelet's `message`.
///
/// # Panics
/// When the API server refuses it.
pub fn play_failing(
    cluster: &ControlPlane,
    namespace: &str,
    pod: &str,
    node: &str,
    (reason, message): (&str, &str),
) {
    let object = bind(cluster, namespace, pod, node);
    let status = |container: &Value| {
        json!({
            "name": container["name"], "image": container["image"], "ready": false,
            "started": false, "restartCount": 0, "lastState": {}, "imageID": "",
            "state": {"waiting": {"reason": reason, "message": message}},
        })
    };
    play(cluster, namespace, pod, &object, "Pending", &status);
}

/// Puts the pod onto the node if it is on none yet, as the scheduler does; the pod.
fn bind(cluster: &ControlPlane, namespace: &str, pod: &str, node: &str) -> Value {
    let admin = cluster.admin();
    let object = admin
        .get(&["pod", pod, "-n", namespace])
        .unwrap_or_else(|error| panic!("pod {pod}: {error}"));
    if object["spec"]["nodeName"].is_null() {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": pod, "namespace": namespace},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding");
        admin
            .run_with(&["create", "--raw", &path, "-f", "-"], &binding.to_string())
            .ok()
            .unwrap_or_else(|error| panic!("binding of {pod}: {error}"));
    }
    object
}

fn play(
    cluster: &ControlPlane,
    namespace: &str,
    pod: &str,
    object: &Value,
    phase: &str,
    status: &dyn Fn(&Value) -> Value,
) {
    let all = |list: &str| -> Vec<Value> {
        object["spec"][list].as_array().into_iter().flatten().map(status).collect()
    };
    let ready = if phase == "Running" { "True" } else { "False" };
    let written = json!({"status": {
        "phase": phase,
        "startTime": "2026-01-02T03:04:05Z",
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {"type": "ContainersReady", "status": ready},
            {"type": "Ready", "status": ready},
        ],
        "containerStatuses": all("containers"),
        "initContainerStatuses": [],
    }});
    patch(cluster, &["pod", pod, "-n", namespace, "--subresource=status"], &written);
}

fn patch(cluster: &ControlPlane, target: &[&str], change: &Value) {
    let mut arguments = vec!["patch"];
    arguments.extend_from_slice(target);
    let change = change.to_string();
    arguments.extend_from_slice(&["--type=merge", "-p", &change]);
    cluster
        .admin()
        .run(&arguments)
        .ok()
        .unwrap_or_else(|error| panic!("patch {target:?}: {error}"));
}

/// `127.0.0.1:5000/shop/app` of `127.0.0.1:5000/shop/app:1.2.3`.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}
