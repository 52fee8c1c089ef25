//! The content of the Secret, and what of it a replica serves with.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;

/// What a replica serves with. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct ServingMaterial {
    /// Certificate and private key, PEM; nothing where others make the certificate.
    pub certificate: Option<(String, String)>,
    /// The token in the webhook's path.
    pub token: String,
}

impl fmt::Debug for ServingMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material(redacted)")
    }
}

/// A certificate and its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(redacted)")
    }
}

/// The Secret's content, as far as it is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct PkiSecret {
    /// The authority that signs.
    pub(super) authority: Option<Pair>,
    /// The one that will, already trusted.
    pub(super) next: Option<Pair>,
    /// Those that did, still trusted; certificates one after the other.
    pub(super) previous: String,
    /// The serving certificate.
    pub(super) leaf: Option<Pair>,
    /// The token in the webhook's path.
    pub(super) token: Option<String>,
}

impl fmt::Debug for PkiSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PkiSecret(redacted)")
    }
}

impl PkiSecret {
    /// Reads a Secret's `data`. What is not text is as if it were not there.
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Self {
        let text = |key: &str| {
            let text = data.get(key).and_then(|bytes| std::str::from_utf8(&bytes.0).ok())?;
            (!text.trim().is_empty()).then(|| text.to_owned())
        };
        let pair = |certificate: &str, key: &str| {
            Some(Pair { certificate: text(certificate)?, key: text(key)? })
        };
        Self {
            authority: pair("ca.crt", "ca.key"),
            next: pair("next-ca.crt", "next-ca.key"),
            previous: text("previous-ca.crt").unwrap_or_default(),
            leaf: pair("tls.crt", "tls.key"),
            token: text("token"),
        }
    }

    /// The Secret's `data`.
    pub(super) fn write(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: &str| {
            data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        };
        for (names, pair) in [
            (("ca.crt", "ca.key"), &self.authority),
            (("next-ca.crt", "next-ca.key"), &self.next),
            (("tls.crt", "tls.key"), &self.leaf),
        ] {
            if let Some(pair) = pair {
                put(names.0, &pair.certificate);
                put(names.1, &pair.key);
            }
        }
        if !self.previous.is_empty() {
            put("previous-ca.crt", &self.previous);
        }
        if let Some(token) = &self.token {
            put("token", token);
        }
        data
    }

    /// All authorities that are to be trusted, PEM: the one that signs, the next, the earlier ones.
    pub(super) fn bundle(&self) -> String {
        let current = self.authority.iter().chain(&self.next).map(|pair| &*pair.certificate);
        let mut bundle = String::new();
        for part in current.chain([self.previous.as_str()]) {
            bundle.push_str(part.trim());
            bundle.push('\n');
        }
        bundle.trim().to_owned() + "\n"
    }

    /// What a replica serves with, once it is complete.
    pub(super) fn material(&self, with_certificate: bool) -> Option<ServingMaterial> {
        let token = self.token.clone()?;
        let certificate = match (with_certificate, &self.leaf) {
            (false, _) => None,
            (true, None) => return None,
            (true, Some(leaf)) => Some((leaf.certificate.clone(), leaf.key.clone())),
        };
        Some(ServingMaterial { certificate, token })
    }
}
