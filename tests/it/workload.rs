//! Extraction from real object shapes, and the scheduler's rules about nodes.

mod tekton;

use pullgate::image::Platform;
use pullgate::workload::{
    ContainerKind, ImagePullPolicy, Node, PodPath, Taint, TaintEffect, Workload, built_in_kinds,
    extract, pod_path,
};
use rstest::rstest;
use serde_json::{Value, json};

fn read(object: &Value, path: &PodPath) -> Workload {
    extract(&serde_json::value::to_raw_value(object).unwrap(), path).unwrap()
}

/// An object of a built-in kind around this pod spec.
fn around(template: &[&str], spec: impl Into<Value>) -> Value {
    let mut object = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec.into()});
    for key in template.iter().rev() {
        object = json!({ *key: object });
    }
    object["metadata"] = json!({"name": "n", "namespace": "shop"});
    object
}

#[test]
fn every_built_in_kind_gives_its_images_with_pointers_that_lead_there() {
    for kind in built_in_kinds() {
        let spec = json!({
            "initContainers": [{"name": "i", "image": "init:1"}],
            "containers": [{"name": "c", "image": "app"}, {"name": "d", "image": "side@x", "imagePullPolicy": "Never"}],
            "volumes": [{"name": "e", "emptyDir": {}}, {"name": "v", "image": {"reference": "data:2", "pullPolicy": "Always"}}],
        });
        let object = around(kind.template, spec);
        let workload = read(&object, &pod_path(kind.group, kind.kind).unwrap());
        assert_eq!(workload.is_pod, kind.kind == "Pod");
        let found: Vec<_> = workload
            .images
            .iter()
            .map(|image| (image.kind, &*image.container, &*image.image, image.pull_policy))
            .collect();
        assert_eq!(
            found,
            [
                (ContainerKind::Init, "i", "init:1", ImagePullPolicy::IfNotPresent),
                (ContainerKind::Regular, "c", "app", ImagePullPolicy::Always),
                (ContainerKind::Regular, "d", "side@x", ImagePullPolicy::Never),
                (ContainerKind::ImageVolume, "v", "data:2", ImagePullPolicy::Always),
            ]
        );
        for image in &workload.images {
            assert_eq!(
                object.pointer(&image.pointer),
                Some(&json!(&*image.image)),
                "{}",
                kind.kind
            );
        }
    }
}

#[test]
fn escapes_that_go_writes_are_undone() {
    let text = r#"{"metadata":{"name":"a\u003cb"},"spec":{"containers":[{"name":"c","image":"\u003cimage\u003e","extra":{"deep":[1,null]}}]}}"#;
    let raw: Box<serde_json::value::RawValue> = serde_json::from_str(text).unwrap();
    let workload = extract(&raw, &pod_path("", "Pod").unwrap()).unwrap();
    assert_eq!(&*workload.object.name, "a<b");
    assert_eq!(&*workload.images[0].image, "<image>");
}

