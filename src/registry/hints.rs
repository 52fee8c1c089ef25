//! How registries want to be spoken to, as earlier conversations showed.

use std::collections::{HashMap, HashSet};

use super::challenge::Challenge;
use crate::credential::CredentialIdentity;

/// The most registries of which it is remembered how they want to be spoken to.
pub(super) const MAX_REMEMBERED: usize = 10_000;

/// What was learned of registries' ways; losing it costs a request.
#[derive(Default)]
pub(super) struct HostHints {
    /// Registries that let a credential in by Basic.
    pub(super) basic: HashSet<(Box<str>, CredentialIdentity)>,
    /// Registries that speak no TLS although it was tried first.
    pub(super) plain: HashSet<Box<str>>,
    /// Whether registries refuse HEADs for what they give to GETs.
    pub(super) heads: HashMap<Box<str>, bool>,
    /// Token services by registry and credential, without scope; nothing for a registry that names
    /// several.
    pub(super) services: HashMap<(Box<str>, CredentialIdentity), Option<Challenge>>,
}

impl HostHints {
    /// Notes that a registry let a credential in by Basic.
    pub(super) fn note_basic(&mut self, key: (Box<str>, CredentialIdentity)) {
        if self.basic.len() >= MAX_REMEMBERED {
            self.basic.clear();
        }
        self.basic.insert(key);
    }

    /// Whether no HEAD was sent to this registry so far, and so who asks is to send one.
    pub(super) fn is_first_head(&mut self, registry: Box<str>) -> bool {
        let is_new = !self.heads.contains_key(&registry);
        if is_new {
            self.note_heads(registry, false);
        }
        is_new
    }

    /// Forgets that a registry was to get its first HEAD, which was not sent.
    pub(super) fn forget_heads(&mut self, registry: &str) {
        self.heads.remove(registry);
    }

    /// Notes whether a registry refuses HEADs.
    pub(super) fn note_heads(&mut self, registry: Box<str>, refused: bool) {
        if self.heads.len() >= MAX_REMEMBERED {
            self.heads.clear();
        }
        self.heads.insert(registry, refused);
    }

    /// Takes in where a token came from that the registry then took.
    pub(super) fn note_service(
        &mut self,
        key: (Box<str>, CredentialIdentity),
        challenge: &Challenge,
    ) {
        if self.services.len() >= MAX_REMEMBERED {
            self.services.clear();
        }
        let service = Challenge { scope: None, error: None, ..challenge.clone() };
        let known = self.services.entry(key).or_insert_with(|| Some(service.clone()));
        // Some have one for each repository: then only its own challenge tells.
        if known.as_ref() != Some(&service) {
            *known = None;
        }
    }
}
