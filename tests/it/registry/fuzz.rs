//! Bytes that a registry could send, and files that a hand could mistype: nothing panics, and
//! what comes out keeps its promises. Deterministic: seeds in `tests/fuzz`, mutated by a fixed
//! generator; `PULLGATE_FUZZ_CASES` runs longer, `PULLGATE_FUZZ_SEED` elsewhere.

use std::path::Path;

use pullgate::node_config;
use pullgate::pull::Content;
use pullgate::registry::{
    Scheme, body_kind, config_link, config_platform, confirmed_missing, next_page,
    parse_challenges, platforms,
};
use rstest::rstest;
use url::Url;

/// A small generator of numbers (`SplitMix64`): the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Pieces that parsers stumble over.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b",",
    b"=",
    b"<",
    b">",
    b";",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\"manifests\"",
    b"\"platform\"",
    b"\"errors\"",
    b"Bearer ",
    b"rel=",
    b"realm=",
    b"[host.",
    b"sha256:",
    b"\\u0000",
    b"\\ud800",
    b"'''",
    b"\"\"\"",
    b"#",
];

fn mutate(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(12)).min(bytes.len());
        match numbers.below(6) {
            0 => drop(bytes.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 if at < bytes.len() => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
            4 => {
                let copied = bytes[at..end].repeat(1 + numbers.below(40));
                drop(bytes.splice(at..at, copied));
            }
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len());
                drop(bytes.splice(at..end, other[from..].iter().copied()));
            }
        }
        bytes.truncate(64 << 10);
    }
    bytes
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn challenge(bytes: &[u8]) {
    let found = parse_challenges([bytes, bytes]);
    assert!(found.len() <= 16);
    for challenge in found {
        if challenge.scheme == Scheme::Other {
            continue;
        }
        for text in [challenge.realm, challenge.service, challenge.scope].into_iter().flatten() {
            assert!(text.len() <= bytes.len());
        }
    }
}

fn manifest(bytes: &[u8]) {
    for content_type in ["application/vnd.oci.image.index.v1+json", "text/plain", "\u{7f}"] {
        let _ = body_kind(content_type, bytes);
    }
    let _ = config_link(bytes);
    let clean = |text: &str| text.len() <= 40 && text.bytes().all(|b| b.is_ascii_graphic());
    if let Ok(Content::Platforms(found)) = platforms(bytes) {
        assert!(found.len() <= 1024);
        for platform in found.iter().flatten() {
            assert!(clean(&platform.os) && clean(&platform.architecture));
            assert!(clean(&platform.variant) && clean(&platform.os_version));
        }
    }
    if let Ok(Content::Config(platform, _)) = config_platform(bytes) {
        assert!(!platform.os.is_empty() && clean(&platform.os) && clean(&platform.architecture));
    }
}

fn envelope(bytes: &[u8]) {
    if confirmed_missing(bytes).is_some() {
        let text = String::from_utf8_lossy(bytes).to_ascii_uppercase();
        // An escape may spell a letter, so only the start of the envelope is sure.
        assert!(text.trim_start().starts_with('{'), "{text}");
    }
}

fn link(bytes: &[u8]) {
    let page = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
    if let Some(next) = next_page(&page, bytes) {
        assert_eq!(next.origin(), page.origin());
        assert_ne!(next, page);
    }
}

fn hosts_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = node_config::parse_hosts_toml(Some("r.example"), Path::new("/d"), "f", &text);
    match parsed {
        Ok(ways) => {
            for way in ways {
                if let Some(endpoint) = way.endpoint {
                    assert!(matches!(endpoint.url.scheme(), "http" | "https"));
                }
            }
        }
        Err(error) => assert!(error.line <= text.matches('\n').count() + 1, "{error}"),
    }
    let _ = node_config::parse_registries_conf("f", &text);
}

#[rstest]
#[case::challenges("challenge", challenge)]
#[case::manifests("manifest", manifest)]
#[case::envelopes("envelope", envelope)]
#[case::links("link", link)]
#[case::hosts("hosts_toml", hosts_toml)]
fn fuzz(#[case] name: &str, #[case] check: fn(&[u8])) {
    let seeds = seeds(name);
    for seed in &seeds {
        check(seed);
    }
    let mut numbers = Numbers(number("PULLGATE_FUZZ_SEED", 1));
    for case in 0..number("PULLGATE_FUZZ_CASES", 3_000) {
        let bytes = mutate(&mut numbers, &seeds);
        let done = std::panic::catch_unwind(|| check(&bytes));
        assert!(done.is_ok(), "case {case} of {name}: {:?}", String::from_utf8_lossy(&bytes));
    }
}
