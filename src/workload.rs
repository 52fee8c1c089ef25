//! Any pod-bearing object, reduced to what decides about pulling: images with their places, pull
//! policies, pull secrets, the ServiceAccount, and on which nodes the pods may land.
//!
//! Decoding borrows from the object's own bytes and skips everything else; a whole Pod is never in
//! memory.

mod changed;
mod custom;
mod extract;
mod kind;
mod needs;
mod node;
mod object;
mod place;
mod placement;
mod quantity;
mod rollout;
mod tekton;
mod toleration;
mod triggers;
mod view;

pub use custom::{CustomKind, custom_kind, custom_kinds};
pub(crate) use extract::PULL_SECRETS_AT_MOST;
pub use extract::{ExtractError, PodObject, extract};
pub use kind::{PodPath, TektonKind, WorkloadKind, built_in_kinds, pod_path};
pub(crate) use node::{LISTED_IMAGES_AT_MOST, LISTED_NAMES_AT_MOST};
pub use node::{Node, Taint, TaintEffect};
pub use object::{ContainerImage, ContainerKind, ImagePullPolicy, ObjectRef, Owner, Workload};
pub use place::PodPlace;
pub use placement::{Eligible, Placement};
pub use quantity::Quantity;
pub use rollout::{PodCount, Rollout};
pub use toleration::RuntimeClass;

/// What matters of a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// The namespace's labels, sorted by key.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The namespace's annotations under `pullgate.dev/`, sorted by key.
    pub annotations: Vec<(Box<str>, Box<str>)>,
}
