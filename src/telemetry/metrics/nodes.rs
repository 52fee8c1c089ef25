//! What nodes live with, registry by registry: which pulls fail and why, which images run, whether
//! a registry as a whole is in trouble, when one was last pulled from.
//!
//! Written anew as a whole every few seconds. A hundred registries have a name of their own, those
//! with the most containers; the rest are `other`.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{IntGauge, MAX_REGISTRIES, Metrics};
use crate::pull::Cause;

/// The name of all registries beyond the cap.
const OTHER: &str = "other";

/// One registry as the nodes of this cluster live with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryNumbers {
    /// Its host.
    pub host: Box<str>,
    /// Containers that run an image of it.
    pub healthy: u32,
    /// Containers that cannot get theirs, by cause.
    pub failing: Vec<FailingContainers>,
    /// What kind of trouble it is in as a whole: `outage`, `limit` or `login`.
    pub trouble: Option<&'static str>,
    /// When a node last pulled freshly from it, in Unix seconds; 0 for never.
    pub last_pull: i64,
    /// Fresh pulls by nodes in about the last ten minutes.
    pub recent_pulls: u32,
}

/// Containers that fail for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailingContainers {
    /// The cause.
    pub cause: Cause,
    /// How many.
    pub containers: u32,
    /// On how many nodes.
    pub nodes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    registry: String,
    cause: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TroubleLabels {
    registry: String,
    kind: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabels {
    login: &'static str,
    registry: String,
    life: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BlindLabels {
    registry: String,
    reason: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegistryLabels {
    registry: String,
}

/// The metrics of what nodes live with.
#[derive(Debug, Default)]
pub(super) struct NodeMetrics {
    failing: Replaced<CauseLabels>,
    failing_nodes: Replaced<CauseLabels>,
    healthy: Replaced<RegistryLabels>,
    trouble: Replaced<TroubleLabels>,
    last_pull: Replaced<RegistryLabels>,
    recent_pulls: Replaced<RegistryLabels>,
    blind: Replaced<BlindLabels>,
    secrets: Replaced<SecretLabels>,
}

impl NodeMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "containers_failing",
            "Containers that cannot get their image, by registry and cause",
            self.failing.family.clone(),
        );
        r.register(
            "nodes_failing",
            "Nodes with a container that cannot get its image, by registry and cause",
            self.failing_nodes.family.clone(),
        );
        r.register(
            "containers_healthy",
            "Containers that run an image of this registry",
            self.healthy.family.clone(),
        );
        r.register(
            "registry_in_trouble",
            "1 while a registry as a whole is in trouble, as nodes show it: outage, limit or login",
            self.trouble.family.clone(),
        );
        r.register(
            "registry_last_pull_timestamp_seconds",
            "When a node last pulled freshly from the registry, as Unix time",
            self.last_pull.family.clone(),
        );
        r.register(
            "registry_recent_pulls",
            "Fresh pulls by nodes in about the last ten minutes",
            self.recent_pulls.family.clone(),
        );
        r.register(
            "registry_blind",
            "1 for each registry that nodes use and Pullgate cannot reach, by reason",
            self.blind.family.clone(),
        );
        r.register(
            "pull_secret_expires_timestamp_seconds",
            "When the first login of a pull secret in use, or a client certificate, expires, as far as it can be known, as Unix time",
            self.secrets.family.clone(),
        );
    }
}

/// The end of a login of a pull secret in use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretEnd {
    /// When, in Unix seconds.
    pub at: i64,
    /// The secret's namespace; empty for a client certificate of the nodes.
    pub namespace: Box<str>,
    /// The registry that the login is for.
    pub registry: Box<str>,
    /// Whether it lives for two days at most, so that a machine renews it.
    pub short_lived: bool,
}

/// Registries with logins of a known end that are told of.
const MAX_SECRETS: usize = 500;

impl Metrics {
    /// Notes when the logins in use expire, by registry, in Unix seconds; those that end first are told
    /// of. Whose they are is not: anybody may read metrics.
    pub(crate) fn secrets_expire(&self, mut ends: Vec<SecretEnd>) {
        ends.sort();
        let mut first: BTreeMap<(&'static str, Box<str>, &'static str), i64> = BTreeMap::new();
        for SecretEnd { at, namespace, registry, short_lived } in ends {
            let life = if short_lived { "short" } else { "long" };
            let login = if namespace.is_empty() { "client_certificate" } else { "pull_secret" };
            if first.len() < MAX_SECRETS {
                first.entry((login, registry, life)).or_insert(at);
            }
        }
        self.nodes.secrets.put(first.into_iter().map(|((login, registry, life), at)| {
            (SecretLabels { login, registry: registry.into(), life }, at)
        }));
    }

