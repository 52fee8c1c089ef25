//! `Keyring`: which credentials the kubelet tries for an image, and in which order.
//!
//! Normalising of keys, matching, order and the Docker Hub fallback follow the kubelet's
//! `pkg/credentialprovider/keyring.go`. Reading secrets is `secret`'s, speaking to registries
//! somebody else's.

use std::sync::Arc;

use jiff::Timestamp;

use super::docker_config::{ConfigError, DockerConfig};
use super::expiry::Expiry;
use super::go_url::{self, Brackets, Parsed};
use super::identity::{Credential, CredentialOrigin, CredentialSource};
use super::secret::{PullSecret, SecretProblem};
use super::{go_glob, presentable};
use crate::image::ImageReference;

/// The key under which credentials serve all of Docker Hub when nothing else matches.
const HUB_KEY: &[u8] = b"index.docker.io";

/// Why there is no keyring, and so no pull at all: the kubelet tries nothing, not even
/// anonymously, whatever the other secrets hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The kubelet's own refusal; the text is the pod's waiting reason and message.
    #[error("{fault}")]
    Broken {
        /// The first broken secret.
        secret: Arc<str>,
        /// What is wrong with it.
        #[source]
        fault: ConfigError,
    },
    /// We did not read a secret, so we do not know what the kubelet would say.
    #[error("secret {secret} is too large to be read")]
    TooLarge {
        /// The secret.
        secret: Arc<str>,
    },
}

impl KeyringError {
    /// The secret in question.
    pub fn secret(&self) -> &str {
        match self {
            Self::Broken { secret, .. } | Self::TooLarge { secret } => secret,
        }
    }
}

/// A secret that the kubelet passes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredSecret {
    /// Its name.
    pub name: Arc<str>,
    /// Why it contributes nothing.
    pub problem: SecretProblem,
}

/// Credentials by registry key, in the order in which the kubelet looks at them.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    entries: Vec<Entry>,
    dropped: Vec<Arc<CredentialSource>>,
    ignored: Vec<IgnoredSecret>,
    /// When each secret was made.
    created: Vec<(Arc<str>, Timestamp)>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: Vec<u8>,
    /// What the key matches, by the rules of current releases of Go; nothing if it does not
    /// parse a second time.
    pattern: Option<Pattern>,
    /// Set if only kubelets built with older releases of Go take this key, or take it this way.
    disputed: bool,
    credential: Credential,
}

/// How an entry came to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchRule {
    /// Host and path of the key fit the image.
    Key,
    /// Nothing else fits, and the image is one of Docker Hub or looks like one.
    HubFallback,
}

/// What keeps an entry from matching an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// It is for another host.
    Host,
    /// It is for another port of this host.
    Port,
    /// It is for other paths of this host.
    Path,
}

/// An entry that matches an image.
#[derive(Debug, Clone, Copy)]
pub struct Match<'a> {
    /// The credential, with its source.
    pub credential: &'a Credential,
    /// How it came to match.
    pub rule: MatchRule,
}

impl Keyring {
    /// The keyring of a pod's pull secrets, in the order in which they are listed.
    pub fn from_secrets(secrets: &[PullSecret]) -> Result<Self, KeyringError> {
        let mut keyring = Self::default();
        for secret in secrets {
            keyring.created.extend(secret.created().map(|at| (secret.shared_name(), at)));
            match secret.read() {
                Ok(config) => {
                    keyring.add(&config, &CredentialOrigin::Secret(secret.shared_name()));
                }
                Err(SecretProblem::Broken(fault)) => {
                    return Err(KeyringError::Broken { secret: secret.shared_name(), fault });
                }
                Err(SecretProblem::TooLarge) => {
                    return Err(KeyringError::TooLarge { secret: secret.shared_name() });
                }
                Err(problem) => {
                    keyring.ignored.push(IgnoredSecret { name: secret.shared_name(), problem });
                }
            }
        }
        keyring.sort();
        Ok(keyring)
    }

    /// The keyring of one docker configuration: a node's, a plugin's answer, a person's own.
    pub fn from_config(config: &DockerConfig, origin: &CredentialOrigin) -> Self {
        let mut keyring = Self::default();
        keyring.add(config, origin);
        keyring.sort();
        keyring
    }

