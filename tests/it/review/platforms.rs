//! An image of another platform than the nodes of today: which pods may land on a node that nobody
//! knows yet, so that nothing is denied although everything is vouched for.

use pullgate::image::Platform;
use pullgate::policy::Decision;
use pullgate::pull::{Cause, Escape, Verdict};
use pullgate::workload::{Node, Quantity, RuntimeClass, Taint, TaintEffect};
use rstest::rstest;
use serde_json::{Value, json};

use super::fakes::{World, index, missing, node};
use super::{VOUCHED, deployment, pod, run};

const APP: &str = "reg.example.com/app:1";

fn with(fields: &Value) -> Value {
    let mut object = pod(APP);
    let spec = object["spec"].as_object_mut().unwrap();
    spec.extend(fields.as_object().unwrap().clone());
    object
}

fn asking_for(resources: &Value) -> Value {
    let mut object = pod(APP);
    object["spec"]["containers"][0]["resources"] = resources.clone();
    object
}

fn with_allocatable(resource: &str, amount: &str) -> Node {
    let allocatable = vec![(resource.into(), Quantity::parse(amount).unwrap())];
    Node { allocatable: allocatable.into(), ..node("n", "linux/amd64") }
}

async fn decided(nodes: Vec<Node>, object: Value, policy: &str) -> (Decision, bool) {
    let mut world = World::enforcing().answer(APP, "", index(&["linux/arm64"]));
    world.nodes = Some(nodes);
    let review = run(&world, object, policy).await;
    let assessment = &review.images[0].assessment;
    assert_eq!(assessment.cause, Some(Cause::PlatformMismatch), "{assessment:?}");
    let open = assessment.escapes.contains(&Escape::NodePlatform);
    (review.decision, open || assessment.verdict == Verdict::CannotTell)
}

#[rstest]
#[case::nothing_special(pod(APP))]
#[case::bound(with(&json!({"nodeName": "n", "schedulerName": "other", "runtimeClassName": "kata"})))]
#[case::default_scheduler(with(&json!({"schedulerName": "default-scheduler"})))]
#[case::small_enough(asking_for(&json!({"requests": {"cpu": "500m"}, "limits": {"cpu": 2}})))]
#[tokio::test]
async fn a_platform_that_no_node_can_have_is_denied(#[case] object: Value) {
    let nodes = vec![with_allocatable("cpu", "4")];
    assert_eq!(decided(nodes, object, VOUCHED).await, (Decision::Deny, false));
}

#[rstest]
#[case::fargate(with(&json!({"schedulerName": "fargate-scheduler"})))]
#[case::runtime_class(with(&json!({"runtimeClassName": "kata"})))]
#[case::accelerators(asking_for(&json!({"limits": {"nvidia.com/gpu": "1"}})))]
#[case::too_large(asking_for(&json!({"requests": {"cpu": "64"}})))]
#[case::unreadable(asking_for(&json!({"requests": {"cpu": "lots"}})))]
#[case::device(with(&json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "g"}]})))]
#[case::volume(with(&json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})))]
#[case::affinity(with(&json!({"affinity": {"podAffinity": {
    "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}})))]
#[tokio::test]
async fn who_may_need_another_node_is_not_denied(#[case] object: Value) {
    let nodes = vec![with_allocatable("cpu", "4")];
    assert_eq!(decided(nodes, object, VOUCHED).await, (Decision::Warn, true));
}

#[tokio::test]
async fn accelerators_that_a_node_has_can_be_had() {
    let nodes = vec![with_allocatable("nvidia.com/gpu", "8")];
    let object = asking_for(&json!({"limits": {"nvidia.com/gpu": "1"}}));
    assert_eq!(decided(nodes, object, VOUCHED).await, (Decision::Deny, false));
}

