//! How an image name leads to a Service of the cluster: by its name in the cluster's own domain,
//! by its cluster address, or by its port on every node.

use std::net::IpAddr;

use crate::kube_views::{is_namespace_name, is_object_name};

/// The customary domain of a cluster.
const DOMAIN: &str = "cluster.local";
/// The default `--service-node-port-range` of the API server.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// A way to a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Address {
    /// By its name.
    Named {
        /// Its namespace.
        namespace: Box<str>,
        /// Its name.
        name: Box<str>,
        /// Whether the domain is the cluster's own beyond doubt.
        certain: bool,
    },
    /// By its address.
    ClusterIp(IpAddr),
    /// By its port on every node.
    NodePort(u16),
}

impl Address {
    /// The way, if the host of an image name is one.
    pub(super) fn of(host: &str, is_node: impl Fn(&str) -> bool) -> Option<Self> {
        let (name, port) = split(host);
        if let Ok(ip) = name.parse::<IpAddr>() {
            let at_node = ip.is_loopback() || is_node(name);
            return match port.filter(|port| NODE_PORTS.contains(port) && at_node) {
                Some(port) => Some(Self::NodePort(port)),
                None => is_private(ip).then_some(Self::ClusterIp(ip)),
            };
        }
        if name == "localhost" || is_node(name) {
            return port.filter(|port| NODE_PORTS.contains(port)).map(Self::NodePort);
        }
        let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
        let at = labels.iter().position(|label| *label == "svc").filter(|at| *at >= 2)?;
        let (service, namespace) = (labels[at - 2], labels[at - 1]);
        if !is_object_name(service) || !is_namespace_name(namespace) {
            return None;
        }
        let domain = labels[at + 1..].join(".");
        Some(Self::Named {
            namespace: namespace.into(),
            name: service.into(),
            certain: domain.is_empty() || domain == DOMAIN,
        })
    }
}

fn split(host: &str) -> (&str, Option<u16>) {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').unwrap_or((rest, ""));
        return (address, port.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name, port.parse().ok()),
        _ => (host, None),
    }
}

/// Addresses that Services customarily have.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("registry.infra.svc", "infra/registry true")]
    #[case("registry.infra.svc:5000", "infra/registry true")]
    #[case("registry.infra.svc.cluster.local:5000", "infra/registry true")]
    #[case("registry-0.registry.infra.svc.cluster.local", "infra/registry true")]
    #[case("registry.infra.svc.example.com", "infra/registry false")]
    #[case("10.96.0.10:5000", "10.96.0.10")]
    #[case("[fd00::1]:5000", "fd00::1")]
    #[case("localhost:30500", "30500")]
    #[case("127.0.0.1:30500", "30500")]
    #[case("192.168.7.7:30500", "30500")]
    #[case("node-a:30500", "30500")]
    #[case("127.0.0.1:5000", "-")]
    #[case("localhost", "-")]
    #[case("8.8.8.8", "-")]
    #[case("svc", "-")]
    #[case("a.svc", "-")]
    #[case("ghcr.io", "-")]
    #[case("registry_x.infra.svc", "-")]
    fn ways(#[case] host: &str, #[case] way: &str) {
        let shown = match Address::of(host, |name| name == "node-a" || name == "192.168.7.7") {
            Some(Address::Named { namespace, name, certain }) => {
                format!("{namespace}/{name} {certain}")
            }
            Some(Address::ClusterIp(ip)) => ip.to_string(),
            Some(Address::NodePort(port)) => port.to_string(),
            None => "-".to_owned(),
        };
        assert_eq!(shown, way);
    }
}
