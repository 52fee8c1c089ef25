//! Patterns that name images by registry, repository and tag, and registries by host.
//!
//! `registry.example.com` is every image of that registry, `*.example.com/team/*` one level of
//! repositories, `docker.io/**:nightly-*` the tags of that form. `*` stands for any characters but
//! `/`, `**` for any at all.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::value::text_value;
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED, DOCKER_HUB_LEGACY, ImageReference};

/// A pattern for images: a registry, and behind it perhaps a repository and a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImagePattern {
    registry: RegistryPattern,
    repository: Option<Box<str>>,
    tag: Option<Box<str>>,
}

impl ImagePattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((host, path)) = text.split_once('/') else {
            return Some(Self {
                registry: RegistryPattern::parse(text)?,
                repository: None,
                tag: None,
            });
        };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        let repository_fits = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/' | '*')
        };
        let tag_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*');
        let fits = !repository.is_empty()
            && repository.chars().all(repository_fits)
            && repository.split('/').all(|part| !part.is_empty())
            && tag.is_none_or(|tag| !tag.is_empty() && tag.chars().all(tag_fits));
        fits.then_some(())?;
        Some(Self {
            registry: RegistryPattern::parse(host)?,
            repository: Some(repository.into()),
            tag: tag.map(Box::from),
        })
    }

    /// Whether this image is meant.
    pub fn matches(&self, reference: &ImageReference) -> bool {
        self.matches_parts(reference.host(), reference.repository(), reference.tag())
    }

    fn matches_parts(&self, host: &str, repository: &str, tag: Option<&str>) -> bool {
        self.registry.matches(host)
            && self.repository.as_deref().is_none_or(|pattern| glob(pattern, repository))
            && self.tag.as_deref().is_none_or(|pattern| tag.is_some_and(|tag| glob(pattern, tag)))
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.registry)?;
        if let Some(repository) = &self.repository {
            write!(f, "/{repository}")?;
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        Ok(())
    }
}

text_value!(
    ImagePattern,
    ImagePattern::parse,
    "an image pattern such as registry.example.com, registry.example.com/team/* or \
     docker.io/library/nginx:1.*",
    "^[a-z0-9.*:-]+(/[a-z0-9._*-]+)*(:[A-Za-z0-9._*-]+)?$"
);

/// A pattern for registries: a host, perhaps with port, where `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryPattern(Box<str>);

impl RegistryPattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The other names of Docker Hub's registry are `docker.io` in every reference.
        let text = match text {
            DOCKER_HUB_LEGACY | DOCKER_HUB_DIALLED => DOCKER_HUB,
            other => other,
        };
        let host_fits =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '*');
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port_fits = |port: &str| {
            port == "*" || (!port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
        };
        let names_a_host = text == "*" || text.contains(['.', ':', '*']) || host == "localhost";
        (!host.is_empty()
            && host.chars().all(host_fits)
            && port.is_none_or(port_fits)
            && names_a_host)
            .then(|| Self(text.into()))
    }

    /// Whether this registry is meant: its host, with the port where the reference has one.
    pub fn matches(&self, host: &str) -> bool {
        glob(&self.0, host)
    }
}

impl fmt::Display for RegistryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(
    RegistryPattern,
    RegistryPattern::parse,
    "a registry such as registry.example.com, *.example.com or localhost:5000",
    "^[a-z0-9.*-]+(:([0-9]+|[*]))?$"
);

/// A registry by its exact host, perhaps with port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryHost(Box<str>);

impl RegistryHost {
    fn parse(text: &str) -> Option<Self> {
        let RegistryPattern(host) = RegistryPattern::parse(text)?;
        (!host.contains('*')).then_some(Self(host))
    }

    /// The host, as it stands in references.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(
    RegistryHost,
    RegistryHost::parse,
    "the host of a registry such as registry.example.com or localhost:5000",
    "^[a-z0-9.-]+(:[0-9]+)?$"
);

/// A host without port, or `*.` and a domain for every host below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// Reads one; nothing for what has a scheme, a port or a path.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
        (!name.is_empty() && name.bytes().all(fits)).then(|| Self(text.into()))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(
    HostName,
    HostName::parse,
    "a host without port such as auth.example.com, or *.example.com",
    "^([*][.])?[a-z0-9.-]+$"
);

/// Whether the text has the form of the pattern: `*` is any run without `/`, `**` any run.
/// Linear in memory, and in time at worst the product of both lengths: a pattern is the platform
/// team's, a text a tenant's, and neither may make a review slow.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // reached[i]: the pattern so far can take the first i bytes of the text.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == b'*' {
            let any = pattern.get(at + 1) == Some(&b'*');
            for i in 0..text.len() {
                if reached[i] && (any || text[i] != b'/') {
                    reached[i + 1] = true;
                }
            }
            at += if any { 2 } else { 1 };
        } else {
            for i in (0..text.len()).rev() {
                reached[i + 1] = reached[i] && text[i] == pattern[at];
            }
            reached[0] = false;
            at += 1;
        }
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("docker.io", "docker.io", "library/nginx", Some("1"), true)]
    #[case("index.docker.io/library/nginx", "docker.io", "library/nginx", Some("1"), true)]
    #[case("docker.io/library/*", "docker.io", "library/nginx", None, true)]
    #[case("docker.io/*", "docker.io", "library/nginx", None, false)]
    #[case("docker.io/**", "docker.io", "library/nginx", None, true)]
    #[case("*.example.com", "registry.example.com", "a", None, true)]
    #[case("*.example.com", "example.com", "a", None, false)]
    #[case("*.example.com", "registry.example.com.evil.net", "a", None, false)]
    #[case("*.dkr.ecr.*.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", "a", None, true)]
    #[case("*", "anything:5000", "a/b", None, true)]
    #[case("localhost:5000/team/app", "localhost:5000", "team/app", None, true)]
    #[case("localhost:5000/team/app", "localhost", "team/app", None, false)]
    #[case("r.example.com/app:1.*", "r.example.com", "app", Some("1.2"), true)]
    #[case("r.example.com/app:1.*", "r.example.com", "app", Some("2.1"), false)]
    #[case("r.example.com/app:1.*", "r.example.com", "app", None, false)]
    #[case("r.example.com/a*b", "r.example.com", "axxb", None, true)]
    #[case("r.example.com/a*b", "r.example.com", "ax/xb", None, false)]
    #[case("r.example.com/a**b", "r.example.com", "ax/xb", None, true)]
    fn a_pattern_means_these_images(
        #[case] pattern: &str,
        #[case] host: &str,
        #[case] repository: &str,
        #[case] tag: Option<&str>,
        #[case] matches: bool,
    ) {
        let pattern = ImagePattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches_parts(host, repository, tag), matches);
    }

    #[rstest]
    #[case("")]
    #[case("nginx")]
    #[case("docker.io/")]
    #[case("docker.io//nginx")]
    #[case("docker.io/UPPER")]
    #[case("https://docker.io")]
    #[case("docker.io/nginx:")]
    #[case("docker.io:port")]
    #[case("a b.example.com")]
    fn what_names_no_image_is_refused(#[case] text: &str) {
        assert_eq!(ImagePattern::parse(text), None);
    }

    #[test]
    fn many_stars_stay_cheap() {
        let pattern = "**a".repeat(150);
        assert!(!glob(&pattern, &"a".repeat(149)));
        assert!(glob(&pattern, &"a".repeat(500)));
    }
}
