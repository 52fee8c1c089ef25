//! Custom resources that name images: each kind of the table by an example.

use std::collections::BTreeSet;

use pullgate::workload::{
    ContainerKind, ImagePullPolicy, PodPlace, Workload, custom_kind, custom_kinds,
};
use rstest::rstest;
use serde_json::{Value, json};

fn read(group: &str, kind: &str, spec: &Value) -> Workload {
    let object = json!({
        "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": "n"}, "spec": spec,
    });
    let raw = serde_json::value::to_raw_value(&object).unwrap();
    let place = PodPlace::Custom(custom_kind(group, kind).unwrap());
    let workload = place.read(&raw).unwrap();
    for image in &workload.images {
        let there = object.pointer(&image.pointer).and_then(Value::as_str).unwrap();
        // An address is longer than its image, or has the tag beside it.
        let name = image.image.split(['@', ':']).next().unwrap();
        assert!(there.contains(name), "{} is not at {}", image.image, image.pointer);
    }
    workload
}

fn images(workload: &Workload) -> String {
    let shown = workload.images.iter().map(|image| format!("{}={}", image.container, image.image));
    shown.collect::<Vec<_>>().join(" ")
}

/// Argo's templates; parameters are not judged.
fn argo() -> Value {
    json!({
        "templateDefaults": {"container": {"image": "d:1"}},
        "templates": [
            {"name": "a", "container": {"image": "a:1"}, "sidecars": [{"name": "s", "image": "s:1"}]},
            {"name": "b", "script": {"image": "b:1"}, "initContainers": [{"name": "i", "image": "i:1"}]},
            {"name": "c", "containerSet": {"containers": [{"name": "m", "image": "m:1"}]}},
            {"name": "d", "container": {"image": "{{inputs.parameters.image}}"}},
            {"name": "e", "steps": [[{"name": "f", "inline": {"container": {"image": "f:1"}}}]]},
            {"name": "g", "dag": {"tasks": [{"name": "h", "inline": {"script": {"image": "h:1"}}}]}},
        ],
    })
}

fn disks() -> Value {
    json!({"volumes": [{"name": "root", "containerDisk": {"image": "k:1", "imagePullSecret": "login"}}],
        "domain": {"firmware": {"kernelBoot": {"container": {"image": "boot:1"}}}}})
}

fn pod(image: &str) -> Value {
    json!({"spec": {"containers": [{"name": "c", "image": image}]}})
}

const ARGO: &str = "container=d:1 i=i:1 a=a:1 b=b:1 m=m:1 s=s:1 f=f:1 h=h:1";

