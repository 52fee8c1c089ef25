//! Random sequences of watch events end as a fresh list.

use proptest::prelude::*;

use super::*;

/// Everything that a list of the same pods must bring about again.
fn numbers(index: &HealthIndex) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, image) in index.images.iter() {
        if image.pods.is_empty() {
            assert_eq!((image.running, image.failing, image.namespaces.len()), (0, 0, 0));
            assert_eq!(image.causes, []);
            continue;
        }
        let mut namespaces: Vec<_> = image
            .namespaces
            .iter()
            .map(|space| {
                let here = image.causes.iter().filter(|known| known.namespace == space.namespace);
                let mut causes: Vec<_> =
                    here.map(|known| (known.cause, known.containers)).collect();
                causes.sort_unstable();
                let namespace = index.text(space.namespace);
                (namespace, space.running, space.failing, space.others, causes)
            })
            .collect();
        namespaces.sort();
        let mut digests: Vec<_> = image
            .digests
            .iter()
            .filter(|used| used.containers > 0)
            .map(|used| (index.digests.get(used.digest).unwrap().as_str(), used.containers))
            .collect();
        digests.sort_unstable();
        lines.push(format!(
            "{} {} {} {} {namespaces:?} {digests:?}",
            image.reference,
            image.pods.len(),
            image.running,
            image.failing
        ));
        for (place, slot) in image.pods.iter().enumerate() {
            let pod = index.pods.get(*slot).expect("a listed pod is there");
            assert!(
                pod.containers.as_slice().iter().any(|container| {
                    container.image == id && container.place as usize == place
                })
            );
        }
    }
    for (_, registry) in index.images.registries() {
        let mut causes = registry.causes.clone();
        causes.sort_unstable();
        let pods: u32 = registry.failing_pods.values().sum();
        if registry.healthy + registry.failing > 0 {
            let (host, healthy, failing) = (&registry.host, registry.healthy, registry.failing);
            lines.push(format!("{host} {healthy} {failing} {pods} {causes:?}"));
        }
    }
    for namespace in ["ns0", "ns1", "ns2"] {
        lines.push(format!("{:?}", index.pull_secrets_in_use(namespace)));
    }
    for (_, pod) in index.pods.iter() {
        let workload = index.workloads.top(pod.workload).map(|top| index.text(top.name));
        let (namespace, node) = (index.text(pod.namespace), index.text(pod.node));
        let suffix = pod.name.suffix();
        lines.push(format!("{:?} {namespace} {node} {workload:?} {suffix}", pod.uid));
    }
    lines.sort();
    lines
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Pod),
    Delete(u32),
    /// A list that shows only pods with an even number, and breaks off once before.
    List(bool),
    Tick,
}

fn a_pod() -> impl Strategy<Value = Pod> {
    let what = prop_oneof![
        Just(What::Waits),
        (0i64..9).prop_map(What::Runs),
        (0i64..9, prop_oneof![Just('a'), Just('b')]).prop_map(|(m, d)| What::RunsAs(m, d)),
        Just(What::Fails("ErrImagePull", NOT_FOUND)),
        Just(What::Fails("ErrImagePull", TIMEOUT)),
        Just(What::Fails("InvalidImageName", "couldn't parse image name")),
        Just(What::Fails("CrashLoopBackOff", "back-off")),
        Just(What::Ended(1)),
    ];
    let image = prop_oneof![
        Just("nginx"),
        Just("docker.io/library/nginx:latest"),
        Just("r.example/app:1"),
        Just("r.example/app:2"),
        Just("q.example/x:1"),
        Just("Not/Valid"),
    ];
    let images = proptest::collection::vec((image.prop_map(str::to_owned), what), 0..4);
    (0u32..12, 0u32..3, 0u32..3, images, any::<bool>()).prop_map(
        |(nth, namespace, node, images, secrets)| Pod {
            nth,
            namespace: format!("ns{namespace}"),
            owner: format!("owner-{}", nth % 4),
            node: format!("node-{node}"),
            images,
            secrets,
            policy: if secrets { "Always" } else { "IfNotPresent" },
        },
    )
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => a_pod().prop_map(Step::Apply),
        2 => (0u32..12).prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::List),
        1 => Just(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever came in whatever order, the index is that of a fresh list.
    #[test]
    fn any_sequence_of_watch_events_ends_as_a_fresh_list(
        steps in proptest::collection::vec(a_step(), 0..60)
    ) {
        let mut index = HealthIndex::default();
        let mut cluster: std::collections::BTreeMap<u32, Pod> = std::collections::BTreeMap::new();
        for (minute, step) in (0i64..).zip(steps) {
            match step {
                Step::Apply(pod) => {
                    index.apply_pod(&pod.view(), at(minute));
                    cluster.insert(pod.nth, pod);
                }
                Step::Delete(nth) => {
                    index.delete_pod(&pod(nth, "", What::Waits).uid(), at(minute));
                    cluster.remove(&nth);
                }
                Step::List(breaks_off) => {
                    if breaks_off {
                        for pod in cluster.values().take(2) {
 index.apply_pod(&pod.view(), at(minute));
}
                    }
                    let before = cluster.len();
                    cluster.retain(|nth, _| nth % 2 == 0);
                    for pod in cluster.values() {
                        index.apply_pod(&pod.view(), at(minute));
                    }
                    let shown = cluster.values().map(|pod| Uid::of_object(&pod.view().metadata));
                    let listed: Listed = shown.collect();
                    let gone = index.retain_pods(&listed, at(minute));
                    prop_assert_eq!(gone, before - cluster.len());
                }
                Step::Tick => {
                    index.sweep();
                    index.tick(at(minute));
                }
            }
        }
        let mut fresh = HealthIndex::default();
        for pod in cluster.values() {
            fresh.apply_pod(&pod.view(), at(99));
        }
        prop_assert_eq!(numbers(&index), numbers(&fresh));
    }
}
