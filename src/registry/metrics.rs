//! What the client counts about itself: typed handles, closed labels, hosts under a cap.

use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::pull::Outcome;

/// The most registry hosts that appear as labels; the rest are counted as `other`.
const MAX_HOSTS: usize = 100;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// HEAD of a manifest.
    Head,
    /// GET of a manifest.
    Get,
    /// GET of an image configuration.
    Blob,
    /// A page of tags.
    Tags,
    /// A token.
    Token,
}

/// How the cache answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CacheAnswer {
    /// A kept answer was good enough.
    Hit,
    /// An equal look-up was under way already.
    Joined,
    /// A look-up was started.
    Miss,
}

impl EncodeLabelValue for Kind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let word = match self {
            Self::Head => "head",
            Self::Get => "get",
            Self::Blob => "blob",
            Self::Tags => "tags",
            Self::Token => "token",
        };
        word.encode(encoder)
    }
}

impl EncodeLabelValue for CacheAnswer {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let word = match self {
            Self::Hit => "hit",
            Self::Joined => "joined",
            Self::Miss => "miss",
        };
        word.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    answer: CacheAnswer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabel {
    registry: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoLabels {}

/// Seconds; a look-up takes from a few milliseconds up to its own limit.
const LOOKUP_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long look-ups take, by registry.
#[derive(Debug)]
struct Seconds(Family<HostLabel, Histogram, fn() -> Histogram>);

impl Default for Seconds {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(LOOKUP_SECONDS)))
    }
}

/// A look-up that waits for its turn at a registry.
#[derive(Debug)]
pub(super) struct Waits(Gauge);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The client's metrics.
#[derive(Debug, Default)]
pub struct RegistryMetrics {
    requests: Family<KindLabel, Counter>,
    lookups: Family<OutcomeLabel, Counter>,
    cache: Family<CacheLabel, Counter>,
    shed: Counter,
    /// Without an entry while it is unknown.
    hub_remaining: Family<NoLabels, Gauge>,
    breaker_open: Family<HostLabel, Gauge>,
    seconds: Seconds,
    waiting: Family<HostLabel, Gauge>,
    hosts: Mutex<HashSet<Box<str>>>,
}

impl RegistryMetrics {
    /// Registers everything; the prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "registry_requests",
            "Requests sent to registries and token services",
            self.requests.clone(),
        );
        registry.register("lookups", "Look-ups finished, by outcome", self.lookups.clone());
        registry.register(
            "lookup_cache",
            "Look-ups asked for, by how the cache answered",
            self.cache.clone(),
        );
        registry.register(
            "lookups_shed",
            "Look-ups refused because a limit of Pullgate was reached",
            self.shed.clone(),
        );
        registry.register(
            "docker_hub_pulls_remaining",
            "Pulls that Docker Hub has left for this address, as it last said",
            self.hub_remaining.clone(),
        );
        registry.register(
            "registry_breaker_open",
            "1 while a registry that cannot be reached is left alone",
            self.breaker_open.clone(),
        );
        registry.register(
            "lookup_duration_seconds",
            "Time that a registry took for one look-up, without the wait for its turn",
            self.seconds.0.clone(),
        );
        registry.register(
            "lookups_waiting",
            "Look-ups that wait for their turn at a registry",
            self.waiting.clone(),
        );
    }

    pub(super) fn request(&self, kind: Kind) {
        self.requests.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn cache(&self, answer: CacheAnswer) {
        self.cache.get_or_create(&CacheLabel { answer }).inc();
    }

    pub(super) fn finished(&self, outcome: &Outcome) {
        self.lookups.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub(super) fn shed(&self) {
        self.shed.inc();
    }

    pub(super) fn hub_remaining(&self, remaining: u32) {
        self.hub_remaining.get_or_create(&NoLabels {}).set(remaining.into());
    }

    pub(super) fn breaker(&self, host: &str, open: bool) {
        let label = HostLabel { registry: self.label_of(host).to_owned() };
        self.breaker_open.get_or_create(&label).set(i64::from(open));
    }

    pub(super) fn took(&self, host: &str, time: Duration) {
        let label = HostLabel { registry: self.label_of(host).to_owned() };
        self.seconds.0.get_or_create(&label).observe(time.as_secs_f64());
    }

    /// Counts a look-up that waits, until the answer is dropped.
    pub(super) fn waits(&self, host: &str) -> Waits {
        let label = HostLabel { registry: self.label_of(host).to_owned() };
        let gauge = self.waiting.get_or_create_owned(&label);
        gauge.inc();
        Waits(gauge)
    }

    fn label_of<'a>(&self, host: &'a str) -> &'a str {
        let mut hosts = self.hosts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if hosts.contains(host) {
            return host;
        }
        if hosts.len() >= MAX_HOSTS {
            return "other";
        }
        hosts.insert(host.into());
        host
    }
}