    /// Notes the registries that nodes use and that cannot be reached, with the reason.
    pub fn blind<'h>(&self, spots: impl Iterator<Item = (&'h str, &'static str)>) {
        let spots = spots.take(MAX_REGISTRIES);
        self.nodes.blind.put(
            spots.map(|(host, reason)| (BlindLabels { registry: host.to_owned(), reason }, 1)),
        );
    }

    /// Notes what nodes live with now. `registries` are all that are known; those with the most
    /// containers keep their names.
    pub fn registries(&self, mut registries: Vec<RegistryNumbers>) {
        let failing = |one: &RegistryNumbers| one.failing.iter().map(|one| one.containers).sum();
        registries.sort_by_key(|one| {
            let failing: u32 = failing(one);
            std::cmp::Reverse((failing, one.healthy))
        });
        let (mut failing, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        let (mut healthy, mut trouble) = (BTreeMap::new(), BTreeMap::new());
        let mut last_pull: BTreeMap<&str, i64> = BTreeMap::new();
        let mut recent_pulls: BTreeMap<&str, i64> = BTreeMap::new();
        for (nth, one) in registries.iter().enumerate() {
            let name = if nth < MAX_REGISTRIES { &*one.host } else { OTHER };
            for FailingContainers { cause, containers, nodes: on } in &one.failing {
                *failing.entry((name, cause.as_str())).or_default() += i64::from(*containers);
                // Of several registries that share a name, the most.
                let most: &mut i64 = nodes.entry((name, cause.as_str())).or_default();
                *most = (*most).max(i64::from(*on));
            }
            *healthy.entry(name).or_default() += i64::from(one.healthy);
            for kind in ["outage", "limit", "login"] {
                let is: &mut i64 = trouble.entry((name, kind)).or_default();
                *is = (*is).max(i64::from(one.trouble == Some(kind)));
            }
            *recent_pulls.entry(name).or_default() += i64::from(one.recent_pulls);
            if one.last_pull > 0 {
                let last = last_pull.entry(name).or_default();
                *last = (*last).max(one.last_pull);
            }
        }
        let by_cause = |((registry, cause), value): ((&str, &'static str), i64)| {
            (CauseLabels { registry: registry.to_owned(), cause }, value)
        };
        let by_name = |(registry, value): (&str, i64)| {
            (RegistryLabels { registry: registry.to_owned() }, value)
        };
        self.nodes.failing.put(failing.into_iter().map(by_cause));
        self.nodes.failing_nodes.put(nodes.into_iter().map(by_cause));
        self.nodes.healthy.put(healthy.into_iter().map(by_name));
        self.nodes.recent_pulls.put(recent_pulls.into_iter().map(by_name));
        self.nodes.last_pull.put(last_pull.into_iter().map(by_name));
        self.nodes.trouble.put(trouble.into_iter().map(|((registry, kind), value)| {
            (TroubleLabels { registry: registry.to_owned(), kind }, value)
        }));
    }
}

/// Gauges that are written anew as a whole: what is not among them any more is gone.
#[derive(Debug)]
struct Replaced<L: Clone + Hash + Eq> {
    family: Family<L, IntGauge>,
    known: Mutex<HashSet<L>>,
}

impl<L: Clone + Hash + Eq> Default for Replaced<L> {
    fn default() -> Self {
        Self { family: Family::default(), known: Mutex::default() }
    }
}

impl<L: Clone + Hash + Eq> Replaced<L> {
    fn put(&self, values: impl Iterator<Item = (L, i64)>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = std::mem::take(&mut *known);
        for (labels, value) in values {
            self.family.get_or_create(&labels).set(value);
            gone.remove(&labels);
            known.insert(labels);
        }
        for labels in gone {
            self.family.remove(&labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(host: &str, failing: u32, trouble: Option<&'static str>) -> RegistryNumbers {
        let failing = [(Cause::TlsFailure, failing)].into_iter().filter(|(_, n)| *n > 0);
        RegistryNumbers {
            host: host.into(),
            healthy: 2,
            failing: failing
                .map(|(cause, containers)| FailingContainers { cause, containers, nodes: 2 })
                .collect(),
            trouble,
            last_pull: 7,
            recent_pulls: 3,
        }
    }

    #[test]
    fn what_is_over_is_gone_and_registries_are_capped() {
        let metrics = Metrics::new();
        let hundred_and_two = (0..102).map(|n| numbers(&format!("r{n}.example"), 0, None));
        let mut all: Vec<_> = hundred_and_two.collect();
        all.push(numbers("bad.example", 3, Some("outage")));
        metrics.registries(all);
        let page = metrics.render();
        for line in [
            r#"pullgate_containers_failing{registry="bad.example",cause="tls_failure"} 3"#,
            r#"pullgate_nodes_failing{registry="bad.example",cause="tls_failure"} 2"#,
            r#"pullgate_registry_in_trouble{registry="bad.example",kind="outage"} 1"#,
            r#"pullgate_registry_in_trouble{registry="bad.example",kind="login"} 0"#,
            r#"pullgate_containers_healthy{registry="other"} 6"#,
            r#"pullgate_registry_last_pull_timestamp_seconds{registry="other"} 7"#,
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        metrics.registries(vec![numbers("good.example", 0, None)]);
        let page = metrics.render();
        assert!(!page.contains("bad.example") && !page.contains("\"other\""), "{page}");
        assert!(page.contains(r#"pullgate_containers_healthy{registry="good.example"} 2"#));
    }
}
