//! The nodes, as far as they decide where images are pulled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Deserialize;

use super::shared_index::{SharedIndex, now};
use super::watch::{Feed, Source};
use crate::image::Platform;
use crate::kube_views::Text;
use crate::workload::{LISTED_NAMES_AT_MOST, Node, Quantity, Taint, TaintEffect};

/// The nodes that are known, kept current by their feed.
#[derive(Default)]
pub(super) struct Nodes {
    /// What the feed has taken in.
    current: Mutex<Current>,
    /// The same as the last reader was given it.
    given: ArcSwap<Vec<Node>>,
}

#[derive(Default)]
struct Current {
    nodes: BTreeMap<Box<str>, Arc<Node>>,
    changed: bool,
}

impl Nodes {
    /// The feed; what nodes list of images goes to the memory too.
    pub(super) fn feed(self: &Arc<Self>, memory: SharedIndex) -> NodeFeed {
        NodeFeed { nodes: Arc::clone(self), memory, listing: BTreeMap::new() }
    }

    /// All nodes; a new copy is made only when one has changed since the last call.
    pub(super) fn all(&self) -> Arc<Vec<Node>> {
        let mut current = self.lock();
        if current.changed {
            current.changed = false;
            self.given
                .store(Arc::new(current.nodes.values().map(|node| Node::clone(node)).collect()));
        }
        self.given.load_full()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // No code that can panic runs under the lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what is watched of nodes.
pub(super) struct NodeFeed {
    nodes: Arc<Nodes>,
    memory: SharedIndex,
    listing: BTreeMap<Box<str>, Arc<Node>>,
}

impl Feed for NodeFeed {
    fn source(&self) -> Source {
        Source { path: "/api/v1/nodes", metadata_only: false, fields: None }
    }

    fn list_begins(&mut self) {
        self.listing.clear();
    }

    fn listed(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let node = decode(object)?;
        self.listing.insert(node.name.clone(), Arc::new(node));
        Ok(())
    }

    fn list_ends(&mut self, began: Timestamp) {
        let (gone, changed) = {
            let mut current = self.nodes.lock();
            let before = std::mem::replace(&mut current.nodes, std::mem::take(&mut self.listing));
            current.changed = true;
            let now = &current.nodes;
            let changed = now.values().filter(|node| before.get(&node.name) != Some(node));
            let changed: Vec<Arc<Node>> = changed.cloned().collect();
            let gone = before.into_keys().filter(|name| !now.contains_key(name));
            (gone.collect::<Vec<_>>(), changed)
        };
        // Reviews need the nodes: they do not wait for the memory.
        for name in gone {
            self.memory.node_gone(&name);
        }
        for node in changed {
            self.memory.node(&node);
        }
        self.memory.lock().index.judge_afresh(began, now());
    }

    fn applied(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let node = Arc::new(decode(object)?);
        {
            let mut current = self.nodes.lock();
            // Most updates are heartbeats.
            if current.nodes.get(&node.name) == Some(&node) {
                return Ok(());
            }
            current.nodes.insert(node.name.clone(), Arc::clone(&node));
            current.changed = true;
        }
        self.memory.node(&node);
        Ok(())
    }

    fn deleted(&mut self, object: &str) -> Result<(), serde_json::Error> {
        let node = decode(object)?;
        {
            let mut current = self.nodes.lock();
            current.changed |= current.nodes.remove(&node.name).is_some();
        }
        self.memory.node_gone(&node.name);
        Ok(())
    }
}

#[derive(Deserialize)]
struct NodeWire<'a> {
    #[serde(borrow)]
    metadata: MetaWire<'a>,
    #[serde(borrow, default)]
    spec: Option<SpecWire<'a>>,
    #[serde(borrow, default)]
    status: Option<StatusWire<'a>>,
}

#[derive(Deserialize)]
struct MetaWire<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    labels: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

#[derive(Deserialize, Default)]
struct SpecWire<'a> {
    #[serde(borrow, default)]
    taints: Option<Vec<TaintWire<'a>>>,
    #[serde(default)]
    unschedulable: Option<bool>,
    #[serde(borrow, default, rename = "podCIDRs")]
    pod_cidrs: Option<Vec<Text<'a>>>,
}

#[derive(Deserialize)]
struct TaintWire<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow, default)]
    value: Option<Text<'a>>,
    #[serde(borrow)]
    effect: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct StatusWire<'a> {
    #[serde(borrow, default)]
    node_info: Option<InfoWire<'a>>,
    #[serde(borrow, default)]
    images: Option<Vec<ImageWire<'a>>>,
    #[serde(borrow, default)]
    addresses: Option<Vec<AddressWire<'a>>>,
    #[serde(borrow, default)]
    allocatable: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

#[derive(Deserialize)]
struct AddressWire<'a> {
    #[serde(borrow)]
    address: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct InfoWire<'a> {
    #[serde(borrow)]
    operating_system: Text<'a>,
    #[serde(borrow)]
    architecture: Text<'a>,
    #[serde(borrow)]
    container_runtime_version: Text<'a>,
    #[serde(borrow)]
    kubelet_version: Text<'a>,
}

#[derive(Deserialize)]
struct ImageWire<'a> {
    #[serde(borrow, default)]
    names: Option<Vec<Text<'a>>>,
}

