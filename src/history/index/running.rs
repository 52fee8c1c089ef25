//! What runs where: how many pods of one workload run, whichever revision they are of, which nodes run an
//! image, and which images the nodes list (a number for each name, not the names).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::HealthIndex;
use super::interner::Visible;
use super::interner::{Id, NONE};
use super::query::MAX_PODS;
use super::record::{ContainerRecord, State};
use super::workloads::Workload;
use crate::history::facts::Visibility;
use crate::image::{Digest, ImageReference};

impl HealthIndex {
    /// Pods of this workload, through its ReplicaSets or Jobs too, of which every container that
    /// should runs. It looks at every pod: for the rare question what goes on running.
    pub fn running_pods(&self, kind: &str, namespace: &str, name: &str) -> u32 {
        let owned = self.owned_by([kind, namespace, name]);
        if owned.is_empty() {
            return 0;
        }
        let runs = |state: State| matches!(state, State::Running | State::Done);
        let pods = self.pods.iter().filter(|(_, pod)| owned.contains(&pod.workload));
        let running = pods.filter(|(_, pod)| {
            let containers = pod.containers.as_slice();
            containers.iter().any(|one| one.state == State::Running)
                && containers.iter().all(|one| runs(one.state))
        });
        u32::try_from(running.count()).unwrap_or(u32::MAX)
    }

    /// The nodes on which pods run this image (of this digest, if one is given), in namespaces that may be
    /// seen; nothing if so many pods have it that not all were looked at.
    pub(crate) fn nodes_running(
        &self,
        image: &ImageReference,
        digest: Option<&Digest>,
        visibility: &Visibility,
    ) -> Option<HashSet<Box<str>>> {
        let id = self.images.find(image);
        let Some((id, known)) = id.and_then(|id| Some((id, self.images.get(id)?))) else {
            return Some(HashSet::new());
        };
        if known.pods.len() > MAX_PODS {
            return None;
        }
        let visible = Visible::new(self, visibility);
        let runs = |one: &ContainerRecord| {
            one.image == id
                && matches!(one.state, State::Running | State::Crashing)
                && digest.is_none_or(|wanted| self.digests.get(one.digest) == Some(wanted))
        };
        let pods = known.pods.iter().filter_map(|slot| self.pods.get(*slot));
        let pods = pods.filter(|pod| visible.includes(pod.namespace));
        let pods =
            pods.filter(|pod| pod.node != NONE && pod.containers.as_slice().iter().any(runs));
        Some(pods.map(|pod| self.text(pod.node).into()).collect())
    }

    /// The owners of pods that come down to this workload: itself, its ReplicaSets or its Jobs.
    pub(super) fn owned_by(&self, [kind, namespace, name]: [&str; 3]) -> HashSet<Id> {
        let find = |text: &str| self.names.find(text);
        let (Some(kind), Some(namespace), Some(name)) = (find(kind), find(namespace), find(name))
        else {
            return HashSet::new();
        };
        let wanted = Workload { kind, namespace, name };
        (0..self.workloads.bound())
            .filter_map(|id| Id::try_from(id).ok())
            .filter(|id| self.workloads.top(*id) == Some(wanted))
            .collect()
    }
}

/// Most names of one node that are taken: fifty images of five names, and some more.
const MAX_NAMES: usize = 512;

