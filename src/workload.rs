//! Any pod-bearing object, reduced to what decides about pulling: images with their places, pull
//! policies, pull secrets, the ServiceAccount, and on which nodes the pods may land.
//!
//! Decoding borrows from the object's own bytes and skips everything else; a whole Pod is never in
//! memory.

mod changed;
mod custom;
mod extract;
mod kind;
mod namespace;
mod needs;
mod node;
mod object;
mod place;
mod placement;
mod pods;
mod quantity;
mod rollout;
mod runtime_class;
mod tekton;
mod toleration;
mod triggers;
mod view;

pub use custom::{CustomKind, custom_kind, custom_kinds};
pub use extract::{ExtractError, PULL_SECRETS_AT_MOST, PodObject, extract};
pub use kind::{PodPath, TektonKind, WorkloadKind, built_in_kinds, pod_path};
pub use namespace::NamespaceFacts;
pub use node::{LISTED_IMAGES_AT_MOST, LISTED_NAMES_AT_MOST, Node, Taint, TaintEffect};
pub use object::{ContainerImage, ContainerKind, ImagePullPolicy, ObjectRef, Owner, Workload};
pub use place::PodPlace;
pub use placement::{Eligible, Placement};
pub use pods::PodCount;
pub use quantity::Quantity;
pub use rollout::Rollout;
pub use runtime_class::RuntimeClass;
