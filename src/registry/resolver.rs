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
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::address::AddressPolicy;
use super::options::RegistryPolicy;

/// How names become addresses; the system's way unless a test puts another in its place.
pub trait NameResolver: Send + Sync {
    /// The addresses of a name.
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver. It blocks a thread per question, so there is a bound on questions.
pub(super) struct SystemNames {
    permits: Arc<Semaphore>,
}

impl SystemNames {
    pub(super) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(64)) }
    }
}

impl NameResolver for SystemNames {
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let permits = Arc::clone(&self.permits);
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            // A question that its caller gave up on still holds its thread, and so its permit.
            let asked = tokio::spawn(async move {
                let found = tokio::net::lookup_host((name, 0)).await;
                drop(permit);
                found.map(|addresses| addresses.map(|a| a.ip()).collect::<Vec<_>>())
            });
            asked.await.map_err(io::Error::other)?
        })
    }
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
    pub(super) policy: Arc<AddressPolicy>,
    pub(super) directions: Arc<ArcSwap<RegistryPolicy>>,
    pub(super) timeout: Duration,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let in_cluster = self.directions.load().in_cluster.contains(&name);
        let policy = Arc::clone(&self.policy);
        let asked = tokio::time::timeout(self.timeout, self.names.resolve(name));
        Box::pin(async move {
            let addresses = asked
                .await
                .map_err(|_| ResolveFault::TimedOut)?
                .map_err(|_| ResolveFault::Unknown)?;
            if addresses.is_empty() {
                return Err(ResolveFault::Unknown.into());
            }
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
        let name = name.as_str().to_owned();
        if !self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&name)) {
            return Box::pin(async { Err(ResolveFault::Forbidden.into()) });
        }
        let asked = tokio::time::timeout(self.timeout, self.names.resolve(name));
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
