//! A registry as a whole: who fails and who is well, and whether that is the registry's doing.
//!
//! **In trouble** is defined here. Failing containers are grouped by what kind of trouble their
//! cause is: an *outage* (DNS, refused, time-out, TLS, server error), a *limit* (429), or a
//! *login* problem (401, 403, denied). A registry gets into trouble when of one kind
//! - at least [`ENTER_PODS`] containers fail, of at least [`ENTER_REPOSITORIES`] repositories, and
//!   they are more than half of all that fail with it,
//! - fewer containers freshly pulled from it in the last ten minutes than fail,
//! - for an outage or a limit: on at least two nodes, unless only one node is known,
//! - for a login problem: in at least two namespaces, counting only repositories that worked here
//!   before (so that no tenant can bring it about with names that never worked).
//!
//! It stays in trouble while at least [`STAY_PODS`] fail so and fresh pulls are fewer than twice
//! as many: what flickers around the limit is not told anew every minute.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::HealthIndex;
use super::interner::{Id, NONE};
use super::node_logins::SecretlessPulls;
use super::pods::Slot;
use super::record::{Seconds, State, seconds};
use crate::pull::Cause;

/// Failing containers from which on a registry may be in trouble.
const ENTER_PODS: u32 = 3;
/// Repositories of which they must be.
const ENTER_REPOSITORIES: usize = 2;
/// Failing containers with which trouble stays.
const STAY_PODS: u32 = 2;
/// How long a fresh pull counts against trouble, in seconds.
pub(super) const RECENT: Seconds = 600;
/// Failing pods that are looked at to find out how widespread the trouble is.
pub(super) const MAX_LOOKED_AT: usize = 4096;
/// Samples of the number of failing containers, one a minute.
const MAX_SAMPLES: usize = 16;
/// How far back the first sample lies, in seconds.
pub(super) const SAMPLED: Seconds = 900;

/// The kinds of trouble that a whole registry can have.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// It cannot be reached, or answers with errors.
    Outage,
    /// Its pull limit is used up.
    Limit,
    /// It no longer accepts credentials that it accepted before.
    Login,
}

impl TroubleKind {
    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Limit => "limit",
            Self::Login => "login",
        }
    }

    /// The same for people, as what goes on with the registry.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Outage => "is in trouble",
            Self::Limit => "pull limit is used up",
            Self::Login => "refuses log-ins that worked before",
        }
    }

    /// The kind of trouble that a cause is, if it can be one of a whole registry.
    pub(super) const fn of(cause: Cause) -> Option<Self> {
        match cause {
            Cause::DnsFailure
            | Cause::ConnectionRefused
            | Cause::Timeout
            | Cause::TlsFailure
            | Cause::RegistryError => Some(Self::Outage),
            Cause::RateLimited => Some(Self::Limit),
            Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing => {
                Some(Self::Login)
            }
            _ => None,
        }
    }
}

/// Where the number of failing containers is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// More than a quarter of an hour ago.
    Rising,
    /// Fewer than a quarter of an hour ago.
    Falling,
    /// About as many.
    Steady,
}

/// A registry that is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: TroubleKind,
    pub(super) since: Seconds,
}

/// How widespread one kind of trouble is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spread {
    /// Containers that fail so.
    pub(super) containers: u32,
    /// Of so many repositories.
    pub(super) repositories: usize,
    /// Of which so many worked here before.
    pub(super) proven_repositories: usize,
    /// In so many namespaces.
    pub(super) namespaces: usize,
    /// On so many nodes.
    pub(super) nodes: usize,
}

/// All images of one host.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    pub(super) host: Arc<str>,
    /// Repositories that are known.
    pub(super) repositories: u32,
    /// Containers that run or at least got their image.
    pub(super) healthy: u32,
    /// Containers that cannot get it.
    pub(super) failing: u32,
    /// The same by namespace: healthy, failing.
    pub(super) namespaces: HashMap<Id, (u32, u32)>,
    /// Why the failing ones fail.
    pub(super) causes: Vec<(Cause, u32)>,
    /// Pods with failing containers, and how many.
    pub(super) failing_pods: HashMap<Slot, u32>,
    /// When a node last pulled freshly from it.
    pub(super) pulled: Seconds,
    /// The repositories from which pods without any pull secret pulled freshly.
    pub(super) secretless: SecretlessPulls,
    pub(super) trouble: Option<Trouble>,
    /// Whether anything changed since it was last judged.
    pub(super) changed: bool,
    judged: Seconds,
    /// Fresh pulls: of the ten minutes that began then, and of those before.
    window: (Seconds, u32, u32),
    /// How many failed, minute by minute; the newest last.
    samples: Vec<(Seconds, u32)>,
}

