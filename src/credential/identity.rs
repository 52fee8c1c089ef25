//! `Credential`: one login as the runtime sends it, where it came from, and an identity of it
//! that may be a cache key.
//!
//! Nothing here shows a user name or a password in `Debug` or `Display`: user names can be
//! tokens, too. Whoever speaks to a registry asks for them by name.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

/// User name and password, as bytes: a decoded `auth` need not be text.
#[derive(PartialEq, Eq)]
pub(super) struct Login {
    username: Box<[u8]>,
    password: Box<[u8]>,
}

impl Login {
    pub(super) fn new(username: &[u8], password: &[u8]) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// A runtime ignores the password where the user name is empty.
    pub(super) fn is_anonymous(&self) -> bool {
        self.username.is_empty()
    }

    #[cfg(test)]
    pub(super) fn username(&self) -> &[u8] {
        &self.username
    }

    #[cfg(test)]
    pub(super) fn password(&self) -> &[u8] {
        &self.password
    }
}

/// What kind of place a credential comes from, with that place's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialOrigin {
    /// A pull secret of the pod, by its name.
    Secret(Arc<str>),
    /// A docker configuration of the nodes, by its file.
    NodeConfig(Arc<str>),
    /// A credential plugin of the nodes, by its name.
    NodePlugin(Arc<str>),
    /// The configuration of the nodes' container runtime.
    NodeRuntime,
    /// The docker configuration of the person at the command line.
    User,
}

impl fmt::Display for CredentialOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret {name}"),
            Self::NodeConfig(file) => write!(f, "node docker config {file}"),
            Self::NodePlugin(name) => write!(f, "credential plugin {name}"),
            Self::NodeRuntime => f.write_str("the nodes' runtime configuration"),
            Self::User => f.write_str("own docker config"),
        }
    }
}

/// Where a credential comes from: the place and the key within it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialSource {
    /// The place.
    pub origin: CredentialOrigin,
    /// The key as it is written there, fit to be shown: without a user part, query or fragment
    /// (people put tokens there), control characters escaped, bounded.
    pub written: Box<str>,
    /// The key that the kubelet makes of it: host and path; empty if it drops the entry. Made fit
    /// to be shown in the same way.
    pub key: Box<str>,
}

impl CredentialSource {
    /// A login of the nodes' runtime, which the kubelet knows nothing of.
    pub(crate) fn node_runtime() -> Self {
        Self { origin: CredentialOrigin::NodeRuntime, written: Box::default(), key: Box::default() }
    }
}

/// One login to try, and where it comes from. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub(super) login: Arc<Login>,
    pub(super) source: Arc<CredentialSource>,
}

impl Credential {
    /// A credential that comes from no keyring.
    pub fn new(username: &str, password: &str, origin: CredentialOrigin) -> Self {
        Self::of_bytes(username.as_bytes(), password.as_bytes(), origin)
    }

    /// The same of bytes that need not be text.
    pub(crate) fn of_bytes(username: &[u8], password: &[u8], origin: CredentialOrigin) -> Self {
        let source = CredentialSource { origin, written: Box::default(), key: Box::default() };
        Self { login: Arc::new(Login::new(username, password)), source: Arc::new(source) }
    }

    /// The user name. Not for logs: it can be a token.
    pub fn username(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.login.username)
    }

    /// The user name as it is: what an `auth` decodes to need not be text.
    pub fn username_bytes(&self) -> &[u8] {
        &self.login.username
    }

    /// The password, redacted until it is exposed.
    pub fn password(&self) -> Password<'_> {
        Password(&self.login.password)
    }

    /// Where it comes from.
    pub fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// Whether runtimes send no login for it: its user name is empty, whatever its password is.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.login.is_anonymous()
    }

    /// Whether user name and password are UTF-8. Where they are not, some kubelets and runtimes
    /// cannot pass them on: what the node will do cannot be told.
    pub(crate) fn is_text(&self) -> bool {
        std::str::from_utf8(&self.login.username).is_ok()
            && std::str::from_utf8(&self.login.password).is_ok()
    }

    /// The identity of what a registry is shown; equal logins have equal identities, and every
    /// anonymous one that of no credential at all. The e-mail and the source do not count.
    pub fn identity(&self, salt: &IdentitySalt) -> CredentialIdentity {
        if self.is_anonymous() {
            return CredentialIdentity::ANONYMOUS;
        }
        let mut hasher = Sha256::new();
        hasher.update(salt.0);
        hasher.update((self.login.username.len() as u64).to_be_bytes());
        hasher.update(&self.login.username);
        hasher.update(&self.login.password);
        CredentialIdentity(hasher.finalize().into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("source", &self.source)
            .field("anonymous", &self.is_anonymous())
            .finish_non_exhaustive()
    }
}

/// A password that is not shown unless it is asked for.
#[derive(Clone, Copy)]
pub struct Password<'a>(&'a [u8]);

impl<'a> Password<'a> {
    /// The password itself, for the registry that it belongs to.
    pub fn expose(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Random bytes, new for each process: identities mean nothing outside of it.
#[derive(Clone)]
pub struct IdentitySalt([u8; 32]);

impl IdentitySalt {
    /// From 32 bytes of the system's random source.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

impl fmt::Debug for IdentitySalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentitySalt(…)")
    }
}

/// An opaque stand-in for a login: a keyed hash, fit to be a cache key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialIdentity([u8; 32]);

impl CredentialIdentity {
    /// The identity of no credential.
    pub(crate) const ANONYMOUS: Self = Self([0; 32]);

    /// Of a credential, or of none.
    pub fn of(credential: Option<&Credential>, salt: &IdentitySalt) -> Self {
        credential.map_or(Self::ANONYMOUS, |credential| credential.identity(salt))
    }
}

impl fmt::Debug for CredentialIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANONYMOUS {
            return f.write_str("anonymous");
        }
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(username: &str, password: &str) -> Credential {
        Credential::new(username, password, CredentialOrigin::Secret("s".into()))
    }

    #[test]
    fn identity_is_that_of_the_login() {
        let salt = IdentitySalt::new([7; 32]);
        let identity = |u, p| credential(u, p).identity(&salt);
        assert_eq!(identity("u", "p"), identity("u", "p"));
        assert_ne!(identity("u", "p"), identity("u", "q"));
        assert_ne!(identity("up", "q"), identity("u", "pq"));
        assert_ne!(identity("u", "p"), credential("u", "p").identity(&IdentitySalt::new([8; 32])));
        assert_eq!(identity("", "p"), CredentialIdentity::ANONYMOUS);
        assert_eq!(CredentialIdentity::of(None, &salt), CredentialIdentity::ANONYMOUS);
        assert_eq!(format!("{:?}", identity("u", "p")).len(), 8);
        assert_eq!(format!("{:?}", CredentialIdentity::ANONYMOUS), "anonymous");
    }

    #[test]
    fn nothing_shows_a_secret() {
        let credential = credential("hidden-name", "hidden-word");
        let shown =
            format!("{credential:?} {:?} {:?}", credential.password(), IdentitySalt::new([9; 32]));
        assert!(!shown.contains("hidden"), "{shown}");
        assert_eq!(credential.password().expose(), b"hidden-word");
        assert_eq!(credential.username(), "hidden-name");
    }
}
