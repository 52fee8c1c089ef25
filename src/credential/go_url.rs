//! Just as much of Go's `url.Parse` as decides which registry a key of a pull secret names.
//!
//! Only texts with an `https://` or `http://` in front are parsed; the result is the host and
//! the path, both unescaped, as bytes. Newer releases of Go refuse brackets that are not an IPv6
//! address; kubelets built with older ones take them as part of a glob. Both readings exist.

use std::net::Ipv6Addr;

/// The two readings of brackets in a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Brackets {
    /// Current releases of Go: an IPv6 address at the start of the host, or nothing.
    Ipv6Only,
    /// Releases up to early 2026: anything between brackets, anywhere.
    Anything,
}

/// Host with port, and path, as `url.URL` holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Host and port.
    pub host: Vec<u8>,
    /// The path, empty or with its leading slash.
    pub path: Vec<u8>,
}

/// Where a text stands in a URL: decides which bytes are legal and what `%` may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    Zone,
    Elsewhere,
}

/// Parses what follows the scheme's `://`; `None` where Go returns an error.
pub(super) fn parse(after_scheme: &[u8], brackets: Brackets) -> Option<Parsed> {
    let (rest, fragment) = cut(after_scheme, b'#');
    if rest.iter().any(|b| *b < b' ' || *b == 0x7f) {
        return None;
    }
    let (rest, _query) = cut(rest, b'?');
    let slash = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let host = match authority.iter().rposition(|b| *b == b'@') {
        Some(at) => {
            is_user_info(&authority[..at]).then_some(())?;
            &authority[at + 1..]
        }
        None => authority,
    };
    let host = parse_host(host, brackets)?;
    let path = unescape(path, Place::Elsewhere)?;
    unescape(fragment, Place::Elsewhere)?;
    Some(Parsed { host, path })
}

/// The user part: legal characters, and legal escapes in name and password each.
fn is_user_info(text: &[u8]) -> bool {
    let legal = |b: &u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(b);
    let (name, password) = cut(text, b':');
    text.iter().all(legal)
        && unescape(name, Place::Elsewhere).is_some()
        && unescape(password, Place::Elsewhere).is_some()
}

fn parse_host(host: &[u8], brackets: Brackets) -> Option<Vec<u8>> {
    let open = host.iter().rposition(|b| *b == b'[');
    match (open, brackets) {
        (Some(0), _) => parse_literal(host, brackets),
        (Some(_), Brackets::Ipv6Only) => None,
        (Some(_), Brackets::Anything) if host.first() == Some(&b'[') => {
            parse_literal(host, brackets)
        }
        _ => {
            let colon = host.iter().position(|b| *b == b':').unwrap_or(host.len());
            is_optional_port(&host[colon..]).then_some(())?;
            unescape(host, Place::Host)
        }
    }
}

/// `[address]` or `[address%25zone]`, and maybe a port.
fn parse_literal(host: &[u8], brackets: Brackets) -> Option<Vec<u8>> {
    let close = host.iter().rposition(|b| *b == b']')?;
    let port = &host[close + 1..];
    is_optional_port(port).then_some(())?;
    let inner = &host[1..close];
    let zone = inner.windows(3).position(|w| w == b"%25").unwrap_or(inner.len());
    let mut name = unescape(&inner[..zone], Place::Host)?;
    name.extend(unescape(&inner[zone..], Place::Zone)?);
    if brackets == Brackets::Ipv6Only && !is_ipv6(&name) {
        return None;
    }
    Some([b"[", name.as_slice(), b"]", port].concat())
}

/// An IPv6 address, maybe with a zone that is not empty.
fn is_ipv6(text: &[u8]) -> bool {
    let (address, zone) = cut(text, b'%');
    let zone_is_legal = address.len() == text.len() || !zone.is_empty();
    zone_is_legal && std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_optional_port(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', digits)) => digits.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

fn unescape(text: &[u8], place: Place) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b'%' {
            let (high, low) = (hex(text.get(at + 1))?, hex(text.get(at + 2))?);
            let value = high << 4 | low;
            let is_percent = value == b'%';
            let legal = match place {
                Place::Host => high >= 8 || is_percent,
                Place::Zone => is_percent || value == b' ' || is_host_byte(value),
                Place::Elsewhere => true,
            };
            legal.then_some(())?;
            plain.push(value);
            at += 3;
        } else {
            let legal = place == Place::Elsewhere || byte >= 0x80 || is_host_byte(byte);
            legal.then_some(())?;
            plain.push(byte);
            at += 1;
        }
    }
    Some(plain)
}

