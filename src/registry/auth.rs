//! How a credential proves itself on the wire; the only place here that sees a password.

use base64::Engine as _;
use http::{HeaderValue, StatusCode};

use super::classify::AuthUsed;
use crate::credential::{Credential, CredentialOrigin};
use crate::node_config::NodeLogin;

/// The user name by which docker's own tools mark an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// What is sent for a credential.
#[derive(Clone)]
pub(super) enum Secret {
    /// `Authorization: Basic …`, marked as sensitive.
    Basic(HeaderValue),
    /// An identity token, which only a token service takes.
    Identity(Box<str>),
    /// A user name with an empty password. To token services runtimes are nobody with it; where
    /// Basic is wanted CRI-O sends it, and containerd gives up
    /// (`docker_client.go`, `setupRequestAuth`; `authorizer.go`, `AddResponses`).
    NameAlone,
}

/// The login of the nodes' runtime as a credential.
pub(super) fn credential_of(login: &NodeLogin) -> Credential {
    match login {
        NodeLogin::Password { username, password } => {
            Credential::of_bytes(username, password, CredentialOrigin::NodeRuntime)
        }
        NodeLogin::IdentityToken(token) => {
            Credential::new(IDENTITY_TOKEN, token, CredentialOrigin::NodeRuntime)
        }
    }
}

/// What this credential sends; nothing for one that is as good as anonymous.
///
/// The kubelet knows no identity tokens and sends the marked ones like any password; only a
/// person's own docker configuration is read as docker reads it, and a runtime's own login may be
/// one.
pub(super) fn secret_of(credential: &Credential) -> Option<Secret> {
    if credential.is_anonymous() {
        return None;
    }
    let username = credential.username_bytes();
    let password = credential.password().expose();
    if password.is_empty() {
        return Some(Secret::NameAlone);
    }
    let marked = matches!(
        credential.source().origin,
        CredentialOrigin::User | CredentialOrigin::NodeRuntime
    );
    if username == IDENTITY_TOKEN.as_bytes() && marked {
        return std::str::from_utf8(password).ok().map(|token| Secret::Identity(token.into()));
    }
    let mut plain = username.to_vec();
    plain.push(b':');
    plain.extend_from_slice(password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(Secret::Basic(value))
}

/// How the next request proves itself.
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    pub(super) proof: AuthUsed,
    /// Whether it was got for this very request: then a 401 is the last word.
    pub(super) fresh: bool,
    /// Whether it is a token or a login that an earlier conversation was let in with, or a token of a
    /// service that was named for another repository.
    pub(super) is_old: bool,
}

impl Authorization {
    pub(super) const fn nothing() -> Self {
        Self { header: None, proof: AuthUsed::Nothing, fresh: false, is_old: false }
    }

    /// Whether who begins anew may be answered otherwise. A token holds what its owner was allowed
    /// when it was made: registries refuse what was granted since, or hide it. And some refuse, or
    /// hide from, a login what they give to anybody.
    pub(super) fn is_outdated_by(&self, status: StatusCode) -> bool {
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
        self.is_old && refused.contains(&status)
    }
}
