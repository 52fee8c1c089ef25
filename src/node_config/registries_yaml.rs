//! k3s' and RKE2's `registries.yaml`: endpoints, rewrites and TLS per registry.
//!
//! The registry itself is tried last, as k3s has it unless its server was told not to. A login
//! (`auth`) belongs to the host that is dialled; the runtime uses it only where the kubelet brings
//! no credential at all (containerd's `registry.configs.*.auth`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::Deserialize;
use serde_saphyr::Spanned;
use url::Url;

use super::endpoint::{Client, Endpoint, NodeLogin, TlsSettings, default_endpoint};
use super::route::{Pattern, RegistryHosts, Rewrite, UpstreamRule};
use super::toml_reader::{MirrorError, MirrorFault};
use crate::image::{DOCKER_HUB, DOCKER_HUB_DIALLED, DOCKER_HUB_LEGACY};

#[derive(Deserialize)]
struct RawRegistries {
    #[serde(default)]
    mirrors: Option<BTreeMap<String, Option<RawMirror>>>,
    #[serde(default)]
    configs: Option<BTreeMap<String, Option<RawConfig>>>,
}

#[derive(Deserialize, Default)]
struct RawMirror {
    #[serde(default)]
    endpoint: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    rewrite: Option<BTreeMap<String, Spanned<String>>>,
}

#[derive(Deserialize, Default)]
struct RawConfig {
    #[serde(default)]
    auth: Option<RawAuth>,
    #[serde(default)]
    tls: Option<RawTls>,
}

/// As k3s' configuration has it; `token` is how its documentation calls the identity token.
#[derive(Deserialize, Default)]
struct RawAuth {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default, alias = "token")]
    identity_token: Option<String>,
}

impl RawAuth {
    /// In containerd's order: a user name, else an identity token, else `auth`.
    fn login(&self) -> Option<Arc<NodeLogin>> {
        let given = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
        let login = if let Some(username) = given(&self.username) {
            let password = self.password.clone().unwrap_or_default();
            NodeLogin::Password {
                username: username.into_bytes().into(),
                password: password.into_bytes().into(),
            }
        } else if let Some(token) = given(&self.identity_token) {
            NodeLogin::IdentityToken(token.into())
        } else {
            let decoded = STANDARD.decode(given(&self.auth)?.trim()).ok()?;
            let colon = decoded.iter().position(|byte| *byte == b':')?;
            let (username, password) = decoded.split_at(colon);
            let password = password.get(1..).unwrap_or_default();
            let end = password.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            NodeLogin::Password {
                username: username.into(),
                password: password.get(..end).unwrap_or_default().into(),
            }
        };
        Some(Arc::new(login))
    }
}

#[derive(Deserialize, Default)]
struct RawTls {
    #[serde(default)]
    cert_file: Option<PathBuf>,
    #[serde(default)]
    key_file: Option<PathBuf>,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default)]
    insecure_skip_verify: Option<bool>,
}

impl RawTls {
    fn settings(&self) -> Option<Arc<TlsSettings>> {
        let settings = TlsSettings {
            skip_verify: self.insecure_skip_verify.unwrap_or(false),
            ca_files: self.ca_file.iter().cloned().collect(),
            clients: self
                .cert_file
                .iter()
                .map(|certificate| Client {
                    certificate: certificate.clone(),
                    key: self.key_file.clone(),
                })
                .collect(),
        };
        (settings != TlsSettings::default()).then(|| Arc::new(settings))
    }
}

/// The names under which people write Docker Hub; only the first is the one that is dialled.
const HUB: [&str; 3] = [DOCKER_HUB_DIALLED, DOCKER_HUB, DOCKER_HUB_LEGACY];

/// What `configs` says of hosts.
struct Configs(BTreeMap<String, Option<RawConfig>>);

/// What it says of one.
#[derive(Default, PartialEq)]
struct HostConfig {
    tls: Option<Arc<TlsSettings>>,
    login: Option<Arc<NodeLogin>>,
}

impl Configs {
    /// The registries that have an entry, as references name them.
    fn hosts(&self) -> impl Iterator<Item = &str> {
        let hub = self.0.keys().any(|host| HUB.contains(&host.as_str()));
        let others = self.0.keys().map(String::as_str).filter(|host| !HUB.contains(host));
        others.chain(hub.then_some(DOCKER_HUB))
    }

