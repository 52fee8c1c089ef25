//! Kindness to registries, and walls between them: concurrency, budget, back-off and breaker of
//! each, and what Docker Hub says is left, so that no registry's trouble delays another's answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::metrics::RegistryMetrics;
use super::options::{LoadLimits, RegistryPolicy};
use super::queue::{Slot, Slots};
use crate::credential::CredentialIdentity;
use crate::policy::RegistryBudget;
use crate::pull::{NetworkFault, Outcome, PullsLeft, Purpose, Step};

/// How long a time-out speaks for look-ups that are not ready in time.
const SILENCE: Duration = Duration::from_secs(600);
/// The most registries whose state is kept; those at rest longest are forgotten first.
const MAX_HOSTS: usize = 2048;
/// The most credentials per registry whose back-off is kept.
const MAX_BACKOFFS: usize = 256;
/// How long a registry is left alone that says 429 and not for how long.
const UNSAID_RETRY_AFTER: Duration = Duration::from_secs(30);

/// All registries' states.
pub(super) struct Limits {
    load: LoadLimits,
    directions: Arc<ArcSwap<RegistryPolicy>>,
    metrics: Arc<RegistryMetrics>,
    hosts: Mutex<HashMap<Box<str>, Arc<HostLimits>>>,
}

/// One registry's state.
pub(super) struct HostLimits {
    name: Box<str>,
    load: LoadLimits,
    pace: Pace,
    metrics: Arc<RegistryMetrics>,
    slots: Arc<Slots>,
    state: Mutex<State>,
}

/// How fast one registry may be asked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Requests per second, over time.
    per_second: f64,
    /// Requests at once after a quiet time.
    burst: f64,
    /// Look-ups under way.
    concurrent: usize,
}

impl Pace {
    /// The policy's budget where there is one, else our own. It can only slow down.
    fn of(load: &LoadLimits, budget: Option<&RegistryBudget>) -> Self {
        let own = Self {
            per_second: f64::from(load.requests_per_second),
            burst: f64::from(load.request_burst),
            concurrent: load.concurrency_per_registry.max(1),
        };
        let per_minute = budget.and_then(|budget| budget.requests_per_minute).map(f64::from);
        let concurrent = budget
            .and_then(|budget| budget.concurrent)
            .and_then(|concurrent| usize::try_from(concurrent).ok());
        Self {
            per_second: per_minute.map_or(own.per_second, |n| own.per_second.min(n / 60.0)),
            burst: per_minute.map_or(own.burst, |n| own.burst.min(n)),
            concurrent: concurrent.map_or(own.concurrent, |n| own.concurrent.min(n)).max(1),
        }
    }
}

struct State {
    used: Instant,
    budget: f64,
    refilled: Instant,
    failures: u32,
    open: Option<Open>,
    throttled: HashMap<CredentialIdentity, Instant>,
    quotas: HashMap<CredentialIdentity, Quota>,
    /// What the last look-up failed by that got no answer at all.
    silence: Option<(Instant, Outcome)>,
}

struct Open {
    until: Instant,
    delay: Duration,
    probing: bool,
    outcome: Outcome,
}

/// The right to ask one registry now; given back when dropped.
pub(super) struct Permit {
    host: Arc<HostLimits>,
    probe: bool,
    _slot: Slot,
}

impl Limits {
    pub(super) fn new(
        load: LoadLimits,
        directions: Arc<ArcSwap<RegistryPolicy>>,
        metrics: Arc<RegistryMetrics>,
    ) -> Self {
        Self { load, directions, metrics, hosts: Mutex::new(HashMap::new()) }
    }

    pub(super) fn host(&self, name: &str) -> Arc<HostLimits> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        if hosts.len() >= MAX_HOSTS {
            let at_rest = hosts
                .iter()
                .filter(|(_, host)| Arc::strong_count(host) == 1)
                .min_by_key(|(_, host)| lock(&host.state).used)
                .map(|(name, _)| name.clone());
            if let Some(name) = at_rest {
                hosts.remove(&name);
            }
        }
        let pace = Pace::of(&self.load, self.directions.load().budget(name));
        let host = Arc::new(HostLimits::new(name, &self.load, pace, Arc::clone(&self.metrics)));
        hosts.insert(name.into(), Arc::clone(&host));
        host
    }

    /// Budgets are others now: the registries that this concerns begin anew.
    pub(super) fn rebudget(&self, before: &RegistryPolicy) {
        let now = self.directions.load();
        lock(&self.hosts).retain(|name, _| before.budget(name) == now.budget(name));
    }

    /// The time-out of the last look-up, if it is not long ago and there was no answer since.
    pub(super) fn backoff_outcome(&self, name: &str) -> Option<Outcome> {
        let host = lock(&self.hosts).get(name).cloned()?;
        let state = lock(&host.state);
        let (at, outcome) = state.silence.as_ref()?;
        let holds = matches!(outcome, Outcome::Timeout(_)) && at.elapsed() < SILENCE;
        holds.then(|| outcome.clone())
    }

    /// What a registry said recently is left for this credential.
    pub(super) fn pulls_left(&self, name: &str, identity: CredentialIdentity) -> Option<PullsLeft> {
        let host = lock(&self.hosts).get(name).cloned()?;
        let quota = *lock(&host.state).quotas.get(&identity)?;
        let left = PullsLeft { remaining: quota.remaining, window: quota.window };
        quota.is_recent(Instant::now()).then_some(left)
    }
}

