//! containerd's `hosts.toml`: the hosts of one registry, in file order, and the `server` last.
//!
//! Read as containerd reads it (`core/remotes/docker/config/hosts.go`), but for one thing: a file
//! that containerd would log and go on without is refused here, because what the nodes then do is
//! not what the team meant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::endpoint::{Client, Endpoint, TlsSettings, default_endpoint, split_port};
use super::route::{Rewrite, UpstreamRule};
use super::toml_reader::{Document, Field, MirrorError, MirrorFault, Section};
use crate::duration::parse_go;

/// Reads one `hosts.toml`. `registry` is the host that its directory is named after, nothing for
/// `_default`; files that it names are relative to `directory`.
pub fn parse_hosts_toml(
    registry: Option<&str>,
    directory: &Path,
    file: &str,
    text: &str,
) -> Result<Vec<UpstreamRule>, MirrorError> {
    let document = Document { file, text };
    let parsed = document.parse()?;
    let root = document.section(parsed.get_ref());
    let mut ways = Vec::new();
    if let Some(hosts) = root.get("host") {
        for (address, field) in hosts.section()?.in_order() {
            let config = HostConfig::read(&field.section()?, directory)?;
            ways.push(config.way(address, &field)?);
        }
    }
    let config = HostConfig::read(&root, directory)?;
    match root.get("server") {
        Some(server) if !server.text()?.is_empty() => {
            ways.push(config.way(server.text()?, &server)?);
        }
        _ => ways.push(config.itself(registry)),
    }
    Ok(ways)
}

/// The ways of a directory without a `hosts.toml`: docker's layout of certificates beside it.
pub(crate) fn certificates_only(
    registry: Option<&str>,
    ca_files: Vec<PathBuf>,
    clients: Vec<Client>,
) -> Vec<UpstreamRule> {
    let config = HostConfig { ca_files, clients, ..HostConfig::default() };
    vec![config.itself(registry)]
}

/// Names and values.
type Headers = Vec<(Box<str>, Box<str>)>;

/// The fields that a host and the file itself share.
#[derive(Default)]
struct HostConfig {
    capabilities: Option<Capabilities>,
    override_path: bool,
    skip_verify: Option<bool>,
    ca_files: Vec<PathBuf>,
    clients: Vec<Client>,
    headers: Headers,
}

#[derive(Default, Clone, Copy)]
struct Capabilities {
    pull: bool,
    resolve: bool,
    referrers: bool,
}

impl HostConfig {
    fn read(section: &Section<'_, '_>, directory: &Path) -> Result<Self, MirrorError> {
        let skip_verify = section.get("skip_verify").map(|field| field.flag()).transpose()?;
        if let Some(timeout) = section.get("dial_timeout") {
            check_dial_timeout(&timeout)?;
        }
        Ok(Self {
            capabilities: section
                .get("capabilities")
                .map(|f| capabilities(&f))
                .transpose()?
                .flatten(),
            override_path: section.flag("override_path")?,
            skip_verify,
            ca_files: match section.get("ca") {
                Some(field) => field.texts()?.into_iter().map(|p| directory.join(p)).collect(),
                None => Vec::new(),
            },
            clients: match section.get("client") {
                Some(field) => clients(&field, directory)?,
                None => Vec::new(),
            },
            headers: match section.get("header") {
                Some(field) => headers(&field)?,
                None => Vec::new(),
            },
        })
    }

    fn has_tls(&self) -> bool {
        self.skip_verify.is_some() || !self.ca_files.is_empty() || !self.clients.is_empty()
    }

    fn tls(&self) -> Option<Arc<TlsSettings>> {
        self.has_tls().then(|| {
            Arc::new(TlsSettings {
                skip_verify: self.skip_verify.unwrap_or(false),
                ca_files: self.ca_files.clone(),
                clients: self.clients.clone(),
            })
        })
    }

