//! Vouches: of the policy at large, of pools of nodes and by rules; and files that were not given.

use pullgate::policy::{GivenFiles, PullgatePolicy, Vouch as Written};
use pullgate::pull::{Vouch, Vouches};
use pullgate::workload::{Placement, Workload, extract, pod_path};
use rstest::rstest;
use serde_json::{Value, json};

const HEAD: &str =
    "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {name: site}\nspec:\n";

fn policy(spec: &str) -> PullgatePolicy {
    PullgatePolicy::parse(&format!("{HEAD}{spec}"), "policy.yaml").unwrap()
}

/// One pool with credentials of its own, one of another platform, and the rest.
const POOLS: &str = "
  nodes:
    mirrors: none
    credentials: none
    network: same
    platforms: [linux/amd64]
    pools:
      - nodeSelector: {pool: cloud}
        nodes: {credentials: unknown}
      - nodeSelector: {pool: arm}
        nodes: {platforms: [linux/arm64], nodeStatusMaxImages: 20}
";

fn placement(spec: &Value) -> Placement {
    let mut spec = spec.clone();
    spec["containers"] = json!([{"name": "c", "image": "a:1"}]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec});
    let text = serde_json::value::to_raw_value(&pod).unwrap();
    let workload: Workload = extract(&text, &pod_path("", "Pod").unwrap()).unwrap();
    workload.placement
}

fn vouched(policy: &PullgatePolicy, spec: &Value) -> Vouches {
    policy.vouches(None, "shop", None, Some(&placement(spec)))
}

fn platforms(vouches: &Vouches) -> Vec<String> {
    vouches.platforms.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::anywhere(json!({}), Vouch::Unknown, &["linux/arm64", "linux/amd64"])]
#[case::cloud(json!({"nodeSelector": {"pool": "cloud"}}), Vouch::Unknown, &["linux/amd64"])]
#[case::arm(json!({"nodeSelector": {"pool": "arm", "zone": "a"}}), Vouch::None, &["linux/arm64"])]
#[case::the_rest(json!({"nodeSelector": {"pool": "small"}}), Vouch::None, &["linux/amd64"])]
#[case::affinity(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
    {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["arm"]}]}]}}}}),
    Vouch::None, &["linux/arm64"])]
#[case::not_the_cloud(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
    {"nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["cloud"]}]}]}}}}),
    Vouch::None, &["linux/arm64", "linux/amd64"])]
fn pods_that_may_land_in_several_pools_get_what_these_have_in_common(
    #[case] spec: Value,
    #[case] credentials: Vouch,
    #[case] expected: &[&str],
) {
    let vouches = vouched(&policy(POOLS), &spec);
    assert_eq!((vouches.mirrors, vouches.credentials), (Vouch::None, credentials));
    let mut found = platforms(&vouches);
    found.dedup();
    found.sort_by_key(|platform| expected.iter().position(|one| one == platform));
    found.dedup();
    assert_eq!(found, expected);
    assert!(vouches.same_network);
}

#[test]
fn the_lowest_limit_of_listed_images_counts() {
    let policy = policy(POOLS);
    let most = |spec| vouched(&policy, &spec).listed_images_at_most;
    assert_eq!(most(json!({})), Some(20));
    assert_eq!(most(json!({"nodeSelector": {"pool": "small"}})), None);
}

#[test]
fn a_rule_counts_for_every_pool() {
    let ruled = format!("{POOLS}  rules:\n    - nodes: {{mirrors: unknown, credentials: none}}\n");
    let vouches = vouched(&policy(&ruled), &json!({}));
    assert_eq!((vouches.mirrors, vouches.credentials), (Vouch::Unknown, Vouch::None));
}

#[test]
fn what_is_listed_without_a_file_counts_as_unknown() {
    let listed = "
  nodes:
    mirrors: listed
    credentials: listed
    pools:
      - nodeSelector: {pool: cloud}
        nodes: {credentials: listed}
  rules:
    - nodes: {mirrors: listed}
    - nodes: {mirrors: none}
";
    let both = GivenFiles { mirrors: true, credentials: true };
    let (policy, fields) = policy(listed).without_files(both);
    assert!(fields.is_empty() && policy.spec().nodes.mirrors == Written::Listed);
    let (policy, fields) = policy.without_files(GivenFiles { mirrors: true, credentials: false });
    assert_eq!(fields, ["spec.nodes.credentials", "spec.nodes.pools[0].nodes.credentials"]);
    let (policy, fields) = policy.without_files(GivenFiles::default());
    assert_eq!(fields, ["spec.nodes.mirrors", "spec.rules[0].nodes.mirrors"]);
    assert_eq!(policy.spec().nodes.credentials, Written::Unknown);
    assert_eq!(policy.vouches(None, "shop", None, None).mirrors, Vouch::Unknown);
}