/// Every row of the table, with what is found.
#[expect(clippy::too_many_lines, reason = "a table")]
fn examples() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let argo_kind = |kind| ("argoproj.io", kind, argo(), ARGO);
    let image = |group, kind, name| (group, kind, json!({"image": "x:1"}), name);
    let spark = json!({"image": "s:1", "driver": {"image": "d:1"}, "executor":
        {"sidecars": [{"name": "log", "image": "l:1"}]}, "imagePullSecrets": ["login"]});
    let spark_found = "image=s:1 driver=d:1 log=l:1";
    let prometheus = json!({"image": "p:1", "thanos": {"image": "t:1"},
        "containers": [{"name": "patched"}, {"name": "own", "image": "o:1"}]});
    vec![
        argo_kind("Workflow"),
        argo_kind("WorkflowTemplate"),
        argo_kind("ClusterWorkflowTemplate"),
        ("argoproj.io", "CronWorkflow", json!({"workflowSpec": argo()}), ARGO),
        ("monitoring.coreos.com", "Prometheus", prometheus, "image=p:1 thanos=t:1 own=o:1"),
        image("monitoring.coreos.com", "PrometheusAgent", "image=x:1"),
        image("monitoring.coreos.com", "Alertmanager", "image=x:1"),
        image("monitoring.coreos.com", "ThanosRuler", "image=x:1"),
        (
            "kafka.strimzi.io",
            "Kafka",
            json!({"kafka": {"image": "k:1"}, "entityOperator": {"userOperator": {"image": "u:1"}}}),
            "kafka=k:1 userOperator=u:1",
        ),
        image("kafka.strimzi.io", "KafkaConnect", "image=x:1"),
        image("kafka.strimzi.io", "KafkaMirrorMaker", "image=x:1"),
        image("kafka.strimzi.io", "KafkaMirrorMaker2", "image=x:1"),
        image("kafka.strimzi.io", "KafkaBridge", "image=x:1"),
        (
            "kubevirt.io",
            "VirtualMachine",
            json!({"template": {"spec": disks()}}),
            "root=k:1 container=boot:1",
        ),
        (
            "kubevirt.io",
            "VirtualMachineInstanceReplicaSet",
            json!({"template": {"spec": disks()}}),
            "root=k:1 container=boot:1",
        ),
        ("kubevirt.io", "VirtualMachineInstance", disks(), "root=k:1 container=boot:1"),
        (
            "cdi.kubevirt.io",
            "DataVolume",
            json!({"source": {"registry": {"url": "docker://r.example/d:1"}}}),
            "registry=r.example/d:1",
        ),
        (
            "source.toolkit.fluxcd.io",
            "OCIRepository",
            json!({"url": "oci://r.example/m", "ref": {"tag": "1"}}),
            "url=r.example/m:1",
        ),
        (
            "extensions.istio.io",
            "WasmPlugin",
            json!({"url": "oci://r.example/w:1"}),
            "url=r.example/w:1",
        ),
        (
            "postgresql.cnpg.io",
            "Cluster",
            json!({"imageName": "pg:17", "postgresql": {"extensions":
                [{"name": "e", "image": {"reference": "ext:1"}}]}}),
            "imageName=pg:17 e=ext:1",
        ),
        (
            "postgresql.cnpg.io",
            "ImageCatalog",
            json!({"images": [{"major": 17, "image": "pg:17"}]}),
            "images=pg:17",
        ),
        (
            "postgresql.cnpg.io",
            "ClusterImageCatalog",
            json!({"images": [{"major": 17, "image": "pg:17"}]}),
            "images=pg:17",
        ),
        (
            "elasticsearch.k8s.elastic.co",
            "Elasticsearch",
            json!({"image": "e:1", "nodeSets": [{"name": "n", "podTemplate": pod("n:1")}]}),
            "image=e:1 c=n:1",
        ),
        image("kibana.k8s.elastic.co", "Kibana", "image=x:1"),
        ("beat.k8s.elastic.co", "Beat", json!({"daemonSet": {"podTemplate": pod("b:1")}}), "c=b:1"),
        ("sparkoperator.k8s.io", "SparkApplication", spark.clone(), spark_found),
        (
            "sparkoperator.k8s.io",
            "ScheduledSparkApplication",
            json!({"template": spark}),
            spark_found,
        ),
        (
            "flink.apache.org",
            "FlinkDeployment",
            json!({"image": "f:1", "taskManager": {"podTemplate": pod("t:1")}}),
            "image=f:1 c=t:1",
        ),
        image("opentelemetry.io", "OpenTelemetryCollector", "image=x:1"),
        image("rabbitmq.com", "RabbitmqCluster", "image=x:1"),
        (
            "ray.io",
            "RayCluster",
            json!({"headGroupSpec": {"template": pod("h:1")}, "workerGroupSpecs": [{"template": pod("w:1")}]}),
            "c=h:1 c=w:1",
        ),
        (
            "kubeflow.org",
            "PyTorchJob",
            json!({"pytorchReplicaSpecs": {"Master": {"template": pod("m:1")}}}),
            "c=m:1",
        ),
        (
            "jobset.x-k8s.io",
            "JobSet",
            json!({"replicatedJobs": [{"name": "j", "template": {"spec": {"template": pod("j:1")}}}]}),
            "c=j:1",
        ),
    ]
}

#[test]
fn every_kind_of_the_table_is_read() {
    for (group, kind, spec, expected) in examples() {
        let workload = read(group, kind, &spec);
        assert_eq!(images(&workload), expected, "{kind}");
        assert!(!workload.is_pod);
    }
    let tried: BTreeSet<_> = examples().iter().map(|(group, kind, ..)| (*group, *kind)).collect();
    assert_eq!(tried, custom_kinds().collect(), "each kind needs an example here");
}

#[rstest]
#[case(json!({"digest": "sha256:0", "tag": "1"}), "url=r.example/m@sha256:0")]
#[case(json!({"semver": ">= 1.0", "tag": "1"}), "")]
#[case(json!(null), "url=r.example/m:latest")]
fn an_oci_repository_has_its_version_beside_it(#[case] version: Value, #[case] expected: &str) {
    let spec = json!({"url": "oci://r.example/m", "ref": version, "secretRef": {"name": "login"}});
    let workload = read("source.toolkit.fluxcd.io", "OCIRepository", &spec);
    assert_eq!(images(&workload), expected);
    assert_eq!(workload.pull_secrets, ["login".into()]);
}

#[test]
fn what_the_object_says_of_its_pods_counts_and_nothing_else_is_known() {
    let spec = json!({"image": "p", "serviceAccountName": "prometheus",
        "imagePullSecrets": [{"name": "a"}, {"name": ""}, {}], "containers": "none"});
    let workload = read("monitoring.coreos.com", "Prometheus", &spec);
    assert_eq!(workload.service_account.as_deref(), Some("prometheus"));
    assert_eq!(workload.pull_secrets, ["a".into()]);
    assert_eq!(workload.images[0].pull_policy, ImagePullPolicy::Always);
    let disk = read("kubevirt.io", "VirtualMachineInstance", &disks());
    assert_eq!(disk.service_account, None);
    assert_eq!(disk.pull_secrets, ["login".into()]);
    assert_eq!(disk.images[0].kind, ContainerKind::ImageVolume);
    let never = json!({"image": "p", "imagePullPolicy": "Never"});
    assert!(read("monitoring.coreos.com", "Prometheus", &never).images.is_empty());
}

#[test]
fn values_of_another_type_are_no_images() {
    for spec in [json!(null), json!("text"), json!({"image": 5}), json!({"image": {"name": "x"}})] {
        assert!(read("rabbitmq.com", "RabbitmqCluster", &spec).images.is_empty(), "{spec}");
    }
}
