//! Under which names of a mirror the content of other registries is served.
//!
//! Only where a mirror keeps a registry under a path of its own: a bare host may serve images of
//! its own under the same names. Regular expressions are not turned round.

use std::collections::{BTreeMap, BTreeSet};

use super::crio_registries::CrioRegistries;
use super::route::{Pattern, RegistryHosts, Rewrite, UpstreamRule};

/// Most aliases that are given.
const MAX_ALIASES: usize = 128;
/// Where the API of a registry begins in a URL.
const API: &str = "/v2";

impl RegistryHosts {
    /// Pairs of prefixes of repositories' names: what starts with the first one is, on its mirror,
    /// what starts with the second one. The longest first; those that stand for two are left out.
    pub fn aliases(&self) -> Vec<(Box<str>, Box<str>)> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (pattern, ways) in self.rules() {
            let Pattern::Host(original) = pattern else { continue };
            for alias in ways.iter().filter_map(|way| name_at(way, original)) {
                found.entry(alias).or_default().insert(format!("{original}/"));
            }
        }
        for (alias, original) in self.crio().into_iter().flat_map(CrioRegistries::aliases) {
            found.entry(alias).or_default().insert(original);
        }
        let mut aliases: Vec<(Box<str>, Box<str>)> = found
            .into_iter()
            .filter_map(|(alias, originals)| {
                let mut originals = originals.into_iter();
                match (originals.next(), originals.next()) {
                    (Some(one), None) => Some((alias.into(), one.into())),
                    _ => None,
                }
            })
            .collect();
        aliases.sort_by_key(|(alias, _)| std::cmp::Reverse(alias.len()));
        aliases.truncate(MAX_ALIASES);
        aliases
    }
}

/// The prefix under which this host keeps a registry, with a slash at its end.
fn name_at(way: &UpstreamRule, original: &str) -> Option<String> {
    let endpoint = way.endpoint.as_deref()?;
    let host = endpoint.url.host_str()?;
    let host = match endpoint.url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let behind = endpoint.url.path().trim_end_matches('/').strip_prefix(API)?;
    let renamed = match &way.rename {
        Rewrite::Keep => "",
        Rewrite::Expressions(_) => return None,
    };
    let parts = [behind.trim_matches('/'), renamed];
    let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let alias = format!("{host}/{}/", path.join("/"));
    let own = alias == format!("{original}/");
    (!path.is_empty() && !own && (behind.is_empty() || behind.starts_with('/'))).then_some(alias)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::super::endpoint::Endpoint;
    use super::super::registries_conf::parse_registries_conf;
    use super::*;

    fn to(url: &str) -> Endpoint {
        Endpoint::at(Url::parse(url).unwrap())
    }

    #[test]
    fn a_path_of_its_own_is_an_alias_and_a_bare_host_is_none() {
        let mut hosts = RegistryHosts::default();
        let ways = [to("https://m.example/v2/hub"), to("https://bare.example/v2")];
        hosts.insert("docker.io", ways.into());
        hosts.insert(
            "ghcr.io",
            vec![to("https://m.example:5000/v2/gh/"), to("https://m.example/v2/both")],
        );
        hosts.insert(
            "quay.io",
            vec![to("https://m.example/v2/both"), to("https://m.example/api/quay")],
        );
        let crio = "[[registry]]\nprefix = 'q.example/team'\nlocation = 'q.example/team'\n\
                    [[registry.mirror]]\nlocation = 'm.example/t'\n\
                    [[registry.mirror]]\nlocation = 'bare.example'\n";
        hosts.extend(parse_registries_conf("registries.conf", crio).unwrap());
        hosts.add(Pattern::Any, vec![UpstreamRule::to(to("https://any.example/v2/x"))]);
        let aliases: Vec<String> =
            hosts.aliases().iter().map(|(alias, original)| format!("{alias} {original}")).collect();
        assert_eq!(
            aliases,
            [
                "m.example:5000/gh/ ghcr.io/",
                "m.example/hub/ docker.io/",
                "m.example/t/ q.example/team/"
            ]
        );
    }
}
