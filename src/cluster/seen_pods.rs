//! When pods of a name, owner and image were first seen, for the grace of what comes late.
//!
//! A pod that is denied leaves nothing behind in the API server, so only its name tells that
//! somebody has been waiting for it. Bounded, and kept in memory alone: after a restart the grace
//! begins anew, which only makes decisions milder.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::review::SeenPod;

/// Names that are remembered; each is two numbers.
const MOST: usize = 100_000;
/// After so long a name begins anew where there is no room.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The first time of each.
#[derive(Default)]
pub(super) struct SeenPods {
    first: Mutex<HashMap<u64, Timestamp>>,
    hasher: RandomState,
}

impl SeenPods {
    pub(super) fn first(&self, pod: SeenPod<'_>) -> Option<Timestamp> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(&self.hasher.hash_one(pod)).copied()
    }

    pub(super) fn note(&self, pod: SeenPod<'_>, now: Timestamp) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() >= MOST {
            first.retain(|_, at| now.duration_since(*at) < KEPT);
        }
        if first.len() < MOST {
            first.entry(self.hasher.hash_one(pod)).or_insert(now);
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
        assert_eq!(seen.first(pod("")), None);
        seen.note(pod(""), at(1));
        seen.note(pod(""), at(2));
        assert_eq!(seen.first(pod("")), Some(at(1)));
        assert_eq!(seen.first(pod("somebody")), None);
        assert_eq!(seen.first(SeenPod { image: "app:2", ..pod("") }), None);
    }
}
