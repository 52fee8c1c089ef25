//! What the registry client is told: plain values, with defaults that suit a webhook; and why it cannot
//! be built with them. What registries answer is never an error here: that is an outcome.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ipnet::IpNet;

use crate::credential::Credential;
use crate::image::ImageReference;
use crate::node_config::RegistryHosts;
use crate::policy::{RegistryBudget, TokenRealm};
use crate::pull::{Outcome, Step};

/// Options of a [`RegistryClient`](super::RegistryClient).
#[derive(Clone)]
pub struct RegistryOptions {
    /// Addresses that are opened although they are on the forbidden list; never metadata services.
    pub allow: Vec<IpNet>,
    /// Whether loopback may be contacted: the command line, run by a person for themselves.
    pub contact_loopback: bool,
    /// The service and pod ranges of this cluster, closed to registries that are not declared.
    pub cluster_ranges: Vec<IpNet>,
    /// What the policy says of registries.
    pub directions: RegistryPolicy,
    /// What the nodes' mirror configuration says.
    pub hosts: RegistryHosts,
    /// Certificate authorities beside the system's, PEM.
    pub ca_files: Vec<PathBuf>,
    /// Pairs of registry and token service beside those built in.
    pub realms: Vec<TokenRealm>,
    /// The proxy, if any.
    pub proxy: ProxyOptions,
    /// How long each step may take.
    pub limits: StepLimits,
    /// How many requests may be under way, and how often.
    pub load: LoadLimits,
    /// How much is kept.
    pub cache: CacheLimits,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// The way names are resolved; the system's if nothing is given.
    pub resolver: Option<Arc<dyn NameResolver>>,
    /// Hosts, with their ports where they have one, that are taken to be down: for who asks what
    /// would be then.
    pub down: Vec<Box<str>>,
    /// The logins of the nodes' runtime for mirrors, by the mirrors' own names.
    pub mirror_logins: Option<Arc<dyn MirrorLogins>>,
}

/// The logins that a runtime itself looks up for mirrors that do not get the pod's credentials.
///
/// CRI-O finds them in its docker configuration under the mirror's name
/// (<https://github.com/containers/image/blob/main/docker/docker_image_src.go>).
pub trait MirrorLogins: Send + Sync {
    /// The login for this image, whose host and path are the mirror's.
    fn login(&self, at_mirror: &ImageReference) -> Option<Credential>;
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            contact_loopback: false,
            cluster_ranges: Vec::new(),
            directions: RegistryPolicy::default(),
            hosts: RegistryHosts::default(),
            ca_files: Vec::new(),
            realms: Vec::new(),
            proxy: ProxyOptions::default(),
            limits: StepLimits::default(),
            load: LoadLimits::default(),
            cache: CacheLimits::default(),
            user_agent: concat!("pullgate/", env!("CARGO_PKG_VERSION")).to_owned(),
            resolver: None,
            down: Vec::new(),
            mirror_logins: None,
        }
    }
}

/// What the policy says of registries: it may change while the client runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryPolicy {
    /// Registries that are served from within the cluster.
    pub in_cluster: InClusterHosts,
    /// How much may be asked of a registry; the first that fits counts.
    pub budgets: Vec<RegistryBudget>,
    /// Pairs of registry and token service beside those of the options.
    pub realms: Vec<TokenRealm>,
    /// How long whoever asks waits for a whole look-up. It goes on in the background.
    pub whole: Duration,
}

impl Default for RegistryPolicy {
    fn default() -> Self {
        Self {
            in_cluster: InClusterHosts::default(),
            budgets: Vec::new(),
            realms: Vec::new(),
            whole: Duration::from_secs(30),
        }
    }
}

impl RegistryPolicy {
    /// The budget of a host that is dialled, with its port where it has one.
    pub(super) fn budget(&self, host: &str) -> Option<&RegistryBudget> {
        // Docker Hub is `docker.io` in every name and every policy.
        let host = if host == "registry-1.docker.io" { "docker.io" } else { host };
        self.budgets.iter().find(|budget| budget.registry.matches(host))
    }
}

