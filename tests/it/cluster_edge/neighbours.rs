//! What is asked about the Service behind a registry and about the jobs that build, and how little.

use std::time::{Duration, Instant};

use pullgate::builds::{BuildJob, BuildKind, BuildState};
use pullgate::history::{PodTrouble, RegistryService, ServiceState};
use pullgate::image::ImageReference;
use pullgate::review::ClusterSource;
use serde_json::{Value, json};

use super::{Reply, Seen, Stub, eventually, list, run};

const SERVICE: &str = "/api/v1/namespaces/infra/services/registry";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/infra/endpointslices";
const PODS: &str = "/api/v1/namespaces/infra/pods";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn service(kind: &str) -> Value {
    json!({"metadata": {"name": "registry", "namespace": "infra"}, "spec": {"type": kind, "clusterIP": "10.96.0.7",
        "ports": [{"port": 5000, "nodePort": 30500}]}})
}

fn slice(ready: Option<bool>) -> Value {
    json!({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready},
        "targetRef": {"kind": "Pod", "name": "registry-0"}}]})
}

async fn found(stub: &Stub, host: &str) -> Option<(String, ServiceState)> {
    let (cluster, _) = stub.cluster();
    let service = cluster.registry_service(host, soon()).await?;
    let RegistryService { namespace, name, state } = service;
    Some((format!("{namespace}/{name}"), state))
}

#[tokio::test]
async fn a_service_is_asked_for_by_name_and_its_endpoints_by_label_once_in_a_while() {
    let stub = Stub::start(|seen| match seen.path.as_str() {
        SERVICE => Reply::Json(service("ClusterIP")),
        SLICES => list("1", &[slice(Some(false))]),
        PODS => list(
            "1",
            &[json!({"status": {"containerStatuses": [{"state": {"waiting":
                {"reason": "CrashLoopBackOff"}}}]}})],
        ),
        _ => Reply::Status(404),
    })
    .await;
    let (cluster, _) = stub.cluster();
    for _ in 0..3 {
        let host = "registry.infra.svc.cluster.local:5000";
        let service = cluster.registry_service(host, soon()).await.unwrap();
        let trouble = Some(PodTrouble::Crashing);
        assert_eq!(service.state, ServiceState::NotReady { pods: 1, trouble });
    }
    assert_eq!(stub.count(|_| true), 3, "Service, slices and pod, once each");
    let label = stub.first(|seen| seen.path == SLICES).unwrap().query["labelSelector"].clone();
    assert_eq!(label, "kubernetes.io/service-name=registry");
    let field = stub.first(|seen| seen.path == PODS).unwrap().query["fieldSelector"].clone();
    assert_eq!(field, "metadata.name=registry-0");
    // Nobody else's host is asked about.
    for host in ["ghcr.io", "registry.example.com", "8.8.8.8", "localhost:5000", "../x.y.svc"] {
        assert_eq!(cluster.registry_service(host, soon()).await, None, "{host}");
    }
    assert_eq!(stub.count(|_| true), 3);
}

#[tokio::test]
async fn what_stands_behind_a_service_is_told_apart() {
    let of = |kind: &'static str, slices: Vec<Value>| {
        Stub::start(move |seen| match seen.path.as_str() {
            SERVICE => Reply::Json(service(kind)),
            SLICES => list("1", &slices),
            _ => Reply::Status(404),
        })
    };
    let host = "registry.infra.svc:5000";
    let name = "infra/registry".to_owned();
    let none = of("ClusterIP", vec![]).await;
    assert_eq!(found(&none, host).await, Some((name.clone(), ServiceState::NoPods)));
    // Whether a pod is ready is not always said: then it is.
    for ready in [Some(true), None] {
        let up = of("ClusterIP", vec![slice(Some(false)), slice(ready)]).await;
        assert_eq!(found(&up, host).await, Some((name.clone(), ServiceState::Ready(1))));
    }
    let elsewhere = of("ExternalName", vec![]).await;
    assert_eq!(found(&elsewhere, host).await, None);
    let gone = Stub::start(|_| Reply::Status(404)).await;
    assert_eq!(found(&gone, host).await, Some((name, ServiceState::Missing)));
    assert_eq!(found(&gone, "registry.infra.svc.example.com").await, None, "it may be elsewhere");
    for unclear in [403, 500] {
        let refused = Stub::start(move |_| Reply::Status(unclear)).await;
        assert_eq!(found(&refused, host).await, None);
    }
}

