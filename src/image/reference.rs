//! `ImageReference`: an image field, parsed as the kubelet and the runtimes parse it.
//!
//! Order of the checks, texts of the errors and the odd corners follow
//! `distribution/reference` (`normalize.go`, `reference.go`) and the kubelet's
//! `ParseImageName`. Short names are completed with Docker Hub here, as containerd does;
//! `is_short` says where CRI-O may resolve otherwise.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::digest::Digest;
use super::explain::ReferenceErrorKind;
use super::{explain, grammar};

const HUB_OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// The longest name that CRI-O takes, in bytes: its library counts the host.
const CRI_O_NAME: usize = 255;

/// A reference that a kubelet accepts: registry host, repository, tag and digest.
///
/// Equality is that of all parts, including whether the name was short. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    /// `host/repository`.
    name: Arc<str>,
    host_len: usize,
    tag: Option<Arc<str>>,
    digest: Option<Digest>,
    cri_o: CriOReading,
    /// Whether `library/` was put before the name.
    official: bool,
    irregular_host: bool,
}

/// What CRI-O makes of the name as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum CriOReading {
    /// A registry and a repository.
    Whole,
    /// A name without a registry.
    Short,
    /// No name at all.
    Refused,
}

impl ImageReference {
    /// Parses an image field as it stands in a pod.
    pub fn parse(image: &str) -> Result<Self, ReferenceError> {
        if image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::new(ReferenceErrorKind::BareHex(image.into()), image));
        }
        let (domain, remainder) = split_domain(image);
        let remote = remainder.split(':').next().unwrap_or_default();
        if grammar::has_upper(remote) {
            let kind = ReferenceErrorKind::UpperCaseRepository(remote.into());
            return Err(ReferenceError::new(kind, image));
        }
        let full = [domain, "/", &remainder].concat();
        let Some(elements) = grammar::split(&full) else {
            let kind = if grammar::split(&grammar::go_lower(&full)).is_some() {
                ReferenceErrorKind::UpperCase
            } else {
                ReferenceErrorKind::Format
            };
            return Err(ReferenceError::new(kind, image));
        };
        if elements.path.len() > grammar::MAX_PATH {
            return Err(ReferenceError::new(ReferenceErrorKind::NameTooLong, image));
        }
        let digest = elements
            .digest
            .map(Digest::parse)
            .transpose()
            .map_err(|error| ReferenceError::new(ReferenceErrorKind::Digest(error), image))?;
        Ok(Self::assemble(image, &elements, digest))
    }

    fn assemble(image: &str, elements: &grammar::Elements<'_>, digest: Option<Digest>) -> Self {
        let (name, host_len) = match elements.domain {
            Some(domain) => ([domain, "/", elements.path].concat(), domain.len()),
            // The library knows no domain here; the runtime takes what is before the first slash.
            None => (elements.path.to_owned(), elements.path.find('/').unwrap_or(0)),
        };
        // What is written in front of tag and digest.
        let suffix = |part: Option<&str>| part.map_or(0, |part| part.len() + 1);
        let written = image.len() - suffix(elements.tag) - suffix(elements.digest);
        let tag = match elements.tag {
            None if digest.is_none() => Some(DEFAULT_TAG),
            tag => tag,
        };
        let cri_o = if image.starts_with('[') || written > CRI_O_NAME {
            CriOReading::Refused
        } else if is_short(image, elements.domain) {
            CriOReading::Short
        } else if name.len() > CRI_O_NAME {
            CriOReading::Refused
        } else {
            CriOReading::Whole
        };
        Self {
            cri_o,
            name: name.into(),
            host_len,
            tag: tag.map(Arc::from),
            digest,
            official: !image.contains('/'),
            irregular_host: elements.domain.is_none(),
        }
    }

    /// The registry as the reference names it, with its port and in its own case: what is in
    /// front of the first slash of `name`. `docker.io` for Docker Hub, whatever is dialled.
    pub fn host(&self) -> &str {
        &self.name[..self.host_len]
    }

    /// Whether its registry is Docker Hub, under whichever of its names.
    pub(crate) fn is_on_docker_hub(&self) -> bool {
        self.host() == DOCKER_HUB
    }

    /// Whether containerd takes it for the ID of an image that a node has, as a pod's status names it:
    /// `sha256:` and 64 hexadecimal digits (`LocalResolve` in `internal/cri/store/image` of containerd).
    pub(crate) fn may_be_an_id(&self) -> bool {
        let digest = |tag: &str| format!("{}:{tag}", self.short_name().unwrap_or_default());
        self.digest.is_none()
            && self.is_short()
            && self.tag().is_some_and(|tag| tag.len() >= 64 && Digest::parse(&digest(tag)).is_ok())
    }

    /// The repository within the registry, such as `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.name[self.host_len + 1..]
    }

    /// The tag: as written, or `latest` where neither tag nor digest was written. Runtimes
    /// ignore a tag beside a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written: then it alone decides what is pulled.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `host/repository`: what the kubelet's keyring is asked.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the runtime pulls: `name@digest` if there is a digest, else `name:tag`.
    pub fn canonical(&self) -> String {
        let separator = if self.digest.is_some() { "@" } else { ":" };
        [self.name(), separator, self.manifest_reference()].concat()
    }

    /// Whether a runtime pulls the same for both: their canonical names are one.
    pub(crate) fn is_same_image(&self, other: &Self) -> bool {
        self.name == other.name
            && self.digest.is_some() == other.digest.is_some()
            && self.manifest_reference() == other.manifest_reference()
    }

    /// The last part of `/v2/<repository>/manifests/<this>`: the digest, else the tag.
    pub fn manifest_reference(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// Whether the name was written without a domain in CRI-O's eyes (no dot, no colon and not
    /// `localhost` before the first slash): CRI-O resolves it by the node's aliases and search
    /// list, where containerd always takes Docker Hub, or the upper-case first part as a host.
    pub fn is_short(&self) -> bool {
        self.cri_o == CriOReading::Short
    }

    /// The short name as it is written, without tag and digest, where CRI-O resolves it.
    pub fn short_name(&self) -> Option<&str> {
        let added = if self.official { HUB_OFFICIAL } else { "" };
        // Docker Hub was put in front here; an upper-case first part is no host to CRI-O.
        let written = if self.host() == DOCKER_HUB { self.repository() } else { self.name() };
        written.strip_prefix(added).filter(|_| self.is_short())
    }

    /// Whether CRI-O refuses a name that the kubelet and containerd take: its library knows no IPv6
    /// addresses, and counts the host where it limits the length.
    pub fn cri_o_refuses(&self) -> bool {
        self.cri_o == CriOReading::Refused
    }

    /// Whether the host is one that the library did not recognise as a domain
    /// (`foo_bar.com/app`): containerd dials it still; CRI-O takes the name as short.
    pub fn has_irregular_host(&self) -> bool {
        self.irregular_host
    }

    /// The same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !grammar::is_tag(tag) {
            let text = format!("{}:{tag}", self.name);
            return Err(ReferenceError::new(ReferenceErrorKind::Format, &text));
        }
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        f.write_str(if self.digest.is_some() { "@" } else { ":" })?;
        f.write_str(self.manifest_reference())
    }
}

