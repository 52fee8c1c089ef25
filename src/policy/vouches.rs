//! What the team vouches for about the nodes on which some pods may land: of the policy at large, of
//! pools of nodes, and by rules.

use super::PullgatePolicy;
use super::document::PullgatePolicySpec;
use super::nodes::{Nodes, NodesOverride, VouchNetwork, VouchPreloaded};
use super::resolve::PolicyScope;
use crate::image::ImageReference;
use crate::pull::{Vouch, Vouches};
use crate::workload::{LISTED_IMAGES_AT_MOST, NamespaceFacts, Placement};

/// Which files of the nodes Pullgate was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenFiles {
    /// Those of mirrors.
    pub mirrors: bool,
    /// Those of credentials.
    pub credentials: bool,
}

impl Nodes {
    /// The same, where something else is said.
    fn with(&self, other: &NodesOverride) -> Self {
        Self {
            mirrors: other.mirrors.unwrap_or(self.mirrors),
            credentials: other.credentials.unwrap_or(self.credentials),
            preloaded_images: other.preloaded_images.unwrap_or(self.preloaded_images),
            network: other.network.unwrap_or(self.network),
            platforms: other.platforms.clone().unwrap_or_else(|| self.platforms.clone()),
            node_status_max_images: other.node_status_max_images.or(self.node_status_max_images),
            pools: Vec::new(),
        }
    }

    /// What is true of these nodes and of those.
    fn and(self, other: Self) -> Self {
        let mut platforms = self.platforms;
        if platforms.is_empty() || other.platforms.is_empty() {
            platforms.clear();
        } else {
            platforms.extend(other.platforms);
        }
        Self {
            mirrors: common(self.mirrors, other.mirrors),
            credentials: common(self.credentials, other.credentials),
            preloaded_images: if self.preloaded_images == other.preloaded_images {
                self.preloaded_images
            } else {
                VouchPreloaded::Unknown
            },
            network: if self.network == other.network {
                self.network
            } else {
                VouchNetwork::Unknown
            },
            platforms,
            node_status_max_images: Some(lower(
                self.node_status_max_images,
                other.node_status_max_images,
            )),
            pools: Vec::new(),
        }
    }
}

fn common(one: Vouch, other: Vouch) -> Vouch {
    match (one, other) {
        (Vouch::Unknown, _) | (_, Vouch::Unknown) => Vouch::Unknown,
        (Vouch::None, Vouch::None) => Vouch::None,
        _ => Vouch::Listed,
    }
}

/// The lower of two limits; a negative one is none.
fn lower(one: Option<i32>, other: Option<i32>) -> i32 {
    let [one, other] = [one, other].map(|limit| limit.unwrap_or(LISTED_IMAGES_AT_MOST));
    if one < 0 || (other >= 0 && other < one) { other } else { one }
}

impl PullgatePolicySpec {
    fn nodes_for(&self, scope: PolicyScope<'_>, placement: Option<&Placement>) -> Nodes {
        let ruled = NodesOverride {
            mirrors: self.ruled(scope, |rule| rule.nodes.mirrors),
            credentials: self.ruled(scope, |rule| rule.nodes.credentials),
            preloaded_images: self.ruled(scope, |rule| rule.nodes.preloaded_images),
            network: self.ruled(scope, |rule| rule.nodes.network),
            platforms: self.ruled(scope, |rule| rule.nodes.platforms.clone()),
            node_status_max_images: self.ruled(scope, |rule| rule.nodes.node_status_max_images),
        };
        let mut all = Vec::new();
        let mut elsewhere = true;
        for pool in &self.nodes.pools {
            let (mut possible, mut sure) = (true, true);
            for (key, value) in &pool.node_selector {
                possible &= placement.is_none_or(|placement| placement.allows(key, value));
                sure &= placement.is_some_and(|placement| placement.demands(key, value));
            }
            if possible {
                all.push(self.nodes.with(&pool.nodes).with(&ruled));
            }
            if possible && sure {
                elsewhere = false;
                break;
            }
        }
        if elsewhere || all.is_empty() {
            all.push(self.nodes.with(&ruled));
        }
        all.into_iter().reduce(Nodes::and).unwrap_or_default()
    }

    /// Everything that is said of nodes, with the field where it is said.
    fn node_fields(&mut self) -> impl Iterator<Item = (String, &mut Option<Vouch>, bool)> {
        let rules = self
            .rules
            .iter_mut()
            .enumerate()
            .map(|(index, rule)| (format!("spec.rules[{index}].nodes"), &mut rule.nodes));
        let pools = self
            .nodes
            .pools
            .iter_mut()
            .enumerate()
            .map(|(index, pool)| (format!("spec.nodes.pools[{index}].nodes"), &mut pool.nodes));
        rules.chain(pools).flat_map(|(field, nodes)| {
            [
                (format!("{field}.mirrors"), &mut nodes.mirrors, true),
                (format!("{field}.credentials"), &mut nodes.credentials, false),
            ]
        })
    }
}

impl PullgatePolicy {
    /// What the team vouches for about the nodes on which these pods may land (any, without a
    /// placement) when this image is pulled for this namespace.
    pub fn vouches(
        &self,
        reference: Option<&ImageReference>,
        namespace: &str,
        facts: Option<&NamespaceFacts>,
        placement: Option<&Placement>,
    ) -> Vouches {
        let scope = PolicyScope::new(reference, namespace, facts);
        let nodes = self.spec.nodes_for(scope, placement);
        Vouches {
            mirrors: nodes.mirrors,
            credentials: nodes.credentials,
            preloaded_images: nodes.preloaded_images.into(),
            same_network: nodes.network == VouchNetwork::Same,
            listed_images_at_most: nodes.node_status_max_images,
            platforms: nodes.platforms.iter().map(|platform| platform.get().clone()).collect(),
        }
    }

    /// The same policy, in which `listed` is `unknown` where the files were not given, and the
    /// fields for which that is so.
    #[must_use]
    pub fn without_files(mut self, given: GivenFiles) -> (Self, Vec<String>) {
        let mut fields = Vec::new();
        let spec = &mut self.spec;
        let nodes = &mut spec.nodes;
        for (field, vouch, is_given) in [
            ("spec.nodes.mirrors", &mut nodes.mirrors, given.mirrors),
            ("spec.nodes.credentials", &mut nodes.credentials, given.credentials),
        ] {
            if *vouch == Vouch::Listed && !is_given {
                *vouch = Vouch::Unknown;
                fields.push(field.to_owned());
            }
        }
        for (field, vouch, of_mirrors) in spec.node_fields() {
            let is_given = if of_mirrors { given.mirrors } else { given.credentials };
            if *vouch == Some(Vouch::Listed) && !is_given {
                *vouch = Some(Vouch::Unknown);
                fields.push(field);
            }
        }
        (self, fields)
    }
}
