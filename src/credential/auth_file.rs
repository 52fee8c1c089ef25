//! A docker configuration as CRI-O's image library reads it for its own logins: by path, and
//! nothing like the kubelet's keyring. No patterns, and only `auth` counts.

use serde_json::{Map, Value};

use super::go_base64;
use super::identity::{Credential, CredentialOrigin};
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED, DOCKER_HUB_LEGACY, ImageReference};

/// The entries of `auths`, and the registries for which a program holds the login.
#[derive(Clone, Default)]
pub struct AuthFile {
    entries: Vec<(Box<str>, Entry)>,
    helped: Vec<Box<str>>,
    origin: Option<CredentialOrigin>,
}

/// What CRI-O's own login for a name is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RuntimeLogin {
    /// It has none.
    #[default]
    None,
    /// This one.
    Login(Credential),
    /// It cannot be found out here: a program holds it, or it is of a kind that is not used here.
    Unclear,
}

impl RuntimeLogin {
    /// The login, if there is one that is known.
    pub fn login(&self) -> Option<&Credential> {
        match self {
            Self::Login(login) => Some(login),
            Self::None | Self::Unclear => None,
        }
    }
}

/// What one entry comes to.
#[derive(Clone)]
enum Entry {
    /// User name and password.
    Login(Box<[u8]>, Box<[u8]>),
    /// No login: nobody is sent.
    Nothing,
    /// Something that ends the pull, or that cannot be used here (an identity token).
    Unusable,
}

impl AuthFile {
    /// Reads a `config.json` or `auth.json`; what is none holds nothing.
    pub fn parse(data: &[u8], origin: CredentialOrigin) -> Self {
        let document: Map<String, Value> = serde_json::from_slice(data).unwrap_or_default();
        let map = |name: &str| member(&document, name).and_then(Value::as_object);
        let entry = |(key, value): (&String, &Value)| (key.as_str().into(), Entry::of(value));
        Self {
            entries: map("auths").into_iter().flatten().map(entry).collect(),
            helped: map("credHelpers")
                .into_iter()
                .flatten()
                .map(|(key, _)| &**key)
                .map(Into::into)
                .collect(),
            origin: Some(origin),
        }
    }

    /// The login for this name, if there is one that is known.
    pub fn login(&self, image: &ImageReference) -> Option<Credential> {
        self.of(image).login().cloned()
    }

    /// What CRI-O has for this name. The most exact key counts, were it empty: the repository, each
    /// part of its path, the registry; at last the registry under another spelling.
    pub fn of(&self, image: &ImageReference) -> RuntimeLogin {
        let (name, registry) = (image.name(), image.host());
        if self.helped.iter().any(|helped| **helped == *registry) {
            return RuntimeLogin::Unclear;
        }
        let parents = std::iter::successors(Some(name), |name| Some(name.rsplit_once('/')?.0));
        let exact = parents.into_iter().find_map(|key| self.entry(|own| own == key));
        match exact.or_else(|| self.entry(|own| spelled(own) == spelled(registry))) {
            Some(Entry::Login(username, password))
                if !(username.is_empty() && password.is_empty()) =>
            {
                let login = |origin| Credential::of_bytes(username, password, origin);
                self.origin
                    .clone()
                    .map_or(RuntimeLogin::None, |origin| RuntimeLogin::Login(login(origin)))
            }
            Some(Entry::Unusable) => RuntimeLogin::Unclear,
            Some(_) | None => RuntimeLogin::None,
        }
    }

    fn entry(&self, fits: impl Fn(&str) -> bool) -> Option<&Entry> {
        self.entries.iter().find(|(key, _)| fits(key)).map(|(_, entry)| entry)
    }
}

impl Entry {
    fn of(value: &Value) -> Self {
        let fields = value.as_object();
        let text = |name: &str| match fields.and_then(|fields| member(fields, name)) {
            None | Some(Value::Null) => Some(""),
            Some(value) => value.as_str(),
        };
        let (Some(auth), Some("")) = (text("auth"), text("identitytoken")) else {
            return Self::Unusable;
        };
        let Ok(decoded) = go_base64::decode(auth.as_bytes(), true) else { return Self::Unusable };
        let Some(colon) = decoded.iter().position(|byte| *byte == b':') else {
            return Self::Nothing;
        };
        let (username, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let start = password.iter().position(|byte| *byte != 0).unwrap_or(password.len());
        let end = password.iter().rposition(|byte| *byte != 0).map_or(start, |last| last + 1);
        Self::Login(username.into(), password[start..end].into())
    }
}

/// Go's decoder takes a field's name in upper and lower case.
fn member<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let other = || fields.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    fields.get(name).or_else(|| Some(other()?.1))
}

/// The registry that a key means: without a scheme and what stands behind it, Docker Hub under its
/// old name.
fn spelled(key: &str) -> &str {
    let plain = key.strip_prefix("http://").unwrap_or(key);
    let plain = plain.strip_prefix("https://").unwrap_or(plain);
    let host = if plain.len() == key.len() { plain } else { plain.split('/').next().unwrap_or("") };
    if host == DOCKER_HUB || host == DOCKER_HUB_DIALLED { DOCKER_HUB_LEGACY } else { host }
}
