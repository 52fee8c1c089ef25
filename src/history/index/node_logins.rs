//! Whether the nodes log in to a registry by themselves.
//!
//! A pod without a pull secret for an image that freshly pulls it shows it, unless the image is
//! public. Which of the two it is tells an anonymous question for what was pulled: it is asked
//! elsewhere, one repository after the other, and its answer kept here.
//!
//! The image may have been public when it was pulled and be gone or private by the time of the
//! question. So a refusal leaves it possible, and only a pull after it proves a login. And since one
//! tenant can bring that about, to others it is proven only by pulls of two namespaces; possible it is
//! for all, so that nobody is denied what nodes may get in with.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::HealthIndex;
use super::interner::Id;
use super::record::{Seconds, seconds};
use crate::image::ImageReference;
use crate::pull::NodeLogin;

/// Repositories of one registry that are remembered. Those that anybody may read are forgotten first,
/// and last those that show that nodes log in; among equals, those that were pulled longest ago.
const MAX_REPOSITORIES: usize = 512;
/// How long an answer counts, in seconds: a public repository may become private.
const ANSWER_COUNTS: Seconds = 24 * 3600;
/// Between two questions for the same repository where the first had no answer.
const ASK_AGAIN: Seconds = 600;

/// How far the clocks of a node and of Pullgate may be apart, in seconds.
const CLOCKS_DIFFER: Seconds = 60;
/// Namespaces of one repository that are remembered: two are as many as it takes.
const MAX_NAMESPACES: usize = 2;

/// The repositories of one registry from which pods pulled without a pull secret of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretlessPulls(HashMap<Id, Pull>);

/// What tells namespaces apart and does not name them: it is written to the snapshot.
type Mark = u64;

fn mark(namespace: &str) -> Mark {
    Sha256::digest(namespace).iter().take(8).fold(0, |mark, byte| mark << 8 | Mark::from(*byte))
}

#[derive(Debug, Clone, Default)]
struct Pull {
    /// The last of them.
    last: Seconds,
    /// For whose pods, and when last: those of the latest.
    namespaces: Vec<(Mark, Seconds)>,
    /// When it was last asked for, answered or not.
    asked: Seconds,
    /// When there was an answer, and whether it was a refusal.
    answer: Option<(Seconds, bool)>,
    /// When anybody last could have it; 0 for never.
    public: Seconds,
    /// When the first of its refusals was, those since then taken together; 0 for none.
    refused: Seconds,
}

impl Pull {
    /// What the pulls of each namespace show.
    fn shown(&self) -> impl Iterator<Item = (Mark, NodeLogin)> {
        let refused = matches!(self.answer, Some((_, true)));
        // What anybody could have at that time shows nothing.
        let telling = move |at: Seconds| refused && at > self.public;
        let of = self.namespaces.iter().filter(move |(_, at)| telling(*at));
        of.map(|(namespace, at)| {
            let later = *at > self.refused.saturating_add(CLOCKS_DIFFER);
            (*namespace, if later { NodeLogin::Proven } else { NodeLogin::Possible })
        })
    }

    fn note(&mut self, refused: bool, now: Seconds) {
        self.answer = Some((now, refused));
        if !refused {
            (self.public, self.refused) = (now, 0);
        } else if self.refused == 0 {
            self.refused = now;
        }
    }

    fn counts(&self, retention: Seconds, now: Seconds) -> bool {
        self.last.saturating_add(retention) >= now
    }

    fn is_due(&self, now: Seconds) -> bool {
        let old = self.answer.is_none_or(|(at, _)| at.saturating_add(ANSWER_COUNTS) < now);
        old && (self.asked == 0 || self.asked.saturating_add(ASK_AGAIN) <= now)
    }
}

impl SecretlessPulls {
    /// A pod of this namespace pulled from this repository without a secret of its own.
    pub(super) fn add(&mut self, repository: Id, namespace: &str, at: Seconds) {
        self.add_marked(repository, mark(namespace), at);
    }

