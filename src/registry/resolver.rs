//! Turns names into addresses that may be dialled: the hook between a name and a socket.
//!
//! The check stands on what is dialled, so a name that changes its address between two questions
//! gains nothing. Literal addresses never come here and are checked before each request.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::AddressPolicy;
use super::options::{NameResolver, RegistryPolicy};

/// Most questions to name servers that may be open at once; a question ends with its caller. Two
/// for each look-up that there may be: silent names of one namespace leave room for others.
const OPEN_QUESTIONS: usize = 4096;
/// Names whose answers are kept, for as long as their records say.
const KEPT_NAMES: u64 = 4096;

/// `/etc/hosts` and the name servers of `/etc/resolv.conf`.
///
/// Names are asked for as they stand. A pod's search list would let whoever makes namespace `corp`
/// with a Service `harbor` answer for `harbor.corp`, and receive the passwords that belong to it.
#[derive(Clone)]
pub(super) struct SystemNames {
    resolver: Option<TokioResolver>,
    /// The domain of this cluster (`cluster.local`), where the search list shows one.
    cluster_domain: Option<String>,
}

impl SystemNames {
    pub(super) fn new() -> Self {
        match read_system_conf() {
            Ok((config, options)) => Self::with(config, options),
            Err(error) => {
                tracing::warn!(%error, "no name servers: only /etc/hosts is used");
                let nothing = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                Self::with(nothing, ResolverOpts::default())
            }
        }
    }

    fn with(config: ResolverConfig, options: ResolverOpts) -> Self {
        // Kubernetes writes `ns.svc.DOMAIN svc.DOMAIN DOMAIN` (pkg/kubelet/network/dns).
        let cluster_domain = config.search().iter().find_map(|name| {
            Some(name.to_ascii().strip_prefix("svc.")?.trim_end_matches('.').to_owned())
        });
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let options = builder.options_mut();
        options.use_hosts_file = ResolveHosts::Always;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.max_active_requests = OPEN_QUESTIONS;
        options.cache_size = KEPT_NAMES;
        // A name that was just made, or has just moved, is not waited for.
        options.negative_max_ttl = Some(Duration::from_secs(5));
        options.positive_max_ttl = Some(Duration::from_secs(60));
        // Each step of a look-up has a limit of its own; one lost packet must not use it up.
        options.timeout = options.timeout.min(Duration::from_secs(1));
        let resolver = builder.build();
        if let Err(error) = &resolver {
            tracing::error!(%error, "failed to set up name resolution");
        }
        Self { resolver: resolver.ok(), cluster_domain }
    }

    /// What is asked for: `name.ns.svc` is a Service of this cluster.
    fn question(&self, name: String) -> String {
        let service = name.trim_end_matches('.');
        match (&self.cluster_domain, service.rsplit_once('.')) {
            (Some(domain), Some((_, "svc"))) => format!("{service}.{domain}."),
            _ => name,
        }
    }
}

impl NameResolver for SystemNames {
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (question, resolver) = (self.question(name), self.resolver.clone());
        Box::pin(async move {
            let resolver = resolver.ok_or_else(|| io::Error::other("no name resolution"))?;
            let found = resolver.lookup_ip(question).await.map_err(io::Error::other)?;
            Ok(found.iter().collect())
        })
    }
}

/// The name with the dot that keeps search lists away, unless it is a single label that the
/// operator wrote: those only mean something with a search list.
fn absolute(name: &str, by_operator: bool) -> String {
    let name = name.trim_end_matches('.');
    if by_operator && !name.contains('.') { name.to_owned() } else { format!("{name}.") }
}

/// Why a name gave no address to dial. Found again in the chain of the client's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResolveFault {
    Unknown,
    Forbidden,
    TimedOut,
}

impl fmt::Display for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "the name does not resolve",
            Self::Forbidden => "the name resolves to an address that is never contacted",
            Self::TimedOut => "the name was not resolved in time",
        })
    }
}

impl Error for ResolveFault {}

