//! The character-level rules of image names: domains, path components, tags, digests.
//!
//! Each function answers for a whole element, anchored at both ends; they mirror the regular
//! expressions of `distribution/reference` (`regexp.go`) without a regular expression engine.
//! All classes are ASCII. Splitting a name into elements is the business of `reference`.

/// The longest tag, in bytes.
pub(super) const MAX_TAG: usize = 128;

/// The longest repository path, in bytes; the domain does not count.
pub(super) const MAX_PATH: usize = 255;

/// The fewest hex digits that the grammar takes for a digest, whatever its algorithm.
const MIN_DIGEST_HEX: usize = 32;

/// A registry host with an optional port: dotted labels or a bracketed IPv6 literal.
pub(super) fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inner, "")) => (inner, None),
            Some((inner, after)) => match after.strip_prefix(':') {
                Some(port) => (inner, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_is_legal = if text.starts_with('[') {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
    } else {
        host.split('.').all(is_domain_label)
    };
    host_is_legal
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// One label of a domain: letters, digits and inner hyphens.
fn is_domain_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// A repository path: components joined by single slashes.
fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// One component: runs of `a-z0-9` joined by `.`, `_`, `__` or any number of `-`.
pub(super) fn is_path_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    let mut at = 0;
    loop {
        let start = at;
        while bytes.get(at).is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            at += 1;
        }
        if at == start {
            return false;
        }
        match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) => return true,
            (Some(b'_'), Some(b'_')) => at += 2,
            (Some(b'_' | b'.'), _) => at += 1,
            (Some(b'-'), _) => {
                while bytes.get(at) == Some(&b'-') {
                    at += 1;
                }
            }
            _ => return false,
        }
    }
}

/// A tag: up to 128 of `[A-Za-z0-9_.-]`, the first of them neither `.` nor `-`.
pub(super) fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= MAX_TAG
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `algorithm:hex` as far as the reference grammar goes; lengths and known algorithms are
/// checked by `Digest::parse` afterwards.
fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    }) && hex.len() >= MIN_DIGEST_HEX
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Lower case, rune by rune, as Go does it: the first character of Unicode's mapping.
pub(super) fn go_lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// Whether Go's `strings.ToLower` would change the text.
pub(super) fn has_upper(text: &str) -> bool {
    if text.is_ascii() {
        return text.bytes().any(|b| b.is_ascii_uppercase());
    }
    text.chars().any(|c| c.to_lowercase().next().is_some_and(|lower| lower != c))
}

/// The elements of a whole reference, as the grammar cuts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elements<'a> {
    /// Host and port; `None` if the first component is no legal domain but a legal path.
    pub(super) domain: Option<&'a str>,
    /// The repository path without the domain.
    pub(super) path: &'a str,
    /// The tag, if there is one.
    pub(super) tag: Option<&'a str>,
    /// The digest, not yet checked against its algorithm.
    pub(super) digest: Option<&'a str>,
}

/// Cuts `[domain/]path[:tag][@digest]`; `None` if the text does not match.
pub(super) fn split(text: &str) -> Option<Elements<'_>> {
    let with_domain = text.split_once('/').filter(|(first, _)| is_domain(first));
    let (domain, rest) = match with_domain {
        Some((domain, rest)) => (Some(domain), rest),
        None => (None, text),
    };
    let path_end = rest.find([':', '@']).unwrap_or(rest.len());
    let (path, mut suffix) = rest.split_at(path_end);
    let mut tag = None;
    if let Some(after) = suffix.strip_prefix(':') {
        let end = after.find('@').unwrap_or(after.len());
        tag = Some(&after[..end]);
        suffix = &after[end..];
    }
    let digest = suffix.strip_prefix('@');
    let legal = is_path(path) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    // A domain that was cut off but leaves no legal rest may still be the path's first
    // component followed by nothing the grammar knows, so there is no second reading.
    legal.then_some(Elements { domain, path, tag, digest })
}