    fn way(&self, address: &str, field: &Field<'_, '_>) -> Result<UpstreamRule, MirrorError> {
        let no_address = || field.fault(MirrorFault::Address);
        let full =
            if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
        let mut url = Url::parse(&full).map_err(|_| no_address())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(no_address());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if self.override_path || path.ends_with("/v2") {
            url.set_path(&path);
        } else {
            url.set_path(&format!("{path}/v2"));
        }
        // Plain HTTP together with TLS options: containerd tries TLS first.
        let both = url.scheme() == "http" && self.has_tls();
        if both {
            url.set_scheme("https").map_err(|()| no_address())?;
        }
        let all = Capabilities { pull: true, resolve: true, referrers: false };
        let capabilities = self.capabilities.unwrap_or(all);
        Ok(UpstreamRule {
            endpoint: Some(Arc::new(Endpoint {
                told_registry: true,
                falls_back_to_http: both,
                tls: self.tls(),
                headers: self.headers.clone(),
                ..Endpoint::at(url)
            })),
            by_tag: capabilities.pull && capabilities.resolve,
            by_digest: capabilities.pull,
            rename: Rewrite::Keep,
            since_2_2: capabilities.referrers,
        })
    }

    /// The registry itself; without a `server` containerd gives it every capability.
    fn itself(&self, registry: Option<&str>) -> UpstreamRule {
        let plain = !self.has_tls() && self.headers.is_empty();
        let endpoint = registry.filter(|_| !plain).and_then(default_endpoint);
        let endpoint = endpoint.map(|endpoint| {
            let tls = self.tls().or_else(|| endpoint.tls.clone());
            Arc::new(Endpoint { tls, headers: self.headers.clone(), ..endpoint })
        });
        let since_2_2 = self.capabilities.is_some_and(|own| own.referrers);
        UpstreamRule { endpoint, since_2_2, ..UpstreamRule::itself() }
    }
}

fn capabilities(field: &Field<'_, '_>) -> Result<Option<Capabilities>, MirrorError> {
    let elements = field.list()?;
    let mut found = Capabilities::default();
    for element in &elements {
        match element.text()?.to_ascii_lowercase().as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => {}
            "referrers" => found.referrers = true,
            _ => return Err(element.fault(MirrorFault::Capability)),
        }
    }
    // An empty list is as good as none.
    Ok((!elements.is_empty()).then_some(found))
}

/// A duration as Go reads one; an empty text is none.
fn check_dial_timeout(field: &Field<'_, '_>) -> Result<(), MirrorError> {
    let text = field.text()?;
    let amount = text.strip_prefix(['+', '-']).unwrap_or(text);
    if text.is_empty() || parse_go(amount).is_some() {
        Ok(())
    } else {
        Err(field.fault(MirrorFault::Kind("a duration with its unit, such as 5s")))
    }
}

fn clients(field: &Field<'_, '_>, directory: &Path) -> Result<Vec<Client>, MirrorError> {
    let alone = |path: &str| Client { certificate: directory.join(path), key: None };
    let Some(elements) = field.elements() else { return Ok(vec![alone(field.text()?)]) };
    elements
        .iter()
        .map(|element| {
            let Some(pair) = element.elements() else { return element.text().map(alone) };
            let paths: Vec<_> = pair.iter().map(Field::text).collect::<Result<_, _>>()?;
            match paths[..] {
                [certificate, key] => Ok(Client {
                    certificate: directory.join(certificate),
                    key: Some(directory.join(key)),
                }),
                _ => Err(element.fault(MirrorFault::Kind("a certificate and its key"))),
            }
        })
        .collect()
}

fn headers(field: &Field<'_, '_>) -> Result<Headers, MirrorError> {
    let mut found = Vec::new();
    for (name, values) in field.section()?.in_order() {
        for value in values.texts()? {
            found.push((name.into(), value.into()));
        }
    }
    Ok(found)
}

/// The registry that a directory of a `certs.d` is for, and how much it is preferred over another
/// for the same; nothing for `_default`. containerd looks for `host_port_`, then `host:port`; the
/// bare host serves only references without a port.
pub fn registry_of_directory(name: &str) -> Option<(String, u8)> {
    if name == "_default" {
        return None;
    }
    if let Some((host, port)) = name.strip_suffix('_').and_then(|rest| rest.rsplit_once('_'))
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Some((format!("{host}:{port}"), 0));
    }
    let (_, port) = split_port(name);
    Some((name.to_owned(), u8::from(port.is_some())))
}
