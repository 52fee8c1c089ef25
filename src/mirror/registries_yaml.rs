//! k3s' and RKE2's `registries.yaml`: endpoints, rewrites and TLS per registry.
//!
//! The registry itself is tried last, as k3s has it unless its server was told not to. Node
//! credentials (`auth`) are not transport and are left to those who know the keyring.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use regex::Regex;
use serde::Deserialize;
use serde_saphyr::Spanned;
use url::Url;

use super::error::{MirrorError, MirrorFault};
use super::pattern::{Pattern, Rename, Way};
use super::route::{Client, Endpoint, RegistryHosts, TlsSettings, default_endpoint};

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
    tls: Option<RawTls>,
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
    let configs = raw.configs.unwrap_or_default();
    let tls_of = |host: &str| configs.get(host)?.as_ref()?.tls.as_ref().and_then(RawTls::settings);
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
            if expressions.is_empty() { Rename::Keep } else { Rename::Expressions(expressions) };
        let mut ways = Vec::new();
        for address in mirror.endpoint.iter().flatten() {
            let url = endpoint_address(&address.value).ok_or_else(|| {
                let field = format!("mirrors.{registry:?}.endpoint");
                fault(address.referenced.line(), &field, MirrorFault::Address)
            })?;
            let tls = tls_of(&host_and_port(&url));
            let endpoint = Endpoint { told_registry: true, tls, ..Endpoint::at(url) };
            ways.push(Way { rename: rename.clone(), ..Way::to(endpoint) });
        }
        if registry == "*" {
            ways.push(Way::itself());
            hosts.add(Pattern::Any, ways);
        } else {
            ways.push(itself(registry, tls_of(registry)));
            hosts.add(Pattern::Host(registry.as_str().into()), ways);
        }
    }
    for registry in configs.keys().filter(|registry| !mirrors.contains_key(*registry)) {
        if let Some(tls) = tls_of(registry) {
            let mut ways = mirrors_of_all(&hosts, registry);
            ways.push(itself(registry, Some(tls)));
            hosts.add(Pattern::Host(registry.as_str().into()), ways);
        }
    }
    Ok(hosts)
}

/// The wildcard's mirrors hold for a registry that only has a `configs` entry.
fn mirrors_of_all(hosts: &RegistryHosts, registry: &str) -> Vec<Way> {
    let mut ways = hosts.ways_of_all();
    ways.retain(|way| way.endpoint.is_some());
    ways.retain(|way| {
        way.endpoint.as_ref().is_none_or(|endpoint| host_and_port(&endpoint.url) != registry)
    });
    ways
}

fn itself(registry: &str, tls: Option<Arc<TlsSettings>>) -> Way {
    let endpoint = default_endpoint(registry).filter(|_| tls.is_some());
    let endpoint = endpoint.map(|endpoint| Arc::new(Endpoint { tls, ..endpoint }));
    Way { endpoint, ..Way::itself() }
}

/// An endpoint's address: without a scheme https, or http on loopback; a path stands as it is.
fn endpoint_address(address: &str) -> Option<Url> {
    let full = if address.contains("://") {
        address.to_owned()
    } else {
        let host = address.split('/').next().unwrap_or_default();
        let (name, _) = super::route::split_port(host);
        let scheme = if super::route::is_loopback(name) { "http" } else { "https" };
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