/// How long each step may take, and how much each answer may hold.
#[derive(Debug, Clone)]
pub struct StepLimits {
    /// A whole look-up, mirrors and token included, without the time in our own queue. Longer than
    /// reviews wait, so that a slow registry's answer is there for the next one.
    pub whole: Duration,
    /// Name resolution.
    pub resolve: Duration,
    /// Connection and TLS handshake, name resolution included.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub first_byte: Duration,
    /// The body of one answer.
    pub body: Duration,
    /// Redirects that are followed for one request.
    pub redirects: usize,
    /// Bytes of a manifest, as containerd has it.
    pub manifest_bytes: usize,
    /// Bytes of an image configuration.
    pub config_bytes: usize,
    /// Bytes of a token answer.
    pub token_bytes: usize,
    /// Bytes of an error answer that are read.
    pub error_bytes: usize,
    /// Bytes of one page of tags.
    pub tag_page_bytes: usize,
    /// Pages of tags.
    pub tag_pages: usize,
}

impl Default for StepLimits {
    fn default() -> Self {
        Self {
            whole: Duration::from_secs(10),
            resolve: Duration::from_secs(3),
            connect: Duration::from_secs(4),
            first_byte: Duration::from_secs(6),
            body: Duration::from_secs(5),
            redirects: 5,
            manifest_bytes: 4 << 20,
            config_bytes: 4 << 20,
            token_bytes: 64 << 10,
            error_bytes: 64 << 10,
            tag_page_bytes: 4 << 20,
            tag_pages: 10,
        }
    }
}

/// How many look-ups and requests are made.
#[derive(Debug, Clone)]
pub struct LoadLimits {
    /// Look-ups under way or waiting, over all registries; one namespace may have three quarters.
    pub lookups: usize,
    /// Look-ups waiting at one registry; one namespace may have three quarters.
    pub waiting_per_registry: usize,
    /// Look-ups under way at one registry.
    pub concurrency_per_registry: usize,
    /// The longest that a look-up waits in our queue for a registry.
    pub longest_queue: Duration,
    /// Requests per second to one registry, over time.
    pub requests_per_second: u32,
    /// Requests that one registry may get at once after a quiet time.
    pub request_burst: u32,
    /// Failures to connect in a row after which a registry is left alone for a while.
    pub breaker_threshold: u32,
    /// How long a registry is left alone the first time; doubled for each failed probe.
    pub breaker_first: Duration,
    /// The longest time a registry is left alone without a probe.
    pub breaker_longest: Duration,
    /// The longest `Retry-After` that is honoured.
    pub longest_retry_after: Duration,
    /// Whether whoever asks waits for a turn, however long that takes, instead of being turned away:
    /// the command line has all the time that it needs, and no one else waits for it.
    pub patient: bool,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self {
            lookups: 2048,
            waiting_per_registry: 1536,
            concurrency_per_registry: 128,
            longest_queue: Duration::from_secs(60),
            requests_per_second: 100,
            request_burst: 2000,
            breaker_threshold: 3,
            breaker_first: Duration::from_secs(2),
            breaker_longest: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(600),
            patient: false,
        }
    }
}

impl LoadLimits {
    /// For a program that asks for itself alone: registries are asked no faster, and nobody is
    /// turned away.
    pub fn patient() -> Self {
        Self {
            lookups: usize::MAX,
            waiting_per_registry: usize::MAX,
            longest_queue: LONGEST_WAIT,
            patient: true,
            ..Self::default()
        }
    }
}

/// How long those wait who have time: a day.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct CacheLimits {
    /// Bytes of kept outcomes, about.
    pub outcome_bytes: u64,
    /// Bytes of kept manifest contents, about.
    pub content_bytes: u64,
    /// Tokens.
    pub tokens: u64,
    /// A manifest found by digest.
    pub by_digest: Duration,
    /// Whatever was found with a login: its rights may be taken away.
    pub with_login: Duration,
    /// A manifest found by tag.
    pub by_tag: Duration,
    /// Missing, unauthorized, forbidden.
    pub negative: Duration,
    /// Unreachable, the first time; doubled for each failure in a row.
    pub unreachable: Duration,
    /// Unreachable, at most.
    pub unreachable_longest: Duration,
    /// Everything else that is not ours.
    pub odd: Duration,
}

