//! When a registry is in trouble, and when it is only one image or one node.

use rstest::rstest;

use super::*;
use crate::history::index::interner::Visible;

/// Failing pods of several repositories, namespaces and nodes.
fn outage(message: &'static str, count: u32) -> Vec<Pod> {
    (0..count)
        .map(|n| {
            let image = format!("r.example/app{}:1", n % 3);
            let mut pod = pod(n, &image, What::Fails("ErrImagePull", message));
            pod.namespace = format!("ns{}", n % 2);
            pod
        })
        .collect()
}

#[test]
fn a_registry_that_fails_everywhere_is_in_trouble_until_it_recovers() {
    let mut index = index(&outage(TIMEOUT, 2));
    index.tick(at(1));
    assert!(!index.registry_health("r.example", at(1)).in_trouble, "two are not enough");
    let pods = outage(TIMEOUT, 4);
    for pod in &pods {
        index.apply_pod(&pod.view(), at(2));
    }
    index.tick(at(2));
    assert!(index.registry_health("r.example", at(2)).in_trouble);
    let report = index.registry_for("r.example", &Visible::All, at(2));
    assert_eq!((report.trouble, report.repositories), (Some(TroubleKind::Outage), 3));
    assert!(report.statement().contains("4 of 4 containers"), "{}", report.statement());
    // Two of them get well: it stays.
    for pod in &pods[..2] {
        let mut well = pod.clone();
        well.images[0].1 = What::Runs(3);
        index.apply_pod(&well.view(), at(3));
    }
    index.tick(at(3));
    assert!(index.registry_health("r.example", at(3)).in_trouble, "hysteresis");
    index.delete_pod(&pods[2].uid(), at(4));
    index.tick(at(4));
    assert!(!index.registry_health("r.example", at(4)).in_trouble);
}

#[rstest]
#[case::one_repository(|n: u32| ("r.example/app:1".to_owned(), n, n))]
#[case::one_node(|n: u32| (format!("r.example/app{n}:1"), n, 0))]
fn trouble_of_one_image_or_one_node_is_not_the_registrys(
    #[case] shape: fn(u32) -> (String, u32, u32),
) {
    let pods: Vec<Pod> = (0..6)
        .map(|n| {
            let (image, namespace, node) = shape(n);
            let mut pod = pod(n, &image, What::Fails("ErrImagePull", TIMEOUT));
            pod.namespace = format!("ns{namespace}");
            pod.node = format!("node-{node}");
            pod
        })
        .collect();
    let mut index = index(&pods);
    index.apply_node("node-0", []);
    index.apply_node("node-1", []);
    index.tick(at(1));
    assert!(!index.registry_health("r.example", at(1)).in_trouble);
}

#[test]
fn pods_that_freshly_pull_speak_against_trouble() {
    let mut pods = outage(TIMEOUT, 4);
    for n in 10..15 {
        let mut well = pod(n, "r.example/well:1", What::Runs(0));
        well.policy = "Always";
        pods.push(well);
    }
    let mut index = index(&pods);
    index.tick(at(1));
    assert!(!index.registry_health("r.example", at(1)).in_trouble);
    index.tick(at(30));
    assert!(index.registry_health("r.example", at(30)).in_trouble, "half an hour later");
}

#[test]
fn names_that_never_worked_make_no_log_in_trouble() {
    let mut fresh = index(&outage(DENIED, 6));
    fresh.tick(at(1));
    assert!(!fresh.registry_health("r.example", at(1)).in_trouble);
    // The same repositories had worked before: now it is the registry's log-in.
    let mut index = HealthIndex::default();
    for mut pod in outage(DENIED, 6) {
        pod.images[0].1 = What::Runs(-60);
        index.apply_pod(&pod.view(), at(-60));
        index.delete_pod(&pod.uid(), at(-50));
    }
    for pod in outage(DENIED, 6) {
        index.apply_pod(&pod.view(), at(0));
    }
    index.tick(at(1));
    let report = index.registry_for("r.example", &Visible::All, at(1));
    assert_eq!(report.trouble, Some(TroubleKind::Login));
}
