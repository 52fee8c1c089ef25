//! Images that the nodes have already.

use super::Advice;
use crate::image::ImageReference;
use crate::pull::on_every_node;
use crate::workload::{Eligible, ImagePullPolicy};

/// Said where every node that the pods may land on lists the image and would start it without
/// asking the registry, if only the pull policy let it.
pub fn already_on_nodes(
    wanted: &ImageReference,
    policy: ImagePullPolicy,
    eligible: &Eligible<'_>,
) -> Option<Advice> {
    if policy != ImagePullPolicy::Always || !on_every_node(eligible, wanted) {
        return None;
    }
    Some(Advice::already_on_nodes(eligible.nodes.len()))
}
