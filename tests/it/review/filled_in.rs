//! What is not asked for, since somebody else brings it: images that a controller fills in, and
//! those that another container of the same pod pulls.

use pullgate::policy::Decision;
use pullgate::pull::Verdict;
use rstest::rstest;
use serde_json::{Value, json};

use super::fakes::{World, exists, missing, node};
use super::{VOUCHED, deployment, run};

const APP: &str = "reg.example.com/app:1";

#[rstest]
#[case::injected("auto", None, 0)]
#[case::blank("", Some("image.openshift.io/triggers"), 0)]
#[case::blanks(" ", Some("image.openshift.io/triggers"), 0)]
#[case::blank_without_trigger(" ", None, 1)]
#[case::blank_with_another_annotation(" ", Some("image.openshift.io/other"), 1)]
#[tokio::test]
async fn what_a_controller_fills_in_is_not_judged_in_a_template(
    #[case] image: &str,
    #[case] annotation: Option<&str>,
    #[case] judged: usize,
) {
    let mut object = deployment(image);
    if let Some(annotation) = annotation {
        object["metadata"]["annotations"] = json!({annotation: "[]"});
    }
    let review = run(&World::enforcing(), object, VOUCHED).await;
    assert_eq!(review.images.len(), judged);
}

#[rstest]
#[case::by_name(r#"[{"fieldPath": "spec.template.spec.containers[?(@.name==\"c\")].image"}]"#, 0)]
#[case::by_place(r#"[{"fieldPath": "spec.template.spec.containers[0].image"}]"#, 0)]
#[case::another(r#"[{"fieldPath": "spec.template.spec.containers[?(@.name==\"d\")].image"}]"#, 1)]
#[case::unreadable("{", 1)]
#[tokio::test]
async fn what_stands_in_the_place_of_a_trigger_is_not_judged_either(
    #[case] triggers: &str,
    #[case] judged: usize,
) {
    let mut object = deployment(APP);
    object["spec"]["template"]["spec"]["containers"][0]["name"] = json!("c");
    object["metadata"]["annotations"] = json!({"image.openshift.io/triggers": triggers});
    let review = run(&World::enforcing(), object, VOUCHED).await;
    assert_eq!(review.images.len(), judged);
}

/// A pod with an init container and two others: kind, pull policy.
fn pod_of(containers: &[(&str, &str)]) -> Value {
    let of = |kind: &str| -> Vec<Value> {
        let all = containers.iter().enumerate().filter(|(_, (one, _))| *one == kind);
        all.map(|(n, (_, policy))| {
            json!({"name": format!("c{n}"), "image": APP, "imagePullPolicy": policy})
        })
        .collect()
    };
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"initContainers": of("init"), "containers": of("regular")}})
}

#[rstest]
#[case::after_an_init_container(&[("init", "Always"), ("regular", "Never")], true)]
#[case::beside_a_container(&[("regular", "Never"), ("regular", "IfNotPresent")], true)]
#[case::before_it(&[("init", "Never"), ("regular", "Always")], false)]
#[case::one_init_container_after_the_other(&[("init", "IfNotPresent"), ("init", "Never")], true)]
#[case::one_init_container_before_the_other(&[("init", "Never"), ("init", "Always")], false)]
#[case::nobody_pulls(&[("init", "Never"), ("regular", "Never")], false)]
#[tokio::test]
async fn never_finds_what_another_container_pulls(
    #[case] containers: &[(&str, &str)],
    #[case] found: bool,
) {
    let mut world = World::enforcing().answer(APP, "", exists());
    world.nodes = Some(vec![node("n", "linux/amd64")]);
    let review = run(&world, pod_of(containers), VOUCHED).await;
    let works = review.images.iter().all(|image| image.assessment.verdict == Verdict::Works);
    assert_eq!((works, review.decision == Decision::Allow), (found, found));
    let places: usize = review.images.iter().map(|image| image.places.len()).sum();
    assert_eq!(places, containers.len());
}

#[tokio::test]
async fn never_finds_what_another_container_pulls_by_another_name_of_it() {
    let image = "docker.io/library/nginx:1.27";
    let world = World::enforcing().answer(image, "", exists());
    let mut object = pod_of(&[("init", "Always"), ("regular", "Never")]);
    object["spec"]["initContainers"][0]["image"] = json!("nginx:1.27");
    object["spec"]["containers"][0]["image"] = json!(image);
    let review = run(&world, object, VOUCHED).await;
    assert_eq!((review.images.len(), review.decision), (1, Decision::Allow));
}

#[tokio::test]
async fn never_is_lost_with_the_container_that_does_not_get_it() {
    let world = World::enforcing().answer(APP, "", missing());
    let review = run(&world, pod_of(&[("init", "Always"), ("regular", "Never")]), VOUCHED).await;
    assert_eq!(review.decision, Decision::Deny);
    assert_eq!(review.images.len(), 1);
}
