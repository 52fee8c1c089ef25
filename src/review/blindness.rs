//! That Pullgate cannot reach a registry is said to people, once an hour in a namespace: every
//! image of it is silently "cannot tell" otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::{Review, ReviewRequest, Sources};
use crate::pull::{BlindSpot, Verdict};

/// Between two lines about the same registry in one namespace.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// Namespaces and registries that are remembered as told.
const MAX_TOLD: usize = 4096;

/// When who was told of what.
#[derive(Debug, Default)]
pub struct BlindRegistryNotices(Mutex<HashMap<Place, Timestamp>>);

/// A namespace, and the host of a registry.
type Place = (Box<str>, Box<str>);

impl BlindRegistryNotices {
    /// Whether it is time to say it (again); then it counts as said.
    fn is_due(&self, namespace: &str, host: &str, now: Timestamp) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MAX_TOLD {
            told.retain(|_, at| now.duration_since(*at) < AGAIN);
        }
        let key = (namespace.into(), host.into());
        let due = told.get(&key).is_none_or(|at| now.duration_since(*at) >= AGAIN);
        if due && told.len() < MAX_TOLD {
            told.insert(key, now);
        }
        due
    }
}

/// What is to be said of registries that cannot be reached and that nodes use. Only to people,
/// and only where an image of theirs is silently let through for it.
pub(super) fn lines(
    told: &BlindRegistryNotices,
    sources: Sources<'_>,
    subject: &ReviewRequest<'_>,
    review: &Review,
) -> Vec<String> {
    if subject.user.is_service_account() || subject.workload.controller.is_some() {
        return Vec::new();
    }
    let mut lines: Vec<String> = Vec::new();
    for image in &review.images {
        let Ok(reference) = &image.reference else { continue };
        let host = reference.host();
        let silent = image.assessment.verdict == Verdict::CannotTell;
        let Some(reason) = sources.registry.blind_reason(host).filter(|_| silent) else { continue };
        if sources.health.runs_from(host, subject.now)
            && told.is_due(subject.namespace, host, subject.now)
        {
            let spot = BlindSpot { host: host.into(), reason, realm: None };
            lines.push(format!("Pullgate cannot reach {}", spot.sentence()));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_an_hour_in_each_namespace() {
        let told = BlindRegistryNotices::default();
        let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
        assert!(told.is_due("shop", "r.example", at(0)));
        assert!(!told.is_due("shop", "r.example", at(59)));
        assert!(told.is_due("bank", "r.example", at(1)));
        assert!(told.is_due("shop", "r.example", at(60)));
    }
}