/// The API server adds to pods what their class says; a template has only its name.
#[rstest]
#[case::without_one(Value::Null, false, Verdict::Works)]
#[case::selects_amd64(json!({"nodeSelector": {"kubernetes.io/arch": "amd64"}}), false, Verdict::Fails)]
#[case::selects_arm64(json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}}), false, Verdict::Works)]
#[case::keeps_away(json!({}), true, Verdict::Fails)]
#[case::tolerates(json!({"tolerations": [{"key": "os", "operator": "Exists"}]}), true, Verdict::Works)]
#[tokio::test]
async fn a_template_goes_where_its_runtime_class_does(
    #[case] scheduling: Value,
    #[case] is_tainted: bool,
    #[case] expected: Verdict,
) {
    let mut world = World::enforcing().answer(APP, "", index(&["linux/arm64"]));
    let arm = node("other", "linux/arm64");
    let arm = if is_tainted { tainted("os", arm) } else { arm };
    world.nodes = Some(vec![node("n", "linux/amd64"), arm]);
    if !scheduling.is_null() {
        let class = json!({"handler": "kata", "scheduling": scheduling}).to_string();
        world.runtime_classes.insert("kata".into(), RuntimeClass::parse(&class).unwrap());
    }
    let mut object = deployment(APP);
    object["spec"]["template"]["spec"]["runtimeClassName"] = json!("kata");
    let review = run(&world, object, VOUCHED).await;
    let assessment = &review.images[0].assessment;
    assert_eq!(assessment.verdict, expected, "{assessment:?}");
    // A class may bring nodes of its own, so its pods are never denied for a platform.
    assert!(!assessment.may_deny(), "{assessment:?}");
}

fn tainted(key: &str, other: Node) -> Node {
    let taint = Taint { key: key.into(), value: "".into(), effect: TaintEffect::NoSchedule };
    Node { taints: vec![taint], name: "other".into(), ..other }
}

fn virtual_node() -> Node {
    let labels = [("type".into(), "virtual-kubelet".into())].into();
    tainted("virtual-kubelet.io/provider", Node { labels, ..node("n", "linux/amd64") })
}

#[rstest]
#[case::starting(tainted("example.com/agent-not-ready", node("n", "linux/arm64")))]
#[case::virtual_kubelet(virtual_node())]
#[case::silent(Node { platform: Platform::new("", ""), ..node("n", "linux/amd64") })]
#[case::never_vouched_for(tainted("os", node("n", "windows/amd64")))]
#[tokio::test]
async fn a_node_that_contradicts_is_believed(#[case] other: Node) {
    let nodes = vec![node("n", "linux/amd64"), other];
    let (decision, open) = decided(nodes, pod(APP), VOUCHED).await;
    assert!(open && decision < Decision::Deny, "{decision:?}");
}

#[rstest]
#[case::autoscaler("ToBeDeletedByClusterAutoscaler")]
#[case::karpenter("karpenter.sh/disrupted")]
#[case::cilium("node.cilium.io/agent-not-ready")]
#[tokio::test]
async fn taints_that_come_and_go_take_no_node_out(#[case] taint: &str) {
    let mut world = World::enforcing().answer(APP, "", index(&["linux/arm64"]));
    let arm = tainted(taint, node("n", "linux/arm64"));
    world.nodes = Some(vec![node("n", "linux/amd64"), arm]);
    let review = run(&world, pod(APP), VOUCHED).await;
    assert_eq!(review.images[0].assessment.verdict, Verdict::Works);
}

#[rstest]
#[case::nobody_vouches("")]
#[case::it_may_come(", platforms: [linux/amd64, linux/arm64]")]
#[case::windows_too(", platforms: [linux/amd64, linux/arm64/v8]")]
#[tokio::test]
async fn a_pool_without_a_node_may_have_what_is_not_ruled_out(#[case] platforms: &str) {
    let policy = VOUCHED.replace(", platforms: [linux/amd64]", platforms);
    assert_ne!(policy, VOUCHED);
    let nodes = vec![node("n", "linux/amd64")];
    assert_eq!(decided(nodes, pod(APP), &policy).await, (Decision::Warn, true));
}

#[rstest]
#[case::unknown("unknown", Decision::Warn)]
#[case::same("same", Decision::Deny)]
#[tokio::test]
async fn another_way_to_the_registry_is_ruled_out_by_a_word_only(
    #[case] network: &str,
    #[case] decision: Decision,
) {
    let policy = VOUCHED.replace("network: same", &format!("network: {network}"));
    let world = World::enforcing().answer(APP, "", missing());
    let review = run(&world, pod(APP), &policy).await;
    assert_eq!(review.decision, decision);
    assert_eq!(
        review.images[0].assessment.escapes.contains(&Escape::NodeNetwork),
        decision == Decision::Warn
    );
}
