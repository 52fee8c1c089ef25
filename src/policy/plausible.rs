//! Whether what is vouched for fits what the cluster shows of itself: distributions that log in or
//! have mirrors by default, programs that serve images between nodes, nodes of other platforms.
//!
//! It only makes people look again: what a cluster shows is not what its nodes are set to.

use std::collections::BTreeMap;

use super::document::PullgatePolicySpec;
use super::nodes::VouchPreloaded;
use crate::pull::Vouch;
use crate::workload::{LISTED_IMAGES_AT_MOST, Node};

/// Repositories of programs that serve images between nodes, as mirrors of the runtime. Part of a
/// repository's path, wherever it is mirrored itself.
/// <https://spegel.dev/docs/>, <https://d7y.io/docs/>, <https://github.com/uber/kraken>
pub(crate) const IMAGE_SHARING: &[(&str, &str)] =
    &[("spegel-org/spegel", "Spegel"), ("dragonflyoss/", "Dragonfly"), ("uber/kraken", "Kraken")];

/// What a node shows by a label or by the version of its kubelet, and what is usual there.
struct Sign {
    is: fn(&Node) -> bool,
    what: &'static str,
    mirrors: bool,
    credentials: bool,
}

const SIGNS: &[Sign] = &[
    // https://docs.aws.amazon.com/AmazonECR/latest/userguide/ECR_on_EKS.html
    Sign {
        is: |node| node.kubelet.contains("-eks-"),
        what: "nodes of EKS log in to ECR by themselves",
        mirrors: false,
        credentials: true,
    },
    // https://cloud.google.com/artifact-registry/docs/pull-cached-dockerhub-images
    Sign {
        is: |node| node.kubelet.contains("-gke."),
        what: "nodes of GKE log in to Google's registries by themselves, and ask mirror.gcr.io for Docker Hub",
        mirrors: true,
        credentials: true,
    },
    // https://learn.microsoft.com/azure/aks/cluster-container-registry-integration
    Sign {
        is: |node| node.label("kubernetes.azure.com/cluster").is_some(),
        what: "nodes of AKS log in to attached registries by themselves",
        mirrors: false,
        credentials: true,
    },
    // https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/images/managing-images
    Sign {
        is: |node| node.label("node.openshift.io/os_id").is_some(),
        what: "nodes of OpenShift have the cluster's pull secret, and mirrors where ImageDigestMirrorSets are",
        mirrors: true,
        credentials: true,
    },
    // https://docs.k3s.io/installation/registry-mirror
    Sign {
        is: |node| node.label("p2p.k3s.cattle.io/enabled") == Some("true"),
        what: "nodes have the embedded registry mirror of k3s or RKE2",
        mirrors: true,
        credentials: false,
    },
];