impl HostLimits {
    fn new(name: &str, load: &LoadLimits, pace: Pace, metrics: Arc<RegistryMetrics>) -> Self {
        let now = Instant::now();
        Self {
            name: name.into(),
            load: load.clone(),
            pace,
            metrics,
            slots: Arc::new(Slots::new(pace.concurrent, load.waiting_per_registry)),
            state: Mutex::new(State {
                used: now,
                budget: pace.burst,
                refilled: now,
                failures: 0,
                open: None,
                throttled: HashMap::new(),
                quotas: HashMap::new(),
                silence: None,
            }),
        }
    }

    /// Waits for the right to ask; the outcome says why there is none.
    pub(super) async fn enter(
        self: &Arc<Self>,
        identity: CredentialIdentity,
        namespace: &str,
        purpose: Purpose,
    ) -> Result<Permit, Outcome> {
        self.check(identity)?;
        let turn = tokio::time::timeout(self.load.longest_queue, self.slots.acquire(namespace));
        let waits = self.metrics.waits(&self.name);
        let turn = turn.await;
        drop(waits);
        let Ok(Some(slot)) = turn else {
            self.metrics.shed();
            return Err(Outcome::Overloaded);
        };
        // What was learned while we waited holds for us too.
        self.check(identity)?;
        let probe = self.claim_probe(purpose)?;
        Ok(Permit { host: Arc::clone(self), probe, _slot: slot })
    }