    /// What is said of a host, as it stands in an address.
    fn of(&self, host: &str) -> HostConfig {
        let with_port = format!("{host}:443");
        let own = [host, with_port.as_str()];
        let names = if HUB.contains(&host) { &HUB[..] } else { &own[..] };
        let entries = || names.iter().filter_map(|name| self.0.get(*name)?.as_ref());
        HostConfig {
            tls: entries().find_map(|entry| entry.tls.as_ref()?.settings()),
            login: entries().find_map(|entry| entry.auth.as_ref()?.login()),
        }
    }
}

/// Reads one `registries.yaml`.
pub fn parse_registries_yaml(file: &str, text: &str) -> Result<RegistryHosts, MirrorError> {
    let fault = |line: u64, field: &str, fault| MirrorError {
        file: file.into(),
        line: usize::try_from(line).unwrap_or(1).max(1),
        field: field.into(),
        fault,
    };
    let mut hosts = RegistryHosts::default();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(hosts);
    }
    let raw: RawRegistries = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let said = error.to_string();
        let first = said.lines().next().unwrap_or_default();
        fault(line, "-", MirrorFault::Syntax(first.into()))
    })?;
    let configs = Configs(raw.configs.unwrap_or_default());
    let mirrors = raw.mirrors.unwrap_or_default();
    for (registry, mirror) in &mirrors {
        let empty = RawMirror::default();
        let mirror = mirror.as_ref().unwrap_or(&empty);
        let mut expressions = Vec::new();
        for (expression, with) in mirror.rewrite.iter().flatten() {
            let field = format!("mirrors.{registry:?}.rewrite.{expression:?}");
            let line = with.referenced.line();
            let compiled =
                Regex::new(expression).map_err(|_| fault(line, &field, MirrorFault::Expression))?;
            expressions.push((compiled, with.value.as_str().into()));
        }
        let rename =
            if expressions.is_empty() { Rewrite::Keep } else { Rewrite::Expressions(expressions) };
        let mut ways = Vec::new();
        for address in mirror.endpoint.iter().flatten() {
            let url = endpoint_address(&address.value).ok_or_else(|| {
                let field = format!("mirrors.{registry:?}.endpoint");
                fault(address.referenced.line(), &field, MirrorFault::Address)
            })?;
            let HostConfig { tls, login } = configs.of(&host_and_port(&url));
            let endpoint = Endpoint { told_registry: true, tls, login, ..Endpoint::at(url) };
            ways.push(UpstreamRule { rename: rename.clone(), ..UpstreamRule::to(endpoint) });
        }
        if registry == "*" {
            ways.push(UpstreamRule::itself());
            hosts.add(Pattern::Any, ways);
        } else {
            ways.push(itself(registry, configs.of(registry)));
            hosts.add(Pattern::Host(registry.as_str().into()), ways);
        }
    }
    for registry in configs.hosts().filter(|registry| !mirrors.contains_key(*registry)) {
        let config = configs.of(registry);
        if config != HostConfig::default() {
            let mut ways = mirrors_of_all(&hosts, registry);
            ways.push(itself(registry, config));
            hosts.add(Pattern::Host(registry.into()), ways);
        }
    }
    Ok(hosts)
}

/// The wildcard's mirrors hold for a registry that only has a `configs` entry.
fn mirrors_of_all(hosts: &RegistryHosts, registry: &str) -> Vec<UpstreamRule> {
    let mut ways = hosts.ways_of_all();
    ways.retain(|way| way.endpoint.is_some());
    ways.retain(|way| {
        way.endpoint.as_ref().is_none_or(|endpoint| host_and_port(&endpoint.url) != registry)
    });
    ways
}

fn itself(registry: &str, config: HostConfig) -> UpstreamRule {
    let endpoint = default_endpoint(registry).filter(|_| config != HostConfig::default());
    let HostConfig { tls, login } = config;
    let endpoint = endpoint.map(|endpoint| {
        let tls = tls.or_else(|| endpoint.tls.clone());
        Arc::new(Endpoint { tls, login, ..endpoint })
    });
    UpstreamRule { endpoint, ..UpstreamRule::itself() }
}

/// An endpoint's address: without a scheme https, or http on loopback; a path stands as it is.
fn endpoint_address(address: &str) -> Option<Url> {
    let full = if address.contains("://") {
        address.to_owned()
    } else {
        let host = address.split('/').next().unwrap_or_default();
        let (name, _) = super::endpoint::split_port(host);
        let scheme = if super::endpoint::is_loopback(name) { "http" } else { "https" };
        format!("{scheme}://{address}")
    };
    let mut url = Url::parse(&full).ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return None;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(if path.is_empty() { "/v2" } else { &path });
    Some(url)
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
