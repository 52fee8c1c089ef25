//! CRI-O's `registries.conf` (version 2): prefixes, locations and their mirrors.
//!
//! Mirrors come first and the location last; pod credentials stay with the registry's own host.
//! Short names are completed by `aliases`, else by `unqualified-search-registries`.

use std::sync::Arc;

use url::Url;

use super::error::{MirrorError, MirrorFault};
use super::pattern::{Pattern, Rewrite, UpstreamRule};
use super::route::{Endpoint, RegistryHosts, TlsSettings, default_endpoint};
use super::toml_reader::{Document, Field, Section};

/// Reads one `registries.conf`.
pub fn parse_registries_conf(file: &str, text: &str) -> Result<RegistryHosts, MirrorError> {
    let document = Document { file, text };
    let parsed = document.parse()?;
    let root = document.section(parsed.get_ref());
    let mut hosts = RegistryHosts::default();
    if let Some(registries) = root.get("registry") {
        for element in registries.list()? {
            let (pattern, ways) = read_registry(&element)?;
            hosts.add(pattern, ways);
        }
    }
    if let Some(aliases) = root.get("aliases") {
        for (name, full) in aliases.section()?.in_order() {
            hosts.short_names.aliases.insert(name.into(), trimmed(full.text()?).into());
        }
    }
    if let Some(search) = root.get("unqualified-search-registries") {
        let names = search.list()?;
        let names: Result<Vec<_>, _> =
            names.iter().map(|name| Ok(trimmed(name.text()?).into())).collect();
        hosts.short_names.search = Some(names?);
    }
    Ok(hosts)
}

fn read_registry(element: &Field<'_, '_>) -> Result<(Pattern, Vec<UpstreamRule>), MirrorError> {
    let section = element.section()?;
    let location = section.text("location")?.map(trimmed).unwrap_or_default();
    let prefix = match section.text("prefix")?.map(trimmed) {
        Some(prefix) if !prefix.is_empty() => prefix,
        _ => location,
    };
    if prefix.is_empty() {
        return Err(element.fault(MirrorFault::Incomplete));
    }
    let domain = prefix.strip_prefix("*.");
    let pattern = match domain {
        Some(domain) => Pattern::Subdomains(domain.into()),
        None => Pattern::Prefix(prefix.into()),
    };
    if section.flag("blocked")? {
        return Ok((pattern, Vec::new()));
    }
    let digest_only = section.flag("mirror-by-digest-only")?;
    let mut ways = Vec::new();
    if let Some(mirrors) = section.get("mirror") {
        for mirror in mirrors.list()? {
            ways.push(read_mirror(&mirror, prefix, digest_only)?);
        }
    }
    let insecure = section.flag("insecure")?;
    ways.push(if location.is_empty() && !insecure {
        UpstreamRule::itself()
    } else {
        let location = if location.is_empty() { prefix } else { location };
        match section.get("location") {
            Some(field) => way(location, prefix, insecure, &field)?,
            None => way(location, prefix, insecure, element)?,
        }
    });
    Ok((pattern, ways))
}

fn read_mirror(
    mirror: &Field<'_, '_>,
    prefix: &str,
    digest_only: bool,
) -> Result<UpstreamRule, MirrorError> {
    let section: Section<'_, '_> = mirror.section()?;
    let Some(field) = section.get("location") else {
        return Err(mirror.fault(MirrorFault::Incomplete));
    };
    let found = way(trimmed(field.text()?), prefix, section.flag("insecure")?, &field)?;
    let (by_tag, by_digest) = match section.get("pull-from-mirror") {
        None => (!digest_only, true),
        Some(pull) => match pull.text()? {
            "" | "all" => (!digest_only, true),
            "digest-only" => (false, true),
            "tag-only" => (true, false),
            _ => return Err(pull.fault(MirrorFault::PullFromMirror)),
        },
    };
    Ok(UpstreamRule { by_tag, by_digest, ..found })
}

/// The way to a location: its host, and what stands behind the prefix under its path.
fn way(
    location: &str,
    prefix: &str,
    insecure: bool,
    field: &Field<'_, '_>,
) -> Result<UpstreamRule, MirrorError> {
    let (host, path) = location.split_once('/').unwrap_or((location, ""));
    let no_address = || field.fault(MirrorFault::Address);
    if host.is_empty() || host.contains("://") || location.contains("://") {
        return Err(no_address());
    }
    // CRI-O has no exception for loopback: TLS, unless the file says otherwise.
    let dialled = default_endpoint(host).ok_or_else(no_address)?.url;
    let dialled = dialled.as_str().replacen("http://", "https://", 1);
    let url = Url::parse(&dialled).map_err(|_| no_address())?;
    let tls =
        insecure.then(|| Arc::new(TlsSettings { skip_verify: true, ..TlsSettings::default() }));
    let own = prefix.split('/').next().unwrap_or_default();
    Ok(UpstreamRule {
        endpoint: Some(Arc::new(Endpoint {
            takes_credentials: own == host,
            falls_back_to_http: insecure,
            tls,
            ..Endpoint::at(url)
        })),
        by_tag: true,
        by_digest: true,
        rename: Rewrite::Behind { prefix: prefix.into(), path: trimmed(path).into() },
    })
}

fn trimmed(text: &str) -> &str {
    text.trim_end_matches('/')
}
