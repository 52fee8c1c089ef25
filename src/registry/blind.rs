//! Registries of which nothing at all could be seen lately, and why.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pull::{BlindReason, BlindSpot, Outcome};

/// Registries that are kept in mind; names are tenants' to choose, so that those that came to nothing
/// the fewest times make room for others.
const MAX_HOSTS: usize = 1000;
/// Look-ups in a row that must come to nothing.
const TIMES: u32 = 3;

/// What became of the last look-ups, by host.
#[derive(Debug, Default)]
pub(super) struct BlindSpots(Mutex<HashMap<Box<str>, Seen>>);

/// Why nothing was seen of one registry, and how many times in a row.
#[derive(Debug)]
struct Seen {
    reason: BlindReason,
    realm: Option<Box<str>>,
    times: u32,
}

impl BlindSpots {
    /// Takes in what one look-up came to.
    pub(super) fn note(&self, host: &str, outcome: &Outcome) {
        // Of these nothing is learned: nobody was asked, or not to the end.
        let nothing = matches!(
            outcome,
            Outcome::TooLate | Outcome::Overloaded | Outcome::LoginWithheld | Outcome::NoHost
        );
        if nothing {
            return;
        }
        let mut hosts = self.lock();
        let Some(reason) = BlindReason::of(outcome) else {
            hosts.remove(host);
            return;
        };
        let realm = match outcome {
            Outcome::ForeignRealm(realm) => Some(realm.clone()),
            _ => None,
        };
        if let Some(known) = hosts.get_mut(host) {
            *known = Seen { reason, realm, times: known.times.saturating_add(1) };
        } else {
            if hosts.len() >= MAX_HOSTS {
                // One that is still asked comes back.
                let fewest = hosts.iter().min_by_key(|(_, seen)| seen.times);
                let fewest = fewest.map(|(host, _)| host.clone());
                fewest.and_then(|host| hosts.remove(&host));
            }
            hosts.insert(host.into(), Seen { reason, realm, times: 1 });
        }
    }

    /// Those of which nothing was seen several times in a row.
    pub(super) fn all(&self) -> Vec<BlindSpot> {
        let hosts = self.lock();
        let blind = hosts.iter().filter(|(_, seen)| seen.times >= TIMES);
        let mut blind: Vec<BlindSpot> = blind
            .map(|(host, seen)| BlindSpot {
                host: host.clone(),
                reason: seen.reason,
                realm: seen.realm.clone(),
            })
            .collect();
        blind.sort_by(|a, b| a.host.cmp(&b.host));
        blind
    }

    /// Why nothing of this registry was seen several times in a row.
    pub(super) fn reason(&self, host: &str) -> Option<BlindReason> {
        let hosts = self.lock();
        let seen = hosts.get(host)?;
        (seen.times >= TIMES).then_some(seen.reason)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::TlsFault;

    #[test]
    fn blind_after_three_looks_that_came_to_nothing_and_seeing_again_after_one_answer() {
        let spots = BlindSpots::default();
        let unknown = Outcome::Tls(TlsFault::UnknownAuthority);
        for _ in 0..2 {
            spots.note("r.example", &unknown);
            spots.note("r.example", &Outcome::TooLate);
        }
        assert_eq!(spots.all(), []);
        spots.note("r.example", &unknown);
        assert_eq!(spots.reason("r.example"), Some(BlindReason::Authority));
        assert!(spots.all()[0].sentence().contains("registries.authoritiesConfigMapName"));
        spots.note("r.example", &Outcome::Unauthorized);
        assert_eq!(spots.reason("r.example"), None);
        for nth in 0..2 * MAX_HOSTS {
            spots.note(&format!("r{nth}.example"), &unknown);
        }
        assert_eq!(spots.lock().len(), MAX_HOSTS);
        for _ in 0..TIMES {
            spots.note("late.example", &unknown);
        }
        spots.note("one-more.example", &unknown);
        assert_eq!(spots.reason("late.example"), Some(BlindReason::Authority), "there is room");
    }
}
