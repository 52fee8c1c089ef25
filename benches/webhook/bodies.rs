//! Reviews as API servers send them: of pods that a ReplicaSet makes.

#![allow(dead_code, reason = "several benchmarks share it")]

use serde_json::{Value, json};

use crate::load::NUMBER;

/// A review of a pod with this image, of about so many bytes; each `nth` is another pod of one ReplicaSet.
pub fn review_of(nth: usize, image: &str, bytes: usize) -> String {
    sized(bytes, |bare, variables| pod(nth, image, bare, variables))
}

/// The same of a pod that is like no other: each time somebody else makes it.
pub fn review_of_single(nth: usize, image: &str, bytes: usize) -> String {
    let of_rollout = review_of(nth, image, bytes);
    of_rollout.replace(r#""username":"system"#, &format!(r#""username":"{NUMBER}"#))
}

fn sized(bytes: usize, pod: impl Fn(bool, usize) -> Value) -> String {
    let bare = bytes < 2_000;
    let without = review(&pod(bare, 0)).len();
    review(&pod(bare, bytes.saturating_sub(without) / VARIABLE))
}

/// A review of a pod with these images.
pub fn review_of_images(nth: usize, images: &[String]) -> String {
    let mut pod = pod(nth, "", false, 0);
    let containers = images.iter().enumerate();
    let containers: Vec<Value> =
        containers.map(|(n, image)| json!({"name": format!("c{n}"), "image": image})).collect();
    pod["spec"]["containers"] = containers.into();
    review(&pod)
}

/// About what a variable takes.
const VARIABLE: usize = 71;

fn review(pod: &Value) -> String {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let number = name.rsplit('-').next().unwrap_or_default().to_owned();
    // In the order of the API server's own fields.
    let object = pod.to_string();
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"7b0bf2f5-7c5c-4a4e-9d1c-{number:0>12}","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"requestKind":{{"group":"","version":"v1","kind":"Pod"}},"requestResource":{{"group":"","version":"v1","resource":"pods"}},"name":"{name}","namespace":"shop","operation":"CREATE","userInfo":{{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"0d3a1b6e-1f3c-4f0e-9a57-3a35f3f0a001","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"]}},"object":{object},"oldObject":null,"dryRun":false,"options":{{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}}}}"#
    )
}

fn owner() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9c5b8f6d",
        "uid": "5f6c0c9e-63ff-4e53-8a0a-5d9a3a3d0001", "controller": true, "blockOwnerDeletion": true})
}

fn pod(nth: usize, image: &str, bare: bool, variables: usize) -> Value {
    if bare {
        return json!({"kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": format!("web-{nth}"), "namespace": "shop", "ownerReferences": [owner()]},
            "spec": {"containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent"}]}});
    }
    let env: Vec<Value> = (0..variables)
        .map(|n| json!({"name": format!("VARIABLE_{n:04}"), "value": "x".repeat(VARIABLE - 36)}))
        .collect();
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3});
    let labels = json!({"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web-shop",
        "pod-template-hash": "7d9c5b8f6d"});
    let fields = json!({"f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app.kubernetes.io/name": {},
        "f:app.kubernetes.io/instance": {}, "f:pod-template-hash": {}}, "f:ownerReferences": {".": {},
        "k:{\"uid\":\"5f6c0c9e-63ff-4e53-8a0a-5d9a3a3d0001\"}": {}}}, "f:spec": {"f:containers":
        {"k:{\"name\":\"web\"}": {".": {}, "f:env": {}, "f:image": {}, "f:imagePullPolicy": {},
        "f:livenessProbe": {".": {}, "f:failureThreshold": {}}, "f:name": {}, "f:ports": {}, "f:resources": {}}},
        "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
        "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}}});
    json!({"kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": format!("web-7d9c5b8f6d-{nth}"), "generateName": "web-7d9c5b8f6d-",
            "namespace": "shop", "uid": format!("2a1e3c9e-0b8f-4a56-8c1d-{nth:012}"),
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [owner()],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update",
                "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": fields}]},
        "spec": {
            "volumes": [{"name": "kube-api-access-x7z2q", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}]}}],
            "containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}], "env": env,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "volumeMounts": [{"name": "kube-api-access-x7z2q", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                "livenessProbe": probe, "readinessProbe": probe,
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "securityContext": {},
            "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true,
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Pending", "qosClass": "Burstable"}})
}