impl Registry {
    pub(super) fn new(host: Arc<str>) -> Self {
        Self {
            host,
            repositories: 0,
            healthy: 0,
            failing: 0,
            namespaces: HashMap::new(),
            causes: Vec::new(),
            failing_pods: HashMap::new(),
            pulled: 0,
            secretless: SecretlessPulls::default(),
            trouble: None,
            changed: false,
            judged: 0,
            window: (0, 0, 0),
            samples: Vec::new(),
        }
    }

    pub(super) fn add_healthy(&mut self, namespace: Id) {
        self.healthy += 1;
        self.namespaces.entry(namespace).or_default().0 += 1;
    }

    pub(super) fn subtract_healthy(&mut self, namespace: Id) {
        self.healthy = self.healthy.saturating_sub(1);
        self.subtract_space(namespace, 1, 0);
    }

    fn subtract_space(&mut self, namespace: Id, healthy: u32, failing: u32) {
        if let Some(space) = self.namespaces.get_mut(&namespace) {
            *space = (space.0.saturating_sub(healthy), space.1.saturating_sub(failing));
            if *space == (0, 0) {
                self.namespaces.remove(&namespace);
            }
        }
    }

    pub(super) fn add_failing(&mut self, slot: Slot, namespace: Id, cause: Cause) {
        self.changed = true;
        self.failing += 1;
        self.namespaces.entry(namespace).or_default().1 += 1;
        *self.failing_pods.entry(slot).or_default() += 1;
        match self.causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += 1,
            None => self.causes.push((cause, 1)),
        }
    }

    pub(super) fn subtract_failing(&mut self, slot: Slot, namespace: Id, cause: Cause) {
        self.changed = true;
        self.subtract_space(namespace, 0, 1);
        self.failing = self.failing.saturating_sub(1);
        if let Some(count) = self.failing_pods.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                self.failing_pods.remove(&slot);
            }
        }
        if let Some(at) = self.causes.iter().position(|(known, _)| *known == cause) {
            self.causes[at].1 -= 1;
            if self.causes[at].1 == 0 {
                self.causes.swap_remove(at);
            }
        }
    }

    /// A node pulled freshly from it.
    pub(super) fn count_pull(&mut self, at: Seconds) {
        // Starts of long ago come in with the first list: they say nothing of now. Windows begin at
        // times of the clock, so that it is the same in whatever order pulls are heard of.
        if at >= self.window.0 {
            self.roll(at);
            self.window.1 = self.window.1.saturating_add(1);
        } else if at.saturating_add(RECENT) >= self.window.0 {
            self.window.2 = self.window.2.saturating_add(1);
        }
        self.changed = true;
        self.pulled = self.pulled.max(at);
    }

    /// Goes on to the window of the newest pull. Pulls alone move it: who judges at another time
    /// counts the same.
    fn roll(&mut self, at: Seconds) {
        let (start, current, _) = self.window;
        if at >= start.saturating_add(2 * RECENT) {
            self.window = (at - at % RECENT, 0, 0);
        } else if at >= start.saturating_add(RECENT) {
            self.window = (start + RECENT, 0, current);
        }
    }

    /// Fresh pulls in about the last ten minutes.
    pub(super) fn recent_pulls(&self, now: Seconds) -> u32 {
        let (start, current, before) = self.window;
        if now >= start.saturating_add(2 * RECENT) {
            0
        } else if now >= start.saturating_add(RECENT) {
            current
        } else {
            current + before
        }
    }

    /// The cause that more than half of the failing ones share.
    pub(super) fn main_cause(&self) -> Option<Cause> {
        let (cause, count) = self.causes.iter().max_by_key(|(cause, count)| (*count, *cause))?;
        (count * 2 > self.failing).then_some(*cause)
    }

    /// Whether it is time to judge it again: at most once a second.
    pub(super) fn is_due(&self, now: Seconds) -> bool {
        self.changed && now > self.judged
    }

    /// Judges it by how widespread each kind of trouble is.
    pub(super) fn judge(&mut self, kinds: &[(TroubleKind, Spread)], nodes: usize, now: Seconds) {
        self.changed = false;
        self.judged = now;
        let pulls = self.recent_pulls(now);
        if let Some(trouble) = self.trouble {
            let stays = kinds.iter().any(|(kind, spread)| {
                *kind == trouble.kind
                    && spread.containers >= STAY_PODS
                    && pulls < spread.containers.saturating_mul(2)
            });
            if stays {
                return;
            }
        }
        self.trouble = kinds
            .iter()
            .filter(|(kind, spread)| self.enters(*kind, spread, nodes, pulls))
            .max_by_key(|(_, spread)| spread.containers)
            .map(|(kind, _)| Trouble { kind: *kind, since: now });
    }

    fn enters(&self, kind: TroubleKind, spread: &Spread, nodes: usize, pulls: u32) -> bool {
        let wide = match kind {
            TroubleKind::Outage | TroubleKind::Limit => {
                spread.repositories >= ENTER_REPOSITORIES && (spread.nodes >= 2 || nodes <= 1)
            }
            TroubleKind::Login => {
                spread.proven_repositories >= ENTER_REPOSITORIES && spread.namespaces >= 2
            }
        };
        wide && spread.containers >= ENTER_PODS
            && spread.containers * 2 > self.failing
            && pulls < spread.containers
    }

    /// Takes the minute's sample.
    pub(super) fn sample(&mut self, now: Seconds) {
        if self.samples.last().is_some_and(|(at, _)| now < at.saturating_add(60)) {
            return;
        }
        if self.samples.len() == MAX_SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((now, self.failing));
    }

    /// Puts a sample of an earlier time before all others, for who has not watched since.
    pub(super) fn sampled_before(&mut self, at: Seconds, failing: u32) {
        if self.samples.first().is_none_or(|(first, _)| at < *first)
            && self.samples.len() < MAX_SAMPLES
        {
            self.samples.insert(0, (at, failing));
        }
    }

    /// Where the number of failing containers is going; nothing before there is enough to compare.
    pub(super) fn trend(&self) -> Option<Trend> {
        let (_, before) = *self.samples.first()?;
        if self.samples.len() < 2 {
            return None;
        }
        let margin = (before / 10).max(1);
        Some(if self.failing > before + margin {
            Trend::Rising
        } else if self.failing + margin < before {
            Trend::Falling
        } else {
            Trend::Steady
        })
    }
}

