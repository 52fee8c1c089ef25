//! How a credential proves itself on the wire; the only place here that sees a password.

use base64::Engine as _;
use http::HeaderValue;

use crate::credential::{Credential, CredentialOrigin};

/// The user name by which docker's own tools mark an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// What is sent for a credential.
#[derive(Clone)]
pub(super) enum Secret {
    /// `Authorization: Basic …`, marked as sensitive.
    Basic(HeaderValue),
    /// An identity token, which only a token service takes.
    Identity(Box<str>),
}

/// What this credential sends; nothing for one that is as good as anonymous.
///
/// The kubelet knows no identity tokens and sends the marked ones like any password; only a
/// person's own docker configuration is read as docker reads it.
pub(super) fn secret_of(credential: &Credential) -> Option<Secret> {
    if credential.is_anonymous() {
        return None;
    }
    let username = credential.username();
    let password = credential.password().expose();
    if username == IDENTITY_TOKEN && credential.source().origin == CredentialOrigin::User {
        return std::str::from_utf8(password).ok().map(|token| Secret::Identity(token.into()));
    }
    let mut plain = username.as_bytes().to_vec();
    plain.push(b':');
    plain.extend_from_slice(password);
    let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(Secret::Basic(value))
}