/// What speaks against the policy's words about nodes, a sentence each. `sharing` names the
/// programs of [`IMAGE_SHARING`] that run, `mirror_sets` the kinds of objects that give nodes mirrors.
pub(crate) fn contradictions(
    spec: &PullgatePolicySpec,
    nodes: &[Node],
    sharing: &[&'static str],
    mirror_sets: &[&'static str],
) -> Vec<String> {
    let said = &spec.nodes;
    let (mirrors, credentials) = (said.mirrors == Vouch::None, said.credentials == Vouch::None);
    let mut found = Vec::new();
    for sign in SIGNS {
        let fields = [
            (mirrors && sign.mirrors, "spec.nodes.mirrors"),
            (credentials && sign.credentials, "spec.nodes.credentials"),
        ];
        let fields: Vec<_> =
            fields.into_iter().filter_map(|(said, field)| said.then_some(field)).collect();
        let count = nodes.iter().filter(|node| (sign.is)(node)).count();
        if count > 0 && !fields.is_empty() {
            let fields = fields.join(" and ");
            found.push(format!("{fields}: none, but {} ({count} here)", sign.what));
        }
    }
    if mirrors {
        let mirror = |name| {
            format!(
                "spec.nodes.mirrors: none, but {name} runs here, which serves images as a mirror"
            )
        };
        found.extend(sharing.iter().map(mirror));
        let set = |kind| {
            format!("spec.nodes.mirrors: none, but there is an {kind}, which gives nodes mirrors")
        };
        found.extend(mirror_sets.iter().map(set));
    }
    found.extend(platforms(spec, nodes));
    found.extend(full_lists(spec, nodes));
    found
}

/// Nodes of platforms that are not vouched for, or whose pods run elsewhere.
fn platforms(spec: &PullgatePolicySpec, nodes: &[Node]) -> Option<String> {
    let pools = spec.nodes.pools.iter().filter_map(|pool| pool.nodes.platforms.as_ref());
    let said: Vec<_> = spec.nodes.platforms.iter().chain(pools.flatten()).collect();
    if said.is_empty() {
        return None;
    }
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes {
        let platform = node.platform.normalized();
        let is_said = said.iter().any(|one| one.get().is_same_machine(&platform));
        if node.is_virtual() {
            *others.entry("virtual nodes".to_owned()).or_default() += 1;
        } else if !is_said {
            *others.entry(platform.to_string()).or_default() += 1;
        }
    }
    let others: Vec<_> = others.iter().map(|(what, count)| format!("{what} ({count})")).collect();
    (!others.is_empty()).then(|| {
        format!(
            "spec.nodes.platforms: there are others among the nodes here: {}",
            others.join(", ")
        )
    })
}

/// Nodes that list as many images as kubelets do by default.
fn full_lists(spec: &PullgatePolicySpec, nodes: &[Node]) -> Option<String> {
    let said = &spec.nodes;
    if said.preloaded_images != VouchPreloaded::None || said.node_status_max_images.is_some() {
        return None;
    }
    let most = nodes.iter().map(|node| node.listed_images).max().unwrap_or_default();
    let usual = usize::try_from(LISTED_IMAGES_AT_MOST).unwrap_or(usize::MAX);
    (most > usual).then(|| {
        format!(
            "spec.nodes.nodeStatusMaxImages: a node here lists {most} images, so the kubelets' limit is not {usual}"
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::image::Platform;
    use crate::policy::PullgatePolicy;

    fn node(labels: &[(&str, &str)], kubelet: &str, platform: &str) -> Node {
        Node {
            labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            runtime: "containerd://2.1.8".into(),
            kubelet: kubelet.into(),
            ..Node::new("n", Platform::parse(platform).unwrap())
        }
    }

    fn found(nodes: &str, known: &[Node], sharing: &[&'static str]) -> Vec<String> {
        found_beside(nodes, known, sharing, &[])
    }

    fn found_beside(
        nodes: &str,
        known: &[Node],
        sharing: &[&'static str],
        mirror_sets: &[&'static str],
    ) -> Vec<String> {
        let text = format!(
            "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: p}}\nspec: {{nodes: {{{nodes}}}}}\n"
        );
        let policy = PullgatePolicy::parse(&text, "p").unwrap();
        contradictions(policy.spec(), known, sharing, mirror_sets)
    }

    const ALL: &str =
        "mirrors: none, credentials: none, preloadedImages: none, platforms: [linux/amd64]";

    #[rstest]
    #[case::plain(node(&[], "v1.34.4", "linux/amd64"), "")]
    #[case::eks(node(&[], "v1.34.4-eks-9d30ddf", "linux/amd64"), "spec.nodes.credentials: none, but nodes of EKS")]
    #[case::gke(node(&[], "v1.34.4-gke.1000", "linux/amd64"), "spec.nodes.mirrors and spec.nodes.credentials: none")]
    #[case::aks(node(&[("kubernetes.azure.com/cluster", "x")], "v1.34.4", "linux/amd64"), "spec.nodes.credentials: none")]
    #[case::openshift(node(&[("node.openshift.io/os_id", "rhel")], "v1.34.4", "linux/amd64"), "spec.nodes.mirrors and")]
    #[case::k3s(node(&[("p2p.k3s.cattle.io/enabled", "true")], "v1.34.4+k3s1", "linux/amd64"), "spec.nodes.mirrors: none")]
    #[case::arm(node(&[], "v1.34.4", "linux/arm64"), "spec.nodes.platforms: there are others")]
    #[case::virtual_kubelet(node(&[("type", "virtual-kubelet")], "v1.34.4", "linux/amd64"), "spec.nodes.platforms: there are others")]
    fn what_a_cluster_shows_against_what_is_said(#[case] node: Node, #[case] expected: &str) {
        let found = found(ALL, &[node], &[]);
        assert_eq!(found.len(), usize::from(!expected.is_empty()), "{found:?}");
        assert!(found.iter().all(|one| one.starts_with(expected)), "{found:?}");
    }

    #[test]
    fn nothing_contradicts_where_nothing_is_said() {
        let gke = node(&[], "v1.34.4-gke.1000", "linux/arm64");
        assert!(found("mirrors: unknown", std::slice::from_ref(&gke), &["Spegel"]).is_empty());
        assert_eq!(found("mirrors: none", &[], &["Spegel"]).len(), 1);
        let sets = &["ImageDigestMirrorSet"];
        assert!(found_beside("mirrors: unknown", &[], &[], sets).is_empty());
        assert_eq!(
            found_beside("mirrors: none", &[], &[], sets),
            [
                "spec.nodes.mirrors: none, but there is an ImageDigestMirrorSet, which gives nodes mirrors"
            ]
        );
    }

    #[test]
    fn more_images_than_the_default_show_another_limit() {
        let many = Node { listed_images: 80, ..node(&[], "v1.34.4", "linux/amd64") };
        assert_eq!(found("preloadedImages: none", std::slice::from_ref(&many), &[]).len(), 1);
        assert!(found("preloadedImages: none, nodeStatusMaxImages: 100", &[many], &[]).is_empty());
    }
}
