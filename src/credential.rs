//! Pull secrets, docker configurations, and the kubelet's keyring: which credentials are tried
//! for an image, in which order.
//!
//! The keyring is the kubelet's to the letter, including the ways of the Go libraries it is
//! built on (`go_*`); the differential tests hold it against the original. Pure: nobody here
//! reads a Secret from the API or speaks to a registry, and no secret is in any `Debug`.

mod auth_file;
mod docker_config;
mod expiry;
mod go_base64;
mod go_glob;
mod go_json;
mod go_url;
mod identity;
mod keyring;
mod provider;
mod secret;

use crate::text::escaped;

pub use auth_file::{AuthFile, RuntimeLogin};
pub use docker_config::{ConfigError, DockerConfig};
pub use expiry::Expiry;
pub use identity::{
    Credential, CredentialIdentity, CredentialOrigin, CredentialSource, IdentitySalt, Password,
};
pub(crate) use keyring::Mismatch;
pub use keyring::{IgnoredSecret, Keyring, KeyringError, Match, MatchRule, pattern_fits};
pub(crate) use provider::{CacheScope, ProviderAnswer, ProviderConfig};
pub use provider::{Provider, ProviderError};
pub use secret::{PullSecret, SecretProblem};

/// The most characters of a key that are shown.
const SHOWN: usize = 200;

/// A key as written, fit to be shown: without user part, query and fragment, where people put
/// tokens; one line; bounded.
fn presentable(written: &str) -> Box<str> {
    let end = written.find(['?', '#']).unwrap_or(written.len());
    let kept = &written[..end];
    let scheme = ["https://", "http://"].into_iter().find(|scheme| kept.starts_with(scheme));
    let rest = scheme.and_then(|scheme| kept.strip_prefix(scheme)).unwrap_or(kept);
    let mut shown = scheme.unwrap_or_default().to_owned();
    match rest.rfind('@') {
        Some(at) => {
            shown.push('…');
            shown.push_str(&rest[at..]);
        }
        None => shown.push_str(rest),
    }
    if end < written.len() {
        shown.push('…');
    }
    escaped(&shown, SHOWN).into()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://index.docker.io/v1/", "https://index.docker.io/v1/")]
    #[case("https://me:token@ghcr.io/org", "https://…@ghcr.io/org")]
    #[case("me@you@ghcr.io", "…@ghcr.io")]
    #[case("ghcr.io?token=x", "ghcr.io…")]
    #[case("oci://me:token@ghcr.io", "…@ghcr.io")]
    #[case("a\nb\u{202e}", "a\\nb\\u{202e}")]
    fn shows_keys_without_secrets(#[case] written: &str, #[case] shown: &str) {
        assert_eq!(&*presentable(written), shown);
    }
}
