//! What a dry run may cost: it never uses up what a registry counts.

use std::time::Instant;

use futures::future::BoxFuture;

use super::ManifestSource;
use crate::pull::{Detail, Lookup, LookupRequest};

/// Registries, asked without reading manifests where each costs a pull.
pub(super) struct Unmetered<'a>(pub(super) &'a dyn ManifestSource);

/// The same question without a GET of a manifest where Docker Hub counts it as a pull.
fn unmetered(request: LookupRequest) -> LookupRequest {
    let counted = request.reference.is_on_docker_hub();
    let detail = if counted { Detail::Presence } else { request.detail };
    LookupRequest { detail, ..request }
}

impl ManifestSource for Unmetered<'_> {
    fn inner(&self) -> Option<&dyn ManifestSource> {
        Some(self.0)
    }

    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        self.0.look_up(unmetered(request), deadline)
    }

    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        self.0.repeat(unmetered(request))
    }
}
