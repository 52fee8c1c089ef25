//! On which of the known nodes a pod may land.
//!
//! The scheduler's own rules for `nodeName`, `nodeSelector`, required node affinity and taints
//! (<https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/>). Where in doubt a
//! node is eligible: a node too many can only make a verdict milder.

use super::needs::Needs;
use super::node::{Node, Taint};
use super::toleration::{RuntimeClass, Toleration};
use super::view::{PodSpecView, RequirementView, TermView, text};
use crate::kube_views::Text;

/// What an object says about where its pods may land.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    node_name: Box<str>,
    selector: Vec<(Box<str>, Box<str>)>,
    /// Alternatives; `None` if there is no required affinity.
    terms: Option<Vec<Term>>,
    tolerations: Vec<Toleration>,
    gated: bool,
    os: Box<str>,
    runtime_class: Box<str>,
    needs: Needs,
    not_yet_known: bool,
}

/// The nodes a pod may land on, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligible<'n> {
    /// The known nodes it may land on.
    pub nodes: Vec<&'n Node>,
    /// Whether nodes were asked for at all: not by the command line without a cluster.
    pub asked: bool,
    /// Those that only a taint keeps its pods away from: taints come and go.
    pub kept_away: Vec<&'n Node>,
    /// Whether its pods may have to wait for a node that nobody knows yet, because nothing shows
    /// that one of these can take them.
    pub may_need_others: bool,
    /// Every node that is known.
    pub known: &'n [Node],
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    expressions: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    operator: Operator,
    values: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    /// An operator that is newer than this code: taken as fulfilled.
    Unknown,
}

/// Taints under these names come and go with a node's condition: a node that has one today may
/// take the pod tomorrow, so they do not count.
const PASSING_TAINTS: &[&str] = &[
    "node.kubernetes.io/",
    "node.cloudprovider.kubernetes.io/",
    "node.cluster.x-k8s.io/",
    // https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/utils/taints/taints.go
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "ignore-taint.cluster-autoscaler.kubernetes.io/",
    "startup-taint.cluster-autoscaler.kubernetes.io/",
    "status-taint.cluster-autoscaler.kubernetes.io/",
    // https://karpenter.sh/docs/concepts/disruption/
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "karpenter.sh/unregistered",
    // https://docs.cilium.io/en/stable/installation/taints/
    "node.cilium.io/agent-not-ready",
    // https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/install.md
    "ebs.csi.aws.com/agent-not-ready",
    "efs.csi.aws.com/agent-not-ready",
];

impl Placement {
    /// Reads the constraints of a pod's spec.
    pub(super) fn of(spec: &PodSpecView<'_>) -> Self {
        let selector = spec
            .node_selector
            .iter()
            .flatten()
            .map(|(key, value)| (key.boxed(), text(value.as_ref())))
            .collect();
        let terms = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required.as_ref())
            .map(|required| {
                required.node_selector_terms.iter().flatten().map(Term::of).collect::<Vec<_>>()
            });
        Self {
            node_name: text(spec.node_name.as_ref()),
            selector,
            terms,
            tolerations: spec.tolerations.iter().flatten().map(Toleration::of).collect(),
            gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            os: text(spec.os.as_ref().and_then(|os| os.name.as_ref())),
            runtime_class: text(spec.runtime_class_name.as_ref()),
            needs: Needs::of(spec),
            not_yet_known: false,
        }
    }

    /// Of how many constraints it consists.
    pub(super) fn parts(&self) -> usize {
        let terms = self.terms.iter().flatten();
        let of_terms = terms.flat_map(|term| term.expressions.iter().chain(&term.fields));
        let of_terms: usize = of_terms.map(|one| 1 + one.values.len()).sum();
        let terms = self.terms.as_ref().map_or(0, Vec::len);
        self.selector.len() + self.tolerations.len() + terms + of_terms + self.needs.parts()
    }

    /// That of pods of which nobody has said where they may land: they are compared with no node.
    pub(crate) fn not_yet_known() -> Self {
        Self { not_yet_known: true, ..Self::default() }
    }

    /// The same constraints, and a node selector for this label with this value in place of any
    /// other for the same label.
    #[must_use]
    pub(crate) fn with_selector(&self, key: &str, value: &str) -> Self {
        let mut narrowed = self.clone();
        narrowed.selector.retain(|(own, _)| **own != *key);
        narrowed.selector.push((key.into(), value.into()));
        narrowed
    }

    /// The same constraints for a pod that takes this one's place: on no node yet.
    #[must_use]
    pub(crate) fn unbound(&self) -> Self {
        Self { node_name: Box::default(), ..self.clone() }
    }

    /// The name of the `RuntimeClass`, if there is one.
    pub fn runtime_class(&self) -> Option<&str> {
        Some(&*self.runtime_class).filter(|name| !name.is_empty())
    }

    /// With what its `RuntimeClass` adds, as the API server adds it to pods. A selector that
    /// contradicts the pod's own leaves no node: such a pod is refused.
    #[must_use]
    pub(crate) fn with_runtime_class(&self, class: &RuntimeClass) -> Self {
        let mut merged = self.clone();
        merged.selector.extend(class.selector.iter().cloned());
        merged.tolerations.extend(class.tolerations.iter().cloned());
        merged.needs.add_overhead(&class.overhead);
        merged
    }

    /// Whether a node with this label may be selected.
    pub fn allows(&self, key: &str, value: &str) -> bool {
        let selected =
            self.selector.iter().all(|(own, wanted)| **own != *key || **wanted == *value);
        let holds = |term: &Term| {
            term.expressions.iter().all(|wanted| *wanted.key != *key || wanted.holds(Some(value)))
        };
        selected && self.terms.as_ref().is_none_or(|terms| terms.iter().any(holds))
    }

    /// Whether no node without this label is selected.
    pub(crate) fn demands(&self, key: &str, value: &str) -> bool {
        let is_it = |wanted: &Requirement| {
            *wanted.key == *key
                && wanted.operator == Operator::In
                && matches!(&*wanted.values, [one] if **one == *value)
        };
        let selected =
            self.selector.iter().any(|(own, wanted)| **own == *key && **wanted == *value);
        selected
            || self.terms.as_ref().is_some_and(|terms| {
                !terms.is_empty() && terms.iter().all(|term| term.expressions.iter().any(is_it))
            })
    }

    /// The known nodes that pods with these constraints may land on. None if scheduling gates
    /// hold the pod: who lifts them may change its constraints.
    pub fn eligible<'n>(&self, nodes: &'n [Node]) -> Eligible<'n> {
        if self.not_yet_known {
            return Eligible::not_asked();
        }
        let admitted: Vec<&Node> = if self.gated {
            Vec::new()
        } else {
            nodes.iter().filter(|node| self.selects(node)).collect()
        };
        // Who is bound already passes the scheduler over, and with it selectors and taints.
        let bound = !self.node_name.is_empty();
        let (eligible, kept_away): (Vec<_>, Vec<_>) =
            admitted.into_iter().partition(|node| bound || self.tolerates_all(node));
        let may_need_others = !bound && self.needs.exceed(&eligible);
        Eligible { nodes: eligible, asked: true, kept_away, may_need_others, known: nodes }
    }

    /// Whether a node is selected, whatever its taints.
    fn selects(&self, node: &Node) -> bool {
        if !self.os.is_empty() && *self.os != *node.platform.os {
            return false;
        }
        if !self.node_name.is_empty() {
            return *self.node_name == *node.name;
        }
        self.selector.iter().all(|(key, value)| node.label(key) == Some(&**value))
            && self.terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.admits(node)))
    }

    fn tolerates_all(&self, node: &Node) -> bool {
        node.taints.iter().all(|taint| self.tolerates(taint))
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        PASSING_TAINTS.iter().any(|prefix| taint.key.starts_with(prefix))
            || self.tolerations.iter().any(|toleration| toleration.covers(taint))
    }
}

