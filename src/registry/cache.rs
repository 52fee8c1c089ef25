//! Kept answers, and look-ups under way: equal questions are asked once.
//!
//! Keyed by canonical reference and credential identity, so that tenants never share. A look-up
//! runs in a task of its own: it survives its callers and fills the cache.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::watch;
use tokio::time::Instant;

use super::manifest;
use super::metrics::{CacheAnswer, RegistryMetrics};
use super::options::CacheLimits;
use super::options::{is_unreachable, lifetime};
use super::queue::{Place, Places};
use crate::credential::CredentialIdentity;
use crate::pull::{Content, Detail, Lookup, MediaKind, Outcome};

/// Whose answer about what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) reference: Box<str>,
    pub(super) by_digest: bool,
    pub(super) identity: CredentialIdentity,
}

/// An answer and how long it holds.
#[derive(Debug)]
pub(super) struct CacheEntry {
    pub(super) answered: LookupResult,
    at: Instant,
    lifetime: Duration,
    detail: Detail,
    /// Failures in a row, this one included.
    failures: u32,
    /// When the first of the refusals in a row came, if this is one.
    refused_since: Option<Instant>,
    /// Until when it serves although content is missing that was asked for.
    incomplete_until: Instant,
}

/// What an earlier look-up leaves for the next one.
pub(super) enum Before {
    Nothing,
    /// An answer that only lacks content.
    Known(LookupResult),
    /// A refusal, which is to be confirmed.
    Refused,
}

/// How good an answer has to be, and for whom.
pub(super) struct AnswerRequest {
    pub(super) detail: Detail,
    pub(super) max_age: Option<Duration>,
    pub(super) namespace: Arc<str>,
}

type FlightKey = (Key, Detail);

#[derive(Default)]
struct InFlight {
    answers: HashMap<FlightKey, Vec<Flight>>,
}

struct Flight {
    /// Since when the answer is known that is only carried on.
    known_since: Option<Instant>,
    answer: watch::Receiver<Option<Arc<CacheEntry>>>,
}

impl InFlight {
    /// One that brings as much, and whose answer will not be from before `oldest`.
    fn serving(&self, key: &Key, detail: Detail, oldest: Option<Instant>) -> Option<&Flight> {
        let deep = [Detail::Presence, Detail::Platforms, Detail::Config];
        let deep = deep.into_iter().filter(|deep| *deep >= detail);
        let flights = deep.filter_map(|deep| self.answers.get(&(key.clone(), deep))).flatten();
        flights.into_iter().find(|flight| {
            flight.known_since.is_none_or(|since| oldest.is_none_or(|oldest| since >= oldest))
        })
    }
}

/// The answers.
pub(super) struct Answers {
    kept: Cache<Key, Arc<CacheEntry>>,
    limits: CacheLimits,
    flights: Arc<Mutex<InFlight>>,
    places: Arc<Places>,
    metrics: Arc<RegistryMetrics>,
}

impl CacheEntry {
    fn serves(&self, detail: Detail, max_age: Option<Duration>, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.at);
        age < self.lifetime
            && max_age.is_none_or(|max_age| age <= max_age)
            && (self.has_all(detail) || (self.detail >= detail && now < self.incomplete_until))
    }

    /// Whether the outcome says all that this detail asks for, although less was asked.
    fn has_all(&self, detail: Detail) -> bool {
        let Outcome::Exists(found) = &self.answered.outcome else { return true };
        match found.media {
            MediaKind::Index => detail < Detail::Platforms || found.content != Content::Unread,
            MediaKind::Manifest => detail < Detail::Config || found.content != Content::Unread,
            MediaKind::Schema1 | MediaKind::Other => true,
        }
    }

    fn to_lookup(&self) -> Lookup {
        let age = Instant::now().saturating_duration_since(self.at);
        let mut outcome = self.answered.outcome.clone();
        if let Outcome::Throttled { retry_after: Some(left) } = &mut outcome {
            *left = left.saturating_sub(age);
        }
        Lookup {
            outcome,
            age,
            since: self.at.into(),
            mirror: self.answered.mirror.clone(),
            node_login: self.answered.node_login,
            refused_for: self
                .refused_since
                .map(|since| self.at.saturating_duration_since(since))
                .unwrap_or_default(),
        }
    }
}

