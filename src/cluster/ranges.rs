//! The addresses that the cluster gives to its Services and pods, as far as they can be read.

use std::time::Duration;

use ipnet::IpNet;
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;

use crate::workload::Node;

/// Where the ranges of Services are told, newest first; before Kubernetes 1.31 nowhere.
/// <https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-cidr-v1/>
const SERVICE_RANGES: [&str; 2] =
    ["/apis/networking.k8s.io/v1/servicecidrs", "/apis/networking.k8s.io/v1beta1/servicecidrs"];
/// How long asking may take.
const CALL_TIME: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    cidrs: Vec<Box<str>>,
}

/// The ranges of Services: none where the API server does not know of any such thing, nothing where
/// it could not be asked.
pub(super) async fn of_services(client: &kube::Client) -> Option<Vec<IpNet>> {
    for path in SERVICE_RANGES {
        let request = Request::new(path).list(&ListParams::default()).ok()?;
        match tokio::time::timeout(CALL_TIME, client.request::<List>(request)).await {
            Ok(Ok(list)) => {
                let ranges = list.items.iter().flat_map(|item| &item.spec.cidrs);
                return Some(ranges.filter_map(|range| range.parse().ok()).collect());
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    Some(Vec::new())
}

/// The ranges of the nodes' pods, neighbours joined: a cluster has one range for each node.
pub(super) fn of_pods(nodes: &[Node]) -> Vec<IpNet> {
    let ranges: Vec<IpNet> = nodes.iter().flat_map(|node| node.pod_ranges.clone()).collect();
    IpNet::aggregate(&ranges)
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
        let ranges = of_pods(&[node("10.244.1.0/24"), node("fd00:1::/64"), node("10.244.0.0/24")]);
        let shown: Vec<_> = ranges.iter().map(IpNet::to_string).collect();
        assert_eq!(shown, ["10.244.0.0/23", "fd00:1::/64"]);
    }
}