#[rstest]
#[case(json!({"metadata": null, "spec": null}), 0)]
#[case(json!({}), 0)]
#[case(json!({"spec": {"containers": null, "imagePullSecrets": null, "nodeSelector": null}}), 0)]
#[case(json!({"spec": {"containers": [{"name": "c"}]}}), 1)]
fn what_is_absent_is_no_fault(#[case] object: Value, #[case] images: usize) {
    assert_eq!(read(&object, &pod_path("", "Pod").unwrap()).images.len(), images);
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_part() {
    let raw = serde_json::value::to_raw_value(&json!({"spec": {"containers": "no"}})).unwrap();
    let error = extract(&raw, &pod_path("", "Pod").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "failed to read the pod spec of this object");
}

#[test]
fn a_placeholder_of_an_injector_is_an_image_only_in_a_pod() {
    let spec = json!({"containers": [{"name": "c", "image": "auto"}]});
    let template = around(&["spec", "template"], spec.clone());
    assert!(read(&template, &pod_path("apps", "Deployment").unwrap()).images.is_empty());
    assert_eq!(read(&around(&[], spec), &pod_path("", "Pod").unwrap()).images.len(), 1);
}

/// Whoever makes the pods puts it in; the API server wants it in pods only.
#[test]
fn an_image_volume_without_a_reference_is_judged_only_in_a_pod() {
    let spec = json!({
        "containers": [{"name": "c", "image": "app:1"}],
        "volumes": [{"name": "m", "image": {"pullPolicy": "Always"}},
            {"name": "n", "image": {"reference": "data:2"}}],
    });
    let judged = |object: &Value, path: &PodPath| -> Vec<Box<str>> {
        read(object, path).images.into_iter().map(|image| image.image).collect()
    };
    for kind in built_in_kinds() {
        let path = pod_path(kind.group, kind.kind).unwrap();
        let found = judged(&around(kind.template, spec.clone()), &path);
        let unnamed = if path.is_pod() { Some("".into()) } else { None };
        let wanted: Vec<Box<str>> =
            ["app:1".into()].into_iter().chain(unnamed).chain(["data:2".into()]).collect();
        assert_eq!(found, wanted, "{}", kind.kind);
    }
}

#[test]
fn accounts_secrets_owner_and_mirror() {
    let object = json!({"metadata": {"generateName": "web-", "annotations": {
            "kubernetes.io/config.mirror": "x", "pullgate.dev/mutate": "digest"},
            "ownerReferences": [{"kind": "Other", "name": "o"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]},
        "spec": {"imagePullSecrets": [{"name": "one"}, {"name": ""}, {}, {"name": "two"}], "serviceAccount": "old"}});
    let workload = read(&object, &pod_path("", "Pod").unwrap());
    assert_eq!(workload.pull_secrets, ["one".into(), "two".into()]);
    assert_eq!(workload.service_account.as_deref(), Some("old"));
    assert!(workload.is_mirror);
    assert_eq!(&*workload.object.name, "web-");
    assert_eq!(&*workload.controller.as_ref().unwrap().kind, "ReplicaSet");
    assert_eq!(workload.annotation("pullgate.dev/mutate"), Some("digest"));
}

#[test]
fn updates_that_pull_the_same_are_alike() {
    let path = pod_path("apps", "Deployment").unwrap();
    let template = &["spec", "template"];
    let base =
        read(&around(template, json!({"containers": [{"name": "c", "image": "a:1"}]})), &path);
    let scaled = {
        let mut object =
            around(template, json!({"containers": [{"name": "c", "image": "a:1", "args": ["x"]}]}));
        object["spec"]["replicas"] = json!(7);
        read(&object, &path)
    };
    assert!(scaled.pulled_anew(&base).images.is_empty());
    for spec in [
        json!({"containers": [{"name": "c", "image": "a:2"}]}),
        json!({"containers": [{"name": "c", "image": "a:1", "imagePullPolicy": "Always"}]}),
        json!({"containers": [{"name": "c", "image": "a:1"}], "imagePullSecrets": [{"name": "s"}]}),
        json!({"containers": [{"name": "c", "image": "a:1"}], "serviceAccountName": "s"}),
        json!({"containers": [{"name": "c", "image": "a:1"}], "nodeSelector": {"a": "b"}}),
    ] {
        assert!(
            !read(&around(template, spec.clone()), &path).pulled_anew(&base).images.is_empty(),
            "{spec}"
        );
    }
}

fn node() -> Node {
    Node {
        labels: [("disk".into(), "12".into()), ("kubernetes.io/arch".into(), "arm64".into())]
            .into(),
        taints: vec![Taint {
            key: "gpu".into(),
            value: "yes".into(),
            effect: TaintEffect::NoSchedule,
        }],
        runtime: "containerd://2.1.8".into(),
        kubelet: "v1.34.4".into(),
        ..Node::new("n1", Platform::new("linux", "arm64"))
    }
}

fn affinity(expression: impl Into<Value>) -> Value {
    json!({"tolerations": [{"operator": "Exists"}], "affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [expression.into()]}}}})
}

#[rstest]
#[case::untolerated_taint(json!({}), false)]
#[case::tolerates_all(json!({"tolerations": [{"operator": "Exists"}]}), true)]
#[case::tolerates_key(json!({"tolerations": [{"key": "gpu", "operator": "Exists"}]}), true)]
#[case::tolerates_value(json!({"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}), true)]
#[case::other_value(json!({"tolerations": [{"key": "gpu", "value": "no"}]}), false)]
#[case::other_effect(json!({"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]}), false)]
#[case::preference_only(json!({"tolerations": [{"operator": "Exists", "effect": "PreferNoSchedule"}]}), false)]
#[case::named_node_needs_no_toleration(json!({"nodeName": "n1"}), true)]
#[case::other_node(json!({"nodeName": "n2", "tolerations": [{"operator": "Exists"}]}), false)]
#[case::selector(json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}, "tolerations": [{"operator": "Exists"}]}), true)]
#[case::other_selector(json!({"nodeSelector": {"kubernetes.io/arch": "amd64"}, "tolerations": [{"operator": "Exists"}]}), false)]
#[case::os(json!({"os": {"name": "windows"}, "tolerations": [{"operator": "Exists"}]}), false)]
#[case::gated(json!({"schedulingGates": [{"name": "g"}], "tolerations": [{"operator": "Exists"}]}), false)]
#[case::not_in(affinity(json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]})), true)]
#[case::is_in(affinity(json!({"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]}]})), true)]
#[case::not_there(affinity(json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]})), false)]
#[case::greater(affinity(json!({"matchExpressions": [{"key": "disk", "operator": "Gt", "values": ["11"]}]})), true)]
#[case::less(affinity(json!({"matchExpressions": [{"key": "disk", "operator": "Lt", "values": ["12"]}]})), false)]
#[case::field(affinity(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]})), false)]
#[case::empty_term(affinity(json!({})), false)]
fn a_node_is_eligible_as_the_scheduler_has_it(#[case] spec: Value, #[case] eligible: bool) {
    let workload = read(&json!({"spec": spec}), &pod_path("", "Pod").unwrap());
    let nodes = [node()];
    let found = workload.placement.eligible(&nodes);
    assert_eq!(!found.nodes.is_empty(), eligible);
    assert!(found.asked);
}

#[test]
fn taints_that_pass_with_a_nodes_condition_do_not_count() {
    let mut node = node();
    node.taints[0].key = "node.kubernetes.io/not-ready".into();
    let workload = read(&json!({"spec": {}}), &pod_path("", "Pod").unwrap());
    assert_eq!(workload.placement.eligible(&[node]).nodes.len(), 1);
}

/// Its shape is that of a Deployment, and its triggers stand beside the template.
#[rstest]
#[case::its_own(&["c"], 0)]
#[case::another(&["d"], 1)]
fn a_deployment_config_names_the_containers_of_its_triggers(
    #[case] names: &[&str],
    #[case] judged: usize,
) {
    let object = json!({"apiVersion": "apps.openshift.io/v1", "kind": "DeploymentConfig",
        "spec": {
            "triggers": [{"type": "ConfigChange"},
                {"type": "ImageChange", "imageChangeParams": {"containerNames": names}}],
            "template": {"spec": {"containers": [{"name": "c", "image": "app:1"}]}}}});
    assert_eq!(read(&object, &pod_path("apps", "Deployment").unwrap()).images.len(), judged);
}
