//! Which images the pods of this cluster use now, and with which pull secrets.
//!
//! Pods of one workload share an entry; nothing else of them is kept.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::health::PodView;
use crate::review::ImageUse;

/// What pods that are alike use.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PodUse {
    namespace: Box<str>,
    pull_secrets: Vec<Box<str>>,
    images: Vec<Box<str>>,
}

/// The pods that run or are to run, each with what it uses.
#[derive(Debug, Default)]
pub(super) struct InUse {
    pods: HashMap<u64, Arc<PodUse>>,
    /// The entries, to be shared.
    known: HashSet<Arc<PodUse>>,
    listing: HashSet<u64>,
}

fn key(pod: &PodView) -> u64 {
    let mut hasher = DefaultHasher::new();
    pod.metadata.uid.hash(&mut hasher);
    hasher.finish()
}

/// What a pod uses; nothing, if it uses nothing any more.
fn use_of(pod: &PodView) -> Option<PodUse> {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let spec = &pod.spec;
    let images: BTreeSet<Box<str>> = [&spec.init_containers, &spec.containers]
        .into_iter()
        .flatten()
        .filter(|container| container.image_pull_policy.as_deref() != Some("Never"))
        .map(|container| container.image.clone())
        .collect();
    let names = spec.image_pull_secrets.iter().map(|secret| secret.name.clone());
    (!images.is_empty()).then(|| PodUse {
        namespace: pod.metadata.namespace.as_deref().unwrap_or_default().into(),
        pull_secrets: names.filter(|name| !name.is_empty()).collect(),
        images: images.into_iter().collect(),
    })
}

impl InUse {
    pub(super) fn list_begins(&mut self) {
        self.listing.clear();
    }

    pub(super) fn listed(&mut self, pod: &PodView) {
        self.listing.insert(key(pod));
        self.applied(pod);
    }

    pub(super) fn list_ends(&mut self) {
        let listed = std::mem::take(&mut self.listing);
        self.pods.retain(|pod, _| listed.contains(pod));
        self.known.retain(|entry| Arc::strong_count(entry) > 1);
    }

    pub(super) fn applied(&mut self, pod: &PodView) {
        let Some(now) = use_of(pod) else { return self.deleted(pod) };
        let key = key(pod);
        if self.pods.get(&key).is_some_and(|before| **before == now) {
            return;
        }
        self.deleted(pod);
        let entry = self.known.get(&now).cloned().unwrap_or_else(|| Arc::new(now));
        self.known.insert(Arc::clone(&entry));
        self.pods.insert(key, entry);
    }

    pub(super) fn deleted(&mut self, pod: &PodView) {
        let Some(entry) = self.pods.remove(&key(pod)) else { return };
        // Ours and that of the entries: no pod has it any more.
        if Arc::strong_count(&entry) <= 2 {
            self.known.remove(&entry);
        }
    }

    /// Every image in use, with the namespaces and pull secrets that it is used with.
    pub(super) fn all(&self) -> Vec<ImageUse> {
        let mut uses: BTreeSet<(&str, &str, &[Box<str>])> = BTreeSet::new();
        for entry in &self.known {
            for image in &entry.images {
                uses.insert((image, &entry.namespace, &entry.pull_secrets));
            }
        }
        uses.into_iter()
            .map(|(image, namespace, pull_secrets)| ImageUse {
                image: image.into(),
                namespace: namespace.into(),
                pull_secrets: pull_secrets.to_vec(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, image: &str, phase: &str) -> PodView {
        serde_json::from_value(serde_json::json!({
            "metadata": {"uid": uid, "namespace": "shop"},
            "spec": {"imagePullSecrets": [{"name": "s"}, {}],
                     "containers": [{"name": "c", "image": image},
                                    {"name": "n", "image": "never", "imagePullPolicy": "Never"}]},
            "status": {"phase": phase}}))
        .unwrap()
    }

    fn images(used: &InUse) -> Vec<String> {
        used.all().into_iter().map(|one| one.image.into()).collect()
    }

    #[test]
    fn an_image_is_in_use_as_long_as_a_pod_is_to_run_it() {
        let mut used = InUse::default();
        used.applied(&pod("1", "a:1", "Pending"));
        used.applied(&pod("2", "a:1", "Running"));
        used.applied(&pod("3", "b:1", "Running"));
        assert_eq!(images(&used), ["a:1", "b:1"]);
        assert_eq!(used.all()[0].pull_secrets, ["s".into()]);
        used.deleted(&pod("1", "a:1", "Running"));
        assert_eq!(images(&used), ["a:1", "b:1"]);
        used.applied(&pod("2", "a:1", "Succeeded"));
        assert_eq!(images(&used), ["b:1"]);
        used.applied(&pod("3", "b:2", "Running"));
        assert_eq!(images(&used), ["b:2"]);
        used.list_begins();
        used.listed(&pod("4", "d:1", "Running"));
        assert_eq!(images(&used), ["b:2", "d:1"]);
        used.list_ends();
        assert_eq!(images(&used), ["d:1"]);
        assert_eq!(used.known.len(), 1);
    }
}
