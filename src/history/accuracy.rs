//! Keeping score: what was said at admission against what the nodes then did.
//!
//! A verdict is remembered by the uid of its pod (the API server has set it when a validating
//! webhook is asked) until a node has spoken. A node that freshly pulled what was said to fail is
//! only a suspicion: the pushed-too-late image is nobody's error. It becomes a disagreement when a
//! look-up *after* that pull, with the same credentials, still says missing or forbidden; then the
//! registry's escapes are open again for [`FIRST_REOPENING`], twice and four times as long when it
//! happens again. For the pod's own namespace they are at once; for all others when it was seen in
//! two namespaces or again hours later, since one tenant could bring about a single one by deleting
//! a tag that was just pulled.
//!
//! What was denied is watched for too: a pod of the same namespace with the same pull secrets may
//! still pull it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::Timestamp;

pub use self::registry::{RegistryScore, RegistryScoreSummary, VerdictCount};
pub(crate) use self::verdicts::TRIAL_DAYS;
pub use self::verdicts::{
    NodeOutcome, PodVerdicts, Recheck, RecordedVerdict, WouldDeny, is_refusal,
};
use crate::image::ImageReference;
use crate::kube_views::Uid;
use crate::pull::{Cause, Verdict};

mod registry;
mod verdicts;

/// Most verdicts that wait for their nodes.
const MAX_WAITING: usize = 10_000;
/// Most images of one pod that are remembered.
const MAX_IMAGES: usize = 16;
/// Most suspicions that wait for a look-up.
const MAX_RECHECKS: usize = 256;
/// Most registries that a score is kept of.
const MAX_REGISTRIES: usize = 1000;
/// How long a started container may still turn out to be freshly pulled (events come late).
const EVENT_DELAY: u32 = 60;
/// How long a failing pull must fail before that is the node's word.
const FAILING_FOR: u32 = 120;
/// How long a node may take to say anything.
const PATIENCE: u32 = 6 * 3600;
/// How far the clocks of a node and of Pullgate may be apart, in seconds: what started earlier than
/// that before the verdict has nothing to do with it.
const CLOCKS_DIFFER: u32 = 60;
/// Denied images that are watched for, and for how long, in seconds.
const MAX_DENIED: usize = 1000;
const WATCH_DENIED: u32 = 7 * 24 * 3600;
/// The label of registries beyond those that have one of their own.
const OTHER_REGISTRIES: &str = "other";
/// Most registries in a summary.
const MAX_SUMMARY: usize = 50;

/// One verdict that waits for its nodes.
#[derive(Debug, Clone)]
struct Waiting {
    given: RecordedVerdict,
    failing_since: u32,
    started: u32,
    done: bool,
}

#[derive(Debug, Clone)]
struct WaitingPod {
    namespace: Box<str>,
    uid: Box<str>,
    secrets: Box<[Box<str>]>,
    since: u32,
    images: Vec<Waiting>,
}

/// What a node said of an image of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeObservation {
    /// It pulled it freshly, then.
    Pulled(u32),
    /// It runs it, or did, since then.
    Runs(u32),
    /// It cannot get it.
    Fails,
}

/// The score of Pullgate in this cluster.
#[derive(Debug, Clone, Default)]
pub struct Score {
    waiting: HashMap<Uid, WaitingPod>,
    order: VecDeque<Uid>,
    judged: BTreeMap<(Verdict, NodeOutcome), u64>,
    registries: BTreeMap<Box<str>, RegistryScore>,
    rechecks: VecDeque<Recheck>,
    denied: VecDeque<DeniedImage>,
    /// Would-be denials since the start, by registry and cause, for metrics.
    would_deny: BTreeMap<(Box<str>, Cause), u64>,
}

/// An image that was denied, and whose: a node may pull it for others with the same credentials.
#[derive(Debug, Clone)]
struct DeniedImage {
    namespace: Box<str>,
    secrets: Box<[Box<str>]>,
    given: RecordedVerdict,
    since: u32,
}