    fn add_marked(&mut self, repository: Id, namespace: Mark, at: Seconds) {
        let pull = self.pull_of(repository);
        pull.last = pull.last.max(at);
        match pull.namespaces.iter_mut().find(|(known, _)| *known == namespace) {
            Some((_, last)) => *last = at.max(*last),
            None => pull.namespaces.push((namespace, at)),
        }
        // The same two whatever order they are heard of in.
        pull.namespaces.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        pull.namespaces.truncate(MAX_NAMESPACES);
    }

    fn pull_of(&mut self, repository: Id) -> &mut Pull {
        if self.0.len() >= MAX_REPOSITORIES && !self.0.contains_key(&repository) {
            let worth = |pull: &Pull| match pull.answer {
                Some((_, false)) => 0,
                None => 1,
                Some((_, true)) => 2,
            };
            let kept = self.0.iter().min_by_key(|(_, pull)| (worth(pull), pull.last));
            let least = kept.map(|(id, _)| *id);
            least.and_then(|least| self.0.remove(&least));
        }
        self.0.entry(repository).or_default()
    }

    pub(super) fn forget(&mut self, repository: Id) {
        self.0.remove(&repository);
    }

    /// What they show to a namespace; to none in particular, what they show at all. An answer counts
    /// until there is a newer one.
    pub(super) fn show(
        &self,
        namespace: Option<&str>,
        retention: Seconds,
        now: Seconds,
    ) -> NodeLogin {
        let counting = || self.0.values().filter(|pull| pull.counts(retention, now));
        let mut of_each: BTreeMap<Mark, NodeLogin> = BTreeMap::new();
        for (namespace, shown) in counting().flat_map(Pull::shown) {
            let known = of_each.entry(namespace).or_default();
            *known = shown.max(*known);
        }
        let mut levels: Vec<NodeLogin> = of_each.values().copied().collect();
        levels.sort_unstable();
        let most = levels.pop().unwrap_or_default();
        let of_two = levels.pop().unwrap_or_default();
        let own = match namespace {
            Some(namespace) if most == NodeLogin::Proven => {
                of_each.get(&mark(namespace)).copied().unwrap_or_default()
            }
            _ => most,
        };
        // Whoever showed it: nothing is denied for what nodes may get in with.
        let open = most != NodeLogin::NotSeen || counting().any(|pull| pull.answer.is_none());
        own.max(of_two).max(if open { NodeLogin::Possible } else { NodeLogin::NotSeen })
    }

    /// Each repository with what is kept of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, KeptPull)> {
        self.0.iter().map(|(id, pull)| {
            let kept = KeptPull {
                last: pull.last,
                refused: pull.answer.map(|(_, refused)| refused),
                namespaces: pull.namespaces.clone(),
                public: pull.public,
                since: pull.refused,
            };
            (*id, kept)
        })
    }

    /// What was remembered of an earlier time; later times are taken for now.
    pub(super) fn restore(&mut self, repository: Id, kept: KeptPull, now: Seconds) {
        let last = kept.last.min(now);
        for (namespace, at) in kept.namespaces {
            self.add_marked(repository, namespace, at.min(now));
        }
        let pull = self.pull_of(repository);
        pull.last = pull.last.max(last);
        if pull.answer.is_none() {
            pull.answer = kept.refused.map(|refused| (last, refused));
            (pull.public, pull.refused) = (kept.public.min(now), kept.since.min(now));
        }
    }
}

/// What a snapshot keeps of the pulls from one repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct KeptPull {
    pub(super) last: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<bool>,
    pub(super) namespaces: Vec<(Mark, Seconds)>,
    pub(super) public: Seconds,
    pub(super) since: Seconds,
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
            pull.note(refused, seconds(now));
        }
    }

    pub(super) fn retention(&self) -> Seconds {
        Seconds::try_from(self.limits.retention.as_secs()).unwrap_or(Seconds::MAX)
    }
}