/// Names, guarded.
pub(super) struct GuardedResolver {
    pub(super) names: Arc<dyn NameResolver>,
    pub(super) policy: Arc<ArcSwap<AddressPolicy>>,
    pub(super) directions: Arc<ArcSwap<RegistryPolicy>>,
    pub(super) timeout: Duration,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let in_cluster = self.directions.load().in_cluster.contains(name.as_str());
        let policy = Arc::clone(&self.policy);
        let name = absolute(name.as_str(), in_cluster);
        let asked = tokio::time::timeout(self.timeout, self.names.resolve(name));
        Box::pin(async move {
            let addresses = asked
                .await
                .map_err(|_| ResolveFault::TimedOut)?
                .map_err(|_| ResolveFault::Unknown)?;
            if addresses.is_empty() {
                return Err(ResolveFault::Unknown.into());
            }
            let policy = policy.load();
            let open: Vec<_> = addresses
                .into_iter()
                .filter(|address| policy.check(*address, in_cluster).is_ok())
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if open.is_empty() {
                return Err(ResolveFault::Forbidden.into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

/// Resolves the name of the proxy and nothing else: the operator chose it, so it may be anywhere.
pub(super) struct ProxyResolver {
    pub(super) names: Arc<dyn NameResolver>,
    pub(super) hosts: Vec<Box<str>>,
    pub(super) timeout: Duration,
}

impl Resolve for ProxyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str();
        if !self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name)) {
            return Box::pin(async { Err(ResolveFault::Forbidden.into()) });
        }
        let asked = tokio::time::timeout(self.timeout, self.names.resolve(absolute(name, true)));
        Box::pin(async move {
            let addresses = asked
                .await
                .map_err(|_| ResolveFault::TimedOut)?
                .map_err(|_| ResolveFault::Unknown)?;
            let addresses: Vec<_> =
                addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use hickory_resolver::proto::rr;
    use tokio::net::UdpSocket;

    use super::*;

    /// The name that a DNS question asks for, and where the question ends (RFC 1035, 4.1.2).
    fn asked_name(packet: &[u8]) -> (String, usize) {
        let (mut name, mut at) = (String::new(), 12);
        while packet[at] != 0 {
            let length = usize::from(packet[at]);
            name.push_str(std::str::from_utf8(&packet[at + 1..=at + length]).unwrap());
            name.push('.');
            at += length + 1;
        }
        (name.to_ascii_lowercase(), at + 5)
    }

    /// A name server that has an address for one name, and notes what it is asked.
    async fn name_server(known: &'static str) -> (NameServerConfig, Arc<Mutex<Vec<String>>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let mut server = NameServerConfig::udp([127, 0, 0, 1].into());
        server.connections = vec![connection];
        let asked = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0u8; 512];
            loop {
                let (_, from) = socket.recv_from(&mut packet).await.unwrap();
                let (name, end) = asked_name(&packet);
                let is_ipv4 = packet[end - 3] == 1;
                let found = name == known && is_ipv4;
                let mut answer = packet[..end].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
                if found {
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3]);
                } else if name != known {
                    answer[3] |= 3;
                }
                note.lock().unwrap().push(name);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        (server, asked)
    }

    /// As in a pod of namespace `pullgate`.
    fn in_a_pod(server: NameServerConfig) -> SystemNames {
        let search = ["pullgate.svc.cluster.local.", "svc.cluster.local.", "cluster.local."];
        let search = search.into_iter().map(|name| name.parse::<rr::Name>().unwrap()).collect();
        let mut options = ResolverOpts::default();
        options.ndots = 5;
        SystemNames::with(ResolverConfig::from_parts(None, search, vec![server]), options)
    }

    #[tokio::test]
    async fn a_service_of_a_tenant_does_not_answer_for_a_registry_of_the_same_name() {
        let (server, asked) = name_server("harbor.corp.svc.cluster.local.").await;
        let names = in_a_pod(server);
        names.resolve(absolute("harbor.corp", false)).await.unwrap_err();
        assert!(asked.lock().unwrap().iter().all(|name| name == "harbor.corp."), "{asked:?}");
    }

    #[tokio::test]
    async fn a_listed_registry_of_two_labels_is_not_searched_for_either() {
        let (server, _asked) = name_server("harbor.corp.svc.cluster.local.").await;
        in_a_pod(server).resolve(absolute("harbor.corp", true)).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_service_of_this_cluster_is_found_by_its_short_name() {
        let (server, _asked) = name_server("registry.kube-system.svc.cluster.local.").await;
        let names = in_a_pod(server);
        let wanted = vec![IpAddr::from([10, 1, 2, 3])];
        for name in ["registry.kube-system.svc", "registry.kube-system.svc.cluster.local"] {
            assert_eq!(names.resolve(absolute(name, false)).await.unwrap(), wanted, "{name}");
        }
    }

    #[tokio::test]
    async fn a_single_label_is_searched_for_only_where_it_is_listed() {
        let (server, _asked) = name_server("registry.pullgate.svc.cluster.local.").await;
        let names = in_a_pod(server);
        names.resolve(absolute("registry", false)).await.unwrap_err();
        let found = names.resolve(absolute("registry", true)).await.unwrap();
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
    }

    #[tokio::test]
    async fn names_without_an_answer_do_not_hold_up_others() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = silent.local_addr().unwrap().port();
        let mut server = NameServerConfig::udp([127, 0, 0, 1].into());
        server.connections = vec![connection];
        let names = in_a_pod(server);
        let waiting: Vec<_> =
            (0..200).map(|n| tokio::spawn(names.resolve(format!("silent-{n}.example.")))).collect();
        tokio::task::yield_now().await;
        let found = names.resolve(absolute("localhost", false)).await.unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
