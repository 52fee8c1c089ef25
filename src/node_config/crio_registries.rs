//! CRI-O's registries: which entry of its files is for an image, and where that leads.
//!
//! The rules are those of its image library (`sysregistriesv2`), corners included; the tests hold
//! this against the library itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::endpoint::{Endpoint, TlsSettings};
use super::endpoint::{Route, default_endpoint};
use crate::image::ImageReference;

/// What all files of a node say together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CrioRegistries {
    /// By prefix, each once.
    pub(super) registries: BTreeMap<Box<str>, CrioRegistry>,
    /// Short name → `host/path`, or nothing where an alias was taken back.
    pub(super) aliases: BTreeMap<Box<str>, Box<str>>,
    /// `unqualified-search-registries`, if a file has them.
    pub(super) search: Option<Vec<Box<str>>>,
    /// Whether `credential-helpers` names programs, if a file has it.
    pub(super) helpers: Option<bool>,
}

/// A `[[registry]]`, under its prefix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CrioRegistry {
    pub(super) blocked: bool,
    /// In the order in which they are asked; the registry's own location is the last.
    pub(super) locations: Vec<CrioLocation>,
}

/// One place to pull from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CrioLocation {
    /// What stands in place of the prefix; nothing where the name is kept.
    pub(super) location: Option<Box<str>>,
    /// Whether its certificate is taken unseen, and plain HTTP spoken.
    pub(super) insecure: bool,
    /// Whether it is asked for tags.
    pub(super) by_tag: bool,
    /// Whether it is asked for digests.
    pub(super) by_digest: bool,
}

impl CrioRegistries {
    /// Adds what an earlier file says and later ones do not.
    pub(super) fn extend(&mut self, earlier: Self) {
        for (prefix, registry) in earlier.registries {
            self.registries.entry(prefix).or_insert(registry);
        }
        for (name, full) in earlier.aliases {
            self.aliases.entry(name).or_insert(full);
        }
        self.search = self.search.take().or(earlier.search);
        self.helpers = self.helpers.or(earlier.helpers);
    }

    /// Whether programs are asked for logins, for every registry.
    pub(super) fn asks_helpers(&self) -> bool {
        self.helpers == Some(true)
    }

    /// The entry for this `host[/repository]`: that of the longest prefix, and of equal ones the
    /// first in the order of bytes (a wildcard). With it, how much of the name its prefix covers.
    fn find(&self, name: &str) -> Option<(&CrioRegistry, usize)> {
        let mut best: Option<(&str, &CrioRegistry, usize)> = None;
        for (prefix, registry) in &self.registries {
            let Some(covered) = covered(name, prefix) else { continue };
            if best.is_none_or(|(known, ..)| prefix.len() > known.len()) {
                best = Some((prefix, registry, covered));
            }
        }
        best.map(|(_, registry, covered)| (registry, covered))
    }

    /// Whether an entry is for this image.
    pub(super) fn is_for(&self, host: &str, repository: &str) -> bool {
        self.find(&format!("{host}/{repository}")).is_some()
    }

    /// The ways to a repository in CRI-O's order. None where a location leads to no name at all:
    /// then CRI-O asks nobody.
    pub(super) fn routes(&self, host: &str, repository: &str, by_digest: bool) -> Vec<Route> {
        let name =
            if repository.is_empty() { host.to_owned() } else { format!("{host}/{repository}") };
        let Some((registry, covered)) = self.find(&name) else {
            return route(host, repository, host, false).into_iter().collect();
        };
        let mut routes = Vec::new();
        let asked = |place: &&CrioLocation| if by_digest { place.by_digest } else { place.by_tag };
        for place in registry.locations.iter().filter(asked) {
            let there = match &place.location {
                None => name.clone(),
                Some(location) => format!("{location}{}", &name[covered..]),
            };
            // One bad name ends the pull before anybody is asked.
            let Some((there_host, there_repository)) = split(&there, repository.is_empty()) else {
                return Vec::new();
            };
            // It is the name at this place that may be blocked, not the one that led there.
            if self.find(&there).is_none_or(|(own, _)| !own.blocked) {
                routes.extend(route(there_host, there_repository, host, place.insecure));
            }
        }
        routes
    }

    /// Pairs of prefixes: what starts with the first one is, on its mirror, what starts with the
    /// second one.
    pub(super) fn aliases(&self) -> impl Iterator<Item = (String, String)> {
        let exact = self.registries.iter().filter(|(prefix, _)| !prefix.starts_with("*."));
        exact.flat_map(|(prefix, registry)| {
            let places = registry.locations.iter().filter_map(|place| place.location.as_deref());
            // A bare host may serve images of its own under the same names.
            places
                .filter(move |location| location.contains('/') && *location != &**prefix)
                .map(move |location| (format!("{location}/"), format!("{prefix}/")))
        })
    }
}

/// How many bytes of a name a prefix is for, if it is. A prefix ends where a component does, or in
/// front of a port; a wildcard covers the host without its port.
fn covered(name: &str, prefix: &str) -> Option<usize> {
    let end = match prefix.strip_prefix('*') {
        Some(domain) if domain.starts_with('.') => {
            let at = name.find(domain)?;
            if name[..at].contains('/') {
                return None;
            }
            at + domain.len()
        }
        _ => name.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(name.as_bytes().get(end), None | Some(b':' | b'/' | b'@')).then_some(end)
}

/// Host and repository of a name that the library takes as it stands: it completes none here.
fn split(name: &str, host_only: bool) -> Option<(&str, &str)> {
    if host_only {
        return Some((name, ""));
    }
    let parsed = ImageReference::parse(&format!("{name}:0")).ok()?;
    let stands = parsed.name() == name && !parsed.is_short() && !parsed.cri_o_refuses();
    if stands { name.split_once('/') } else { None }
}

/// CRI-O has no exception for loopback: TLS, unless the file says otherwise. The kubelet's
/// credentials stay with the registry that the image names.
fn route(host: &str, repository: &str, registry: &str, insecure: bool) -> Option<Route> {
    let dialled = default_endpoint(host)?.url;
    let url = Url::parse(&dialled.as_str().replacen("http://", "https://", 1)).ok()?;
    let tls =
        insecure.then(|| Arc::new(TlsSettings { skip_verify: true, ..TlsSettings::default() }));
    let endpoint = Endpoint {
        takes_credentials: host == registry,
        falls_back_to_http: insecure,
        tls,
        ..Endpoint::at(url)
    };
    let endpoint = Arc::new(endpoint.serving(registry));
    Some(Route { endpoint, repository: repository.into() })
}
