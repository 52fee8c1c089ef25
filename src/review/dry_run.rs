//! What a dry run may cost: it never uses up what a registry counts.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;

use super::ManifestSource;
use crate::credential::{Credential, Expiry};
use crate::image::{Digest, ImageReference};
use crate::pull::{
    BlindReason, Detail, KnownManifest, Lookup, LookupRequest, MirrorFiles, Outcome, PullsLeft,
    TagList,
};

/// Registries, asked without reading manifests where each costs a pull.
pub(super) struct Unmetered<'a>(pub(super) &'a dyn ManifestSource);

/// The same question without a GET of a manifest where Docker Hub counts it as a pull.
fn unmetered(request: LookupRequest) -> LookupRequest {
    let counted = request.reference.is_on_docker_hub();
    let detail = if counted { Detail::Presence } else { request.detail };
    LookupRequest { detail, ..request }
}

impl ManifestSource for Unmetered<'_> {
    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        self.0.look_up(unmetered(request), deadline)
    }

    fn repeat(&self, request: LookupRequest) -> BoxFuture<'static, ()> {
        self.0.repeat(unmetered(request))
    }

    fn mirror_files(&self, image: &ImageReference) -> Option<MirrorFiles> {
        self.0.mirror_files(image)
    }

    fn completed(&self, short: &ImageReference) -> Option<ImageReference> {
        self.0.completed(short)
    }

    fn repositories(
        &self,
        image: &ImageReference,
        credential: Option<&Credential>,
        namespace: &str,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        self.0.repositories(image, credential, namespace, deadline)
    }

    fn certificate_end(&self, image: &ImageReference) -> Option<Expiry> {
        self.0.certificate_end(image)
    }

    fn known_manifest(&self, image: &ImageReference, digest: &Digest) -> Option<KnownManifest> {
        self.0.known_manifest(image, digest)
    }

    fn pulls_left(
        &self,
        image: &ImageReference,
        credential: Option<&Credential>,
    ) -> Option<PullsLeft> {
        self.0.pulls_left(image, credential)
    }

    fn blind_reason(&self, host: &str) -> Option<BlindReason> {
        self.0.blind_reason(host)
    }

    fn tags(
        &self,
        repository: &ImageReference,
        credential: Option<&Credential>,
        namespace: &str,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Arc<TagList>, Outcome>> {
        self.0.tags(repository, credential, namespace, deadline)
    }
}
