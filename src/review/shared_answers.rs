//! Pods that are alike, made by the same user within the same second: they are told what the first of
//! them was.
//!
//! A rollout of hundreds of pods is hundreds of reviews of one question, and so are the pods of many
//! Jobs. An answer is kept only if it waited for nothing, so that it is what anybody would get who
//! asks at that moment; a denial never is: each stands on answers of its own. A pod without a
//! controller is made by a person, and what a person is told may be said only once, or of that pod
//! alone: only that there is nothing to say is kept of it. Each review is recorded as if it had been
//! alone.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Review;
use crate::admission::Answer;
use crate::history::RecordedVerdict;
use crate::policy::{Decision, PullgatePolicy, Reason};
use crate::pull::{Cause, Verdict};
use crate::user::UserInfo;
use crate::workload::Workload;

/// How long an answer is good for the next pod.
const KEPT: SignedDuration = SignedDuration::from_secs(1);
/// Answers that are kept at a time: about 8 MiB, if somebody makes all of them as large as they can.
const MOST: usize = 128;
/// Bytes of a review whose answer is kept, and parts of its pod.
const LARGEST: usize = 16 * 1024;
const MOST_PARTS: usize = 64;

/// What came of a review: what is answered, and what is recorded of each pod.
pub(super) struct Told {
    pub(super) decision: Decision,
    /// Verdict and cause of each distinct image.
    pub(super) images: Vec<(Verdict, Option<Cause>)>,
    /// The exceptions that let an image through, by name.
    pub(super) exceptions: Vec<Box<str>>,
    /// Whether somebody got past a denial by break-glass.
    pub(super) broke_glass: bool,
    /// What is remembered until a node has spoken.
    pub(super) verdicts: Vec<RecordedVerdict>,
    pub(super) answer: Answer,
}

impl Told {
    pub(super) fn of(review: &Review, verdicts: Vec<RecordedVerdict>, answer: Answer) -> Self {
        let judged = review.images.iter().map(|image| &image.assessment);
        let mut told = Self {
            decision: review.decision,
            images: judged.map(|judged| (judged.verdict, judged.cause)).collect(),
            exceptions: Vec::new(),
            broke_glass: false,
            verdicts,
            answer,
        };
        for ruling in review.images.iter().map(|image| &image.ruling) {
            match (ruling.reason, &ruling.exception) {
                (Reason::Exception, Some(used)) if !told.exceptions.contains(&used.name) => {
                    told.exceptions.push(used.name.clone());
                }
                (Reason::BreakGlass, _) => told.broke_glass = true,
                _ => {}
            }
        }
        told
    }
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
    /// Nothing if it is no pod, or its review is a large one.
    pub(super) fn of(
        (namespace, user): (&'a str, &'a UserInfo),
        workload: &'a Workload,
        policy: &'a Arc<PullgatePolicy>,
        (now, bytes): (Timestamp, usize),
    ) -> Option<Self> {
        let is_small = bytes <= LARGEST && workload.parts() <= MOST_PARTS;
        (workload.is_pod && is_small).then_some(Self { namespace, user, workload, policy, now })
    }
}

/// The last answers.
#[derive(Default)]
pub struct SharedAnswers {
    kept: Mutex<HashMap<u64, SharedAnswer>>,
    hasher: RandomState,
}

struct SharedAnswer {
    namespace: Box<str>,
    user: UserInfo,
    workload: Workload,
    policy: Arc<PullgatePolicy>,
    at: Timestamp,
    told: Arc<Told>,
}

impl SharedAnswer {
    fn is_of(&self, pod: AskedPod<'_>) -> bool {
        let (one, other) = (&self.workload, pod.workload);
        self.is_good(pod.now)
            && Arc::ptr_eq(&self.policy, pod.policy)
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

    fn is_good(&self, now: Timestamp) -> bool {
        self.at <= now && now.duration_since(self.at) < KEPT
    }
}

impl SharedAnswers {
    /// What one just like it was told within the last second.
    pub(super) fn of(&self, pod: AskedPod<'_>) -> Option<Arc<Told>> {
        let key = self.key(pod);
        let kept = self.kept();
        kept.get(&key).filter(|kept| kept.is_of(pod)).map(|kept| Arc::clone(&kept.told))
    }

    /// Keeps what a pod was told, unless that is for it alone.
    pub(super) fn keep(&self, pod: AskedPod<'_>, told: &Arc<Told>) {
        let is_for_it = pod.workload.controller.is_none() && !told.answer.warnings.is_empty();
        if told.decision == Decision::Deny || is_for_it {
            return;
        }
        let key = self.key(pod);
        let new = SharedAnswer {
            namespace: pod.namespace.into(),
            user: pod.user.clone(),
            workload: pod.workload.clone(),
            policy: Arc::clone(pod.policy),
            at: pod.now,
            told: Arc::clone(told),
        };
        let mut kept = self.kept();
        if kept.len() >= MOST {
            kept.retain(|_, kept| kept.is_good(pod.now));
        }
        if kept.len() < MOST || kept.contains_key(&key) {
            kept.insert(key, new);
        }
    }

    /// Where it is kept: by what tells most apart.
    fn key(&self, pod: AskedPod<'_>) -> u64 {
        let image = pod.workload.images.first().map(|place| &place.image);
        self.hasher.hash_one((pod.namespace, &pod.user.username, image))
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<u64, SharedAnswer>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAnswers").finish_non_exhaustive()
    }
}
