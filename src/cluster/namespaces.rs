//! What is known of namespaces: labels, and the annotations that are meant for Pullgate.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use serde::Deserialize;

use super::watch::{Feed, Source};
use crate::kube_views::Text;
use crate::workload::NamespaceFacts;

/// Annotations under this prefix are kept.
const OURS: &str = "pullgate.dev/";
/// The namespace that every cluster has, and whose uid tells clusters apart.
const EVERYWHERE: &str = "kube-system";

type Facts = HashMap<Box<str>, NamespaceFacts>;

/// The namespaces that are known, kept current by their feed.
#[derive(Default)]
pub(super) struct Namespaces {
    facts: RwLock<Facts>,
    cluster: OnceLock<Box<str>>,
}

impl Namespaces {
    pub(super) fn feed(self: &Arc<Self>) -> NamespaceFeed {
        NamespaceFeed { namespaces: Arc::clone(self), listing: Facts::new() }
    }

    pub(super) fn get(&self, name: &str) -> Option<NamespaceFacts> {
        self.facts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// What tells this cluster from others; nothing before the first list.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.get().map(AsRef::as_ref)
    }

    fn decode(&self, object: &str) -> Result<(Box<str>, NamespaceFacts), serde_json::Error> {
        let (name, facts, uid) = decode(object)?;
        if let (EVERYWHERE, Some(uid)) = (&*name, uid) {
            self.cluster.get_or_init(|| uid);
        }
        Ok((name, facts))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Facts> {
        // No code that can panic runs under the lock.
        self.facts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what is watched of namespaces.
pub(super) struct NamespaceFeed {
    namespaces: Arc<Namespaces>,
    listing: Facts,
}

impl Feed for NamespaceFeed {
    fn source(&self) -> Source {
        Source { path: "/api/v1/namespaces", metadata_only: true, fields: None }
    }

    fn list_begins(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let (name, facts) = self.namespaces.decode(object)?;
        self.listing.insert(name, facts);
        Ok(())
    }

    fn list_ends(&mut self, _: Timestamp) {
        let listed = std::mem::take(&mut self.listing);
        *self.namespaces.write() = listed;
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let (name, facts) = self.namespaces.decode(object)?;
        self.namespaces.write().insert(name, facts);
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let (name, _) = self.namespaces.decode(object)?;
        self.namespaces.write().remove(&name);
        Ok(())
    }
}

#[derive(Deserialize)]
struct NamespaceWire<'a> {
    #[serde(borrow)]
    metadata: MetaWire<'a>,
}

#[derive(Deserialize)]
struct MetaWire<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(borrow, default)]
    annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

type Decoded = (Box<str>, NamespaceFacts, Option<Box<str>>);

fn decode(object: &str) -> Result<Decoded, serde_json::Error> {
    let meta = serde_json::from_str::<NamespaceWire<'_>>(object)?.metadata;
    let boxed = |(key, value): (&Text<'_>, &Text<'_>)| (key.boxed(), value.boxed());
    let labels = meta.labels.unwrap_or_default();
    let annotations = meta.annotations.unwrap_or_default();
    let ours = annotations.iter().filter(|(key, _)| key.0.starts_with(OURS));
    let facts = NamespaceFacts {
        labels: labels.iter().map(boxed).collect(),
        annotations: ours.map(boxed).collect(),
    };
    Ok((meta.name.boxed(), facts, meta.uid.map(|uid| uid.boxed())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_our_own_annotations_are_kept_until_the_namespace_goes() {
        let namespaces = Arc::new(Namespaces::default());
        let mut feed = namespaces.feed();
        let shop = r#"{"kind":"PartialObjectMetadata","metadata":{"name":"shop",
            "labels":{"pullgate.dev/mode":"enforce","a":"\u003cb"},
            "annotations":{"pullgate.dev/mutate":"digest","other":"x"}}}"#;
        feed.list_begins();
        feed.listed(shop).unwrap();
        assert_eq!(namespaces.get("shop"), None);
        feed.list_ends(Timestamp::UNIX_EPOCH);
        let facts = namespaces.get("shop").unwrap();
        let labels = [("a".into(), "<b".into()), ("pullgate.dev/mode".into(), "enforce".into())];
        assert_eq!(facts.labels, labels);
        assert_eq!(facts.annotations, [("pullgate.dev/mutate".into(), "digest".into())]);
        feed.applied(r#"{"metadata":{"name":"shop"}}"#).unwrap();
        assert_eq!(namespaces.get("shop"), Some(NamespaceFacts::default()));
        feed.deleted(shop).unwrap();
        assert_eq!(namespaces.get("shop"), None);
        assert_eq!(namespaces.cluster(), None);
        feed.applied(r#"{"metadata":{"name":"kube-system","uid":"u-1"}}"#).unwrap();
        assert_eq!(namespaces.cluster(), Some("u-1"));
    }
}
