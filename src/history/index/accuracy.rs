//! What the index tells the score: the nodes' words about pods of which something was said.

use super::HealthIndex;
use super::interner::Id;
use super::pods::Slot;
use super::record::{Seconds, State};
use crate::history::accuracy::NodeObservation;
use crate::kube_views::Uid;

impl HealthIndex {
    /// A pod has changed.
    pub(super) fn score_pod(&mut self, slot: Slot, now: Seconds) {
        let Some(pod) = self.pods.get(slot) else { return };
        if !self.score.knows(&pod.uid) {
            return;
        }
        let words: Vec<_> = pod
            .containers
            .as_slice()
            .iter()
            .filter_map(|container| {
                let word = match container.state {
                    // With the policy `Always` the start itself asked the registry.
                    State::Running | State::Done if container.always => {
                        NodeObservation::Pulled(container.at)
                    }
                    State::Running | State::Crashing | State::Done => {
                        NodeObservation::Runs(container.at)
                    }
                    State::Failing => NodeObservation::Fails,
                    State::Waiting => return None,
                };
                Some((self.images.get(container.image)?.reference.clone(), word))
            })
            .collect();
        let uid = pod.uid;
        for (reference, word) in words {
            self.score.observe(&uid, &reference, word, now);
        }
    }

    /// A node has freshly pulled an image for a pod.
    pub(super) fn score_pull(&mut self, uid: Uid, image: Id, at: Seconds) {
        if let Some(image) = self.images.get(image) {
            self.score.observe(&uid, &image.reference, NodeObservation::Pulled(at), at);
        }
        if self.score.watches_denied() {
            self.score_pull_for(uid, image, at);
        }
    }

    /// The same for what was denied to other pods of its namespace.
    pub(super) fn score_pull_for(&mut self, uid: Uid, image: Id, at: Seconds) {
        let pod = self.pods.slot(&uid).and_then(|slot| self.pods.get(slot));
        let Some((pod, image)) = pod.zip(self.images.get(image)) else { return };
        let Some(used) = self.uses.get(pod.used) else { return };
        let name = |id| self.names.get(id).map_or("", AsRef::as_ref);
        let secrets: Vec<&str> = used.pull_secrets().map(name).collect();
        self.score.pulled_for(name(pod.namespace), &secrets, &image.reference, at);
    }
}
