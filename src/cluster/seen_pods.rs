//! When pods of a name, owner and image were first seen, for the grace of what comes late.
//!
//! A pod that is denied leaves nothing behind in the API server, so only its name tells that
//! somebody has been waiting for it. Bounded, and kept in memory alone: after a restart the grace
//! begins anew, which only makes decisions milder.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashTable;
use jiff::{SignedDuration, Timestamp};

use crate::review::SeenPod;

/// Names that are remembered; each is three numbers.
const MOST: usize = 100_000;
/// A name that was not seen for so long begins anew.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The first time of each, and the last.
#[derive(Default)]
pub(super) struct SeenPods {
    seen: Mutex<HashTable<Seen>>,
    hasher: RandomState,
}

#[derive(Clone, Copy)]
struct Seen {
    /// The hash of who it is.
    pod: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Seen {
    fn counts(self, now: Timestamp) -> bool {
        now.duration_since(self.last) < KEPT
    }
}

impl SeenPods {
    pub(super) fn first(&self, pod: SeenPod<'_>, now: Timestamp) -> Option<Timestamp> {
        let pod = self.hasher.hash_one(pod);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.find(pod, |seen| seen.pod == pod).filter(|known| known.counts(now));
        known.map(|known| known.first)
    }

    pub(super) fn note(&self, pod: SeenPod<'_>, now: Timestamp) {
        let pod = self.hasher.hash_one(pod);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = seen.find_mut(pod, |seen| seen.pod == pod) {
            let first = if known.counts(now) { known.first } else { now };
            *known = Seen { pod, first, last: known.last.max(now) };
            return;
        }
        if seen.len() >= MOST {
            seen.retain(|known| known.counts(now));
        }
        if seen.len() < MOST {
            let new = Seen { pod, first: now, last: now };
            seen.insert_unique(pod, new, |seen| seen.pod);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_time_of_a_name_owner_and_image_stays() {
        let seen = SeenPods::default();
        let pod = |owner| SeenPod { namespace: "shop", name: "p", owner, image: "app:1" };
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(seen.first(pod(""), at(3)), None);
        seen.note(pod(""), at(1));
        seen.note(pod(""), at(2));
        assert_eq!(seen.first(pod(""), at(3)), Some(at(1)));
        assert_eq!(seen.first(pod("somebody"), at(3)), None);
        assert_eq!(seen.first(SeenPod { image: "app:2", ..pod("") }, at(3)), None);
    }

    #[test]
    fn a_name_that_was_not_seen_for_an_hour_begins_anew() {
        let seen = SeenPods::default();
        let pod = SeenPod { namespace: "shop", name: "p", owner: "", image: "app:1" };
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        for minute in [0, 40, 80] {
            seen.note(pod, at(minute));
            assert_eq!(seen.first(pod, at(minute)), Some(at(0)), "{minute}");
        }
        assert_eq!(seen.first(pod, at(140)), None);
        seen.note(pod, at(140));
        assert_eq!(seen.first(pod, at(141)), Some(at(140)));
    }
}
