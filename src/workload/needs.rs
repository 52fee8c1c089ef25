//! What pods need that not every node has: who schedules them, what they ask for, what ties them
//! to some nodes. It decides whether they may have to wait for a node that nobody knows yet.

use std::collections::BTreeMap;

use super::node::Node;
use super::quantity::Quantity;
use super::view::{ContainerView, PodSpecView, plain};
use crate::kube_views::Text;

/// The scheduler of Kubernetes. Others may make nodes of their own (EKS Fargate).
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// What the pods of an object need beside what selects nodes by their labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Something ties them to nodes in a way that the nodes themselves do not tell: another
    /// scheduler, a `RuntimeClass`, claims of devices or volumes, other pods.
    tied: bool,
    /// What they ask for, by resource; more than can be told if it could not be read.
    resources: BTreeMap<Box<str>, Option<Quantity>>,
}

impl Needs {
    /// Reads them of a pod's spec.
    pub(super) fn of(spec: &PodSpecView<'_>) -> Self {
        let [scheduler, runtime_class] =
            [&spec.scheduler_name, &spec.runtime_class_name].map(|name| plain(name.as_ref()));
        let affinity = spec.affinity.as_ref();
        let other_pods = affinity
            .and_then(|affinity| affinity.pod_affinity.as_ref())
            .is_some_and(|terms| terms.required.as_ref().is_some_and(|list| !list.is_empty()));
        let volumes = spec.volumes.iter().flatten();
        let claims_volumes = volumes
            .into_iter()
            .any(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
        let claims_devices = spec.resource_claims.as_ref().is_some_and(|list| !list.is_empty());
        let mut resources = BTreeMap::new();
        let containers = spec.containers.iter().chain(&spec.init_containers).flatten();
        for container in containers {
            add(&mut resources, container);
        }
        Self {
            tied: (!scheduler.is_empty() && scheduler != DEFAULT_SCHEDULER)
                || !runtime_class.is_empty()
                || other_pods
                || claims_volumes
                || claims_devices,
            resources,
        }
    }

    /// How many resources they ask for.
    pub(super) fn parts(&self) -> usize {
        self.resources.len()
    }

    /// Adds what a `RuntimeClass` costs beside the containers.
    pub(super) fn add_overhead(&mut self, overhead: &[(Box<str>, Option<Quantity>)]) {
        for (name, amount) in overhead {
            let entry = self.resources.entry(name.clone()).or_insert(Some(Quantity::default()));
            *entry = entry.zip(*amount).map(|(sum, more)| sum.plus(more));
        }
    }

    /// Whether none of these nodes, even if it were empty, would surely do.
    pub(super) fn exceed(&self, nodes: &[&Node]) -> bool {
        let enough = |node: &&Node| {
            self.resources
                .iter()
                .all(|(name, amount)| amount.is_some_and(|amount| node.offers(name, amount)))
        };
        self.tied || !nodes.iter().any(enough)
    }
}

/// What a container asks for: its requests, and its limits where no request is given. Init
/// containers are counted as if they ran beside the others, which is too much rather than too
/// little.
fn add(sum: &mut BTreeMap<Box<str>, Option<Quantity>>, container: &ContainerView<'_>) {
    let Some(resources) = &container.resources else { return };
    let requests = resources.requests.iter().flatten();
    let limits = resources.limits.iter().flatten().filter(|(name, _)| {
        resources.requests.as_ref().is_none_or(|requests| !requests.contains_key(*name))
    });
    for (name, amount) in requests.chain(limits) {
        let amount = Quantity::parse(amount.get().trim_matches('"'));
        let entry = sum.entry(Text::boxed(name)).or_insert(Some(Quantity::default()));
        *entry = entry.zip(amount).map(|(sum, more)| sum.plus(more));
    }
}