fn decode(object: &str) -> Result<Node, serde_json::Error> {
    let wire: NodeWire<'_> = serde_json::from_str(object)?;
    let (spec, status) = (wire.spec.unwrap_or_default(), wire.status.unwrap_or_default());
    let info = status.node_info.unwrap_or_default();
    let taint = |taint: TaintWire<'_>| {
        let effect = match taint.effect.0.as_ref() {
            "NoSchedule" => TaintEffect::NoSchedule,
            "NoExecute" => TaintEffect::NoExecute,
            _ => return None,
        };
        let value = taint.value.unwrap_or_default().boxed();
        Some(Taint { key: taint.key.boxed(), value, effect })
    };
    let labels = wire.metadata.labels.unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default();
    let images = status.images.unwrap_or_default();
    let listed_images = images.len();
    let cut = |image: &ImageWire<'_>| {
        image.names.as_ref().is_some_and(|names| names.len() >= LISTED_NAMES_AT_MOST)
    };
    let names_cut = images.iter().any(cut);
    let allocatable = status.allocatable.unwrap_or_default();
    let amount = |(name, amount): (&Text<'_>, &Text<'_>)| {
        Some((name.boxed(), Quantity::parse(amount.0.as_ref())?))
    };
    let pod_cidrs = spec.pod_cidrs.unwrap_or_default();
    let pod_ranges = pod_cidrs.iter().filter_map(|range| range.0.parse().ok());
    let names = images.into_iter().flat_map(|image| image.names.unwrap_or_default());
    Ok(Node {
        name: wire.metadata.name.boxed(),
        platform: Platform::new(info.operating_system.0.as_ref(), info.architecture.0.as_ref()),
        labels: labels.iter().map(|(key, value)| (key.boxed(), value.boxed())).collect(),
        taints: spec.taints.unwrap_or_default().into_iter().filter_map(taint).collect(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        runtime: info.container_runtime_version.boxed(),
        kubelet: info.kubelet_version.boxed(),
        addresses: addresses.iter().map(|one| one.address.boxed()).collect(),
        images: names.map(|name| name.boxed()).collect(),
        listed_images,
        names_cut,
        allocatable: allocatable.iter().filter_map(amount).collect(),
        pod_ranges: pod_ranges.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, label: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"{name}","resourceVersion":"5","labels":{{"b":"2","a":"{label}"}},
            "managedFields":[{{"fieldsV1":{{}}}}]}},
            "spec":{{"unschedulable":true,"podCIDR":"10.244.1.0/24",
            "podCIDRs":["10.244.1.0/24","fd00:1::/64","?"],"taints":[
              {{"key":"k","effect":"NoSchedule"}},{{"key":"p","effect":"PreferNoSchedule"}},
              {{"key":"e","value":"v","effect":"NoExecute","timeAdded":"2026-01-01T00:00:00Z"}}]}},
            "status":{{"nodeInfo":{{"operatingSystem":"linux","architecture":"arm64",
              "containerRuntimeVersion":"containerd://2.1.8","kubeletVersion":"v1.34.4"}},
              "addresses":[{{"type":"InternalIP","address":"10.0.0.7"}}],
              "allocatable":{{"memory":"2Gi","cpu":"1930m","example.com/odd":"?"}},
              "images":[{{"names":["a@sha256:0","a:1"],"sizeBytes":1}},{{"names":null}}]}}}}"#
        )
    }

    #[test]
    fn what_decides_is_read_of_a_node() {
        let decoded = decode(&node("n-1", "1")).unwrap();
        assert_eq!(&*decoded.name, "n-1");
        assert_eq!(decoded.platform, Platform::new("linux", "arm64"));
        assert_eq!(*decoded.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        let taints: Vec<_> =
            decoded.taints.iter().map(|t| (&*t.key, &*t.value, t.effect)).collect();
        let expected = [("k", "", TaintEffect::NoSchedule), ("e", "v", TaintEffect::NoExecute)];
        assert_eq!(taints, expected);
        assert!(decoded.unschedulable);
        assert_eq!((&*decoded.runtime, &*decoded.kubelet), ("containerd://2.1.8", "v1.34.4"));
        assert_eq!(*decoded.images, ["a@sha256:0".into(), "a:1".into()]);
        assert_eq!(decoded.listed_images, 2);
        let amount = |text: &str| Quantity::parse(text).unwrap();
        let allocatable =
            [("cpu".into(), amount("1930m")), ("memory".into(), amount("2147483648"))];
        assert_eq!(*decoded.allocatable, allocatable);
        assert_eq!(decoded.addresses, ["10.0.0.7".into()]);
        let ranges: Vec<_> = decoded.pod_ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.244.1.0/24", "fd00:1::/64"]);
        let bare = decode(r#"{"metadata":{"name":"bare"},"spec":{}}"#).unwrap();
        assert!(bare.images.is_empty() && bare.labels.is_empty() && !bare.unschedulable);
    }

    #[test]
    fn a_list_replaces_and_an_unchanged_node_makes_no_new_copy() {
        let nodes = Arc::new(Nodes::default());
        let mut feed = nodes.feed(SharedIndex::default());
        assert!(nodes.all().is_empty());
        feed.applied(&node("old", "1")).unwrap();
        feed.list_begins();
        feed.listed(&node("a", "1")).unwrap();
        assert_eq!(nodes.all().len(), 1, "a list counts when it is complete");
        assert_eq!(&*nodes.all()[0].name, "old");
        feed.listed(&node("b", "1")).unwrap();
        feed.list_ends(Timestamp::UNIX_EPOCH);
        let before = nodes.all();
        assert_eq!(before.len(), 2);
        feed.applied(&node("a", "1")).unwrap();
        assert!(Arc::ptr_eq(&before, &nodes.all()));
        feed.applied(&node("a", "2")).unwrap();
        assert_eq!(&*nodes.all()[0].labels[0].1, "2");
        feed.deleted(&node("b", "1")).unwrap();
        assert_eq!(nodes.all().len(), 1);
        assert!(feed.applied("{}").is_err());
    }
}