impl Score {
    /// Remembers what was said about the images of a pod. Verdicts of a pod that was denied are
    /// only counted: nobody will ever know whether they were right.
    pub fn remember(&mut self, given: PodVerdicts<'_>, now: Timestamp) {
        let PodVerdicts { namespace, uid, secrets, denied, mut verdicts } = given;
        verdicts.truncate(MAX_IMAGES);
        let at = super::index::seconds(now);
        for verdict in verdicts.iter().filter(|verdict| verdict.would_deny) {
            self.say_would_deny(verdict, at);
        }
        if denied {
            for given in verdicts {
                self.count(&given, NodeOutcome::Denied, at);
                self.watch_denied(namespace, secrets, given, at);
            }
            return;
        }
        if uid.is_empty() || verdicts.is_empty() {
            return;
        }
        while self.order.len() >= MAX_WAITING {
            if let Some(oldest) = self.order.pop_front() {
                self.waiting.remove(&oldest);
            }
        }
        let waiting = |given| Waiting { given, failing_since: 0, started: 0, done: false };
        let key = Uid::of(uid);
        // An update brings other images into a pod whose first ones may still be waited for.
        if let Some(pod) = self.waiting.get_mut(&key) {
            pod.images.retain(|old| {
                let same =
                    |new: &RecordedVerdict| new.reference.is_same_image(&old.given.reference);
                !verdicts.iter().any(same)
            });
            pod.images.extend(verdicts.into_iter().map(waiting));
            pod.images.truncate(MAX_IMAGES);
            return;
        }
        let pod = WaitingPod {
            namespace: namespace.into(),
            uid: uid.into(),
            secrets: secrets.into(),
            since: at,
            images: verdicts.into_iter().map(waiting).collect(),
        };
        self.waiting.insert(key, pod);
        self.order.push_back(key);
    }

    fn say_would_deny(&mut self, given: &RecordedVerdict, now: u32) {
        /// Registries that have a label of their own in metrics.
        const MAX_LABELS: usize = 100;
        let Some(cause) = given.cause else { return };
        let host = crate::image::registry_of_host(given.reference.host());
        let known = self.would_deny.keys().any(|(known, _)| **known == *host);
        let labels = self.would_deny.keys().map(|(host, _)| host).collect::<BTreeSet<_>>().len();
        let label = if known || labels < MAX_LABELS { host } else { OTHER_REGISTRIES };
        *self.would_deny.entry((label.into(), cause)).or_default() += 1;
        if let Some(score) = self.registry_mut(given.reference.host()) {
            score.trial.record(given, now);
        }
    }

    /// Would-be denials since the start, by registry and cause.
    pub fn would_deny(&self) -> impl Iterator<Item = (&str, Cause, u64)> {
        self.would_deny.iter().map(|((host, cause), count)| (&**host, *cause, *count))
    }

    fn watch_denied(
        &mut self,
        namespace: &str,
        secrets: &[Box<str>],
        given: RecordedVerdict,
        since: u32,
    ) {
        if !given.is_refusal() {
            return;
        }
        self.denied.retain(|known| {
            known.since.saturating_add(WATCH_DENIED) > since
                && (*known.namespace != *namespace
                    || *known.secrets != *secrets
                    || !known.given.reference.is_same_image(&given.reference))
        });
        while self.denied.len() >= MAX_DENIED {
            self.denied.pop_front();
        }
        self.denied.push_back(DeniedImage {
            namespace: namespace.into(),
            secrets: secrets.into(),
            given,
            since,
        });
    }

    /// A node freshly pulled an image for a pod of a namespace that names these pull secrets: if
    /// the same was denied before, that is a suspicion.
    pub(super) fn pulled_for(
        &mut self,
        namespace: &str,
        secrets: &[&str],
        reference: &ImageReference,
        at: u32,
    ) {
        let found = self.denied.iter().position(|denied| {
            *denied.namespace == *namespace
                && denied.secrets.iter().map(AsRef::as_ref).eq(secrets.iter().copied())
                && denied.given.reference.is_same_image(reference)
                && at >= denied.since
        });
        let Some(denied) = found.and_then(|found| self.denied.remove(found)) else { return };
        if self.rechecks.len() < MAX_RECHECKS {
            self.rechecks.push_back(Recheck {
                namespace: denied.namespace,
                uid: Box::default(),
                secrets: denied.secrets,
                reference: denied.given.reference,
                credentials: denied.given.credentials,
                pulled: super::index::timestamp(at),
            });
        }
    }

