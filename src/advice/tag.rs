//! Which tag to propose.

use crate::health::KnownTag;
use crate::image::ImageReference;

/// Tags that run here in place of `wanted`, best first: in its own namespace before others, then
/// the one started last.
pub fn rank_known_tags<'t>(wanted: &ImageReference, known: &'t [KnownTag]) -> Vec<&'t KnownTag> {
    let mut ranked: Vec<&KnownTag> =
        known.iter().filter(|tag| tag.reference != *wanted && tag.pods > 0).collect();
    ranked.sort_by_key(|tag| (!tag.in_namespace, std::cmp::Reverse(tag.last_started)));
    ranked
}
