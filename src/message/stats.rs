//! How an image and its registry fare in this cluster, and what a rollout needs of pulls, in a few words
//! with their numbers.

use crate::pull::Cause;
use crate::text::count;

/// Of which namespaces the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatsScope {
    /// Of all.
    Cluster,
    /// Of those that the user may see: a partial view.
    SomeNamespaces,
    /// Of the object's own: a partial view.
    OwnNamespace,
}

impl StatsScope {
    const fn message(self) -> &'static str {
        match self {
            Self::Cluster => "in this cluster",
            Self::SomeNamespaces => "in the namespaces you may see",
            Self::OwnNamespace => "in this namespace",
        }
    }
}

/// That nodes fail to pull from a registry which answers Pullgate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodesFailing {
    /// Containers that fail to pull from it.
    pub failing: u32,
    /// These, and those that pulled from it in the last minutes.
    pub recent: u32,
    /// Why most of them fail.
    pub cause: Cause,
}

impl NodesFailing {
    pub(super) fn message(&self, host: &str) -> String {
        let why = match self.cause {
            Cause::TlsFailure => "TLS",
            Cause::DnsFailure => "DNS",
            Cause::Timeout => "timeout",
            Cause::ConnectionRefused => "connection refused",
            Cause::RateLimited => "429",
            _ => "server error",
        };
        let Self { failing, recent, .. } = self;
        format!(
            "pullable, but {failing} of {recent} recent pulls from {host} failed on nodes ({why})"
        )
    }
}

/// How an image and its registry fare, in numbers that the user may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureStats {
    /// Of which namespaces they are.
    pub view: StatsScope,
    /// Workloads, or pods without one, of which a container cannot get this very image.
    pub failing_workloads: u32,
    /// Containers that cannot get it.
    pub failing_containers: u32,
    /// Containers that cannot get an image of this registry, this one included.
    pub registry_failing: u32,
    /// Containers that run an image of this registry.
    pub registry_healthy: u32,
}

impl FailureStats {
    /// Who else has the trouble; nothing if nobody has.
    pub(super) fn failing(&self) -> Option<String> {
        let who = match self.failing_workloads {
            0 => return None,
            1 => "1 workload fails".to_owned(),
            many => format!("{many} workloads fail"),
        };
        Some(format!("{who} with it {}", self.view.message()))
    }

    /// How the rest of the registry is; nothing where this image does not fail for others, or
    /// nothing else of the registry is known.
    pub(super) fn rest(&self) -> Option<String> {
        let failing = self.registry_failing.saturating_sub(self.failing_containers);
        match (self.failing_workloads, self.registry_healthy, failing) {
            (0, ..) | (_, 0, 0) => None,
            (_, healthy, 0) => Some(format!("all else from this registry runs ({healthy})")),
            (_, healthy, failing) => {
                Some(format!("of all else from this registry {healthy} run and {failing} fail"))
            }
        }
    }

    /// How many fail at a registry that is in trouble; nothing if the user may know of none.
    pub(super) fn trouble(&self) -> Option<String> {
        let all = self.registry_failing + self.registry_healthy;
        let (failing, place) = (self.registry_failing, self.view.message());
        (failing > 0).then(|| format!("{failing} of {all} containers {place} cannot pull from it"))
    }
}

/// What a rollout is estimated to pull from Docker Hub, and what is left there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaForecast {
    /// Pulls that it may need: one for each image and node.
    pub needed: u32,
    /// Pulls that Docker Hub last said are left.
    pub left: u32,
    /// Whether that is for the account with which the pods pull; otherwise it is for the address that
    /// Pullgate asks from, and nodes may have others.
    pub of_account: bool,
}

impl QuotaForecast {
    /// What is the case, as the head of a line.
    pub(super) fn message(self) -> String {
        let Self { needed, left, of_account } = self;
        let pulls = count(needed, "Docker Hub pull");
        let whose = if of_account { "its account" } else { "Pullgate's address" };
        format!("rollout needs up to {pulls}; {whose} has {left} left")
    }
}
