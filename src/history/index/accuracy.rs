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
                    State::Running | State::Done if container.always() => {
                        NodeObservation::Pulled(container.at)
                    }
                    State::Running | State::Crashing | State::Done => {
                        NodeObservation::Runs(container.at)
                    }
                    State::Failing => NodeObservation::Fails,
                    State::Waiting => return None,
                };
                Some((container.image, self.images.get(container.image)?.reference.clone(), word))
            })
            .collect();
        let (uid, namespace) = (pod.uid, pod.namespace);
        for (image, reference, word) in words {
            let secretless = self.score.observe(&uid, &reference, word, now);
            if let (true, NodeObservation::Pulled(at)) = (secretless, word) {
                self.note_secretless(image, namespace, at);
            }
        }
    }

    /// A node pulled an image for a pod whose secrets have no login for it.
    fn note_secretless(&mut self, image: Id, namespace: Id, at: Seconds) {
        let namespace = self.names.get(namespace).cloned();
        if let (Some(namespace), Some((registry, repository))) =
            (namespace, self.images.owners_of(image))
        {
            registry.secretless.add(repository, &namespace, at);
        }
    }

    /// A node has freshly pulled an image for a pod.
    pub(super) fn score_pull(&mut self, uid: Uid, image: Id, at: Seconds) {
        let secretless = self.images.get(image).is_some_and(|image| {
            self.score.observe(&uid, &image.reference, NodeObservation::Pulled(at), at)
        });
        let pod = self.pods.slot(&uid).and_then(|slot| self.pods.get(slot));
        if let Some(namespace) = pod.map(|pod| pod.namespace).filter(|_| secretless) {
            self.note_secretless(image, namespace, at);
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
