//! Extraction from Tekton's objects: which images, where, and what is known of their pods.

use pullgate::workload::{ImagePullPolicy, PodPlace, TektonKind, Workload};
use rstest::rstest;
use serde_json::{Value, json};

fn read(kind: TektonKind, spec: &Value) -> Workload {
    let object = json!({"apiVersion": "tekton.dev/v1", "kind": kind.as_str(),
        "metadata": {"generateName": "x-", "namespace": "shop"}, "spec": spec});
    let workload =
        PodPlace::Tekton(kind).read(&serde_json::value::to_raw_value(&object).unwrap()).unwrap();
    for image in &workload.images {
        assert_eq!(object.pointer(&image.pointer), Some(&json!(&*image.image)));
    }
    assert!(!workload.is_pod);
    assert_eq!(&*workload.object.name, "x-");
    workload
}

fn images(workload: &Workload) -> Vec<&str> {
    workload.images.iter().map(|image| &*image.image).collect()
}

/// Whether its pods are compared with nodes.
fn is_placed(workload: &Workload) -> bool {
    workload.placement.eligible(&[]).asked
}

fn task() -> Value {
    json!({
        "stepTemplate": {"image": "template:1", "imagePullPolicy": "Always"},
        "params": [{"name": "image", "default": "param:1"}],
        "steps": [
            {"name": "own", "image": "own:1", "imagePullPolicy": "IfNotPresent"},
            {"name": "given", "script": "true"},
            {"name": "empty", "image": ""},
            {"name": "param", "image": "$(params.image)"},
            {"name": "part", "image": "r.example.com/a:$(params.tag)"},
            {"name": "elsewhere", "ref": {"name": "action"}},
        ],
        "sidecars": [{"name": "db", "image": "db"}, {"name": "none"}],
        "volumes": [{"name": "v", "image": {"reference": "data:2"}},
                    {"name": "w", "image": {"reference": "$(params.data)"}},
                    {"name": "e", "emptyDir": {}}],
    })
}

#[test]
fn steps_sidecars_and_volumes_as_far_as_they_are_written_out() {
    let workload = read(TektonKind::Task, &task());
    let found: Vec<_> = workload
        .images
        .iter()
        .map(|image| (&*image.container, &*image.image, image.pull_policy))
        .collect();
    assert_eq!(
        found,
        [
            ("own", "own:1", ImagePullPolicy::IfNotPresent),
            ("given", "template:1", ImagePullPolicy::Always),
            ("empty", "template:1", ImagePullPolicy::Always),
            ("db", "db", ImagePullPolicy::Always),
            ("v", "data:2", ImagePullPolicy::IfNotPresent),
        ]
    );
    // Who runs it, where, and with which pull secrets, nobody knows yet.
    assert_eq!(workload.service_account, None);
    assert!(!is_placed(&workload));
    let never = json!({"steps": [{"image": "a:1", "imagePullPolicy": "Never"}]});
    assert!(read(TektonKind::Task, &never).images.is_empty());
}

#[rstest]
#[case::filled_in(json!({"serviceAccountName": "builder"}), Some("builder"), &[], true)]
#[case::secrets(
    json!({"serviceAccountName": "builder",
           "podTemplate": {"imagePullSecrets": [{"name": "one"}, {}, {"name": "two"}]}}),
    Some("builder"), &["one", "two"], true
)]
#[case::before_tektons_own_webhook(json!({}), None, &[], false)]
#[case::nulls(json!({"serviceAccountName": null, "podTemplate": null}), None, &[], false)]
fn a_task_run_says_what_its_pod_will_have(
    #[case] more: Value,
    #[case] account: Option<&str>,
    #[case] secrets: &[&str],
    #[case] placed: bool,
) {
    let mut spec = more;
    spec["taskSpec"] = json!({"steps": [{"name": "s", "image": "a:1"}]});
    let workload = read(TektonKind::TaskRun, &spec);
    assert_eq!(images(&workload), ["a:1"]);
    assert_eq!(workload.service_account.as_deref(), account);
    assert_eq!(workload.pull_secrets.iter().map(|name| &**name).collect::<Vec<_>>(), secrets);
    assert_eq!(is_placed(&workload), placed);
    // As in a file, where a default of Tekton's may add secrets and say where.
    let file = workload.before_defaults();
    assert_eq!(file.service_account.is_some(), !secrets.is_empty());
    assert!(!is_placed(&file));
}

#[rstest]
#[case(json!({"taskRef": {"name": "elsewhere"}, "serviceAccountName": "b"}))]
#[case(json!({"taskSpec": null}))]
#[case(json!(null))]
fn what_stands_elsewhere_has_no_images_here(#[case] spec: Value) {
    assert!(images(&read(TektonKind::TaskRun, &spec)).is_empty());
}

fn pipeline() -> Value {
    let step = |image: &str| json!({"steps": [{"image": image}]});
    json!({"tasks": [
        {"name": "first", "taskSpec": step("first:1")},
        {"name": "other", "taskSpec": step("other:1"), "runAfter": []},
        {"name": "ref", "taskRef": {"name": "elsewhere"}},
        {"name": "after", "taskSpec": step("built-by-first:1"), "runAfter": ["first"]},
        {"name": "result", "taskSpec": step("built-by-other:1"),
         "params": [{"name": "p", "value": "$(tasks.other.results.digest)"}]},
        {"name": "custom", "taskSpec": {"apiVersion": "x.example.com/v1", "kind": "Loop",
                                        "steps": [{"image": "loop:1"}]}},
        {"name": "nested", "pipelineSpec": {"tasks": []}},
    ], "finally": [{"name": "last", "taskSpec": step("last:1")}]})
}

#[rstest]
#[case::v1(json!({"taskRunTemplate": {"serviceAccountName": "b",
    "podTemplate": {"imagePullSecrets": [{"name": "s"}], "nodeSelector": {"a": "b"}}}}), true)]
#[case::v1beta1(json!({"serviceAccountName": "b",
    "podTemplate": {"imagePullSecrets": [{"name": "s"}], "nodeSelector": {"a": "b"}}}), true)]
#[case::of_single_tasks(json!({"taskRunTemplate": {"serviceAccountName": "b"},
    "taskRunSpecs": [{"pipelineTaskName": "first", "serviceAccountName": "c"}]}), false)]
#[case::not_filled_in(json!({}), false)]
fn of_a_pipeline_the_tasks_that_start_at_once(#[case] more: Value, #[case] known: bool) {
    let mut spec = more;
    spec["pipelineSpec"] = pipeline();
    let workload = read(TektonKind::PipelineRun, &spec);
    assert_eq!(images(&workload), ["first:1", "other:1"]);
    assert_eq!(workload.service_account.as_deref(), known.then_some("b"));
    assert_eq!(workload.pull_secrets.len(), usize::from(known));
    assert_eq!(is_placed(&workload), known);

    let stored = read(TektonKind::Pipeline, &pipeline());
    assert_eq!(images(&stored), ["first:1", "other:1"]);
    assert_eq!(stored.service_account, None);
}

#[test]
fn what_is_no_task_is_an_error_and_not_a_verdict() {
    let object = json!({"spec": {"steps": "none"}});
    let raw = serde_json::value::to_raw_value(&object).unwrap();
    assert!(PodPlace::Tekton(TektonKind::Task).read(&raw).is_err());
}