#[tokio::test]
async fn an_address_is_looked_for_among_the_services() {
    let stub = Stub::start(|seen| match (seen.path.as_str(), seen.query.get("fieldSelector")) {
        ("/api/v1/services", Some(field)) if field == "spec.clusterIP=10.96.0.7" => {
            list("1", &[service("ClusterIP")])
        }
        ("/api/v1/services", Some(field)) if field == "spec.type=LoadBalancer" => {
            list("1", &[json!({"metadata": {"name": "x"}, "spec": {}}), service("LoadBalancer")])
        }
        (SLICES | "/api/v1/services", _) => list("1", &[]),
        _ => Reply::Status(404),
    })
    .await;
    let expected = Some(("infra/registry".to_owned(), ServiceState::NoPods));
    for host in ["10.96.0.7:5000", "10.96.0.7", "localhost:30500", "127.0.0.1:30500"] {
        assert_eq!(found(&stub, host).await, expected, "{host}");
    }
    assert_eq!(found(&stub, "10.96.0.8:5000").await, None);
    assert_eq!(found(&stub, "localhost:30501").await, None);
    // Before 1.31 the API server knows no such fields.
    let old = Stub::start(|seen| match (seen.path.as_str(), seen.query.get("fieldSelector")) {
        ("/api/v1/services", Some(_)) => Reply::Status(400),
        ("/api/v1/services", None) => {
            list("1", &[json!({"metadata": {"name": "x"}, "spec": {}}), service("NodePort")])
        }
        (SLICES, _) => list("1", &[]),
        _ => Reply::Status(404),
    })
    .await;
    for host in ["10.96.0.7:5000", "localhost:30500"] {
        assert_eq!(found(&old, host).await, expected, "{host}");
    }
    assert_eq!(found(&old, "10.96.0.8:5000").await, None);
}

#[tokio::test]
async fn who_is_late_is_not_waited_for() {
    let stub = Stub::start(|_| Reply::Never).await;
    let (cluster, _) = stub.cluster();
    let asked = Instant::now();
    let deadline = asked + Duration::from_millis(200);
    assert_eq!(cluster.registry_service("registry.infra.svc", deadline).await, None);
    let build = BuildJob {
        kind: BuildKind::Job,
        namespace: "ci".into(),
        name: "build".into(),
        pushes: true,
        state: BuildState::Running { since: None, failed: 0 },
        rerun_as: None,
    };
    assert_eq!(cluster.build_trouble(&build, deadline).await, None);
    assert!(asked.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn what_builds_is_watched_for_what_it_pushes() {
    let template = |image: &str| {
        json!({"spec": {"containers": [{"name": "k", "image": "gcr.io/kaniko:1",
            "args": [format!("--destination={image}")]}]}})
    };
    let job = json!({"metadata": {"name": "build", "namespace": "ci", "uid": "j"},
        "spec": {"suspend": true, "template": template("r.example/app:1")}});
    let cron = json!({"metadata": {"name": "nightly", "namespace": "ci", "uid": "c"},
        "spec": {"jobTemplate": {"spec": {"template": template("r.example/app:2")}}},
        "status": {"active": [{"kind": "Job", "name": "nightly-1"}]}});
    let pod = json!({"metadata": {"name": "bare", "namespace": "ci", "uid": "p"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "k", "image": "gcr.io/kaniko:1",
            "args": ["--destination=r.example/app:3"]}]}});
    let task_run = json!({"metadata": {"name": "run", "namespace": "ci", "uid": "t"},
        "spec": {"params": [{"name": "IMAGE", "value": "r.example/app:4"}]}});
    let stub = Stub::start(move |seen: &Seen| match (seen.path.as_str(), seen.is_watch()) {
        (_, true) => Reply::Never,
        ("/api/v1/pods", _) => list("5", std::slice::from_ref(&pod)),
        ("/apis/tekton.dev/v1/taskruns", _) => list("5", std::slice::from_ref(&task_run)),
        // A kind that is not known has no objects.
        ("/apis/tekton.dev/v1/pipelineruns", _) => Reply::Status(404),
        ("/apis/batch/v1/jobs", _) => list("5", std::slice::from_ref(&job)),
        ("/apis/batch/v1/cronjobs", _) => list("5", std::slice::from_ref(&cron)),
        _ => list("5", &[]),
    })
    .await;
    let (cluster, _) = stub.cluster();
    let _tasks = run(&cluster);
    for (image, name, suspended) in [
        ("r.example/app:1", "build", true),
        ("r.example/app:2", "nightly", false),
        ("r.example/app:3", "bare", false),
        ("r.example/app:4", "run", false),
    ] {
        let image = ImageReference::parse(image).unwrap();
        eventually("a job", || !cluster.build_jobs(&image).is_empty()).await;
        let jobs = cluster.build_jobs(&image);
        assert_eq!((jobs.len(), &*jobs[0].name), (1, name));
        assert_eq!(jobs[0].state, BuildState::NeverRun { suspended });
    }
    eventually("everything is listed", || cluster.knows_all_builds()).await;
}