    fn add(&mut self, config: &DockerConfig, origin: &CredentialOrigin) {
        for (written, login) in config.entries() {
            let strict = normalize(written, Brackets::Ipv6Only);
            let lenient = normalize(written, Brackets::Anything);
            let key = strict.as_ref().or(lenient.as_ref());
            let source = Arc::new(CredentialSource {
                origin: origin.clone(),
                written: presentable(written),
                key: key.map(|key| presentable(&String::from_utf8_lossy(key))).unwrap_or_default(),
            });
            let Some(key) = key.cloned() else {
                self.dropped.push(source);
                continue;
            };
            let rules = if strict.is_some() { Brackets::Ipv6Only } else { Brackets::Anything };
            let strict_pattern = Pattern::of_key(&key, rules);
            let lenient_pattern = Pattern::of_key(&key, Brackets::Anything);
            self.entries.push(Entry {
                disputed: strict.is_none() || strict_pattern.is_none() && lenient_pattern.is_some(),
                pattern: strict_pattern.or(lenient_pattern),
                key,
                credential: Credential { login: login.clone(), source },
            });
        }
    }

    /// Reverse byte order of the key; equal keys stay in the order of the secrets.
    fn sort(&mut self) {
        self.entries.sort_by(|a, b| b.key.cmp(&a.key));
    }

    /// The credentials that the kubelet tries for an image, in its order, until one pull
    /// succeeds; without any it makes one anonymous attempt, after some it makes none.
    ///
    /// Entries of one secret whose keys come to the same have no order in the kubelet; here they
    /// keep that of the document.
    pub fn lookup(&self, image: &ImageReference) -> Vec<Credential> {
        self.explain(image).map(|found| found.credential.clone()).collect()
    }

    /// The entries that match an image, in the order in which they are tried, and why.
    pub fn explain(&self, image: &ImageReference) -> impl Iterator<Item = Match<'_>> {
        // Most pods have no pull secret: then there is nothing to compare with.
        let target = self.target(image, Brackets::Ipv6Only);
        let fits = move |entry: &&Entry| !entry.disputed && entry.fits(target.as_ref());
        let by_key: Vec<&Entry> = self.entries.iter().filter(fits).collect();
        let (found, rule) = if by_key.is_empty() && is_default_registry(image.name()) {
            let fallback =
                self.entries.iter().filter(|entry| !entry.disputed && entry.key == HUB_KEY);
            (fallback.collect(), MatchRule::HubFallback)
        } else {
            (by_key, MatchRule::Key)
        };
        found.into_iter().map(move |entry| Match { credential: &entry.credential, rule })
    }

    /// Whether kubelets differ in what they try for this image: a key with brackets fits that
    /// only those built with releases of Go before early 2026 take as a glob. Then only a pull
    /// that works is certain.
    pub fn is_disputed(&self, image: &ImageReference) -> bool {
        let target = self.target(image, Brackets::Anything);
        self.entries.iter().any(|entry| entry.disputed && entry.fits(target.as_ref()))
    }

    /// The image as entries are compared with it; nothing where there are none.
    fn target(&self, image: &ImageReference, brackets: Brackets) -> Option<Pattern> {
        if self.entries.is_empty() {
            return None;
        }
        Pattern::of_key(image.name().as_bytes(), brackets)
    }

    /// When the login that stands behind this key expires, as far as that can be known.
    pub(crate) fn expiry_of(&self, source: &CredentialSource) -> Option<Expiry> {
        let mut credentials = self.entries.iter().map(|entry| &entry.credential);
        self.expiry(credentials.find(|credential| credential.source() == source)?)
    }

    fn expiry(&self, credential: &Credential) -> Option<Expiry> {
        let created = match &credential.source().origin {
            CredentialOrigin::Secret(name) => {
                self.created.iter().find(|(known, _)| known == name).map(|(_, at)| *at)
            }
            _ => None,
        };
        credential.expires(created)
    }

    /// Every login with a known end, by the key that it stands behind.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (&CredentialSource, Expiry)> {
        let credentials = self.entries.iter().map(|entry| &entry.credential);
        credentials.filter_map(|one| Some((one.source(), self.expiry(one)?)))
    }

    /// The entries that do not match an image, each with what keeps it from matching; in the order
    /// in which the kubelet looks at them.
    pub(crate) fn mismatches(&self, image: &ImageReference) -> Vec<(&CredentialSource, Mismatch)> {
        let target = Pattern::of_key(image.name().as_bytes(), Brackets::Ipv6Only);
        let apart = |entry: &Entry| match (&entry.pattern, &target) {
            _ if entry.fits(target.as_ref()) => None,
            (Some(pattern), Some(target)) => Some(pattern.mismatch(target)),
            _ => Some(Mismatch::Host),
        };
        let matched = self.explain(image).map(|found| found.credential.source());
        let matched: Vec<*const CredentialSource> = matched.map(std::ptr::from_ref).collect();
        self.entries
            .iter()
            .filter(|entry| !matched.contains(&std::ptr::from_ref(entry.credential.source())))
            .filter_map(|entry| Some((entry.credential.source(), apart(entry)?)))
            .collect()
    }

    /// Entries whose key is no URL; the kubelet drops them and logs it on the node.
    pub fn dropped(&self) -> impl Iterator<Item = &CredentialSource> {
        self.dropped.iter().map(|source| &**source)
    }

    /// Secrets that the kubelet passed over.
    pub fn ignored(&self) -> &[IgnoredSecret] {
        &self.ignored
    }

    /// Whether it holds no entry at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Entry {
    fn fits(&self, target: Option<&Pattern>) -> bool {
        match (&self.pattern, target) {
            (Some(pattern), Some(target)) => pattern.matches(target),
            _ => false,
        }
    }
}

