//! The nodes, as far as they decide where images are pulled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::Deserialize;

use super::shared_index::SharedIndex;
use super::watch::{Source, Store};
use crate::image::{ImageReference, Platform};
use crate::kube_views::{Listed, Text, Uid};
use crate::telemetry::now;
use crate::workload::{LISTED_NAMES_AT_MOST, Node, Quantity, Taint, TaintEffect};

/// The nodes that are known, kept current by their watch.
#[derive(Default)]
pub(super) struct Nodes {
    /// What the watch has taken in.
    current: Mutex<Current>,
    /// The same as the last reader was given it.
    given: ArcSwap<Vec<Node>>,
}

#[derive(Default)]
struct Current {
    nodes: BTreeMap<Box<str>, (Uid, Arc<Node>)>,
    changed: bool,
    /// Whether a whole list was taken in. Until then nobody is given any: some of the nodes would
    /// decide about platforms as if they were all.
    is_complete: bool,
}

impl Nodes {
    /// What the watch tells; what nodes list of images goes to the memory too.
    pub(super) fn store(self: &Arc<Self>, memory: SharedIndex) -> NodeStore {
        NodeStore { nodes: Arc::clone(self), memory }
    }

    /// All nodes, none before they are all known; a new copy is made only when one has changed since
    /// the last call.
    pub(super) fn all(&self) -> Arc<Vec<Node>> {
        let mut current = self.lock();
        if current.changed && current.is_complete {
            current.changed = false;
            let nodes = current.nodes.values().map(|(_, node)| Node::clone(node)).collect();
            self.given.store(Arc::new(nodes));
        }
        self.given.load_full()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        // No code that can panic runs under the lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what is watched of nodes.
pub(super) struct NodeStore {
    nodes: Arc<Nodes>,
    memory: SharedIndex,
}

impl Store for NodeStore {
    type Object<'a> = NodeWire<'a>;

    fn source(&self) -> Source {
        Source { path: "/api/v1/nodes", metadata_only: false, fields: None }
    }

    fn uid(object: &NodeWire<'_>) -> Option<Uid> {
        Some(Uid::of(&object.metadata.uid.0))
    }

    fn apply(&mut self, object: NodeWire<'_>, _: &str) -> Result<(), serde_json::Error> {
        let uid = Uid::of(&object.metadata.uid.0);
        let node = Arc::new(read(object));
        {
            let mut current = self.nodes.lock();
            let known = (uid, Arc::clone(&node));
            // Most updates are heartbeats.
            if current.nodes.get(&node.name) == Some(&known) {
                return Ok(());
            }
            current.nodes.insert(node.name.clone(), known);
            current.changed = true;
        }
        // Reviews need the nodes: they do not wait for the memory.
        self.memory.node(&node);
        Ok(())
    }

    fn delete(&mut self, object: NodeWire<'_>) {
        let name = &*object.metadata.name.0;
        {
            let mut current = self.nodes.lock();
            current.changed |= current.nodes.remove(name).is_some();
        }
        self.memory.node_gone(name);
    }

    fn retain(&mut self, listed: &Listed, began: Timestamp) {
        let gone: Vec<Box<str>> = {
            let mut current = self.nodes.lock();
            let gone = current.nodes.iter().filter(|(_, (uid, _))| !listed.contains(*uid));
            let gone: Vec<_> = gone.map(|(name, _)| name.clone()).collect();
            current.nodes.retain(|_, (uid, _)| listed.contains(*uid));
            current.changed |= !gone.is_empty();
            current.is_complete = true;
            gone
        };
        for name in gone {
            self.memory.node_gone(&name);
        }
        self.memory.lock().index.judge_afresh(began, now());
    }
}

#[derive(Deserialize)]
pub(super) struct NodeWire<'a> {
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
    uid: Text<'a>,
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

fn read(wire: NodeWire<'_>) -> Node {
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
    Node {
        name: wire.metadata.name.boxed(),
        platform: Platform::new(info.operating_system.0.as_ref(), info.architecture.0.as_ref()),
        labels: labels.iter().map(|(key, value)| (key.boxed(), value.boxed())).collect(),
        taints: spec.taints.unwrap_or_default().into_iter().filter_map(taint).collect(),
        unschedulable: spec.unschedulable.unwrap_or_default(),
        runtime: info.container_runtime_version.boxed(),
        kubelet: info.kubelet_version.boxed(),
        addresses: addresses.iter().map(|one| one.address.boxed()).collect(),
        images: names.map(|name| canonical(&name.0)).collect(),
        listed_images,
        names_cut,
        allocatable: allocatable.iter().filter_map(amount).collect(),
        pod_ranges: pod_ranges.collect(),
    }
}

/// The name of an image as the other runtimes list it: Docker's leaves out the registry where that is
/// Docker Hub (`RepoTags` in `core/convert.go` of cri-dockerd).
fn canonical(name: &str) -> Box<str> {
    let has_host = name.split_once('/').is_some_and(|(host, _)| host.contains('.'));
    if has_host {
        return name.into();
    }
    ImageReference::parse(name).map_or_else(|_| name.into(), |image| image.canonical().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, label: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"{name}","uid":"uid-of-{name}","resourceVersion":"5","labels":{{"b":"2","a":"{label}"}},
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
        let decoded = read(serde_json::from_str(&node("n-1", "1")).unwrap());
        assert_eq!(&*decoded.name, "n-1");
        assert_eq!(decoded.platform, Platform::new("linux", "arm64"));
        assert_eq!(*decoded.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        let taints: Vec<_> =
            decoded.taints.iter().map(|t| (&*t.key, &*t.value, t.effect)).collect();
        let expected = [("k", "", TaintEffect::NoSchedule), ("e", "v", TaintEffect::NoExecute)];
        assert_eq!(taints, expected);
        assert!(decoded.unschedulable);
        assert_eq!((&*decoded.runtime, &*decoded.kubelet), ("containerd://2.1.8", "v1.34.4"));
        assert_eq!(*decoded.images, ["a@sha256:0".into(), "docker.io/library/a:1".into()]);
        assert_eq!(decoded.listed_images, 2);
        let amount = |text: &str| Quantity::parse(text).unwrap();
        let allocatable =
            [("cpu".into(), amount("1930m")), ("memory".into(), amount("2147483648"))];
        assert_eq!(*decoded.allocatable, allocatable);
        assert_eq!(decoded.addresses, ["10.0.0.7".into()]);
        let ranges: Vec<_> = decoded.pod_ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["10.244.1.0/24", "fd00:1::/64"]);
        let bare = read(serde_json::from_str(r#"{"metadata":{"name":"bare"},"spec":{}}"#).unwrap());
        assert!(bare.images.is_empty() && bare.labels.is_empty() && !bare.unschedulable);
    }

    #[rstest::rstest]
    #[case::dockers("my-app:dev", "docker.io/library/my-app:dev")]
    #[case::dockers_with_a_path("myorg/app:1.0", "docker.io/myorg/app:1.0")]
    #[case::of_a_port("localhost:5000/app:1", "localhost:5000/app:1")]
    #[case::containerds("docker.io/library/nginx:1", "docker.io/library/nginx:1")]
    #[case::by_digest("quay.io/a/b@sha256:0", "quay.io/a/b@sha256:0")]
    #[case::no_name("<none>:<none>", "<none>:<none>")]
    fn every_runtime_lists_an_image_by_one_name(#[case] listed: &str, #[case] name: &str) {
        assert_eq!(&*canonical(listed), name);
    }

    #[test]
    fn a_list_replaces_and_an_unchanged_node_makes_no_new_copy() {
        let nodes = Arc::new(Nodes::default());
        let mut store = nodes.store(SharedIndex::default());
        let apply = |store: &mut NodeStore, text: &str| {
            store.apply(serde_json::from_str(text).unwrap(), text).unwrap();
        };
        let listed = |names: &[&str]| {
            names.iter().map(|name| Uid::of(&format!("uid-of-{name}"))).collect::<Listed>()
        };
        apply(&mut store, &node("old", "1"));
        assert!(nodes.all().is_empty(), "a list counts when it is complete");
        store.retain(&listed(&["old"]), Timestamp::UNIX_EPOCH);
        assert_eq!(&*nodes.all()[0].name, "old");
        apply(&mut store, &node("a", "1"));
        apply(&mut store, &node("b", "1"));
        store.retain(&listed(&["a", "b"]), Timestamp::UNIX_EPOCH);
        let before = nodes.all();
        assert_eq!(before.len(), 2);
        apply(&mut store, &node("a", "1"));
        assert!(Arc::ptr_eq(&before, &nodes.all()));
        apply(&mut store, &node("a", "2"));
        assert_eq!(&*nodes.all()[0].labels[0].1, "2");
        store.delete(serde_json::from_str(&node("b", "1")).unwrap());
        assert_eq!(nodes.all().len(), 1);
    }
}