/// The images that nodes list.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    lists: HashMap<Id, Box<[u64]>>,
    /// How many nodes list it.
    counts: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Nodes {
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The numbers of the nodes' names.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.lists.keys().copied()
    }

    pub(super) fn apply<'n>(&mut self, node: Id, images: impl IntoIterator<Item = &'n str>) {
        self.delete(node);
        let mut list: Vec<u64> = images
            .into_iter()
            .take(MAX_NAMES)
            .filter_map(|image| ImageReference::parse(image).ok())
            .map(|reference| self.hash(&reference))
            .collect();
        list.sort_unstable();
        list.dedup();
        for hash in &list {
            *self.counts.entry(*hash).or_default() += 1;
        }
        self.lists.insert(node, list.into());
    }

    pub(super) fn delete(&mut self, node: Id) {
        for hash in self.lists.remove(&node).unwrap_or_default() {
            if let Some(count) = self.counts.get_mut(&hash) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&hash);
                }
            }
        }
    }

    pub(super) fn listing(&self, reference: &ImageReference) -> u32 {
        self.counts.get(&self.hash(reference)).copied().unwrap_or(0)
    }

    fn hash(&self, reference: &ImageReference) -> u64 {
        self.hasher.hash_one(reference.canonical())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::history::OwnerKind;
    use crate::kube_views::{OwnerView, PodView};

    fn pod(uid: &str, set: &str, running: bool) -> PodView {
        let state = if running {
            json!({"running": {"startedAt": "2026-01-02T03:04:05Z"}})
        } else {
            json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}})
        };
        serde_json::from_value(json!({
            "metadata": {"name": format!("{set}-{uid}"), "namespace": "shop", "uid": uid,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                    "uid": "r", "controller": true}]},
            "spec": {"containers": [{"name": "a", "image": "r.io/a:1"}]},
            "status": {"containerStatuses": [{"name": "a", "ready": running, "state": state}]},
        }))
        .unwrap()
    }

    #[test]
    fn pods_count_through_their_replica_sets() {
        let mut index = HealthIndex::default();
        for (set, deployment) in [("web-1", "web"), ("web-2", "web"), ("other-1", "other")] {
            let owner: OwnerView = serde_json::from_value(json!({"metadata": {"name": set,
                "namespace": "shop", "ownerReferences": [{"apiVersion": "apps/v1",
                    "kind": "Deployment", "name": deployment, "uid": "d", "controller": true}]}}))
            .unwrap();
            index.apply_owner(OwnerKind::ReplicaSet, &owner);
        }
        let now = Timestamp::UNIX_EPOCH;
        for (uid, set, running) in [
            ("a", "web-1", true),
            ("b", "web-1", true),
            ("c", "web-2", false),
            ("d", "other-1", true),
        ] {
            index.apply_pod(&pod(uid, set, running), now);
        }
        assert_eq!(index.running_pods("Deployment", "shop", "web"), 2);
        assert_eq!(index.running_pods("Deployment", "shop", "other"), 1);
        assert_eq!(index.running_pods("Deployment", "elsewhere", "web"), 0);
        assert_eq!(index.running_pods("StatefulSet", "shop", "web"), 0);
        assert_eq!(index.running_pods("ReplicaSet", "shop", "web-1"), 0, "not the uppermost");
    }

    #[test]
    fn nodes_count_where_a_pod_that_may_be_seen_runs_it() {
        let on = |uid: &str, namespace: &str, node: &str, running: bool| {
            let mut pod = pod(uid, "web-1", running);
            pod.metadata.namespace = Some(namespace.into());
            pod.spec.node_name = Some(node.into());
            pod
        };
        let mut index = HealthIndex::default();
        for pod in [
            on("a", "shop", "node-a", true),
            on("b", "bank", "node-b", true),
            on("c", "shop", "node-c", false),
        ] {
            index.apply_pod(&pod, Timestamp::UNIX_EPOCH);
        }
        let image = ImageReference::parse("r.io/a:1").unwrap();
        let nodes = |digest: Option<&Digest>, visibility: &Visibility| {
            let mut nodes: Vec<_> =
                index.nodes_running(&image, digest, visibility).unwrap().into_iter().collect();
            nodes.sort();
            nodes.join(" ")
        };
        let shop = Visibility::Namespaces(vec!["shop".into()]);
        assert_eq!(nodes(None, &shop), "node-a");
        assert_eq!(nodes(None, &Visibility::Cluster), "node-a node-b");
        assert_eq!(nodes(None, &Visibility::nobody()), "");
        let other = Digest::of_sha256(b"other");
        assert_eq!(nodes(Some(&other), &Visibility::Cluster), "", "of no such digest");
    }
}
