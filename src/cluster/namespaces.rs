//! What is known of namespaces: labels, and the annotations that are meant for Pullgate.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use jiff::Timestamp;
use serde::Deserialize;

use super::watch::{Source, Store};
use crate::kube_views::{Listed, Text, Uid};
use crate::workload::NamespaceFacts;

/// Annotations under this prefix are kept.
const OURS: &str = "pullgate.dev/";
/// The namespace that every cluster has, and whose uid tells clusters apart.
const EVERYWHERE: &str = "kube-system";

type Facts = HashMap<Box<str>, (Uid, Arc<NamespaceFacts>)>;

/// The namespaces that are known, kept current by their watch.
#[derive(Default)]
pub(super) struct Namespaces {
    facts: RwLock<Facts>,
    cluster: OnceLock<Box<str>>,
}

impl Namespaces {
    pub(super) fn get(&self, name: &str) -> Option<Arc<NamespaceFacts>> {
        let facts = self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.get(name).map(|(_, facts)| Arc::clone(facts))
    }

    /// What tells this cluster from others; nothing before the first list.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.cluster.get().map(AsRef::as_ref)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Facts> {
        // No code that can panic runs under the lock.
        self.facts.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Arc<Namespaces> {
    type Object<'a> = NamespaceWire<'a>;

    fn source(&self) -> Source {
        Source { path: "/api/v1/namespaces", metadata_only: true, fields: None }
    }

    fn uid(object: &NamespaceWire<'_>) -> Option<Uid> {
        Some(Uid::of(object.metadata.uid()))
    }

    fn apply(&mut self, object: NamespaceWire<'_>, _: &str) -> Result<(), serde_json::Error> {
        let (name, uid) = (object.metadata.name.boxed(), object.metadata.uid());
        if &*name == EVERYWHERE && !uid.is_empty() {
            self.cluster.get_or_init(|| uid.into());
        }
        let uid = Uid::of(uid);
        self.write().insert(name, (uid, Arc::new(facts(object))));
        Ok(())
    }

    fn delete(&mut self, object: NamespaceWire<'_>) {
        self.write().remove(&*object.metadata.name.0);
    }

    fn retain(&mut self, listed: &Listed, _: Timestamp) {
        self.write().retain(|_, (uid, _)| listed.contains(*uid));
    }
}

#[derive(Deserialize)]
pub(super) struct NamespaceWire<'a> {
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

impl MetaWire<'_> {
    fn uid(&self) -> &str {
        self.uid.as_ref().map_or("", |uid| &uid.0)
    }
}

fn facts(namespace: NamespaceWire<'_>) -> NamespaceFacts {
    let meta = namespace.metadata;
    let boxed = |(key, value): (&Text<'_>, &Text<'_>)| (key.boxed(), value.boxed());
    let labels = meta.labels.unwrap_or_default();
    let annotations = meta.annotations.unwrap_or_default();
    let ours = annotations.iter().filter(|(key, _)| key.0.starts_with(OURS));
    NamespaceFacts {
        labels: labels.iter().map(boxed).collect(),
        annotations: ours.map(boxed).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_our_own_annotations_are_kept_until_the_namespace_goes() {
        let namespaces = Arc::new(Namespaces::default());
        let mut store = Arc::clone(&namespaces);
        let shop = r#"{"kind":"PartialObjectMetadata","metadata":{"name":"shop","uid":"u-2",
            "labels":{"pullgate.dev/mode":"enforce","a":"\u003cb"},
            "annotations":{"pullgate.dev/mutate":"digest","other":"x"}}}"#;
        let mut apply = |text| store.apply(serde_json::from_str(text).unwrap(), text).unwrap();
        apply(shop);
        let facts = namespaces.get("shop").unwrap();
        let labels = [("a".into(), "<b".into()), ("pullgate.dev/mode".into(), "enforce".into())];
        assert_eq!(facts.labels, labels);
        assert_eq!(facts.annotations, [("pullgate.dev/mutate".into(), "digest".into())]);
        apply(r#"{"metadata":{"name":"shop","uid":"u-2"}}"#);
        assert_eq!(namespaces.get("shop"), Some(Arc::default()));
        assert_eq!(namespaces.cluster(), None);
        apply(r#"{"metadata":{"name":"kube-system","uid":"u-1"}}"#);
        assert_eq!(namespaces.cluster(), Some("u-1"));
        let listed = Listed::from_iter([Uid::of("u-2")]);
        store.retain(&listed, Timestamp::UNIX_EPOCH);
        assert_eq!(namespaces.get("kube-system"), None);
        store.delete(serde_json::from_str(shop).unwrap());
        assert_eq!(namespaces.get("shop"), None);
    }
}
