//! Which pull secrets the pods of a namespace name, and when controllers were created.
//!
//! Nothing is kept of a pod: its secrets are counted when it comes and discounted when it goes.
//! Names only, never contents.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::history::OwnerKind;
use crate::kube_views::{OwnerView, PodView};

/// Secrets of one namespace that are told of.
const MOST: usize = 16;

type Counts = HashMap<Box<str>, HashMap<Box<str>, u32>>;

/// How many pods of each namespace name which pull secret.
#[derive(Default)]
pub(super) struct SecretUse {
    counts: Counts,
    listing: Counts,
}

impl SecretUse {
    pub(super) fn list_begins(&mut self) {
        self.listing.clear();
    }

    pub(super) fn listed(&mut self, pod: &PodView) {
        count(&mut self.listing, pod);
    }

    pub(super) fn list_ends(&mut self) {
        self.counts = std::mem::take(&mut self.listing);
    }

    pub(super) fn added(&mut self, pod: &PodView) {
        count(&mut self.counts, pod);
    }

    pub(super) fn deleted(&mut self, pod: &PodView) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let Some(secrets) = self.counts.get_mut(namespace) else { return };
        for secret in &pod.spec.image_pull_secrets {
            if let Some(pods) = secrets.get_mut(&secret.name) {
                *pods = pods.saturating_sub(1);
            }
        }
        secrets.retain(|_, pods| *pods > 0);
        if secrets.is_empty() {
            self.counts.remove(namespace);
        }
    }

    /// The secrets that pods of this namespace name; the most used first.
    pub(super) fn of(&self, namespace: &str) -> Vec<Box<str>> {
        let mut used: Vec<_> = self.counts.get(namespace).into_iter().flatten().collect();
        used.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        used.into_iter().take(MOST).map(|(name, _)| name.clone()).collect()
    }
}

fn count(counts: &mut Counts, pod: &PodView) {
    let secrets = &pod.spec.image_pull_secrets;
    if secrets.is_empty() {
        return;
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let known = counts.entry(namespace.into()).or_default();
    for secret in secrets.iter().filter(|secret| !secret.name.is_empty()) {
        *known.entry(secret.name.clone()).or_default() += 1;
    }
}

/// When the ReplicaSets or Jobs were created, by uid.
#[derive(Default)]
pub(super) struct Created {
    times: [HashMap<Box<str>, Timestamp>; 2],
    listing: [HashMap<Box<str>, Timestamp>; 2],
}

const fn index(kind: OwnerKind) -> usize {
    match kind {
        OwnerKind::ReplicaSet => 0,
        OwnerKind::Job => 1,
    }
}

fn uid_and_time(owner: &OwnerView) -> Option<(Box<str>, Timestamp)> {
    let meta = &owner.metadata;
    Some((meta.uid.as_deref()?.into(), meta.creation_timestamp.as_ref()?.0))
}

impl Created {
    pub(super) fn list_begins(&mut self, kind: OwnerKind) {
        self.listing[index(kind)].clear();
    }

    pub(super) fn listed(&mut self, kind: OwnerKind, owner: &OwnerView) {
        self.listing[index(kind)].extend(uid_and_time(owner));
    }

    pub(super) fn list_ends(&mut self, kind: OwnerKind) {
        self.times[index(kind)] = std::mem::take(&mut self.listing[index(kind)]);
    }

    pub(super) fn applied(&mut self, kind: OwnerKind, owner: &OwnerView) {
        self.times[index(kind)].extend(uid_and_time(owner));
    }

    pub(super) fn deleted(&mut self, kind: OwnerKind, owner: &OwnerView) {
        self.times[index(kind)].remove(owner.metadata.uid.as_deref().unwrap_or_default());
    }

    /// When the controller of this kind and uid was created.
    pub(super) fn of(&self, kind: &str, uid: &str) -> Option<Timestamp> {
        let kind = match kind {
            "ReplicaSet" => OwnerKind::ReplicaSet,
            "Job" => OwnerKind::Job,
            _ => return None,
        };
        self.times[index(kind)].get(uid).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, secrets: &[&str]) -> PodView {
        let secrets: Vec<_> = secrets.iter().map(|s| serde_json::json!({"name": s})).collect();
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": namespace},
            "spec": {"imagePullSecrets": secrets}}))
        .unwrap()
    }

    #[test]
    fn the_most_used_secrets_come_first_and_go_with_their_pods() {
        let mut used = SecretUse::default();
        used.list_begins();
        for secrets in [["a", "b"], ["b", ""]] {
            used.listed(&pod("shop", &secrets));
        }
        assert!(used.of("shop").is_empty(), "a list counts when it is complete");
        used.list_ends();
        assert_eq!(used.of("shop"), ["b".into(), "a".into()]);
        used.added(&pod("shop", &["a"]));
        used.added(&pod("shop", &["a"]));
        assert_eq!(used.of("shop"), ["a".into(), "b".into()]);
        assert!(used.of("other").is_empty());
        for _ in 0..3 {
            used.deleted(&pod("shop", &["a"]));
        }
        used.deleted(&pod("shop", &["unknown"]));
        assert_eq!(used.of("shop"), ["b".into()]);
        used.list_begins();
        used.list_ends();
        assert!(used.of("shop").is_empty());
    }

    #[test]
    fn creation_is_known_by_kind_and_uid() {
        let owner: OwnerView = serde_json::from_str(
            r#"{"metadata":{"uid":"u","creationTimestamp":"2026-01-02T03:04:05Z"}}"#,
        )
        .unwrap();
        let mut created = Created::default();
        created.applied(OwnerKind::Job, &owner);
        assert_eq!(created.of("Job", "u"), "2026-01-02T03:04:05Z".parse().ok());
        assert_eq!(created.of("ReplicaSet", "u"), None);
        assert_eq!(created.of("Deployment", "u"), None);
        created.deleted(OwnerKind::Job, &owner);
        assert_eq!(created.of("Job", "u"), None);
        created.list_begins(OwnerKind::ReplicaSet);
        created.listed(OwnerKind::ReplicaSet, &owner);
        assert_eq!(created.of("ReplicaSet", "u"), None);
        created.list_ends(OwnerKind::ReplicaSet);
        assert!(created.of("ReplicaSet", "u").is_some());
    }
}