    /// Fails while the registry wants this credential to wait.
    pub(super) fn check_wait(&self, identity: CredentialIdentity) -> Result<(), Outcome> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        match state.throttled.get(&identity).copied() {
            Some(until) if until > now => {
                Err(Outcome::Throttled { retry_after: Some(until - now) })
            }
            _ => {
                state.throttled.remove(&identity);
                Ok(())
            }
        }
    }

    fn check(&self, identity: CredentialIdentity) -> Result<(), Outcome> {
        self.check_wait(identity)?;
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.used = now;
        match &state.open {
            Some(open) if open.until > now || open.probing => Err(open.outcome.clone()),
            _ => Ok(()),
        }
    }

    fn claim_probe(&self, purpose: Purpose) -> Result<bool, Outcome> {
        match &mut lock(&self.state).open {
            None => Ok(false),
            // What is asked for advice may fail for reasons of its own: it proves nothing.
            Some(open) if open.probing || purpose == Purpose::Advice => Err(open.outcome.clone()),
            Some(open) => {
                open.probing = true;
                Ok(true)
            }
        }
    }

    /// Takes one request out of the budget, and waits until it may be sent; how long that put the
    /// deadline off. Who asks for advice does not wait: what is left is for verdicts. Who is patient
    /// waits for whatever it is, and the time in our own queue says nothing about the registry.
    pub(super) async fn spend(
        &self,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Duration, Outcome> {
        let now = Instant::now();
        let patience = match purpose {
            _ if self.load.patient => self.load.longest_queue,
            Purpose::Verdict => deadline.saturating_duration_since(now),
            Purpose::Advice => Duration::ZERO,
        };
        let Some(wait) = self.reserve(now, patience) else {
            self.metrics.shed();
            return Err(Outcome::Overloaded);
        };
        if wait.is_zero() {
            return Ok(Duration::ZERO);
        }
        tokio::time::sleep(wait).await;
        Ok(if self.load.patient { now.elapsed() } else { Duration::ZERO })
    }

    /// How long until the next request may be sent; nothing if that is too long.
    fn reserve(&self, now: Instant, patience: Duration) -> Option<Duration> {
        let mut state = lock(&self.state);
        let gained = (now - state.refilled).as_secs_f64() * self.pace.per_second;
        state.refilled = now;
        state.budget = (state.budget + gained).min(self.pace.burst);
        let missing = 1.0 - state.budget;
        let wait = if missing > 0.0 {
            Duration::try_from_secs_f64(missing / self.pace.per_second).ok()?
        } else {
            Duration::ZERO
        };
        if wait > patience {
            return None;
        }
        state.budget -= 1.0;
        Some(wait)
    }

    /// Notes how long the registry took for one look-up.
    pub(super) fn took(&self, time: Duration) {
        self.metrics.took(&self.name, time);
    }

    /// The registry answered something: it is there.
    pub(super) fn answered(&self) {
        let mut state = lock(&self.state);
        state.failures = 0;
        state.silence = None;
        if state.open.take().is_some() {
            self.metrics.breaker(&self.name, false);
        }
    }

    /// The registry could not be reached with the first request of a look-up.
    pub(super) fn failed(&self, outcome: &Outcome) {
        if !is_own_fault(outcome) {
            return;
        }
        let mut state = lock(&self.state);
        state.failures = state.failures.saturating_add(1);
        state.silence = Some((Instant::now(), outcome.clone()));
        let delay = match &state.open {
            Some(open) => (open.delay * 2).min(self.load.breaker_longest),
            None if state.failures >= self.load.breaker_threshold => self.load.breaker_first,
            None => return,
        };
        if let Some(open) = &state.open
            && !open.probing
            && open.until > Instant::now()
        {
            // A look-up that began before the breaker opened: it tells nothing new.
            return;
        }
        let until = Instant::now() + delay;
        state.open = Some(Open { until, delay, probing: false, outcome: outcome.clone() });
        self.metrics.breaker(&self.name, true);
    }

    /// The registry has said how many pulls are left for this credential.
    pub(super) fn quota(&self, identity: CredentialIdentity, quota: Quota) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.quotas.len() >= MAX_BACKOFFS {
            state.quotas.retain(|_, quota| quota.holds(now));
        }
        if state.quotas.len() < MAX_BACKOFFS || state.quotas.contains_key(&identity) {
            state.quotas.insert(identity, quota);
        }
    }

    /// Whether the pulls that are left for this credential are for nodes alone.
    pub(super) fn is_short_of_pulls(&self, identity: CredentialIdentity) -> bool {
        let now = Instant::now();
        lock(&self.state).quotas.get(&identity).is_some_and(|quota| quota.is_short(now))
    }

    /// The registry wants this credential to wait; the answer is for how long, capped.
    pub(super) fn throttled(
        &self,
        identity: CredentialIdentity,
        retry_after: Option<Duration>,
    ) -> Duration {
        let wait = retry_after.unwrap_or(UNSAID_RETRY_AFTER).min(self.load.longest_retry_after);
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.throttled.len() >= MAX_BACKOFFS {
            state.throttled.retain(|_, until| *until > now);
        }
        if state.throttled.len() < MAX_BACKOFFS {
            state.throttled.insert(identity, now + wait);
        }
        wait
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.probe
            && let Some(open) = &mut lock(&self.host.state).open
        {
            // A probe that ended without a word leaves the next one to another look-up.
            open.probing = false;
        }
    }
}

/// Whether a failure says something about the registry: a name that does not resolve may be the
/// name server's fault, and a look-up that ran out of its own time may be ours.
fn is_own_fault(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Network(fault) => *fault != NetworkFault::Dns,
        Outcome::Tls(_) => true,
        Outcome::Timeout(step) => !matches!(step, Step::Resolve | Step::Whole),
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What Docker Hub gives, and for how long, where it does not say.
const USUAL_LIMIT: u32 = 100;
const USUAL_WINDOW: Duration = Duration::from_secs(6 * 3600);
/// How long a number is good enough to forecast from: nodes pull, and pulls come back one by one.
const RECENT: Duration = Duration::from_secs(600);

/// What is left, as it was last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) remaining: u32,
    limit: u32,
    /// How long the limit is counted for.
    pub(super) window: Duration,
    /// Until when that holds.
    until: Instant,
}

impl Quota {
    /// From headers such as `ratelimit-remaining: 76;w=21600`.
    pub(super) fn read<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let (remaining, window) = parse(header("ratelimit-remaining")?)?;
        let limit = header("ratelimit-limit").and_then(parse);
        let limit = limit.map_or(USUAL_LIMIT, |(limit, _)| limit);
        let window = window.unwrap_or(USUAL_WINDOW).min(24 * USUAL_WINDOW);
        Some(Self { remaining, limit, window, until: Instant::now() + window })
    }

    /// Whether less than 30 % are left: those are for the nodes.
    pub(super) fn is_short(&self, now: Instant) -> bool {
        now < self.until && u64::from(self.remaining) * 10 < u64::from(self.limit) * 3
    }

    /// Whether it was said so recently that a forecast can be made of it.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        self.holds(now) && now + self.window < self.until + RECENT
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        now < self.until
    }
}