impl std::str::FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// Splits off the domain at the first slash, or supplies Docker Hub's.
fn split_domain(image: &str) -> (&str, Cow<'_, str>) {
    let Some((first, rest)) = image.split_once('/') else {
        return (DOCKER_HUB, [HUB_OFFICIAL, image].concat().into());
    };
    let (domain, remainder) = if first == DOCKER_HUB_LEGACY {
        (DOCKER_HUB, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || grammar::has_upper(first) {
        (first, rest)
    } else {
        (DOCKER_HUB, image)
    };
    if domain == DOCKER_HUB && !remainder.contains('/') {
        return (domain, [HUB_OFFICIAL, remainder].concat().into());
    }
    (domain, remainder.into())
}

/// CRI-O's test for a short name (`shortnames.IsShortName` of its image library), for a name
/// that is known to parse.
fn is_short(image: &str, domain: Option<&str>) -> bool {
    match image.split_once('/') {
        Some((first, _)) if domain == Some(first) || grammar::is_domain(first) => {
            first != "localhost" && !first.contains(['.', ':'])
        }
        _ => true,
    }
}

/// Why no runtime accepts the name. `Display` is the library's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ReferenceError {
    kind: ReferenceErrorKind,
    offending: Box<str>,
}

impl ReferenceError {
    fn new(kind: ReferenceErrorKind, image: &str) -> Self {
        let offending = explain::offending(&kind, image).into_boxed_str();
        Self { kind, offending }
    }

    /// The rule that was broken.
    pub fn kind(&self) -> &ReferenceErrorKind {
        &self.kind
    }

    /// The offending part in words for a person, such as `upper case in "Org/app"`. One line,
    /// bounded, control characters escaped.
    pub fn offending(&self) -> &str {
        &self.offending
    }
}

/// Docker Hub, as it stands in every reference.
pub(crate) const DOCKER_HUB: &str = "docker.io";
/// What runtimes dial for it.
pub(crate) const DOCKER_HUB_DIALLED: &str = "registry-1.docker.io";
/// What docker configurations call it, and references did long ago.
pub(crate) const DOCKER_HUB_LEGACY: &str = "index.docker.io";
/// Its other hosts: they stand in messages.
const OTHERS: &[&str] = &[
    "auth.docker.io",
    "registry.hub.docker.com",
    "hub.docker.com",
    "production.cloudflare.docker.com",
];

/// The registry of a host: Docker Hub's hosts are one.
pub(crate) fn registry_of_host(host: &str) -> &str {
    let all = [DOCKER_HUB, DOCKER_HUB_LEGACY, DOCKER_HUB_DIALLED];
    let is_hub = all.iter().chain(OTHERS).any(|hub| host.eq_ignore_ascii_case(hub));
    if is_hub { DOCKER_HUB } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_many_hosts_and_others_have_one() {
        for host in ["docker.io", "registry-1.docker.io", "Index.Docker.io", "auth.docker.io"] {
            assert_eq!(registry_of_host(host), DOCKER_HUB);
        }
        assert_eq!(registry_of_host("docker.io.example.com"), "docker.io.example.com");
    }
}