    /// Whether anything that was denied is watched for.
    pub(super) fn watches_denied(&self) -> bool {
        !self.denied.is_empty()
    }

    /// How many verdicts wait for their nodes.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How often each verdict met each outcome, over all registries.
    pub fn judged(&self) -> impl Iterator<Item = (Verdict, NodeOutcome, u64)> {
        self.judged.iter().map(|(&(verdict, outcome), &count)| (verdict, outcome, count))
    }

    /// The score of one registry.
    pub fn registry(&self, host: &str) -> Option<&RegistryScore> {
        self.registries.get(crate::image::registry_of_host(host))
    }

    /// The scores of registries, those with disagreements and then the most judged ones first; a
    /// bounded number of them.
    pub fn summary(&self, now: Timestamp) -> Vec<RegistryScoreSummary> {
        let mut scores: Vec<(&str, &RegistryScore)> =
            self.registries.iter().map(|(host, score)| (&**host, score)).collect();
        scores.sort_by_key(|(_, score)| {
            std::cmp::Reverse((score.disagreements, score.judged.values().sum::<u64>()))
        });
        scores.truncate(MAX_SUMMARY);
        scores.into_iter().map(|(host, score)| score.summary(host, now)).collect()
    }

    /// Whether the escapes of this registry are open again for one namespace at least.
    pub(super) fn escapes_reopened_for(&self, host: &str, namespace: &str, now: Timestamp) -> bool {
        self.registry(host).is_some_and(|score| {
            score.open_until(now).is_some() || score.is_open_for(namespace, now)
        })
    }

    /// Whether the escapes of this registry are open again, whatever the policy vouches.
    pub fn escapes_reopened(&self, host: &str, now: Timestamp) -> bool {
        self.registry(host).is_some_and(|score| score.open_until(now).is_some())
    }

    /// The suspicions that wait for a look-up; they are handed out once.
    pub(crate) fn take_rechecks(&mut self) -> Vec<Recheck> {
        self.rechecks.drain(..).collect()
    }

    /// The answer of a look-up made after the pull: `still_fails` if the registry still calls the
    /// image missing or forbidden to the same credentials. A look-up that came to nothing is not
    /// reported.
    pub(crate) fn rechecked(&mut self, recheck: &Recheck, still_fails: bool, now: Timestamp) {
        let now = super::index::seconds(now);
        if let Some(score) = self.registry_mut(recheck.reference.host()) {
            if still_fails {
                if score.contradict(&recheck.namespace, now) {
                    score.disagree(now);
                }
            } else {
                score.late_pushes += 1;
            }
        }
    }

    /// Whether anything was said about this pod.
    pub(super) fn knows(&self, uid: &Uid) -> bool {
        self.waiting.contains_key(uid)
    }

    /// A node's word about an image of a pod. Whether it shows that the node pulled it although the
    /// pod's own secrets, all of them read, have no login for it.
    pub(super) fn observe(
        &mut self,
        uid: &Uid,
        reference: &ImageReference,
        word: NodeObservation,
        now: u32,
    ) -> bool {
        let Some(pod) = self.waiting.get_mut(uid) else { return false };
        let earliest = pod.since.saturating_sub(CLOCKS_DIFFER);
        let mut settled = Vec::new();
        for image in pod.images.iter_mut().filter(|image| !image.done) {
            if !image.given.reference.is_same_image(reference) {
                continue;
            }
            match word {
                NodeObservation::Pulled(at) if at >= earliest => {
                    image.done = true;
                    settled.push((image.given.clone(), at));
                }
                NodeObservation::Runs(at) if at >= earliest && image.started == 0 => {
                    image.started = now.max(1);
                }
                NodeObservation::Fails if image.failing_since == 0 => {
                    image.failing_since = now.max(1);
                }
                NodeObservation::Pulled(_) | NodeObservation::Runs(_) | NodeObservation::Fails => {}
            }
        }
        let suspicion = |given: &RecordedVerdict, at: u32| Recheck {
            namespace: pod.namespace.clone(),
            uid: pod.uid.clone(),
            secrets: pod.secrets.clone(),
            reference: given.reference.clone(),
            credentials: given.credentials.clone(),
            pulled: super::index::timestamp(at),
        };
        let suspicions: Vec<Recheck> = settled
            .iter()
            .filter(|(given, _)| given.is_refusal())
            .map(|(given, at)| suspicion(given, *at))
            .collect();
        let room = MAX_RECHECKS.saturating_sub(self.rechecks.len());
        self.rechecks.extend(suspicions.into_iter().take(room));
        for (given, _) in &settled {
            self.count(given, NodeOutcome::PulledFreshly, now);
        }
        self.drop_if_done(*uid);
        settled.iter().any(|(given, _)| given.secretless)
    }