/// A number and the seconds of its window.
fn parse(value: &str) -> Option<(u32, Option<Duration>)> {
    let mut parts = value.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok());
    Some((number, window.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::PullgatePolicy;

    fn directions(budgets: &str) -> RegistryPolicy {
        let text = format!(
            "apiVersion: pullgate.dev/v1alpha1\nkind: PullgatePolicy\nmetadata: {{name: a}}\n\
             spec: {{registries: {{budgets: {budgets}}}}}"
        );
        let policy = PullgatePolicy::parse(&text, "test").unwrap();
        RegistryPolicy {
            budgets: policy.spec().registries.budgets.clone(),
            ..RegistryPolicy::default()
        }
    }

    fn spent(host: &HostLimits) -> u32 {
        let now = Instant::now();
        (0..3000).find(|_| host.reserve(now, Duration::ZERO).is_none()).unwrap_or(3000)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_patient_waits_as_long_as_it_takes() {
        let shared = Arc::new(ArcSwap::from_pointee(RegistryPolicy::default()));
        let few = LoadLimits { requests_per_second: 1, request_burst: 1, ..LoadLimits::patient() };
        let host = Limits::new(few, shared, Arc::default()).host("r.example.com");
        let deadline = Instant::now() + Duration::from_millis(10);
        let asking = (0..60).map(|_| host.spend(Purpose::Advice, deadline));
        let waited = futures::future::try_join_all(asking).await.unwrap();
        assert_eq!(waited[0], Duration::ZERO);
        assert!(waited[59] >= Duration::from_secs(59), "{:?}", waited[59]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_slows_down_its_registry_alone_and_can_change() {
        let slow = "[{registry: docker.io, requestsPerMinute: 60, concurrent: 2}]";
        let shared = Arc::new(ArcSwap::from_pointee(directions(slow)));
        let limits = Limits::new(LoadLimits::default(), Arc::clone(&shared), Arc::default());
        let hub = limits.host("registry-1.docker.io");
        assert_eq!((spent(&hub), hub.slots.free()), (60, 2));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(spent(&hub), 10);
        let other = limits.host("r.example.com");
        let own = LoadLimits::default();
        let own = (own.request_burst, own.concurrency_per_registry);
        assert_eq!((spent(&other), other.slots.free()), own);

        let before = shared.swap(Arc::new(directions("[{registry: docker.io, concurrent: 500}]")));
        limits.rebudget(&before);
        let hub = limits.host("registry-1.docker.io");
        // Never more than our own limit.
        assert_eq!((spent(&hub), hub.slots.free()), own);
        assert!(Arc::ptr_eq(&other, &limits.host("r.example.com")), "the others keep their state");
    }

    #[rstest]
    #[case("76;w=21600", Some("100;w=21600"), Some((76, false)))]
    #[case("30;w=21600", Some("100;w=21600"), Some((30, false)))]
    #[case("29;w=21600", Some("100;w=21600"), Some((29, true)))]
    #[case("29", None, Some((29, true)))]
    #[case("29", Some("junk"), Some((29, true)))]
    #[case("50 ; w=60", Some("200"), Some((50, true)))]
    #[case("0;w=99999999999999999", Some("0"), Some((0, false)))]
    #[case("-1", Some("100"), None)]
    #[case("", None, None)]
    #[tokio::test]
    async fn reads_what_docker_hub_says(
        #[case] remaining: &str,
        #[case] limit: Option<&str>,
        #[case] expected: Option<(u32, bool)>,
    ) {
        let quota = Quota::read(|name| match name {
            "ratelimit-remaining" => Some(remaining),
            _ => limit,
        });
        let now = Instant::now();
        assert_eq!(quota.map(|quota| (quota.remaining, quota.is_short(now))), expected);
    }

    #[tokio::test]
    async fn a_forecast_is_made_of_what_was_said_in_the_last_ten_minutes() {
        let read = |remaining| Quota::read(|_| Some(remaining)).unwrap();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let quota = read("3;w=21600");
        assert!(quota.is_recent(now) && quota.is_recent(after(599)));
        assert!(!quota.is_recent(after(601)) && quota.holds(after(601)));
        assert!(!read("3;w=60").is_recent(after(61)), "its window is over");
    }
}