impl<'n> Eligible<'n> {
    /// Every known node that its pods may run on some day: those they may land on now, those that only
    /// a taint keeps them away from, and where they may have to wait for a node, or none takes them
    /// yet, all that are known.
    pub(crate) fn where_it_may_run(&self) -> impl Iterator<Item = &'n Node> {
        let all = self.nodes.is_empty() || self.may_need_others;
        let (some, all) = if all { (None, Some(self.known)) } else { (Some(&self.nodes), None) };
        let near = some.into_iter().flatten().chain(&self.kept_away).copied();
        near.chain(all.into_iter().flatten())
    }

    /// Nothing is known of nodes, and nobody asked.
    pub const fn not_asked() -> Self {
        Self {
            nodes: Vec::new(),
            asked: false,
            kept_away: Vec::new(),
            may_need_others: true,
            known: &[],
        }
    }
}

impl Term {
    fn of(view: &TermView<'_>) -> Self {
        let read = |list: &Option<Vec<RequirementView<'_>>>| {
            list.iter().flatten().map(Requirement::of).collect()
        };
        Self { expressions: read(&view.match_expressions), fields: read(&view.match_fields) }
    }

    /// An empty term matches nothing, as the API documents it.
    fn admits(&self, node: &Node) -> bool {
        let name = &node.name;
        !(self.expressions.is_empty() && self.fields.is_empty())
            && self.expressions.iter().all(|wanted| wanted.holds(node.label(&wanted.key)))
            && self
                .fields
                .iter()
                .all(|wanted| &*wanted.key != "metadata.name" || wanted.holds(Some(name)))
    }
}

impl Requirement {
    fn of(view: &RequirementView<'_>) -> Self {
        let operator = match view.operator.as_ref().map(|operator| operator.0.as_ref()) {
            Some("In") => Operator::In,
            Some("NotIn") => Operator::NotIn,
            Some("Exists") => Operator::Exists,
            Some("DoesNotExist") => Operator::DoesNotExist,
            Some("Gt") => Operator::Gt,
            Some("Lt") => Operator::Lt,
            _ => Operator::Unknown,
        };
        let values = view.values.iter().flatten().map(Text::boxed).collect();
        Self { key: text(view.key.as_ref()), operator, values }
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| &**one == value);
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = |wanted: std::cmp::Ordering| {
            let limit = self.values.first().and_then(|limit| number(limit));
            value.and_then(&number).zip(limit).is_some_and(|(a, b)| a.cmp(&b) == wanted)
        };
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => value.is_none_or(|value| !listed(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(std::cmp::Ordering::Greater),
            Operator::Lt => compare(std::cmp::Ordering::Less),
            Operator::Unknown => true,
        }
    }
}
