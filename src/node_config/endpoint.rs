//! One place that nodes ask for an image, and how.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use url::Url;

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

/// Whether a registry's host, with its port if it has one, is that of whoever asks.
pub fn is_loopback_host(host: &str) -> bool {
    is_loopback(split_port(host).0)
}

/// One way to an image: an endpoint, and the repository's name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The host.
    pub endpoint: Arc<Endpoint>,
    /// The repository as that host calls it.
    pub repository: Box<str>,
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
