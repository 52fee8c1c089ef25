//! Whether what pods got without a pull secret is to be had by anybody: if not, their nodes log in
//! by themselves.

use std::sync::Arc;
use std::time::Instant;

use super::ManifestSource;
use super::gather::hides_nothing;
use crate::image::ImageReference;
use crate::policy::PullgatePolicy;
use crate::pull::{Detail, LookupRequest, Outcome, Purpose};

/// Whether this image is refused to who does not log in; nothing while nobody can tell, or if the
/// policy leaves it alone.
pub async fn is_refused_to_anybody(
    registry: &dyn ManifestSource,
    policy: &PullgatePolicy,
    reference: &ImageReference,
    deadline: Instant,
) -> Option<bool> {
    if policy.skips(reference) {
        return None;
    }
    let request = LookupRequest {
        reference: reference.clone(),
        credential: None,
        detail: Detail::Presence,
        max_age: None,
        purpose: Purpose::Advice,
        namespace: Arc::default(),
    };
    match registry.look_up(request, deadline).await.outcome {
        Outcome::Exists(_) => Some(false),
        Outcome::Unauthorized | Outcome::Forbidden | Outcome::MissingOrDenied => Some(true),
        // Gone since: then the repository itself has to tell, which may be hidden as well.
        Outcome::TagMissing { code: Some(_) } | Outcome::RepositoryMissing { code: Some(_) } => {
            let readable = hides_nothing(reference.host())
                || registry.tags(reference, None, "", deadline).await.is_ok();
            Some(!readable)
        }
        _ => None,
    }
}
