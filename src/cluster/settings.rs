//! What the cluster says of itself, as far as it can be read: the addresses that it gives to its Services
//! and pods, and whether OpenShift's objects give the nodes mirrors.

use ipnet::IpNet;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::{CALL_TIME, Connection};
use super::error::unless_missing;
use crate::workload::Node;

/// Where the ranges of Services are told, newest first; before Kubernetes 1.31 nowhere.
/// <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-cidr-v1/>
const SERVICE_RANGES: [&str; 2] =
    ["/apis/networking.k8s.io/v1/servicecidrs", "/apis/networking.k8s.io/v1beta1/servicecidrs"];

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct RangeWire {
    #[serde(default)]
    spec: RangeSpec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RangeSpec {
    cidrs: Vec<Box<str>>,
}

/// The ranges of Services: none where the API server does not know of any such thing, nothing where
/// it could not be asked.
pub(super) async fn service_ranges(connection: &Connection) -> Option<Vec<IpNet>> {
    for path in SERVICE_RANGES {
        let request = Request::new(path).list(&ListParams::default());
        let answer = connection.call(request, CALL_TIME).await;
        let Some(text) = unless_missing(answer).ok()? else { continue };
        let list: List<RangeWire> = serde_json::from_str(&text).ok()?;
        let ranges = list.items.iter().flat_map(|item| &item.spec.cidrs);
        return Some(ranges.filter_map(|range| range.parse().ok()).collect());
    }
    Some(Vec::new())
}

/// The ranges of the nodes' pods, neighbours joined: a cluster has one range for each node.
pub(super) fn pod_ranges(nodes: &[Node]) -> Vec<IpNet> {
    let ranges: Vec<IpNet> = nodes.iter().flat_map(|node| node.pod_ranges.clone()).collect();
    IpNet::aggregate(&ranges)
}

/// What makes mirrors of the nodes' runtime, newest first.
/// <https://docs.redhat.com/en/documentation/openshift_container_platform/4.18/html/images/image-configuration>
const MIRROR_KINDS: [(&str, &str); 3] = [
    ("ImageDigestMirrorSet", "/apis/config.openshift.io/v1/imagedigestmirrorsets"),
    ("ImageTagMirrorSet", "/apis/config.openshift.io/v1/imagetagmirrorsets"),
    ("ImageContentSourcePolicy", "/apis/operator.openshift.io/v1alpha1/imagecontentsourcepolicies"),
];

/// The kinds of OpenShift's objects with mirrors of which there are any. Where the API server does not know a kind, or does not
/// let Pullgate list it, there is none as far as anybody can tell.
pub(super) async fn mirror_sets(connection: &Connection) -> Vec<&'static str> {
    let mut found = Vec::new();
    for (kind, path) in MIRROR_KINDS {
        let request = Request::new(path).list(&ListParams::default().limit(1));
        let Ok(text) = connection.call(request, CALL_TIME).await else { continue };
        let list = serde_json::from_str::<List<IgnoredAny>>(&text);
        if list.is_ok_and(|list| !list.items.is_empty()) {
            found.push(kind);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Platform;

    #[test]
    fn neighbouring_ranges_of_nodes_are_one() {
        let node = |range: &str| Node {
            pod_ranges: vec![range.parse().unwrap()],
            ..Node::new("n", Platform::new("linux", "amd64"))
        };
        let ranges =
            pod_ranges(&[node("10.244.1.0/24"), node("fd00:1::/64"), node("10.244.0.0/24")]);
        let shown: Vec<_> = ranges.iter().map(IpNet::to_string).collect();
        assert_eq!(shown, ["10.244.0.0/23", "fd00:1::/64"]);
    }
}
