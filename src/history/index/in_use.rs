//! Which images the pods of the cluster use now, and with which pull secrets.
//!
//! Pods of one workload share an entry; entries that no pod has are swept out with the names.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::HealthIndex;
use super::interner::{Id, Marks, NONE};
use crate::kube_views::PodView;

/// What pods that are alike use, by the numbers of the names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PodUse {
    namespace: Id,
    pull_secrets: Box<[Id]>,
    images: Box<[Id]>,
}

impl PodUse {
    /// The names of the pull secrets, in order.
    pub(super) fn pull_secrets(&self) -> impl Iterator<Item = Id> {
        self.pull_secrets.iter().copied()
    }

    /// Marks the names that it needs.
    pub(super) fn mark(&self, names: &mut Marks) {
        let all = self.pull_secrets.iter().chain(&self.images);
        all.chain([&self.namespace]).for_each(|name| names.set(*name));
    }
}

/// Pull secrets of one namespace that are named in an answer.
const MOST_SECRETS: usize = 16;

/// How many pods name which pull secret, by the numbers of the namespace and of the secret.
#[derive(Debug, Clone, Default)]
pub(super) struct SecretCounts(BTreeMap<(Id, Id), u32>);

impl SecretCounts {
    /// Counts in what one pod uses.
    pub(super) fn add(&mut self, used: &PodUse) {
        for secret in &used.pull_secrets {
            *self.0.entry((used.namespace, *secret)).or_default() += 1;
        }
    }

    /// Counts it out.
    pub(super) fn subtract(&mut self, used: &PodUse) {
        for secret in &used.pull_secrets {
            let key = (used.namespace, *secret);
            match self.0.get_mut(&key) {
                Some(pods) if *pods > 1 => *pods -= 1,
                _ => drop(self.0.remove(&key)),
            }
        }
    }
}

/// An image as pods use it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UsedImage {
    /// The image as it is written.
    pub image: Arc<str>,
    /// The pods' namespace.
    pub namespace: Arc<str>,
    /// The pull secrets that the pods name, in their order.
    pub pull_secrets: Vec<Arc<str>>,
    /// Whether no node says that it got it from a registry: its status names no digest of a
    /// manifest, which a runtime knows of whatever it pulled, and of what was loaded onto the node
    /// it does not.
    pub loaded: bool,
}

impl HealthIndex {
    /// What a pod uses; none if it uses nothing any more.
    pub(super) fn use_of(&mut self, pod: &PodView, namespace: Id) -> Id {
        let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if ended || pod.metadata.deletion_timestamp.is_some() {
            return NONE;
        }
        let spec = &pod.spec;
        let images: BTreeSet<&str> = [&spec.init_containers, &spec.containers]
            .into_iter()
            .flatten()
            .filter(|container| container.image_pull_policy.as_deref() != Some("Never"))
            .map(|container| container.image.as_ref())
            .chain(spec.volumes.iter().filter_map(|volume| {
                let image = volume.image.as_ref()?;
                (image.pull_policy.as_deref() != Some("Never")).then_some(image.reference.as_ref())
            }))
            .collect();
        if images.is_empty() {
            return NONE;
        }
        let mut intern = |name: &str| self.names.name(name);
        let secrets = spec.image_pull_secrets.iter().map(|secret| secret.name.as_ref());
        let used = PodUse {
            namespace,
            pull_secrets: secrets.filter(|name: &&str| !name.is_empty()).map(&mut intern).collect(),
            images: images.into_iter().map(intern).collect(),
        };
        self.uses.intern(&used, PodUse::clone)
    }

    /// The pull secrets that pods of this namespace name; the most used first.
    pub fn pull_secrets_in_use(&self, namespace: &str) -> Vec<Box<str>> {
        let Some(namespace) = self.names.find(namespace) else { return Vec::new() };
        let counted = self.pull_secrets.0.range((namespace, Id::MIN)..=(namespace, Id::MAX));
        let mut used: Vec<_> = counted
            .filter_map(|((_, secret), pods)| Some((Reverse(*pods), self.names.get(*secret)?)))
            .collect();
        used.sort_unstable();
        used.into_iter().take(MOST_SECRETS).map(|(_, name)| name.as_ref().into()).collect()
    }

    /// Whether an image ran here without that any node said that it got it from a registry.
    pub(crate) fn was_loaded(&self, image: &str) -> bool {
        let known = self.images.find_text(image).and_then(|image| self.images.get(image));
        known
            .is_some_and(|known| known.started > 0 && known.pulled == 0 && known.digests.is_empty())
    }

