//! Whether the nodes log in to a registry by themselves.
//!
//! A pod without any pull secret that freshly pulls an image shows it, unless the image is public.
//! Which of the two it is tells an anonymous question for what was pulled: it is asked elsewhere,
//! one repository after the other, and its answer kept here.

use std::collections::HashMap;

use jiff::Timestamp;

use super::HealthIndex;
use super::interner::Id;
use super::record::{Seconds, seconds};
use crate::image::ImageReference;
use crate::pull::NodeLogin;

/// Repositories of one registry that are remembered. Those that anybody may read are forgotten
/// first, then those that were pulled longest ago.
const MAX_REPOSITORIES: usize = 512;
/// How long an answer counts, in seconds: a public repository may become private.
const ANSWER_COUNTS: Seconds = 24 * 3600;
/// Between two questions for the same repository where the first had no answer.
const ASK_AGAIN: Seconds = 600;

/// The repositories of one registry from which pods without pull secrets pulled.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretlessPulls(HashMap<Id, Pull>);

#[derive(Debug, Clone, Copy, Default)]
struct Pull {
    /// The last of them.
    last: Seconds,
    /// When it was last asked for, answered or not.
    asked: Seconds,
    /// When there was an answer, and whether it was a refusal.
    answer: Option<(Seconds, bool)>,
}

impl Pull {
    fn counts(&self, retention: Seconds, now: Seconds) -> bool {
        self.last.saturating_add(retention) >= now
    }

    fn is_due(&self, now: Seconds) -> bool {
        let old = self.answer.is_none_or(|(at, _)| at.saturating_add(ANSWER_COUNTS) < now);
        old && (self.asked == 0 || self.asked.saturating_add(ASK_AGAIN) <= now)
    }
}

impl SecretlessPulls {
    /// A pod without pull secrets pulled from this repository.
    pub(super) fn add(&mut self, repository: Id, at: Seconds) {
        if self.0.len() >= MAX_REPOSITORIES && !self.0.contains_key(&repository) {
            let is_public = |pull: &Pull| matches!(pull.answer, Some((_, false)));
            let worth = |pull: &Pull| (!is_public(pull), pull.last);
            let least = self.0.iter().min_by_key(|(_, pull)| worth(pull)).map(|(id, _)| *id);
            least.and_then(|least| self.0.remove(&least));
        }
        let pull = self.0.entry(repository).or_default();
        pull.last = pull.last.max(at);
    }

    pub(super) fn forget(&mut self, repository: Id) {
        self.0.remove(&repository);
    }

    /// What they show. An answer counts until there is a newer one.
    pub(super) fn show(&self, retention: Seconds, now: Seconds) -> NodeLogin {
        let shows = |pull: &Pull| match pull.answer {
            Some((_, true)) => NodeLogin::Proven,
            Some((_, false)) => NodeLogin::NotSeen,
            None => NodeLogin::Possible,
        };
        let counting = self.0.values().filter(|pull| pull.counts(retention, now));
        counting.map(shows).max().unwrap_or_default()
    }

    /// Each repository with its last pull and whether it refused who did not log in.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, Seconds, Option<bool>)> {
        self.0.iter().map(|(id, pull)| (*id, pull.last, pull.answer.map(|(_, refused)| refused)))
    }

    /// What was remembered of an earlier time.
    pub(super) fn restore(&mut self, repository: Id, last: Seconds, refused: Option<bool>) {
        self.add(repository, last);
        if let Some(pull) = self.0.get_mut(&repository) {
            pull.answer = pull.answer.or(refused.map(|refused| (last, refused)));
        }
    }
}

impl HealthIndex {
    /// The next image that pods got without a pull secret, of a repository of which it is not known
    /// whether anybody may read it; the one that was not asked for the longest.
    pub(crate) fn next_secretless(&mut self, now: Timestamp) -> Option<ImageReference> {
        let now = seconds(now);
        let retention = self.retention();
        let due = self.images.registries().flat_map(|(registry, entry)| {
            entry
                .secretless
                .0
                .iter()
                .filter(|(_, pull)| pull.counts(retention, now) && pull.is_due(now))
                .map(move |(repository, pull)| (pull.asked, registry, *repository))
        });
        let (_, registry, repository) = due.min()?;
        let pull = self.images.registry_mut(registry)?.secretless.0.get_mut(&repository)?;
        pull.asked = now;
        let images = &self.images.repository(repository)?.images;
        let newest = images
            .iter()
            .filter_map(|image| self.images.get(*image))
            .filter(|image| image.pulled > 0)
            .max_by_key(|image| image.pulled)?;
        Some(newest.reference.clone())
    }

    /// Whether who does not log in was refused an image of this repository.
    pub(crate) fn note_anonymous(&mut self, asked: &ImageReference, refused: bool, now: Timestamp) {
        let Some(image) = self.images.find(asked).and_then(|image| self.images.get(image)) else {
            return;
        };
        let repository = image.repository;
        let registry = self.images.repository(repository).map(|entry| entry.registry);
        let registry = registry.and_then(|registry| self.images.registry_mut(registry));
        let pull = registry.and_then(|entry| entry.secretless.0.get_mut(&repository));
        if let Some(pull) = pull {
            pull.answer = Some((seconds(now), refused));
        }
    }

    pub(super) fn retention(&self) -> Seconds {
        Seconds::try_from(self.limits.retention.as_secs()).unwrap_or(Seconds::MAX)
    }
}
