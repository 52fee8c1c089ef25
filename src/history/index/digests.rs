//! Which digests pods run under one name: on which nodes, of which workloads, since when.
//!
//! A node's `imageID` counts where it names a manifest or an index (`repository@sha256:…`). One that is
//! the digest of a configuration (an image that was loaded onto the node) is compared with nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::HealthIndex;
use super::interner::Visible;
use super::interner::{Id, NONE};
use super::query::MAX_PODS;
use super::record::{ContainerRecord, PodRecord, Seconds, State, timestamp};
use super::workloads::Workload;
use crate::history::facts::{Freshness, Visibility};
use crate::history::report::{DigestUser, ReportTarget, RunningDigest};
use crate::image::{Digest, ImageReference};
use crate::kube_views::Uid;

/// Digests of one image that are told, and nodes and workloads of each.
const MAX_TOLD: usize = 20;
/// Pods of all namespaces that are looked through for those of a few.
const MAX_SCANNED: usize = 50_000;

/// What pods have of one digest.
#[derive(Default)]
struct Tally {
    pods: BTreeSet<Uid>,
    always: BTreeSet<Uid>,
    since: Seconds,
    nodes: BTreeSet<Id>,
    workloads: BTreeMap<Workload, BTreeSet<Uid>>,
    bare: BTreeMap<Uid, (Id, String)>,
}

