//! The form that all three formats come to: registry → ordered endpoints, which references a rule is
//! for, and under which name it asks for them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use regex::Regex;

use super::crio_registries::CrioRegistries;
use super::endpoint::{Endpoint, Route, default_endpoint};

/// Which runtime reads the files that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf {
    /// containerd, that of k3s and RKE2 included.
    Containerd,
    /// CRI-O.
    CriO,
}

/// The mirror files that were handed over, as far as one image is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MirrorFiles {
    /// The runtime that reads them.
    pub of: FilesOf,
    /// Whether they say where the image comes from.
    pub routes: bool,
    /// Whether CRI-O asks programs for its logins by them, which cannot be asked here.
    pub credential_helpers: bool,
    /// Whether containerd before 2.2 drops what they say, and asks the registry itself.
    pub since_2_2: bool,
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
    pub fn files_for(&self, host: &str, repository: &str) -> Option<MirrorFiles> {
        let of = self.files_of?;
        let rule = self.rule_for(host);
        Some(MirrorFiles {
            of,
            routes: match self.crio() {
                Some(crio) => crio.is_for(host, repository),
                None => rule.is_some(),
            },
            credential_helpers: self.crio().is_some_and(CrioRegistries::asks_helpers),
            since_2_2: rule.is_some_and(|ways| ways.iter().any(|way| way.since_2_2)),
        })
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

    /// The ways of the rule that is for this host; nothing if none is.
    fn rule_for(&self, host: &str) -> Option<&[UpstreamRule]> {
        let fitting =
            self.rules.iter().filter_map(|(pattern, ways)| Some((pattern.fit(host)?, &**ways)));
        // `max_by_key` would take the last of equals.
        let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, ways)| ways)
    }

    /// The ways to a repository, in the order in which the runtime tries them; none if the files
    /// leave none.
    pub fn routes(&self, host: &str, repository: &str, by_digest: bool) -> Vec<Route> {
        if let Some(crio) = self.crio() {
            return crio.routes(host, repository, by_digest);
        }
        let itself = [UpstreamRule::itself()];
        let ways = self.rule_for(host).unwrap_or(&itself);
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

/// Which references a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// One registry, by its host as references name it.
    Host(Box<str>),
    /// Every registry that no other rule is for.
    Any,
}

impl Pattern {
    /// How well it fits, the longer the better; nothing if it does not.
    pub(super) fn fit(&self, host: &str) -> Option<usize> {
        match self {
            Self::Host(own) => (**own == *host).then_some(usize::MAX),
            Self::Any => Some(0),
        }
    }
}

/// Under which name a host knows a repository.
#[derive(Debug, Clone)]
pub enum Rewrite {
    /// The same.
    Keep,
    /// The first expression that matches replaces (k3s' `rewrite`).
    Expressions(Vec<(Regex, Box<str>)>),
}

impl PartialEq for Rewrite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep, Self::Keep) => true,
            (Self::Expressions(a), Self::Expressions(b)) => {
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| a.0.as_str() == b.0.as_str() && a.1 == b.1)
            }
            _ => false,
        }
    }
}

impl Rewrite {
    /// The repository's name there.
    pub(super) fn apply(&self, repository: &str) -> Box<str> {
        match self {
            Self::Keep => repository.into(),
            Self::Expressions(all) => {
                all.iter().find(|(expression, _)| expression.is_match(repository)).map_or_else(
                    || repository.into(),
                    |(expression, with)| expression.replace_all(repository, &**with).into(),
                )
            }
        }
    }
}

/// One host of a rule, and what it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamRule {
    /// The host; the registry itself, as it is dialled by default, if there is none.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Whether it is asked for tags.
    pub by_tag: bool,
    /// Whether it is asked for digests.
    pub by_digest: bool,
    /// The repository's name there.
    pub rename: Rewrite,
    /// Whether its file says what containerd knows since 2.2, and earlier ones drop the file for.
    pub since_2_2: bool,
}

impl UpstreamRule {
    /// A host that is asked for everything, by the same name.
    pub fn to(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Some(Arc::new(endpoint)),
            by_tag: true,
            by_digest: true,
            rename: Rewrite::Keep,
            since_2_2: false,
        }
    }

    /// The registry itself.
    pub fn itself() -> Self {
        Self {
            endpoint: None,
            by_tag: true,
            by_digest: true,
            rename: Rewrite::Keep,
            since_2_2: false,
        }
    }
}
