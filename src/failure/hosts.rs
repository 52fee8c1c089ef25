//! Which hosts a message names: the registry of the image, and another one that is at fault.
//!
//! A host comes out only if it parses as one; nothing else of a message ever does.

use super::tokens::{Text, Token};
use crate::image::{DOCKER_HUB, registry_of_host};

/// The registry that the message is about, and another host that is part of the fault.
///
/// With `only_images`, only what stands in quotes behind the word "image" counts: a text that is
/// not about a pull is full of other names with slashes.
pub(super) fn hosts(text: &Text, only_images: bool) -> (Option<String>, Option<String>) {
    let named = named_image(text, only_images);
    if only_images {
        return (named, None);
    }
    let mut urls = urls(text);
    let registry = named.or_else(|| {
        urls.iter()
            .find(|url| url.is_registry)
            .or_else(|| urls.iter().find(|url| url.host == DOCKER_HUB))
            .map(|url| url.host.clone())
    });
    let registry = registry.or_else(|| looked_up(text).filter(|host| host == DOCKER_HUB));
    urls.retain(|url| url.is_asked && Some(&url.host) != registry.as_ref());
    let address = urls.pop().map(|url| url.host).or_else(|| looked_up(text));
    let address = address.filter(|host| Some(host) != registry.as_ref());
    (registry, address)
}

/// The host that was looked up or asked last: what stands behind "lookup" in an error of Go, and
/// behind `host=` in containerd's log.
fn looked_up(text: &Text) -> Option<String> {
    let pairs = text.tokens().windows(2).rev();
    let named = |pair: &&[Token]| matches!(text.lower(pair[0]), "lookup" | "host");
    let host = pairs.filter(named).find_map(|pair| {
        let host = text.raw(pair[1]);
        (host.contains('.') && is_host(host)).then_some(host)
    })?;
    Some(registry_of_host(host).to_owned())
}

/// A URL of a message.
struct Url {
    host: String,
    /// Whether its path is that of the registry protocol.
    is_registry: bool,
    /// Whether the text says that it was asked for; a page of help is not.
    is_asked: bool,
}

/// Words in front of a URL that was asked for: methods, and how the runtimes tell of a status.
const ASKED: &[&str] = &[
    "get", "head", "post", "put", "patch", "delete", "ping", "pinging", "code", "endpoint",
    "registry", "mirror", "proxy", "url", "from", "host", "server",
];

/// All URLs, in order.
fn urls(text: &Text) -> Vec<Url> {
    let mut found = Vec::new();
    for (at, &token) in text.tokens().iter().enumerate() {
        let word = text.raw(token);
        let Some((_, rest)) =
            word.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
        else {
            continue;
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.split(['?', '#']).next().unwrap_or_default();
        if is_host(host) {
            let is_registry = ["v0", "v1", "v2"].iter().any(|version| {
                path.strip_prefix(version)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            let before = |n: usize| at.checked_sub(n).map(|at| text.lower(text.tokens()[at]));
            let is_asked = is_registry
                || before(1).is_some_and(|word| ASKED.contains(&word))
                || (before(1) == Some("to") && before(2) == Some("request"));
            found.push(Url { host: registry_of_host(host).to_owned(), is_registry, is_asked });
        }
    }
    found
}

/// The host of the first image name that has one: `host/repository`, with or without a scheme
/// that somebody wrote in front of it.
fn named_image(text: &Text, only_images: bool) -> Option<String> {
    text.tokens().iter().enumerate().find_map(|(at, &token)| {
        let word = text.raw(token);
        let quoted_name = token.opaque;
        if only_images && !quoted_name || text.follows_placeholder(token) {
            return None;
        }
        let name = match word.split_once("://") {
            Some(("docker" | "docker-pullable" | "docker-archive", name)) => name,
            Some(("http" | "https", name)) if quoted_name => name,
            Some(_) => return None,
            None => word,
        };
        let (first, rest) = name.split_once('/')?;
        let of_store = rest.contains("layer-sha256") || rest.contains("manifest-sha256");
        let after_ref = at > 0 && text.lower(text.tokens()[at - 1]) == "ref";
        let looks_so = first.contains('.') || first.contains(':') || first == "localhost";
        if !looks_so
            || (rest.is_empty() && !first.contains('.'))
            || (of_store && after_ref)
            || is_media_type(first)
            || first == "containerd.io"
        {
            return None;
        }
        is_host(first).then(|| registry_of_host(first).to_owned())
    })
}

/// `application/vnd.docker…` has its dots behind the slash; `vnd.oci.image/…` is no host either.
fn is_media_type(first: &str) -> bool {
    first.starts_with("vnd.")
}

/// Whether it is a host name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') => (name, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}