    /// Every image that pods use and that has run here, with the namespaces and pull secrets that
    /// it is used with, in their order. It looks at every pod: for those who ask seldom.
    pub(crate) fn images_in_use(&self) -> BTreeSet<UsedImage> {
        let mut marks = Marks::new(self.uses.bound());
        self.pods.iter().for_each(|(_, pod)| marks.set(pod.used));
        let name = |id: &Id| self.names.get(*id).cloned();
        let ran = |text: &str| {
            let image = self.images.get(self.images.find_text(text)?)?;
            (image.started > 0 || image.running > 0).then_some(image)
        };
        let used = marks.as_slice().iter().zip(0..).filter(|(used, _)| **used);
        used.filter_map(|(_, id)| self.uses.get(id))
            .flat_map(|used| used.images.iter().map(move |image| (used, image)))
            .filter_map(|(used, image)| {
                let text = name(image)?;
                let known = ran(&text)?;
                Some(UsedImage {
                    // Of the images of volumes no digest is ever told.
                    loaded: known.running > 0 && known.pulled == 0 && known.digests.is_empty(),
                    image: text,
                    namespace: name(&used.namespace)?,
                    pull_secrets: used.pull_secrets.iter().filter_map(name).collect(),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::kube_views::{Listed, SecretName, Uid};

    fn pod(uid: &str, image: &str, phase: &str) -> PodView {
        serde_json::from_value(serde_json::json!({
            "metadata": {"uid": uid, "namespace": "shop"},
            "spec": {"imagePullSecrets": [{"name": "s"}, {}],
                     "containers": [{"name": "c", "image": image},
                                    {"name": "n", "image": "never", "imagePullPolicy": "Never"}]},
            "status": {"phase": phase, "containerStatuses": if phase == "Pending" {
                serde_json::json!([])
            } else {
                serde_json::json!([{"name": "c", "image": image, "imageID": format!("{image}@sha256:{}", uid.repeat(64)),
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}])
            }}}))
        .unwrap()
    }

    fn images(index: &HealthIndex) -> Vec<String> {
        index.images_in_use().into_iter().map(|one| one.image.to_string()).collect()
    }

    #[test]
    fn an_image_without_a_digest_of_its_manifest_was_loaded() {
        let mut index = HealthIndex::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut loaded = pod("1", "a:1", "Running");
        loaded.status.container_statuses[0].image_id = "sha256:0123".into();
        index.apply_pod(&loaded, now);
        index.apply_pod(&pod("2", "b:1", "Running"), now);
        let all: Vec<_> = index.images_in_use().into_iter().map(|one| one.loaded).collect();
        assert_eq!(all, [true, false]);
        // Another node got it from a registry.
        index.apply_pod(&pod("3", "a:1", "Running"), now);
        assert!(index.images_in_use().iter().all(|one| !one.loaded));
    }

    #[test]
    fn an_image_is_in_use_as_long_as_a_pod_is_to_run_it() {
        let mut index = HealthIndex::default();
        let now = Timestamp::UNIX_EPOCH;
        index.apply_pod(&pod("1", "a:1", "Pending"), now);
        index.apply_pod(&pod("2", "a:1", "Running"), now);
        index.apply_pod(&pod("3", "b:1", "Running"), now);
        assert_eq!(images(&index), ["a:1", "b:1"]);
        index.apply_pod(&pod("9", "never:1", "Pending"), now);
        assert_eq!(images(&index), ["a:1", "b:1"], "what never ran is not in use");
        index.delete_pod("9", now);
        let first = index.images_in_use().pop_first().unwrap();
        assert_eq!((&*first.namespace, first.pull_secrets), ("shop", vec!["s".into()]));
        index.delete_pod("1", now);
        assert_eq!(images(&index), ["a:1", "b:1"]);
        index.apply_pod(&pod("2", "a:1", "Succeeded"), now);
        assert_eq!(images(&index), ["b:1"]);
        index.apply_pod(&pod("3", "b:2", "Running"), now);
        assert_eq!(images(&index), ["b:2"]);
        assert_eq!(index.pull_secrets_in_use("shop"), ["s".into()]);
        index.apply_pod(&pod("4", "d:1", "Running"), now);
        assert_eq!(images(&index), ["b:2", "d:1"]);
        let listed = Listed::from_iter([Uid::of("4")]);
        index.retain_pods(&listed, now);
        assert_eq!(images(&index), ["d:1"]);
        index.sweep();
        assert_eq!((index.uses.len(), images(&index)), (1, vec!["d:1".to_owned()]));
        assert_eq!((index.names.find("b:2"), index.names.find("d:1").is_some()), (None, true));
    }
    #[test]
    fn the_most_used_secrets_come_first_and_go_with_their_pods() {
        let mut index = HealthIndex::default();
        let now = Timestamp::UNIX_EPOCH;
        let mut naming = |uid: &str, secrets: &[&str]| {
            let mut pod = pod(uid, "a:1", "Pending");
            let secret = |name: &&str| SecretName { name: (*name).into() };
            pod.spec.image_pull_secrets = secrets.iter().map(secret).collect();
            index.apply_pod(&pod, now);
            index.pull_secrets_in_use("shop").iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        naming("1", &["a", "b"]);
        assert_eq!(naming("2", &["b", ""]), ["b", "a"]);
        naming("3", &["a"]);
        assert_eq!(naming("4", &["a"]), ["a", "b"]);
        assert_eq!(naming("4", &["b"]), ["b", "a"], "a pod that changes is counted once");
        index.delete_pod("1", now);
        index.delete_pod("3", now);
        assert_eq!(index.pull_secrets_in_use("shop"), ["b".into()]);
        assert!(index.pull_secrets_in_use("other").is_empty());
        index.retain_pods(&Listed::default(), now);
        assert!(index.pull_secrets_in_use("shop").is_empty() && index.pull_secrets.0.is_empty());
    }
}