impl HealthIndex {
    /// The digests that pods run under this name now, in namespaces that may be seen: those of the most
    /// pods first. A bounded number of pods is looked at.
    pub(crate) fn running_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
    ) -> Vec<RunningDigest> {
        if self.freshness != Freshness::Current {
            return Vec::new();
        }
        let id = self.images.find(image);
        id.map(|id| self.digests_in_use(id, &Visible::new(self, visibility))).unwrap_or_default()
    }

    /// The same without the digest that is named, if one is; looked for only if any pod runs another one.
    pub(crate) fn other_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
        than: Option<&Digest>,
    ) -> Vec<RunningDigest> {
        let known = self.images.find(image).and_then(|id| self.images.get(id));
        let differs = known.is_some_and(|known| {
            known.digests.iter().any(|used| {
                used.containers > 0
                    && self.digests.get(used.digest).is_some_and(|one| Some(one) != than)
            })
        });
        if !differs {
            return Vec::new();
        }
        let mut found = self.running_digests(image, visibility);
        found.retain(|one| than.is_none_or(|than| one.digest != than.as_str()));
        found
    }

    /// The digests of a tag that a report is about.
    pub(super) fn digests_of(
        &self,
        subject: &ReportTarget,
        visible: &Visible,
    ) -> Vec<RunningDigest> {
        let ReportTarget::Image(image) = subject else { return Vec::new() };
        let tag = self.images.find(image).filter(|_| image.digest().is_none());
        tag.map(|id| self.digests_in_use(id, visible)).unwrap_or_default()
    }

    fn digests_in_use(&self, image: Id, visible: &Visible) -> Vec<RunningDigest> {
        let Some(known) = self.images.get(image) else { return Vec::new() };
        let mut found: BTreeMap<Id, Tally> = BTreeMap::new();
        let slots = known.pods.iter().take(MAX_SCANNED);
        let pods = slots.filter_map(|slot| self.pods.get(*slot));
        for pod in pods.filter(|pod| visible.includes(pod.namespace)).take(MAX_PODS) {
            let runs = |container: &&ContainerRecord| {
                container.image == image
                    && container.digest != NONE
                    && container.own_digest()
                    && matches!(container.state, State::Running | State::Crashing)
            };
            for container in pod.containers.as_slice().iter().filter(runs) {
                self.count(found.entry(container.digest).or_default(), pod, container);
            }
        }
        let mut all: Vec<RunningDigest> = found
            .into_iter()
            .filter_map(|(digest, tally)| self.running_digest(digest, tally))
            .collect();
        all.sort_by(|a, b| (b.pods, &b.digest).cmp(&(a.pods, &a.digest)));
        all.truncate(MAX_TOLD);
        all
    }

    fn count(&self, tally: &mut Tally, pod: &PodRecord, container: &ContainerRecord) {
        tally.pods.insert(pod.uid);
        if container.always() {
            tally.always.insert(pod.uid);
        }
        if tally.since == 0 || container.at < tally.since {
            tally.since = container.at;
        }
        if pod.node != NONE {
            tally.nodes.insert(pod.node);
        }
        match self.workloads.top(pod.workload) {
            Some(top) => _ = tally.workloads.entry(top).or_default().insert(pod.uid),
            None => {
                tally.bare.entry(pod.uid).or_insert_with(|| (pod.namespace, self.pod_name(pod)));
            }
        }
    }

    fn running_digest(&self, digest: Id, tally: Tally) -> Option<RunningDigest> {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let owned = tally.workloads.iter().map(|(workload, pods)| DigestUser {
            kind: self.text(workload.kind).to_owned(),
            namespace: self.text(workload.namespace).to_owned(),
            name: self.text(workload.name).to_owned(),
            pods: number(pods.len()),
        });
        let bare = tally.bare.into_values().map(|(namespace, name)| DigestUser {
            kind: "Pod".to_owned(),
            namespace: self.text(namespace).to_owned(),
            name,
            pods: 1,
        });
        let mut workloads: Vec<DigestUser> = owned.chain(bare).collect();
        workloads.sort_by(|a, b| {
            let rank =
                |one: &DigestUser| (one.namespace.clone(), one.kind.clone(), one.name.clone());
            b.pods.cmp(&a.pods).then_with(|| rank(a).cmp(&rank(b)))
        });
        let mut nodes: Vec<String> =
            tally.nodes.iter().map(|node| self.text(*node).to_owned()).collect();
        nodes.sort_unstable();
        let (more_nodes, more_workloads) =
            (nodes.len().saturating_sub(MAX_TOLD), workloads.len().saturating_sub(MAX_TOLD));
        nodes.truncate(MAX_TOLD);
        workloads.truncate(MAX_TOLD);
        Some(RunningDigest {
            digest: self.digests.get(digest)?.as_str().to_owned(),
            pods: number(tally.pods.len()),
            always: number(tally.always.len()),
            since: timestamp(tally.since),
            nodes,
            more_nodes,
            workloads,
            more_workloads,
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::kube_views::PodView;

    fn pod(namespace: &str, name: &str, node: &str, image_id: &str, policy: &str) -> PodView {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}")},
            "spec": {"nodeName": node,
                "containers": [{"name": "a", "image": "r.io/app:1", "imagePullPolicy": policy}]},
            "status": {"containerStatuses": [{"name": "a", "imageID": image_id,
                "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn digests_come_with_who_runs_them_and_none_of_what_may_not_be_seen() {
        let mut index = HealthIndex::default();
        let id = |letter: &str| format!("r.io/app@sha256:{}", letter.repeat(64));
        for (namespace, name, node, image_id, policy) in [
            ("shop", "one", "node-a", id("a"), "Always"),
            ("shop", "two", "node-b", id("a"), "IfNotPresent"),
            ("shop", "three", "node-b", id("b"), "IfNotPresent"),
            ("bank", "four", "node-c", id("c"), "IfNotPresent"),
            // The same content by another name: not what this tag stood for.
            ("shop", "six", "node-c", format!("q.io/app@sha256:{}", "e".repeat(64)), "Always"),
            // A configuration's digest, as of an image that was loaded onto the node.
            ("shop", "five", "node-c", format!("sha256:{}", "d".repeat(64)), "IfNotPresent"),
        ] {
            let view = pod(namespace, name, node, &image_id, policy);
            index.apply_pod(&view, Timestamp::UNIX_EPOCH);
        }
        let image: ImageReference = "r.io/app:1".parse().unwrap();
        let shop = Visibility::Namespaces(vec!["shop".into()]);
        assert!(index.running_digests(&image, &shop).is_empty(), "still learning");
        index.set_freshness(Freshness::Current);
        let same = Digest::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        assert_eq!(index.other_digests(&image, &shop, Some(&same)).len(), 1);
        let found = index.running_digests(&image, &shop);
        let told: Vec<_> =
            found.iter().map(|one| (&one.digest[7..8], one.pods, one.always)).collect();
        assert_eq!(told, [("a", 2, 1), ("b", 1, 0)]);
        assert_eq!(found[0].nodes, ["node-a", "node-b"]);
        assert_eq!(found[0].workloads[0].name, "one");
        assert_eq!(found[0].since.to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(index.running_digests(&image, &Visibility::Cluster).len(), 3);
        assert!(index.running_digests(&image, &Visibility::nobody()).is_empty());
        // What has ended or cannot get it runs nothing.
        let mut gone = pod("shop", "three", "node-b", &id("b"), "Always");
        gone.status.container_statuses[0].state = serde_json::from_value(
            json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
        )
        .unwrap();
        index.apply_pod(&gone, Timestamp::UNIX_EPOCH);
        index.set_freshness(Freshness::Current);
        assert_eq!(index.running_digests(&image, &shop).len(), 1);
    }
}