/// Whether a pattern such as `*.dkr.ecr.*.amazonaws.com` fits an image: the rule for
/// `matchImages` of credential plugins, and for keys.
pub fn pattern_fits(pattern: &str, image: &ImageReference) -> bool {
    let pattern = Pattern::of_key(pattern.as_bytes(), Brackets::Ipv6Only);
    let target = Pattern::of_key(image.name().as_bytes(), Brackets::Ipv6Only);
    pattern.zip(target).is_some_and(|(pattern, target)| pattern.matches(&target))
}

/// The key that the kubelet stores for a key as written.
fn normalize(written: &str, brackets: Brackets) -> Option<Vec<u8>> {
    let rest = written.strip_prefix("https://").or_else(|| written.strip_prefix("http://"));
    let Parsed { mut host, path } = go_url::parse(rest.unwrap_or(written).as_bytes(), brackets)?;
    let versioned = path.starts_with(b"/v2/") || path.starts_with(b"/v1/");
    let path = if versioned { &path[3..] } else { &path[..] };
    if path != b"/" {
        host.extend_from_slice(path);
    }
    Some(host)
}

/// A key or an image, cut up for matching.
#[derive(Debug, Clone)]
struct Pattern {
    labels: Vec<Vec<u8>>,
    port: Vec<u8>,
    path: Vec<u8>,
}

impl Pattern {
    /// The kubelet parses a stored key, and the image, as a URL again for each look-up.
    fn of_key(key: &[u8], brackets: Brackets) -> Option<Self> {
        let Parsed { host, path } = go_url::parse(key, brackets)?;
        let (name, port) = go_url::split_host_port(&host);
        let labels = name.split(|b| *b == b'.').map(<[u8]>::to_vec).collect();
        Some(Self { labels, port: port.to_vec(), path })
    }

    /// What is in the way where it does not match.
    fn mismatch(&self, target: &Self) -> Mismatch {
        let pairs = || self.labels.iter().zip(&target.labels);
        let host = self.labels.len() == target.labels.len()
            && pairs().all(|(glob, label)| go_glob::matches(glob, label));
        match (host, self.port == target.port) {
            (false, _) => Mismatch::Host,
            (true, false) => Mismatch::Port,
            (true, true) => Mismatch::Path,
        }
    }

    fn matches(&self, target: &Self) -> bool {
        self.port == target.port
            && self.labels.len() == target.labels.len()
            && target.path.starts_with(&self.path)
            && self
                .labels
                .iter()
                .zip(&target.labels)
                .all(|(glob, label)| go_glob::matches(glob, label))
    }
}

/// Whether the kubelet takes the image for one of Docker Hub.
fn is_default_registry(name: &str) -> bool {
    match name.split_once('/') {
        None => !name.is_empty(),
        Some(("", _)) => false,
        Some(("docker.io" | "index.docker.io", _)) => true,
        Some((first, _)) => !first.contains(['.', ':']),
    }
}