impl CacheLimits {
    /// For a program that asks once and ends: equal questions are asked once, however long it runs.
    /// What may pass is asked again as ever.
    pub(crate) fn for_one_run() -> Self {
        let whole = Duration::from_secs(24 * 3600);
        Self {
            by_digest: whole,
            with_login: whole,
            by_tag: whole,
            negative: whole,
            ..Self::default()
        }
    }
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            outcome_bytes: 32 << 20,
            content_bytes: 16 << 20,
            tokens: 10_000,
            by_digest: Duration::from_secs(3600),
            with_login: Duration::from_secs(600),
            by_tag: Duration::from_secs(60),
            negative: Duration::from_secs(15),
            unreachable: Duration::from_secs(5),
            unreachable_longest: Duration::from_secs(60),
            odd: Duration::from_secs(30),
        }
    }
}

/// A proxy, in the words of the usual environment variables.
#[derive(Clone, Default)]
pub struct ProxyOptions {
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: String,
}

impl ProxyOptions {
    /// Reads the usual environment variables, the upper-case form first.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            let found = variable(upper).or_else(|| variable(&upper.to_ascii_lowercase()));
            found.filter(|value| !value.is_empty())
        };
        let all = either("ALL_PROXY");
        Self {
            https: either("HTTPS_PROXY").or_else(|| all.clone()),
            http: either("HTTP_PROXY").or(all),
            no_proxy: either("NO_PROXY").unwrap_or_default(),
        }
    }
}

/// Registries that are served from within the cluster: host names, or `*.` and a domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InClusterHosts(pub Vec<Box<str>>);

impl InClusterHosts {
    /// Whether this host, without port, is declared.
    pub fn contains(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        self.0.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => host.len().checked_sub(domain.len() + 1).is_some_and(|at| {
                at > 0
                    && host.is_char_boundary(at)
                    && host[at..].starts_with('.')
                    && host[at + 1..].eq_ignore_ascii_case(domain)
            }),
            None => pattern.eq_ignore_ascii_case(host),
        })
    }
}

/// How names become addresses.
pub trait NameResolver: Send + Sync {
    /// The addresses of a name. One that ends in a dot is absolute; any other may be completed by
    /// a search list.
    fn resolve(&self, name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// How long an outcome holds. Failures are kept, too: who asks again at once learns nothing new and
/// costs the registry a request; `failures` in a row, this one included, make it hold longer.
pub(super) fn lifetime(
    outcome: &Outcome,
    by_digest: bool,
    failures: u32,
    limits: &CacheLimits,
) -> Duration {
    match outcome {
        Outcome::Exists(_) if by_digest => limits.by_digest,
        Outcome::Exists(_) => limits.by_tag,
        Outcome::TagMissing { .. }
        | Outcome::RepositoryMissing { .. }
        | Outcome::MissingOrDenied
        | Outcome::Unauthorized
        | Outcome::Forbidden
        | Outcome::AddressRefused
        | Outcome::PasswordMissing
        | Outcome::MirrorRefused
        | Outcome::RedirectRefused
        | Outcome::RefusedByStranger => limits.negative,
        Outcome::Throttled { retry_after } => retry_after.unwrap_or(limits.odd),
        // Our own bounds say nothing about the registry, and the next try gets further: what was
        // learned on the way is kept.
        Outcome::TooLate
        | Outcome::Overloaded
        | Outcome::LoginWithheld
        | Outcome::Timeout(Step::Whole) => Duration::ZERO,
        outcome if is_unreachable(outcome) => limits
            .unreachable
            .saturating_mul(1 << failures.saturating_sub(1).min(10))
            .min(limits.unreachable_longest),
        _ => limits.odd,
    }
}

/// Whether there was no answer, or none of a registry that works.
pub(super) fn is_unreachable(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Network(_) | Outcome::Tls(_) | Outcome::RegistryError { .. } => true,
        Outcome::Timeout(step) => *step != Step::Whole,
        _ => false,
    }
}

/// Why a registry client cannot be built, or new hosts not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A certificate or key file cannot be read or holds nothing usable.
    #[error("failed to load {what} from {}", path.display())]
    Pem {
        /// What it was meant to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate file without a certificate.
    #[error("no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up with these certificates.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The address of a proxy is none.
    #[error("the proxy address is not a URL")]
    Proxy,
    /// The HTTP client cannot be built.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A host's extra header cannot be sent.
    #[error("header {name:?} of {host} cannot be sent")]
    Header {
        /// The endpoint's host.
        host: String,
        /// The header's name.
        name: String,
    },
}