/// The ASCII bytes that may stand in a host without an escape.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&byte)
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    let digit = char::from(*byte?).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// What is before and what is behind the first such byte; all and nothing if there is none.
fn cut(text: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|b| *b == mark) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

/// Go's `net.SplitHostPort`, and what the kubelet does when it fails: the whole is the host.
pub(super) fn split_host_port(text: &[u8]) -> (&[u8], &[u8]) {
    try_split_host_port(text).unwrap_or((text, &[]))
}

fn try_split_host_port(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().rposition(|b| *b == b':')?;
    let (host, open_from, close_from) = if text.first() == Some(&b'[') {
        let end = text.iter().position(|b| *b == b']')?;
        if end + 1 != colon {
            return None;
        }
        (&text[1..end], 1, end + 1)
    } else {
        let host = &text[..colon];
        if host.contains(&b':') {
            return None;
        }
        (host, 0, 0)
    };
    if text[open_from..].contains(&b'[') || text[close_from..].contains(&b']') {
        return None;
    }
    Some((host, &text[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ghcr.io", Some(("ghcr.io", "")))]
    #[case("ghcr.io/a%2Fb", Some(("ghcr.io", "/a/b")))]
    #[case("ghcr.io/a%zz", None)]
    #[case("ghcr.io#%zz", None)]
    #[case("ghcr.io#\n", Some(("ghcr.io", "")))]
    #[case("ghcr.io\n", None)]
    #[case("ghcr.io?%zz/x", Some(("ghcr.io", "")))]
    #[case("user:pa%73s@ghcr.io", Some(("ghcr.io", "")))]
    #[case("us er@ghcr.io", None)]
    #[case("a@b@ghcr.io", Some(("ghcr.io", "")))]
    #[case("ghcr.io:", Some(("ghcr.io:", "")))]
    #[case("ghcr.io:*", None)]
    #[case("a:1:2", None)]
    #[case("%67hcr.io", None)]
    #[case("gh%25cr.io", Some(("gh%cr.io", "")))]
    #[case("[::1]:5000/x", Some(("[::1]:5000", "/x")))]
    #[case("[fe80::1%25eth0]", Some(("[fe80::1%eth0]", "")))]
    #[case("[fe80::1%25]", None)]
    #[case("[fe80::1%eth0]", None)]
    #[case("[::ffff:1.2.3.4]", Some(("[::ffff:1.2.3.4]", "")))]
    #[case("[1.2.3.4]", None)]
    #[case("[gh]", None)]
    #[case("g[h]cr.io", None)]
    #[case("gh cr.io", None)]
    #[case("gh\\cr.io", None)]
    #[case("", Some(("", "")))]
    fn parses(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
        let expected = expected.map(|(host, path)| Parsed { host: host.into(), path: path.into() });
        assert_eq!(parse(text.as_bytes(), Brackets::Ipv6Only), expected);
    }

    #[rstest]
    #[case("g[h]cr.io", true)]
    #[case("[gh]", true)]
    #[case("[gh]*.io", false)]
    fn older_releases_take_brackets(#[case] text: &str, #[case] taken: bool) {
        assert_eq!(parse(text.as_bytes(), Brackets::Anything).is_some(), taken);
    }

    #[rstest]
    #[case("a:1", "a", "1")]
    #[case("a", "a", "")]
    #[case("a:", "a", "")]
    #[case("[::1]:5", "::1", "5")]
    #[case("[::1]", "[::1]", "")]
    #[case("a:1:2", "a:1:2", "")]
    #[case("a]:1", "a]:1", "")]
    fn splits_host_and_port(#[case] text: &str, #[case] host: &str, #[case] port: &str) {
        assert_eq!(split_host_port(text.as_bytes()), (host.as_bytes(), port.as_bytes()));
    }
}
