//! Sends one request and reads one answer, each step bounded and each address checked.
//!
//! There is one HTTP client, and so one pool of connections, per credential identity and TLS
//! setting: what one credential opened never carries another's requests. Redirects are not
//! followed here and nothing is tried twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use hyper_util::client::proxy::matcher::Matcher;
use ipnet::IpNet;
use tokio::time::Instant;
use url::{Host, Url};

use super::address::AddressPolicy;
use super::errors;
use super::options::NameResolver;
use super::options::RegistryError;
use super::options::{ProxyOptions, RegistryOptions, RegistryPolicy, StepLimits};
use super::resolver::{GuardedResolver, ProxyResolver, SystemNames};
use super::tls::TlsBase;
use crate::credential::CredentialIdentity;
use crate::node_config::{RegistryHosts, TlsSettings};
use crate::pull::{NetworkFault, Outcome, Step, TlsFault};

/// The most HTTP clients that are kept; each holds its own idle connections.
const MAX_CLIENTS: usize = 512;

/// Whose connection a request travels on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ConnectionKey {
    pub(super) identity: CredentialIdentity,
    pub(super) tls: Option<Arc<TlsSettings>>,
}

/// Whether an address is of this host, given as references write it: with a port unless it is the
/// scheme's own.
fn is_at(host: &str, url: &Url) -> bool {
    let Ok(meant) = Url::parse(&format!("{}://{host}", url.scheme())) else { return false };
    meant.host() == url.host() && meant.port_or_known_default() == url.port_or_known_default()
}

/// One request.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    pub(super) form: Option<Vec<(&'static str, String)>>,
}

/// The head of one answer; its body is read on demand.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    response: reqwest::Response,
    proxied: bool,
    limit: Duration,
    deadline: Instant,
}

/// HTTP clients by lane and proxy, each with the time of its last use.
type Clients = HashMap<(ConnectionKey, Option<Box<str>>), (reqwest::Client, Instant)>;

/// Everything that sends.
pub(super) struct Transport {
    base: TlsBase,
    policy: Arc<ArcSwap<AddressPolicy>>,
    /// The cluster's ranges that whoever runs Pullgate gave.
    cluster_ranges: Vec<IpNet>,
    directions: Arc<ArcSwap<RegistryPolicy>>,
    names: Arc<dyn NameResolver>,
    proxies: Matcher,
    proxy: ProxyOptions,
    proxy_hosts: Vec<Box<str>>,
    down: Vec<Box<str>>,
    limits: StepLimits,
    user_agent: HeaderValue,
    clients: Mutex<Clients>,
}

impl Transport {
    pub(super) fn new(
        options: &RegistryOptions,
        directions: Arc<ArcSwap<RegistryPolicy>>,
    ) -> Result<Self, RegistryError> {
        let mut proxies = Matcher::builder().no(options.proxy.no_proxy.as_str());
        let mut proxy_hosts = Vec::new();
        if let Some(https) = &options.proxy.https {
            proxies = proxies.https(https.as_str());
        }
        if let Some(http) = &options.proxy.http {
            proxies = proxies.http(http.as_str());
        }
        for proxy in options.proxy.https.iter().chain(&options.proxy.http) {
            proxy_hosts.push(proxy_host(proxy).ok_or(RegistryError::Proxy)?);
        }
        let transport = Self {
            base: TlsBase::load(&options.ca_files)?,
            policy: Arc::new(ArcSwap::from_pointee(AddressPolicy {
                allow: options.allow.clone(),
                loopback: options.contact_loopback,
                cluster: options.cluster_ranges.clone(),
            })),
            cluster_ranges: options.cluster_ranges.clone(),
            directions,
            names: options.resolver.clone().unwrap_or_else(|| Arc::new(SystemNames::new())),
            proxies: proxies.build(),
            proxy: options.proxy.clone(),
            proxy_hosts,
            down: options.down.clone(),
            limits: options.limits.clone(),
            user_agent: HeaderValue::from_str(&options.user_agent)
                .unwrap_or_else(|_| HeaderValue::from_static("pullgate")),
            clients: Mutex::new(HashMap::new()),
        };
        check_headers(&options.hosts)?;
        for (host, error) in transport.unusable(&options.hosts) {
            tracing::error!(
                host,
                error = &error as &dyn std::error::Error,
                "a certificate file that the nodes' mirror configuration names cannot be used: \
                 the verdict for whatever that host serves is \"cannot tell\" until it can; mount it where the \
                 configuration names it"
            );
        }
        Ok(transport)
    }