    /// The pod is gone.
    pub(super) fn gone(&mut self, uid: &Uid, now: u32) {
        let Some(pod) = self.waiting.remove(uid) else { return };
        self.order.retain(|other| other != uid);
        for image in pod.images.into_iter().filter(|image| !image.done) {
            let outcome = if image.started > 0 {
                NodeOutcome::RanFromCache
            } else if image.failing_since > 0 {
                NodeOutcome::Failed
            } else {
                NodeOutcome::Gone
            };
            self.count(&image.given, outcome, now);
        }
    }

    /// Judges what has waited long enough.
    pub(super) fn tick(&mut self, now: u32) {
        let mut settled = Vec::new();
        let mut done = Vec::new();
        for (uid, pod) in &mut self.waiting {
            for image in pod.images.iter_mut().filter(|image| !image.done) {
                let outcome = if image.started > 0 {
                    (now > image.started.saturating_add(EVENT_DELAY))
                        .then_some(NodeOutcome::RanFromCache)
                } else if image.failing_since > 0 {
                    (now > image.failing_since.saturating_add(FAILING_FOR))
                        .then_some(NodeOutcome::Failed)
                } else {
                    (now > pod.since.saturating_add(PATIENCE)).then_some(NodeOutcome::Gone)
                };
                if let Some(outcome) = outcome {
                    image.done = true;
                    settled.push((image.given.clone(), outcome));
                }
            }
            if pod.images.iter().all(|image| image.done) {
                done.push(*uid);
            }
        }
        for (given, outcome) in settled {
            self.count(&given, outcome, now);
        }
        if !done.is_empty() {
            for uid in &done {
                self.waiting.remove(uid);
            }
            self.order.retain(|uid| self.waiting.contains_key(uid));
        }
    }

    fn drop_if_done(&mut self, uid: Uid) {
        if self.waiting.get(&uid).is_some_and(|pod| pod.images.iter().all(|image| image.done)) {
            self.waiting.remove(&uid);
            self.order.retain(|other| *other != uid);
        }
    }

    fn count(&mut self, given: &RecordedVerdict, outcome: NodeOutcome, now: u32) {
        *self.judged.entry((given.verdict, outcome)).or_default() += 1;
        if let Some(score) = self.registry_mut(given.reference.host()) {
            *score.judged.entry((given.verdict, outcome)).or_default() += 1;
            if given.would_deny {
                score.trial.note(given, outcome, now);
            }
        }
    }

    fn registry_mut(&mut self, host: &str) -> Option<&mut RegistryScore> {
        let host = crate::image::registry_of_host(host);
        if !self.registries.contains_key(host) && self.registries.len() >= MAX_REGISTRIES {
            // Whoever makes pods can name any: what nodes never pulled from makes room.
            let idle = self.registries.iter().find(|(_, score)| !score.has_evidence());
            let idle = idle.map(|(host, _)| host.clone())?;
            self.registries.remove(&idle);
        }
        Some(self.registries.entry(host.into()).or_default())
    }

    /// What a snapshot keeps: the scores, not what is waiting.
    pub(super) fn registries(&self) -> &BTreeMap<Box<str>, RegistryScore> {
        &self.registries
    }

    /// Adds the scores of a snapshot.
    pub(super) fn restore(&mut self, registries: &BTreeMap<Box<str>, RegistryScore>) {
        for (host, earlier) in registries {
            if let Some(score) = self.registry_mut(host) {
                score.add(earlier);
                for (pair, count) in &earlier.judged {
                    let known = self.judged.entry(*pair).or_default();
                    *known = known.saturating_add(*count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