impl Answers {
    pub(super) fn new(limits: CacheLimits, most: usize, metrics: Arc<RegistryMetrics>) -> Self {
        let longest = [limits.by_digest, limits.by_tag, limits.unreachable_longest]
            .into_iter()
            .max()
            .unwrap_or_default()
            .max(Duration::from_secs(900));
        Self {
            kept: Cache::builder()
                .max_capacity(limits.outcome_bytes)
                .weigher(|key: &Key, kept: &Arc<CacheEntry>| {
                    let content = match &kept.answered.outcome {
                        Outcome::Exists(found) => &found.content,
                        _ => &Content::Unread,
                    };
                    manifest::weight(key.reference.len() + 300, content)
                })
                .time_to_live(longest)
                .build(),
            limits,
            flights: Arc::default(),
            places: Arc::new(Places::new(most)),
            metrics,
        }
    }

    /// Forgets every answer: they came from hosts that are no longer listed.
    pub(super) fn forget(&self) {
        self.kept.invalidate_all();
    }

    /// A kept answer, one that is under way, or a new one by `ask`; never later than `deadline`.
    pub(super) async fn get<F>(
        &self,
        key: Key,
        wanted: AnswerRequest,
        deadline: Instant,
        ask: impl FnOnce(Before) -> F,
    ) -> Lookup
    where
        F: Future<Output = LookupResult> + Send + 'static,
    {
        let (detail, max_age) = (wanted.detail, wanted.max_age);
        let kept = self.kept.get(&key).await;
        if let Some(kept) =
            kept.as_ref().filter(|kept| kept.serves(detail, max_age, Instant::now()))
        {
            self.metrics.cache(CacheAnswer::Hit);
            return kept.to_lookup();
        }
        let Some(mut flight) = self.join_or_start(key, wanted, kept, ask) else {
            self.metrics.shed();
            return unanswered(Outcome::Overloaded);
        };
        let landed = tokio::time::timeout_at(deadline, flight.wait_for(Option::is_some)).await;
        match landed {
            Ok(Ok(kept)) => kept.as_ref().map_or_else(broken, |kept| kept.to_lookup()),
            Ok(Err(_)) => broken(),
            Err(_) => unanswered(Outcome::TooLate),
        }
    }

    fn join_or_start<F>(
        &self,
        key: Key,
        wanted: AnswerRequest,
        earlier: Option<Arc<CacheEntry>>,
        ask: impl FnOnce(Before) -> F,
    ) -> Option<watch::Receiver<Option<Arc<CacheEntry>>>>
    where
        F: Future<Output = LookupResult> + Send + 'static,
    {
        let AnswerRequest { detail, max_age, namespace } = wanted;
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let oldest = max_age.and_then(|max_age| now.checked_sub(max_age));
        if let Some(flight) = flights.serving(&key, detail, oldest) {
            self.metrics.cache(CacheAnswer::Joined);
            return Some(flight.answer.clone());
        }
        let place = self.places.take(namespace)?;
        self.metrics.cache(CacheAnswer::Miss);
        let (sender, receiver) = watch::channel(None);
        // An answer that only lacks content is carried on; anything older is asked anew.
        let known = earlier.as_ref().filter(|kept| {
            let age = now.saturating_duration_since(kept.at);
            age < kept.lifetime && max_age.is_none_or(|max_age| age <= max_age)
        });
        let known_since = known.map(|kept| kept.at);
        let flight = Flight { known_since, answer: receiver.clone() };
        flights.answers.entry((key.clone(), detail)).or_default().push(flight);
        drop(flights);
        let before = match (known, &earlier) {
            (Some(known), _) => Before::Known(known.answered.clone()),
            (None, Some(kept)) if max_age.is_some() && kept.answered.outcome.is_refusal() => {
                Before::Refused
            }
            (None, _) => Before::Nothing,
        };
        let future = ask(before);
        let flights = Arc::clone(&self.flights);
        let landing =
            InFlightGuard { flights, key: (key.clone(), detail), known_since, _place: place };
        let task = Task {
            kept: self.kept.clone(),
            limits: self.limits.clone(),
            metrics: Arc::clone(&self.metrics),
            key,
            detail,
            max_age,
            known_since,
            earlier,
        };
        tokio::spawn(async move {
            let landing = landing;
            let kept = task.run(future).await;
            drop(landing);
            sender.send_replace(Some(kept));
        });
        Some(receiver)
    }
}

