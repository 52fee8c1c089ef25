//! What of an image's history may count in the answer to somebody who may not see all of it.
//!
//! What runs in namespaces that the user may not see must not tell one image of a registry from
//! another: neither by a word nor by a decision. So of those namespaces only one thing is said,
//! and it is the same for every image of the registry: that there is something.

use jiff::Timestamp;

use super::HealthIndex;
use super::events::LISTED_WITHIN;
use super::images::Image;
use super::interner::Id;
use super::interner::Visible;
use super::query::{MAX_LOOKED_AT, MAX_PODS};
use super::record::{Seconds, State, seconds, timestamp};
use super::retention::MAX_LINES as MOST_GONE;
use crate::history::facts::{Freshness, HistoryQuestion, VisibleHistory};
use crate::image::ImageReference;

/// Names on nodes that are looked into for one answer; where there are more, somebody else's may be
/// among them.
const MOST_LISTED: usize = 1024;

impl HealthIndex {
    /// What may count in the answer to this question. `listed` are names of images of the same
    /// registry that nodes list.
    pub fn visible_history(
        &self,
        question: &HistoryQuestion<'_>,
        listed: &[&str],
        now: Timestamp,
    ) -> VisibleHistory {
        if self.freshness != Freshness::Current {
            return VisibleHistory::default();
        }
        let visible = Visible::new(self, question.visibility);
        let own = self.images.find(question.reference);
        let started = own.map_or(0, |id| self.last_visible(id, &visible));
        let by_digest = self.last_visible_by_digest(question.reference, &visible);
        let at = started.max(by_digest);
        VisibleHistory {
            last_success: (at > 0).then(|| timestamp(at)),
            elsewhere: self.runs_out_of_sight(question.reference, &visible, seconds(now))
                || listed.len() > MOST_LISTED
                || listed.iter().any(|name| !self.explains(name, &visible)),
        }
    }

    /// When an image was last started in these namespaces, or its last pod there went; zero if never.
    fn last_visible(&self, id: Id, visible: &Visible) -> Seconds {
        let Some(image) = self.images.get(id) else { return 0 };
        let running = visible.namespaces(image).map(|space| space.newest).max().unwrap_or(0);
        let gone = image.gone.iter().filter(|gone| gone.ran && visible.includes(gone.namespace()));
        let others = self.visible_containers(image, id, visible).map(|(_, at)| at).max();
        running.max(gone.map(|gone| gone.at).max().unwrap_or(0)).max(others.unwrap_or(0))
    }

    /// The same of this very digest, under any name of its repository.
    fn last_visible_by_digest(&self, wanted: &ImageReference, visible: &Visible) -> Seconds {
        let digest = wanted.digest().and_then(|digest| self.digests.0.find(digest.as_str()));
        let name = || self.images.repository_name(wanted);
        let repository = digest.and_then(|_| self.images.repository_named(&name()));
        let (Some(digest), Some(repository)) = (digest, repository) else { return 0 };
        let images = repository.images.iter().rev().take(MAX_LOOKED_AT);
        images
            .filter_map(|id| Some((*id, self.images.get(*id)?)))
            .flat_map(|(id, image)| self.visible_containers(image, id, visible))
            .filter(|(had, _)| *had == digest)
            .map(|(_, at)| at)
            .max()
            .unwrap_or(0)
    }

    /// The containers of these namespaces that have an image: its digest, and since when.
    pub(super) fn visible_containers<'i>(
        &'i self,
        image: &'i Image,
        id: Id,
        visible: &'i Visible,
    ) -> impl Iterator<Item = (Id, Seconds)> + 'i {
        let pods = image.pods.iter().filter_map(|slot| self.pods.get(*slot));
        let pods = pods.filter(|pod| visible.includes(pod.namespace)).take(MAX_PODS);
        pods.flat_map(|pod| pod.containers.as_slice())
            .filter(move |container| container.image == id)
            .filter(|one| matches!(one.state, State::Running | State::Crashing | State::Done))
            .map(|container| (container.digest, container.at))
    }

    /// Whether anything of the image's registry is or was in other namespaces, as far as known.
    fn runs_out_of_sight(&self, wanted: &ImageReference, visible: &Visible, now: Seconds) -> bool {
        let name = self.images.repository_name(wanted);
        let host = name.split('/').next().unwrap_or_default();
        let Some(id) = self.images.find_registry(host) else { return false };
        let Some(registry) = self.images.registry(id) else { return false };
        let current = registry.namespaces.keys().any(|namespace| !visible.includes(*namespace));
        let lately = now.saturating_sub(LISTED_WITHIN);
        current
            || self.images.iter().any(|(image, entry)| {
                self.images.registry_of(image) == Some(id)
                    && (self.ran_out_of_sight(image, entry, visible)
                        // Nobody knows whose pod it was.
                        || (entry.claimed > 0 && entry.claimed >= lately))
            })
    }

    /// Whether somebody else had an image, or nobody knows who did.
    fn ran_out_of_sight(&self, id: Id, image: &Image, visible: &Visible) -> bool {
        image.namespaces.iter().any(|space| !visible.includes(space.namespace))
            || image.gone.iter().any(|gone| !visible.includes(gone.namespace()))
            || image.gone.len() >= MOST_GONE
            || image.last_success() > self.last_visible(id, visible)
    }

    /// Whether a name on a node is that of an image that the user may see to have been run.
    fn explains(&self, listed: &str, visible: &Visible) -> bool {
        let Ok(reference) = ImageReference::parse(listed) else { return false };
        if reference.digest().is_some() {
            return self.last_visible_by_digest(&reference, visible) > 0;
        }
        let found = self.images.find(&reference);
        found.is_some_and(|id| self.last_visible(id, visible) > 0)
    }
}
