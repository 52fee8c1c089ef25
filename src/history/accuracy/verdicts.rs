//! What was said about a pod's images at admission, and what a node can have done with them; and the
//! trial before enforcement: what would have been denied if everything were vouched for and every
//! namespace enforced, and what nodes then did with it, day by day.
//!
//! Plain values that the score is kept from; they know nothing of counting.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::credential::CredentialIdentity;
use crate::image::ImageReference;
use crate::pull::{Cause, Escape, Verdict};

/// What the nodes did with a verdict's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeOutcome {
    /// A node pulled it freshly.
    PulledFreshly,
    /// It ran from a node's disk.
    RanFromCache,
    /// No node could get it.
    Failed,
    /// The pod went before any node had spoken.
    Gone,
    /// The pod was denied: nobody will ever know.
    Denied,
}

impl NodeOutcome {
    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PulledFreshly => "pulled_freshly",
            Self::RanFromCache => "ran_from_cache",
            Self::Failed => "failed",
            Self::Gone => "gone",
            Self::Denied => "denied",
        }
    }
}

/// A verdict given at admission.
#[derive(Debug, Clone)]
pub struct RecordedVerdict {
    /// The image.
    pub reference: ImageReference,
    /// What was said.
    pub verdict: Verdict,
    /// Why.
    pub cause: Option<Cause>,
    /// The pod's own credentials for it at that time, in the kubelet's order.
    pub credentials: Box<[CredentialIdentity]>,
    /// Whether all of the pod's secrets were read, and none has a login for it.
    pub secretless: bool,
    /// Whether it would be denied if everything were vouched for and the namespace enforced.
    pub would_deny: bool,
    /// The escapes that are open for it as things are.
    pub escapes: Vec<Escape>,
}

impl RecordedVerdict {
    /// Whether it was called missing or forbidden: what a node that pulls it contradicts.
    pub(super) fn is_refusal(&self) -> bool {
        self.verdict == Verdict::Fails && self.cause.is_some_and(is_refusal)
    }
}

/// Whether a cause is the registry's word that an image is missing or may not be read.
pub const fn is_refusal(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::TagNotFound
            | Cause::RepositoryNotFound
            | Cause::AccessDeniedOrMissing
            | Cause::Unauthorized
            | Cause::Forbidden
    )
}

/// What was said about the images of one pod.
#[derive(Debug, Clone)]
pub struct PodVerdicts<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's uid.
    pub uid: &'a str,
    /// The pull secrets that it names.
    pub secrets: &'a [Box<str>],
    /// Whether it was denied.
    pub denied: bool,
    /// The verdicts.
    pub verdicts: Vec<RecordedVerdict>,
}

/// A suspicion: look the image up again with the credentials that the pod had, and report back
/// with `Score::rechecked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The namespace of the pod, whose pull secrets the look-up needs.
    pub namespace: Box<str>,
    /// The pod's uid.
    pub uid: Box<str>,
    /// The pull secrets that the pod names.
    pub secrets: Box<[Box<str>]>,
    /// The image.
    pub reference: ImageReference,
    /// The pod's own credentials when the verdict was given: with others it is another question.
    pub credentials: Box<[CredentialIdentity]>,
    /// When a node pulled it: only a look-up after that counts.
    pub pulled: Timestamp,
}

/// Days that are remembered.
pub(crate) const TRIAL_DAYS: u32 = 30;
const DAY: u32 = 24 * 3600;

/// What would have been denied of one registry's images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Trial {
    /// By day since 1970.
    days: BTreeMap<u32, Day>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Day {
    /// Images that would have been denied, by cause.
    said: Vec<(Cause, u64)>,
    /// What nodes then did with them, by cause.
    done: Vec<(Cause, NodeOutcome, u64)>,
    /// The escapes that were open for them: a word about each would have been needed.
    held_by: Vec<(Escape, u64)>,
}

/// What would have been denied for one cause, and what nodes did with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct WouldDeny {
    /// The cause.
    pub cause: String,
    /// Images of pods that would have been denied.
    pub count: u64,
    /// Of which nodes could not get so many either.
    pub failed: u64,
    /// Of which a node pulled so many after all: because they were pushed late, or wrongly denied.
    pub pulled: u64,
}

fn add<K: PartialEq>(counts: &mut Vec<(K, u64)>, key: K, more: u64) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count = count.saturating_add(more),
        None => counts.push((key, more)),
    }
}

impl Trial {
    /// An image would have been denied.
    pub(super) fn record(&mut self, given: &RecordedVerdict, now: u32) {
        let Some(cause) = given.cause else { return };
        let day = self.day(now);
        add(&mut day.said, cause, 1);
        for escape in &given.escapes {
            add(&mut day.held_by, *escape, 1);
        }
    }

    fn day(&mut self, now: u32) -> &mut Day {
        let first = (now / DAY).saturating_sub(TRIAL_DAYS - 1);
        self.days.retain(|day, _| *day >= first);
        self.days.entry(now / DAY).or_default()
    }

    /// A node did something with one that would have been.
    pub(super) fn note(&mut self, given: &RecordedVerdict, outcome: NodeOutcome, now: u32) {
        let Some(cause) = given.cause else { return };
        let done = &mut self.day(now).done;
        match done.iter_mut().find(|(known, did, _)| (*known, *did) == (cause, outcome)) {
            Some((.., count)) => *count = count.saturating_add(1),
            None => done.push((cause, outcome, 1)),
        }
    }

    pub(super) fn add(&mut self, earlier: &Self) {
        for (day, told) in &earlier.days {
            let known = self.days.entry(*day).or_default();
            for (cause, count) in &told.said {
                add(&mut known.said, *cause, *count);
            }
            for (escape, count) in &told.held_by {
                add(&mut known.held_by, *escape, *count);
            }
            for (cause, outcome, count) in &told.done {
                match known.done.iter_mut().find(|(c, o, _)| (c, o) == (cause, outcome)) {
                    Some((.., sum)) => *sum = sum.saturating_add(*count),
                    None => known.done.push((*cause, *outcome, *count)),
                }
            }
        }
    }

    fn recent(&self, now: u32) -> impl Iterator<Item = &Day> {
        let first = (now / DAY).saturating_sub(TRIAL_DAYS - 1);
        self.days.range(first..).map(|(_, day)| day)
    }

    /// By cause, in the last [`TRIAL_DAYS`] days.
    pub(super) fn would_deny(&self, now: u32) -> Vec<WouldDeny> {
        let mut causes: BTreeMap<Cause, WouldDeny> = BTreeMap::new();
        for day in self.recent(now) {
            for (cause, count) in &day.said {
                causes.entry(*cause).or_default().count += count;
            }
            for (cause, outcome, count) in &day.done {
                let entry = causes.entry(*cause).or_default();
                match outcome {
                    NodeOutcome::Failed => entry.failed += count,
                    NodeOutcome::PulledFreshly => entry.pulled += count,
                    NodeOutcome::RanFromCache | NodeOutcome::Gone | NodeOutcome::Denied => {}
                }
            }
        }
        let named = |(cause, entry): (Cause, WouldDeny)| WouldDeny {
            cause: cause.as_str().to_owned(),
            ..entry
        };
        causes.into_iter().map(named).collect()
    }

    /// How many of them each escape held back, in the last [`TRIAL_DAYS`] days.
    pub(super) fn held_by(&self, now: u32) -> BTreeMap<Escape, u64> {
        let mut held = BTreeMap::new();
        for (escape, count) in self.recent(now).flat_map(|day| &day.held_by) {
            *held.entry(*escape).or_default() += count;
        }
        held
    }
}