/// One registry in numbers of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryCounts {
    /// Its host.
    pub host: Arc<str>,
    /// Containers that run an image of it.
    pub healthy: u32,
    /// Why containers cannot get theirs: how many, on how many nodes.
    pub failing: Vec<(Cause, u32, u32)>,
    /// What kind of trouble it is in as a whole.
    pub trouble: Option<TroubleKind>,
    /// When a node last pulled freshly from it, in seconds since 1970; 0 for never.
    pub last_pull: u32,
    /// Fresh pulls by nodes in about the last ten minutes.
    pub recent_pulls: u32,
}

impl HealthIndex {
    /// Every registry that is used now or was pulled from, in numbers.
    pub(crate) fn registry_counts(&self, now: Timestamp) -> Vec<RegistryCounts> {
        let now = seconds(now);
        let known = self.images.registries().filter(|(_, registry)| {
            registry.healthy > 0 || registry.failing > 0 || registry.pulled > 0
        });
        known
            .map(|(id, registry)| RegistryCounts {
                host: registry.host.clone(),
                healthy: registry.healthy,
                failing: self.failing_by_cause(id),
                trouble: registry.trouble.map(|trouble| trouble.kind),
                last_pull: registry.pulled,
                recent_pulls: registry.recent_pulls(now),
            })
            .collect()
    }

    fn failing_by_cause(&self, id: Id) -> Vec<(Cause, u32, u32)> {
        let Some(registry) = self.images.registry(id) else { return Vec::new() };
        let mut nodes: BTreeMap<Cause, HashSet<Id>> = BTreeMap::new();
        let pods = registry.failing_pods.keys().take(MAX_LOOKED_AT);
        for pod in pods.filter_map(|slot| self.pods.get(*slot)).filter(|pod| pod.node != NONE) {
            for container in pod.containers.as_slice() {
                if container.state == State::Failing
                    && self.images.registry_of(container.image) == Some(id)
                    && let Some(cause) = container.cause()
                {
                    nodes.entry(cause).or_default().insert(pod.node);
                }
            }
        }
        let on = |cause| nodes.get(&cause).map_or(0, HashSet::len);
        let causes = registry.causes.iter();
        causes
            .map(|(cause, containers)| {
                (*cause, *containers, u32::try_from(on(*cause)).unwrap_or(u32::MAX))
            })
            .collect()
    }
}