    /// The hosts whose certificate files cannot be used, each with why. Nothing else suffers: a
    /// node may well have the file, so what they would answer stays unknown.
    fn unusable(&self, hosts: &RegistryHosts) -> Vec<(String, RegistryError)> {
        let special = hosts.endpoints().filter(|endpoint| endpoint.tls.is_some());
        special
            .filter_map(|endpoint| {
                let error = self.base.config(endpoint.tls.as_deref()).err()?;
                Some((endpoint.url.host_str().unwrap_or_default().to_owned(), error))
            })
            .collect()
    }

    /// Whether these hosts can be used as well as those before them: a certificate file that is
    /// newly missing is an error, one that was missing already is not.
    pub(super) fn check_hosts(
        &self,
        hosts: &RegistryHosts,
        before: &RegistryHosts,
    ) -> Result<(), RegistryError> {
        check_headers(hosts)?;
        let known: Vec<String> = self.unusable(before).into_iter().map(|(host, _)| host).collect();
        match self.unusable(hosts).into_iter().find(|(host, _)| !known.contains(host)) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Forgets the connections that stand on certificate files, so that the files are read again.
    pub(super) fn forget_certificates(&self) {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        clients.retain(|(lane, _), _| lane.tls.is_none());
    }

    /// Sends one request; an answer with any status is an answer.
    pub(super) async fn send(
        &self,
        lane: &ConnectionKey,
        request: Outgoing<'_>,
        deadline: Instant,
    ) -> Result<Answer, Outcome> {
        self.check_address(request.url)?;
        if self.down.iter().any(|host| is_at(host, request.url)) {
            return Err(Outcome::Network(NetworkFault::Refused));
        }
        let proxy = self.proxy_for(request.url);
        let proxied = proxy.is_some();
        // What cannot be set up is a file of certificates that is missing here.
        let client =
            self.client(lane, proxy).map_err(|_| Outcome::Tls(TlsFault::UnknownAuthority))?;
        let mut builder = client
            .request(request.method, request.url.clone())
            .headers(request.headers)
            .header(http::header::USER_AGENT, self.user_agent.clone());
        if let Some(form) = &request.form {
            builder = builder.form(form);
        }
        let now = Instant::now();
        let patience = now + self.limits.connect + self.limits.first_byte;
        let sent = tokio::time::timeout_at(patience.min(deadline), builder.send()).await;
        match sent {
            Ok(Ok(response)) => Ok(Answer {
                status: response.status(),
                headers: response.headers().clone(),
                response,
                proxied,
                limit: self.limits.body,
                deadline,
            }),
            Ok(Err(error)) => {
                let outcome = errors::outcome_of(&error, proxied);
                tracing::debug!(?outcome, host = request.url.host_str(), "a request failed");
                Err(outcome)
            }
            // Only a registry that had its full time for the answer is slow by its own fault.
            Err(_) if now.elapsed() < self.limits.first_byte => Err(Outcome::Timeout(Step::Whole)),
            Err(_) => Err(Outcome::Timeout(Step::FirstByte)),
        }
    }

    /// Closes these ranges of the cluster beside those that were given.
    pub(super) fn close(&self, ranges: &[IpNet]) {
        let cluster = [&self.cluster_ranges, ranges].concat();
        let now = AddressPolicy { cluster, ..AddressPolicy::clone(&self.policy.load()) };
        self.policy.store(Arc::new(now));
    }

    /// Literal addresses are dialled without a question to any resolver, so they are checked here.
    fn check_address(&self, url: &Url) -> Result<(), Outcome> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Outcome::Malformed("an address that is neither http nor https"));
        }
        let (address, name) = match url.host() {
            Some(Host::Ipv4(v4)) => (v4.into(), v4.to_string()),
            Some(Host::Ipv6(v6)) => (v6.into(), v6.to_string()),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Outcome::Malformed("an address without a host")),
        };
        self.policy
            .load()
            .check(address, self.directions.load().in_cluster.contains(&name))
            .map_err(|_| Outcome::ForbiddenAddress)
    }

    /// The proxy that a request to this address goes through, if any.
    fn proxy_for(&self, url: &Url) -> Option<&str> {
        let uri: http::Uri = url.as_str().parse().ok()?;
        self.proxies.intercept(&uri)?;
        match url.scheme() {
            "https" => self.proxy.https.as_deref(),
            _ => self.proxy.http.as_deref(),
        }
    }

    fn client(
        &self,
        lane: &ConnectionKey,
        proxy: Option<&str>,
    ) -> Result<reqwest::Client, RegistryError> {
        let key = (lane.clone(), proxy.map(Into::into));
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((client, used)) = clients.get_mut(&key) {
            *used = now;
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            let oldest = clients.iter().min_by_key(|(_, (_, used))| *used).map(|(k, _)| k.clone());
            if let Some(oldest) = oldest {
                clients.remove(&oldest);
            }
        }
        let client = self.build_client(lane, proxy)?;
        clients.insert(key, (client.clone(), now));
        Ok(client)
    }

    fn build_client(
        &self,
        lane: &ConnectionKey,
        proxy: Option<&str>,
    ) -> Result<reqwest::Client, RegistryError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.base.config(lane.tls.as_deref())?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.limits.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(32)
            .http1_max_headers(100)
            .http2_max_header_list_size(64 << 10)
            .no_proxy();
        let timeout = self.limits.resolve;
        let names = Arc::clone(&self.names);
        let builder = match proxy {
            Some(proxy) => builder
                .proxy(reqwest::Proxy::all(proxy).map_err(RegistryError::Client)?)
                .dns_resolver(ProxyResolver { names, hosts: self.proxy_hosts.clone(), timeout }),
            None => builder.dns_resolver(GuardedResolver {
                names,
                policy: Arc::clone(&self.policy),
                directions: Arc::clone(&self.directions),
                timeout,
            }),
        };
        builder.build().map_err(RegistryError::Client)
    }
}

