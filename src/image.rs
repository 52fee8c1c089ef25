//! What an image field names: references as the kubelet and the runtimes parse them, digests,
//! and platforms.
//!
//! The grammar is that of the `distribution/reference` library, which the API server, the
//! kubelet and containerd link, and CRI-O as an older copy; the differential tests hold this port
//! against both.
//! Pure: nothing here looks at a registry, a node or the clock.

mod digest;
mod explain;
mod grammar;
mod platform;
mod reference;

pub use digest::{Algorithm, Digest, DigestError};
pub use explain::ReferenceErrorKind;
pub use platform::{Platform, PlatformError, PlatformRule};
pub(crate) use reference::{DOCKER_HUB, DOCKER_HUB_DIALLED, DOCKER_HUB_LEGACY, registry_of_host};
pub use reference::{ImageReference, ReferenceError};

/// Whether this is a registry as a reference names it: a host, with a port or without.
pub(crate) fn is_registry(text: &str) -> bool {
    grammar::is_domain(text)
}

/// Whether an empty `imagePullPolicy` beside this image becomes `Always`; otherwise it becomes
/// `IfNotPresent`.
///
/// The API server's rule (`SetDefaults_Container`): `Always` if the tag is exactly `latest`,
/// written or implied, even beside a digest; a name that does not parse gives `IfNotPresent`.
pub fn defaults_to_always(image: &str) -> bool {
    ImageReference::parse(image).is_ok_and(|reference| reference.tag() == Some("latest"))
}