/// Takes a look-up off the list, also when it panics.
struct InFlightGuard {
    flights: Arc<Mutex<InFlight>>,
    key: FlightKey,
    known_since: Option<Instant>,
    _place: Place,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(others) = flights.answers.get_mut(&self.key) {
            others.retain(|flight| flight.known_since != self.known_since);
            if others.is_empty() {
                flights.answers.remove(&self.key);
            }
        }
    }
}

struct Task {
    kept: Cache<Key, Arc<CacheEntry>>,
    limits: CacheLimits,
    metrics: Arc<RegistryMetrics>,
    key: Key,
    detail: Detail,
    max_age: Option<Duration>,
    /// Since when the answer is known that this look-up only carries on.
    known_since: Option<Instant>,
    earlier: Option<Arc<CacheEntry>>,
}

impl Task {
    async fn run(self, future: impl Future<Output = LookupResult>) -> Arc<CacheEntry> {
        // Another look-up may have landed between the question to the cache and this one's start.
        let now = Instant::now();
        let landed = self.kept.get(&self.key).await;
        if let Some(kept) = landed.filter(|kept| kept.serves(self.detail, self.max_age, now)) {
            return kept;
        }
        let answered = future.await;
        self.metrics.finished(&answered.outcome);
        let failures = match &self.earlier {
            Some(earlier) if is_unreachable(&answered.outcome) => earlier.failures + 1,
            _ => 1,
        };
        let lifetime = lifetime(&answered.outcome, self.key.by_digest, failures, &self.limits);
        let with_login = self.key.identity != CredentialIdentity::ANONYMOUS || answered.node_login;
        let lifetime = match &answered.outcome {
            Outcome::Exists(_) if with_login => lifetime.min(self.limits.with_login),
            _ => lifetime,
        };
        // What a tag meant is as old as the HEAD that said so, whenever its content was read.
        // A refusal is as old as the question to it: what was pushed or granted since is not in it.
        let at = match answered.outcome {
            Outcome::TagMissing { .. } | Outcome::RepositoryMissing { .. } => answered.asked_at,
            _ if answered.outcome.is_refusal() => answered.asked_at,
            _ => self.known_since.unwrap_or_else(Instant::now),
        };
        // Refusals of one kind confirm each other.
        let proves_after = answered.outcome.proves_after();
        let before = self
            .earlier
            .as_ref()
            .filter(|earlier| earlier.answered.outcome.proves_after() == proves_after);
        let before = before.and_then(|earlier| earlier.refused_since);
        let refused_since = proves_after.map(|_| before.unwrap_or(at));
        let kept = Arc::new(CacheEntry {
            answered,
            at,
            lifetime,
            detail: self.detail,
            failures,
            refused_since,
            incomplete_until: Instant::now() + self.limits.unreachable,
        });
        if lifetime > Duration::ZERO {
            self.kept.insert(self.key, Arc::clone(&kept)).await;
        }
        kept
    }
}

/// A look-up that panicked, by a defect of ours: nothing is known.
fn broken() -> Lookup {
    tracing::error!("a look-up panicked");
    unanswered(Outcome::Overloaded)
}

fn unanswered(outcome: Outcome) -> Lookup {
    Lookup {
        outcome,
        age: Duration::ZERO,
        since: Instant::now().into(),
        mirror: None,
        node_login: false,
        refused_for: Duration::ZERO,
    }
}

/// What one look-up came to.
#[derive(Debug, Clone)]
pub(super) struct LookupResult {
    pub(super) outcome: Outcome,
    /// The mirror that decided, if one did.
    pub(super) mirror: Option<Box<str>>,
    /// Whether it was asked with the login of the nodes' runtime.
    pub(super) node_login: bool,
    /// When the request was sent whose answer it is; for what was not asked at all, when that was so.
    pub(super) asked_at: Instant,
}
