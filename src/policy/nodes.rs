//! What a `PullgatePolicy` vouches for about the nodes, field by field.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::NodePlatform;
use crate::pull::Vouch;

/// What the platform team says about images on the nodes' disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VouchPreloaded {
    /// Nobody vouches for anything: the escape stays open.
    #[default]
    Unknown,
    /// No image is on a node unless the cluster pulled it.
    None,
}

/// What the platform team says about the way from the nodes to registries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum VouchNetwork {
    /// Nobody vouches for anything: the escape stays open.
    #[default]
    Unknown,
    /// It is the same as that of Pullgate.
    Same,
}

impl From<VouchPreloaded> for Vouch {
    fn from(vouch: VouchPreloaded) -> Self {
        match vouch {
            VouchPreloaded::Unknown => Self::Unknown,
            VouchPreloaded::None => Self::None,
        }
    }
}

/// What the platform team vouches for about its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Nodes {
    /// Mirrors configured on the nodes: `none`, or `listed` where Pullgate was given the same
    /// `certs.d` files (`--registry-hosts-dir`).
    pub mirrors: Vouch,
    /// Credentials of the nodes' own (cloud identities, `config.json`, credential providers):
    /// `none`, or `listed` where Pullgate was given the same ones.
    pub credentials: Vouch,
    /// Images that are on the nodes from elsewhere (baked in, side-loaded): `none` or `unknown`.
    pub preloaded_images: VouchPreloaded,
    /// The way from the nodes to registries: `same` where they ask from addresses that registries
    /// treat like those of Pullgate, through the same proxy and with the same DNS, or `unknown`.
    pub network: VouchNetwork,
    /// The only platforms that nodes of this cluster can ever have, such as `linux/amd64`, those
    /// of pools without a node included. Without them no image is denied for its platform.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub platforms: Vec<NodePlatform>,
    /// The `nodeStatusMaxImages` of the nodes' kubelets, where it is not 50: what a node does not
    /// list it does not have, unless it lists so many. -1 is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub node_status_max_images: Option<i32>,
    /// Pools of nodes of which something else is true. A node belongs to the first pool whose
    /// labels it has; for pods that may land in several, or on nodes of none, only what all of
    /// these have in common counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pools: Vec<NodePool>,
}

/// A pool of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct NodePool {
    /// The labels of its nodes; all of them.
    pub node_selector: BTreeMap<String, String>,
    /// As `spec.nodes`; what is left out stays as it is there.
    #[serde(default)]
    pub nodes: NodesOverride,
}

/// What a rule or a pool vouches for otherwise than the policy at large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct NodesOverride {
    /// As `spec.nodes.mirrors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirrors: Option<Vouch>,
    /// As `spec.nodes.credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Vouch>,
    /// As `spec.nodes.preloadedImages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preloaded_images: Option<VouchPreloaded>,
    /// As `spec.nodes.network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<VouchNetwork>,
    /// As `spec.nodes.platforms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub platforms: Option<Vec<NodePlatform>>,
    /// As `spec.nodes.nodeStatusMaxImages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub node_status_max_images: Option<i32>,
}
