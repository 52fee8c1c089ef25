//! The form that all three formats come to: registry → ordered endpoints.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::crio_registries::CrioRegistries;
use super::endpoint::{Endpoint, Route, default_endpoint};
use super::pattern::{Pattern, UpstreamRule};

/// Which runtime reads the files that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf {
    /// containerd, that of k3s and RKE2 included.
    Containerd,
    /// CRI-O.
    CriO,
}

/// Registry → ordered endpoints.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistryHosts {
    rules: Vec<(Pattern, Vec<UpstreamRule>)>,
    /// What CRI-O's files say, in place of rules.
    crio: Option<Box<CrioRegistries>>,
    /// Whose files these are, where they were read from files.
    files_of: Option<FilesOf>,
}

impl RegistryHosts {
    /// Adds a rule. Of two for the same references the first holds.
    pub fn add(&mut self, pattern: Pattern, ways: Vec<UpstreamRule>) {
        self.rules.push((pattern, ways));
    }

    /// Adds the endpoints of one registry, in the order in which they are tried.
    pub fn insert(&mut self, host: impl Into<Box<str>>, endpoints: Vec<Endpoint>) {
        self.add(Pattern::Host(host.into()), endpoints.into_iter().map(UpstreamRule::to).collect());
    }

    /// Adds the rules of another file behind those that are there.
    pub fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
        self.files_of = self.files_of.or(other.files_of);
        match (&mut self.crio, other.crio) {
            (Some(own), Some(other)) => own.extend(*other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
    }

    pub(super) fn of_cri_o(crio: CrioRegistries) -> Self {
        let files_of = Some(FilesOf::CriO);
        Self { rules: Vec::new(), crio: Some(Box::new(crio)), files_of }
    }

    /// The same, as the files of this runtime: they may be there and list nothing.
    #[must_use]
    pub fn read_from(self, files_of: FilesOf) -> Self {
        Self { files_of: Some(files_of), ..self }
    }

    pub(super) fn crio(&self) -> Option<&CrioRegistries> {
        self.crio.as_deref()
    }

    /// The `host/path` that CRI-O takes a short name for: its alias, or the one registry that is
    /// searched. Nothing where no alias was handed over: nodes come with a file of them, and without
    /// it the list alone would mislead. Nothing either where several are searched: whether they are tried in turn or the pull fails is
    /// said elsewhere (`short_name_mode` of `crio.conf`).
    pub fn full_name(&self, short: &str) -> Option<String> {
        let CrioRegistries { aliases, search, .. } = self.crio()?;
        match (aliases.get(short), search.as_deref()) {
            (Some(full), _) if !full.is_empty() => Some(full.to_string()),
            (_, Some([only])) if !aliases.is_empty() => Some(format!("{only}/{short}")),
            _ => None,
        }
    }

    /// The client certificates that are shown, each with the host that it is shown to.
    pub fn clients(&self) -> BTreeSet<(Box<str>, &Path)> {
        let endpoints = self.rules.iter().flat_map(|(_, ways)| ways).map(|way| &way.endpoint);
        endpoints
            .filter_map(|endpoint| {
                // Of several the first is used.
                let endpoint = endpoint.as_ref()?;
                let client = endpoint.tls.as_ref()?.clients.first()?;
                let host = endpoint.url.host_str()?;
                let host = match endpoint.url.port() {
                    Some(port) => format!("{host}:{port}"),
                    None => host.to_owned(),
                };
                Some((host.into(), client.certificate.as_path()))
            })
            .collect()
    }

    /// Whose files these are, and whether they say anything of this repository; nothing where none
    /// were handed over.
    pub fn files_for(&self, host: &str, repository: &str) -> Option<(FilesOf, bool)> {
        let files_of = self.files_of?;
        let is_for = match self.crio() {
            Some(crio) => crio.is_for(host, repository),
            None => self.rules.iter().any(|(pattern, _)| pattern.fit(host).is_some()),
        };
        Some((files_of, is_for))
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.crio().is_none_or(|crio| crio.registries.is_empty())
    }

    /// Every endpoint that a file names.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.rules.iter().flat_map(|(_, ways)| ways).filter_map(|way| way.endpoint.as_deref())
    }

    /// Every rule, in the order in which they were added.
    pub(super) fn rules(&self) -> impl Iterator<Item = (&Pattern, &[UpstreamRule])> {
        self.rules.iter().map(|(pattern, ways)| (pattern, ways.as_slice()))
    }

    /// The ways that hold for every registry without a rule of its own.
    pub(super) fn ways_of_all(&self) -> Vec<UpstreamRule> {
        let of_all = self.rules.iter().find(|(pattern, _)| *pattern == Pattern::Any);
        of_all.map(|(_, ways)| ways.clone()).unwrap_or_default()
    }

    /// The ways to a repository, in the order in which the runtime tries them; none if the files
    /// leave none.
    pub fn routes(&self, host: &str, repository: &str, by_digest: bool) -> Vec<Route> {
        if let Some(crio) = self.crio() {
            return crio.routes(host, repository, by_digest);
        }
        let fitting =
            self.rules.iter().filter_map(|(pattern, ways)| Some((pattern.fit(host)?, ways)));
        // `max_by_key` would take the last of equals.
        let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
        let itself = [UpstreamRule::itself()];
        let ways = best.map_or(&itself[..], |(_, ways)| ways);
        ways.iter()
            .filter(|way| if by_digest { way.by_digest } else { way.by_tag })
            .filter_map(|way| {
                let endpoint = match &way.endpoint {
                    Some(endpoint) => Arc::new(Endpoint::clone(endpoint).serving(host)),
                    None => Arc::new(default_endpoint(host)?),
                };
                Some(Route { endpoint, repository: way.rename.apply(repository) })
            })
            .collect()
    }
}
