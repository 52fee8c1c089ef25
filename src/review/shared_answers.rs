//! Pods that are alike, made by the same user within the same second: they are told what the first two
//! of them were.
//!
//! A rollout of hundreds of pods is hundreds of reviews of one question, and so are the pods of many
//! Jobs. An answer is kept only if it waited for nothing, so that it is what anybody would get who
//! asks at that moment; a denial never is: each stands on answers of its own. A pod without a
//! controller is made by a person, and what a person is told may be said only once, or of that pod
//! alone: only that there is nothing to say is kept of it. Each review is recorded as if it had been
//! alone.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::record::Rulings;
use crate::admission::Answer;
use crate::history::RecordedVerdict;
use crate::policy::{Decision, PullgatePolicy};
use crate::user::UserInfo;
use crate::workload::Workload;

/// How long an answer is good for the next pod.
const KEPT: SignedDuration = SignedDuration::from_secs(1);
/// Answers that are kept at a time, a few in each of some places: about 10 MiB, if somebody makes all
/// of them as large as they can.
const PLACES: usize = 64;
const IN_ONE_PLACE: usize = 4;
/// Bytes of a review whose answer is kept, and parts of its pod.
const LARGEST: usize = 16 * 1024;
const MOST_PARTS: usize = 32;

/// What came of a review: what is answered, and what is recorded of each pod.
pub(super) struct Told {
    pub(super) rulings: Rulings,
    /// What is remembered until a node has spoken.
    pub(super) verdicts: Vec<RecordedVerdict>,
    pub(super) answer: Answer,
}

/// A pod, and who makes it.
#[derive(Clone, Copy)]
pub(super) struct AskedPod<'a> {
    namespace: &'a str,
    user: &'a UserInfo,
    workload: &'a Workload,
    policy: &'a Arc<PullgatePolicy>,
    now: Timestamp,
}

impl<'a> AskedPod<'a> {
    /// Nothing if its review is a large one.
    pub(super) fn of(
        (namespace, user): (&'a str, &'a UserInfo),
        workload: &'a Workload,
        policy: &'a Arc<PullgatePolicy>,
        (now, bytes): (Timestamp, usize),
    ) -> Option<Self> {
        let is_small = bytes <= LARGEST && workload.parts() <= MOST_PARTS;
        is_small.then_some(Self { namespace, user, workload, policy, now })
    }
}

/// The last answers. Most pods are like no other: the first of those that are alike leaves only that it
/// was there, the second one its answer.
pub struct SharedAnswers {
    places: Box<[Mutex<[Option<LastSeen>; IN_ONE_PLACE]>]>,
    hasher: RandomState,
}

impl Default for SharedAnswers {
    fn default() -> Self {
        let places = std::iter::repeat_with(Mutex::default).take(PLACES).collect();
        Self { places, hasher: RandomState::new() }
    }
}

struct LastSeen {
    /// Of what tells most pods apart.
    key: u64,
    at: Timestamp,
    answer: Option<Box<SharedAnswer>>,
}

impl LastSeen {
    fn is_good(&self, now: Timestamp) -> bool {
        self.at <= now && now.duration_since(self.at) < KEPT
    }
}

struct SharedAnswer {
    namespace: Box<str>,
    user: UserInfo,
    workload: Workload,
    policy: Arc<PullgatePolicy>,
    told: Arc<Told>,
}

impl SharedAnswer {
    fn of(pod: AskedPod<'_>, told: &Arc<Told>) -> Self {
        Self {
            namespace: pod.namespace.into(),
            user: pod.user.clone(),
            workload: pod.workload.clone(),
            policy: Arc::clone(pod.policy),
            told: Arc::clone(told),
        }
    }

    fn is_for(&self, pod: AskedPod<'_>) -> bool {
        let (one, other) = (&self.workload, pod.workload);
        Arc::ptr_eq(&self.policy, pod.policy)
            && *self.namespace == *pod.namespace
            && self.user == *pod.user
            // Which one it is decides nothing but since when a pod is waited for, before a denial.
            && one.controller.is_some() == other.controller.is_some()
            && one.images == other.images
            && one.pull_secrets == other.pull_secrets
            && one.service_account == other.service_account
            && one.annotations == other.annotations
            && one.placement == other.placement
    }
}

impl SharedAnswers {
    /// What one just like it was told within the last second.
    pub(super) fn of(&self, pod: AskedPod<'_>) -> Option<Arc<Told>> {
        let key = self.key(pod);
        let place = self.place(key);
        let kept = place.iter().flatten().find(|kept| kept.key == key && kept.is_good(pod.now))?;
        let answer = kept.answer.as_ref().filter(|answer| answer.is_for(pod))?;
        Some(Arc::clone(&answer.told))
    }

    /// Keeps what a pod was told, unless that is for it alone.
    pub(super) fn keep(&self, pod: AskedPod<'_>, told: &Arc<Told>) {
        let is_for_it = pod.workload.controller.is_none() && !told.answer.warnings.is_empty();
        if told.rulings.decision == Decision::Deny || is_for_it {
            return;
        }
        let key = self.key(pod);
        let mut place = self.place(key);
        // Its own, one that is free, or the oldest.
        let age = |kept: &&mut Option<LastSeen>| match kept {
            Some(kept) if kept.key == key => None,
            kept => Some(kept.as_ref().map(|kept| kept.at)),
        };
        if let Some(kept) = place.iter_mut().min_by_key(age) {
            let seen = kept.as_ref().is_some_and(|kept| kept.key == key && kept.is_good(pod.now));
            let answer = seen.then(|| Box::new(SharedAnswer::of(pod, told)));
            *kept = Some(LastSeen { key, at: pod.now, answer });
        }
    }

    fn key(&self, pod: AskedPod<'_>) -> u64 {
        let image = pod.workload.images.first().map(|place| &place.image);
        self.hasher.hash_one((pod.namespace, &pod.user.username, image))
    }

    fn place(&self, key: u64) -> MutexGuard<'_, [Option<LastSeen>; IN_ONE_PLACE]> {
        let nth = usize::try_from(key % PLACES as u64).unwrap_or_default();
        self.places[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAnswers").finish_non_exhaustive()
    }
}
