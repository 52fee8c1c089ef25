//! What a node says of itself, as far as it decides about pulling images.

use std::sync::Arc;

use ipnet::IpNet;

use super::quantity::Quantity;
use crate::image::Platform;

/// A node, reduced to what decides where a pod may land and what can run there. What may be long is
/// shared by its copies: thousands of nodes are handed to reviews whenever one of them has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: Box<str>,
    /// `status.nodeInfo.operatingSystem` and `.architecture`.
    pub platform: Platform,
    /// The node's labels, sorted by key.
    pub labels: Arc<[(Box<str>, Box<str>)]>,
    /// The taints that keep pods away: effects `NoSchedule` and `NoExecute` only.
    pub taints: Vec<Taint>,
    /// Whether `spec.unschedulable` is set. Such a node still counts: it may be opened again.
    pub unschedulable: bool,
    /// `status.nodeInfo.containerRuntimeVersion`, such as `containerd://2.1.8`.
    pub runtime: Box<str>,
    /// `status.nodeInfo.kubeletVersion`, such as `v1.34.4`.
    pub kubelet: Box<str>,
    /// `status.addresses`: names and addresses alike.
    pub addresses: Vec<Box<str>>,
    /// The names in `status.images`: they prove presence, their absence proves nothing (the list
    /// is capped at the 50 largest images, five names each).
    pub images: Arc<[Box<str>]>,
    /// How many images `status.images` lists. The kubelet lists the largest only, so a node may
    /// have more if it lists as many as it is set to.
    pub listed_images: usize,
    /// Whether an image is listed with as many names as the kubelet lists at most, so that it may have
    /// others.
    pub names_cut: bool,
    /// `status.allocatable`, sorted by name: what all pods of the node together may ask for.
    pub allocatable: Arc<[(Box<str>, Quantity)]>,
    /// `spec.podCIDRs`: the addresses of its pods, where the cluster gives them out by node.
    pub pod_ranges: Vec<IpNet>,
}

/// How many images a kubelet lists at most where it is not set otherwise (`nodeStatusMaxImages`).
/// <https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>
pub(crate) const LISTED_IMAGES_AT_MOST: i32 = 50;

/// How many names of an image a kubelet lists at most (`maxNamesPerImageInNodeStatus` in
/// `pkg/kubelet/kubelet_node_status.go`).
pub(crate) const LISTED_NAMES_AT_MOST: usize = 5;

/// What labels of nodes say whose pods run somewhere else. Projects differ in the key.
/// <https://github.com/virtual-kubelet/virtual-kubelet/blob/master/README.md>,
/// <https://docs.liqo.io/en/stable/usage/namespace-offloading.html>
const VIRTUAL: [&str; 4] = ["virtual-kubelet", "virtual-node", "eklet", "kwok"];
/// And what their taints are called: `virtual-kubelet.io/provider`, `virtual-node.interlink/no-schedule`,
/// `eks.tke.cloud.tencent.com/eklet`, `kwok.x-k8s.io/node`.
const VIRTUAL_TAINTS: [&str; 4] = ["virtual-kubelet", "virtual-node", "/eklet", "kwok.x-k8s.io/"];
/// A node that vCluster makes up for one of its host cluster
/// (`pkg/controllers/resources/nodes/fake_syncer.go`).
const FAKE: &str = "vcluster.loft.sh/fake-node";

impl Node {
    /// A node of which only its platform is known.
    pub fn new(name: &str, platform: Platform) -> Self {
        Self {
            name: name.into(),
            platform,
            labels: Arc::default(),
            taints: Vec::new(),
            unschedulable: false,
            runtime: Box::default(),
            kubelet: Box::default(),
            addresses: Vec::new(),
            images: Arc::default(),
            listed_images: 0,
            names_cut: false,
            allocatable: Arc::default(),
            pod_ranges: Vec::new(),
        }
    }

    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        Some(&self.labels[found].1)
    }

    /// Whether its pods run somewhere else, by rules of their own: no kubelet pulls there, and the
    /// node does not tell what can run. A kubelet names its runtime from the first moment on
    /// (`ReadyCondition` and `VersionInfo` in `pkg/kubelet/nodestatus` of kubernetes).
    pub(crate) fn is_virtual(&self) -> bool {
        let named = |key: &str| VIRTUAL_TAINTS.iter().any(|part| key.contains(part));
        (self.runtime.is_empty() && !self.kubelet.is_empty())
            || self.labels.iter().any(|(key, value)| VIRTUAL.contains(&&**value) || **key == *FAKE)
            || self.taints.iter().any(|taint| named(&taint.key))
    }

    /// Whether the whole of it would be enough for so much of a resource.
    pub(super) fn offers(&self, resource: &str, amount: Quantity) -> bool {
        let found = self.allocatable.binary_search_by(|(name, _)| (**name).cmp(resource));
        found.is_ok_and(|found| self.allocatable[found].1 >= amount)
    }
}

/// A taint that keeps pods away unless they tolerate it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// The taint's key.
    pub key: Box<str>,
    /// The taint's value, empty if it has none.
    pub value: Box<str>,
    /// `NoSchedule` or `NoExecute`.
    pub effect: TaintEffect,
}

/// The effects that keep a pod from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods are kept away.
    NoSchedule,
    /// Running pods are driven away too.
    NoExecute,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_kubelets(
        "kubernetes.io/os",
        "linux",
        "node.kubernetes.io/disk-pressure",
        "containerd://2",
        false
    )]
    #[case::azure("type", "virtual-kubelet", "virtual-kubelet.io/provider", "", true)]
    #[case::by_its_taint("a", "b", "virtual-kubelet.io/provider", "containerd://2", true)]
    #[case::interlink("virtual-node.interlink/type", "virtual-kubelet", "k", "", true)]
    #[case::interlinks_taint("a", "b", "virtual-node.interlink/no-schedule", "x://1", true)]
    #[case::tencent(
        "node.kubernetes.io/instance-type",
        "eklet",
        "eks.tke.cloud.tencent.com/eklet",
        "x://1",
        true
    )]
    #[case::kwok("type", "kwok", "kwok.x-k8s.io/node", "", true)]
    #[case::vcluster("vcluster.loft.sh/fake-node", "true", "k", "docker://19.3.12", true)]
    #[case::no_runtime("a", "b", "k", "", true)]
    fn a_node_whose_pods_run_elsewhere_is_known_by_what_it_says(
        #[case] label: &str,
        #[case] value: &str,
        #[case] taint: &str,
        #[case] runtime: &str,
        #[case] is_virtual: bool,
    ) {
        let taint =
            Taint { key: taint.into(), value: Box::default(), effect: TaintEffect::NoSchedule };
        let node = Node {
            labels: [(label.into(), value.into())].into(),
            taints: vec![taint],
            runtime: runtime.into(),
            kubelet: "v1.34.4".into(),
            ..Node::new("n", Platform::new("linux", "amd64"))
        };
        assert_eq!(node.is_virtual(), is_virtual);
    }
}
