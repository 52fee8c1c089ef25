//! The form that all three formats come to: registry → ordered endpoints.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::crio_registries::CrioRegistries;
use super::pattern::{Pattern, UpstreamRule};
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED};

/// One host that serves a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a host, as files say")]
pub struct Endpoint {
    /// Scheme, host, port and path prefix (`/v2` unless overridden), without a slash at the end.
    pub url: Url,
    /// Whether it is another host than the registry itself.
    pub is_mirror: bool,
    /// Whether it is told in `ns=` which registry is meant, as containerd does with mirrors.
    pub told_registry: bool,
    /// Whether the pod's credentials are sent there.
    pub takes_credentials: bool,
    /// Whether plain HTTP is tried where TLS is not spoken.
    pub falls_back_to_http: bool,
    /// What is special about its TLS, if anything.
    pub tls: Option<Arc<TlsSettings>>,
    /// Headers that go with each request, such as a fixed `Authorization`.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The login that the runtime itself has for this host. It counts only where the kubelet
    /// brings none: neither the pod nor the node's keyring has one that matches.
    pub login: Option<Arc<NodeLogin>>,
}

impl Endpoint {
    /// A host at this address with nothing special about it.
    pub fn at(url: Url) -> Self {
        Self {
            url,
            is_mirror: false,
            told_registry: false,
            takes_credentials: true,
            falls_back_to_http: false,
            tls: None,
            headers: Vec::new(),
            login: None,
        }
    }

    /// The same, marked as a mirror if it is another host than this registry's own.
    #[must_use]
    pub(super) fn serving(self, registry: &str) -> Self {
        let own =
            self.is_host(registry) || (registry == DOCKER_HUB && self.is_host(DOCKER_HUB_DIALLED));
        Self { is_mirror: !own, ..self }
    }

    /// Whether its address is that of this `host[:port]`.
    fn is_host(&self, host: &str) -> bool {
        let (name, port) = split_port(host);
        let known = self.url.port_or_known_default();
        let port = port.map_or(Some(443), |port| port.parse().ok());
        self.url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(name)) && known == port
    }
}

/// What a file says about the TLS of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// Whether its certificate is taken unseen.
    pub skip_verify: bool,
    /// Certificate authorities beside the system's, PEM.
    pub ca_files: Vec<PathBuf>,
    /// Client certificates; the first is used.
    pub clients: Vec<Client>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The key, PEM; in the certificate's file if none is named.
    pub key: Option<PathBuf>,
}

/// A login of the runtime's own configuration. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum NodeLogin {
    /// User name and password, as bytes: a decoded `auth` need not be text.
    Password {
        /// The user name.
        username: Box<[u8]>,
        /// The password.
        password: Box<[u8]>,
    },
    /// An identity token, which only a token service takes.
    IdentityToken(Box<str>),
}

impl fmt::Debug for NodeLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeLogin(…)")
    }
}

/// Which runtime reads the files that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf {
    /// containerd, that of k3s and RKE2 included.
    Containerd,
    /// CRI-O.
    CriO,
}

/// One way to an image: an endpoint, and the repository's name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub endpoint: Arc<Endpoint>,
    /// The repository as that host calls it.
    pub repository: Box<str>,
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
        let is_for = match self.crio() {
            Some(crio) => crio.is_for(host, repository),
            None => self.rules.iter().any(|(pattern, _)| pattern.fit(host).is_some()),
        };
        Some((self.files_of?, is_for))
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

/// The registry itself, as containerd dials it when no file says otherwise; nothing if the host
/// cannot stand in a URL.
pub fn default_endpoint(host: &str) -> Option<Endpoint> {
    let dialled = if host == DOCKER_HUB { DOCKER_HUB_DIALLED } else { host };
    let (name, port) = split_port(dialled);
    let local = is_loopback(name);
    let scheme = if local && port == Some("80") { "http" } else { "https" };
    let unverified = local && !matches!(port, None | Some("443" | "80"));
    let tls =
        unverified.then(|| Arc::new(TlsSettings { skip_verify: true, ..TlsSettings::default() }));
    let url = Url::parse(&format!("{scheme}://{dialled}/v2")).ok()?;
    Some(Endpoint { falls_back_to_http: unverified, tls, ..Endpoint::at(url) })
}

/// `host:port` apart; IPv6 addresses keep their brackets.
pub(super) fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

/// containerd's `MatchLocalhost`: `localhost`, 127.0.0.0/8 and `::1`.
pub(super) fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}