impl Answer {
    /// The text of a header, if it is there once and readable.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Reads the body, up to `cap` bytes; a longer one is malformed.
    pub(super) async fn body(mut self, cap: usize) -> Result<Bytes, Outcome> {
        let encoded = self
            .header("content-encoding")
            .is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        if encoded {
            return Err(Outcome::Malformed("a compressed answer nobody asked for"));
        }
        let announced = self.response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > cap) {
            return Err(Outcome::Malformed("the answer is too large"));
        }
        let patience = Instant::now() + self.limit;
        let until = patience.min(self.deadline);
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        loop {
            match tokio::time::timeout_at(until, self.response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > cap => {
                    return Err(Outcome::Malformed("the answer is too large"));
                }
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Ok(body.into()),
                Ok(Err(error)) => return Err(errors::outcome_of(&error, self.proxied)),
                Err(_) if self.deadline <= patience => return Err(Outcome::Timeout(Step::Whole)),
                Err(_) => return Err(Outcome::Timeout(Step::Body)),
            }
        }
    }
}

fn proxy_host(proxy: &str) -> Option<Box<str>> {
    let with_scheme =
        if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    Url::parse(&with_scheme).ok()?.host_str().map(Into::into)
}

/// Whether the headers that these hosts want can be sent.
fn check_headers(hosts: &RegistryHosts) -> Result<(), RegistryError> {
    for endpoint in hosts.endpoints() {
        for (name, value) in &endpoint.headers {
            let fits = HeaderName::from_bytes(name.as_bytes()).is_ok()
                && HeaderValue::from_str(value).is_ok();
            if !fits {
                return Err(RegistryError::Header {
                    host: endpoint.url.host_str().unwrap_or_default().to_owned(),
                    name: name.to_string(),
                });
            }
        }
    }
    Ok(())
}
