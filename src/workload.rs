//! Any pod-bearing object, reduced to what decides about pulling: images, pull policies, secrets,
//! node constraints.

mod node;

pub use node::{Node, Taint, TaintEffect};
