//! Image references and pull policy defaulting against the kubelet's and the API server's code.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use pullgate::image::{ImageReference, defaults_to_always};
use serde_json::json;

use super::client::{Oracle, text};
use super::compare;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Pieces that mean something somewhere in a reference.
const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    ":",
    ":",
    "@",
    ".",
    "..",
    "-",
    "--",
    "_",
    "__",
    "___",
    "a",
    "b0",
    "A",
    "Z9",
    "nginx",
    "library",
    "library/",
    "docker.io",
    "docker.io/",
    "index.docker.io/",
    "Docker.io/",
    "registry-1.docker.io/",
    "localhost",
    "localhost/",
    "localhost:5000/",
    "LOCALHOST/",
    "ghcr.io/",
    "GHCR.io/",
    "quay.io:443/",
    "example.com",
    "foo_bar.com/",
    "foo__bar.com/",
    "[::1]",
    "[::1]/",
    "[::1]:5000/",
    "[FE80::1]/",
    "[fe80::1%eth0]/",
    "[ABC]/",
    "[",
    "]",
    "10.0.0.1/",
    "10.0.0.1:80/",
    "host:5000/",
    "host:/",
    "host:x/",
    ":latest",
    ":LATEST",
    ":1.27",
    ":v1.0_rc-1",
    ":_x",
    ":-x",
    ":.x",
    "@sha256:",
    "@sha512:",
    "@sha384:",
    "@md5:",
    "@SHA256:",
    "@a+b.c-d_e:",
    "@a..b:",
    "sha256:",
    "0123456789abcdef0123456789abcdef",
    "@sha256",
    "latest",
    " ",
    "\n",
    "\t",
    "\0",
    "+",
    "#",
    "?x=1",
    "%20",
    "${TAG}",
    "{{ .x }}",
    "<x>",
    "http://",
    "https://",
    "é",
    "ſ",
    "\u{212a}",
    "İ",
    "ǅ",
    "Σ",
    "\u{202e}",
    "日本",
    "😀",
    "~",
    "*",
    "\\",
    "'",
];

fn soup() -> impl Strategy<Value = String> {
    vec(select(PIECES), 0..9).prop_map(|pieces| pieces.concat())
}

/// Mostly legal names, with the lengths and characters at which rules turn.
fn shaped() -> impl Strategy<Value = String> {
    let label = prop_oneof![9 => "[a-z0-9]{1,5}", 1 => "[a-zA-Z0-9-]{1,4}", 1 => "[a-z_]{1,4}"];
    let host = prop_oneof![
        3 => Just(String::new()),
        2 => vec(label, 1..4).prop_map(|labels| format!("{}/", labels.join("."))),
        1 => select(&["localhost", "docker.io", "index.docker.io", "Hub", "[a::B]"][..])
            .prop_map(|host| format!("{host}/")),
        1 => "[a-zA-Z.]{1,6}:[0-9]{0,6}/",
    ];
    let component = prop_oneof![
        12 => "[a-z0-9]{1,6}",
        4 => "[a-z0-9]{1,3}(\\.|_|__|-{1,3})[a-z0-9]{1,3}",
        1 => "[a-z0-9._-]{1,8}",
        1 => "[a-zA-Z]{1,3}",
    ];
    let path = prop_oneof![
        8 => vec(component, 1..4).prop_map(|parts| parts.join("/")),
        1 => (60_usize..68).prop_map(|n| HEX.repeat(2)[..n].to_owned()),
        1 => (250_usize..259).prop_map(|n| "a".repeat(n)),
    ];
    let tag = prop_oneof![
        3 => Just(String::new()),
        3 => ":[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,6}",
        1 => Just(":latest".to_owned()),
        1 => ":[a-z+/: .-]{0,3}",
        1 => (126_usize..131).prop_map(|n| format!(":{}", "t".repeat(n))),
    ];
    let digest = prop_oneof![
        5 => Just(String::new()),
        2 => Just(format!("@sha256:{HEX}")),
        1 => (select(&["sha256", "sha384", "sha512", "SHA256", "md5", "a+b", "x-1"][..]),
              select(&[31_usize, 32, 63, 64, 65, 96, 128][..]),
              any::<bool>())
            .prop_map(|(algorithm, length, upper)| {
                let hex = HEX.repeat(2)[..length].to_owned();
                format!("@{algorithm}:{}", if upper { hex.to_uppercase() } else { hex })
            }),
    ];
    (host, path, tag, digest).prop_map(|(h, p, t, d)| format!("{h}{p}{t}{d}"))
}

pub fn images() -> impl Strategy<Value = String> {
    let any_text = "\\PC{0,12}".prop_filter("newer than Go's Unicode", |text| {
        !text.chars().any(has_case_since_unicode_16)
    });
    let charset = "[a-zA-Z0-9:/@._\\[\\]-]{0,24}";
    prop_oneof![4 => soup(), 8 => shaped(), 1 => any_text, 1 => charset]
}

/// Letters that have a lower case in our Unicode tables but not in Go's (README.md).
fn has_case_since_unicode_16(c: char) -> bool {
    matches!(c, '\u{1c89}' | '\u{a7cb}'..='\u{a7dc}' | '\u{10d50}'..='\u{10d65}' | '\u{16ea0}'..='\u{16eb8}')
}

/// What both sides make of one image field.
fn check(oracle: &mut Oracle, image: &str) -> Result<&'static str, String> {
    let theirs = oracle.ask(&json!({"op": "parse", "image": image}));
    let policy = if defaults_to_always(image) { "Always" } else { "IfNotPresent" };
    let mut ours = json!({
        "error": "", "name": "", "tag": "", "digest": "", "domain": "", "path": "", "pulled": "",
        "short": false, "policy": policy,
    });
    match ImageReference::parse(image) {
        Err(error) => ours["error"] = error.to_string().into(),
        Ok(reference) => {
            let digest = reference.digest().map(ToString::to_string).unwrap_or_default();
            ours["name"] = reference.name().into();
            ours["tag"] = reference.tag().unwrap_or_default().into();
            ours["digest"] = digest.into();
            // Where the library knows no domain, ours is what the runtime dials.
            let (domain, path) = if reference.has_irregular_host() {
                ("", reference.name())
            } else {
                (reference.host(), reference.repository())
            };
            ours["domain"] = domain.into();
            ours["path"] = path.into();
            ours["pulled"] = reference.canonical().into();
            ours["short"] = reference.is_short().into();
            let again = ImageReference::parse(&reference.canonical());
            let again = again.map_err(|error| format!("canonical form refused: {error}"))?;
            if again.canonical() != reference.canonical() {
                return Err(format!("canonical form is not stable: {}", again.canonical()));
            }
        }
    }
    for (field, value) in ours.as_object().unwrap() {
        if theirs[field] != *value {
            return Err(format!("{field} of {image:?}: ours {value}, theirs {}", theirs[field]));
        }
    }
    Ok(if text(&theirs, "error").is_empty() { "legal" } else { "refused" })
}

#[test]
fn generated_references() {
    compare("references", 1, &images(), |oracle, image| check(oracle, image));
}
