//! Generated pull secrets: keys, entries and whole documents, legal and odd, as text.
//!
//! The shapes are those at which readers of JSON, URLs, globs and base64 tend to differ.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::{RegexGeneratorStrategy, string_regex};
use pullgate::image::ImageReference;
use serde_json::Value;

/// Images that keys are made to fit.
pub const IMAGES: &[&str] = &[
    "nginx",
    "bitnami/nginx:1",
    "ghcr.io/org/app",
    "ghcr.io/org/app/deep:v1",
    "quay.io/org/app",
    "registry.example.com:5000/team/app",
    "a.b.example.com/app",
    "localhost/app",
    "localhost:5000/app",
    "MyHost/app",
    "foo_bar.com/app",
    "[::1]/app",
    "[::1]:5000/app",
    "[ABC]/app",
    "10.0.0.1:5000/app",
    "docker.io:443/nginx",
    "index.docker.io/org/app",
    "registry-1.docker.io/library/nginx",
    "G/app",
];

/// Text that matches; the expression is read once, not for each case.
fn text(expression: &str) -> RegexGeneratorStrategy<String> {
    string_regex(expression).unwrap()
}

/// Pieces of keys.
const PIECES: &[&str] = &[
    "https://",
    "http://",
    "HTTPS://",
    "oci://",
    "//",
    "/",
    "/v1/",
    "/v2/",
    "/v1",
    "/v3/",
    ":",
    ":5000",
    ":443",
    ":*",
    ":+5",
    ".",
    "*",
    "*.",
    "**",
    "?",
    "#",
    "%",
    "%2F",
    "%2f",
    "%25",
    "%3A",
    "%41",
    "%e9",
    "%FF",
    "%zz",
    "%0a",
    "[",
    "]",
    "[a-z]",
    "[^x]",
    "[::1]",
    "[::1]:5000",
    "[abc]",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::ffff:1.2.3.4]",
    "[1.2.3.4]",
    "\\",
    "\\*",
    "@",
    "u@",
    "u:p@",
    "u:%zz@",
    "é",
    " ",
    "\t",
    "\u{7f}",
    "<",
    ">",
    "\"",
    "'",
    "(",
    ")",
    "!",
    "$",
    "&",
    "+",
    ",",
    ";",
    "=",
    "^",
    "`",
    "{",
    "|",
    "}",
    "~",
    "_",
    "-",
    "ghcr",
    "ghcr.io",
    "quay.io",
    "*.io",
    "g*.io",
    "gh?r.io",
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "library",
    "/library",
    "/library/nginx",
    "/org",
    "/org/",
    "/org/app",
    "/org/app:v1",
    "registry.example.com:5000",
    "*.example.com:5000",
    "*.example.com",
    "*.*.example.com",
    "a.b.example.com",
    "localhost",
    "localhost:5000",
    "MyHost",
    "foo_bar.com",
    "10.0.0.1:5000",
    "10.0.0.*:5000",
    "example.com.",
    "?x=1",
    "#frag",
    "#%zz",
    "G",
];

/// Keys that fit the image, or nearly do.
fn fitting_keys(image: &'static str) -> impl Strategy<Value = String> {
    let name = ImageReference::parse(image).unwrap().name().to_owned();
    let glob = prop_oneof![
        8 => Just(""),
        5 => select(&["*", "*-", "[a-z]", "[^x]"][..]),
        1 => select(&["?", "x", "[", "\\"][..]),
    ];
    let globs = vec(glob, 4);
    let shape = (
        select(&["", "", "", "https://", "http://", "https://u:p@"][..]),
        globs,
        prop_oneof![6 => Just(""), 1 => select(&["/v1", "/v2"][..])],
        any::<prop::sample::Index>(),
        prop_oneof![6 => Just(""), 1 => select(&["/", "x", "?x", "#y", ":5000"][..])],
    );
    shape.prop_map(move |(scheme, globs, version, cut, tail)| {
        let (host, path) = name.split_once('/').unwrap();
        // A glob in front of what is left of a label, or the label itself.
        let labels = host.split('.').zip(globs.iter().cycle()).map(|(label, glob)| match *glob {
            "*" | "x" => (*glob).to_owned(),
            "*-" => format!("*{}", label.get(1..).unwrap_or_default()),
            "" => label.to_owned(),
            glob => format!("{glob}{}", label.get(1..).unwrap_or_default()),
        });
        let path = &path[..cut.index(path.len() + 1)];
        let slash = if path.is_empty() { "" } else { "/" };
        format!("{scheme}{}{version}{slash}{path}{tail}", labels.collect::<Vec<_>>().join("."))
    })
}

/// Keys of `auths`, many of which fit the image.
pub fn keys(image: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        8 => fitting_keys(image),
        4 => vec(select(PIECES), 0..5).prop_map(|pieces| pieces.concat()),
        1 => select(&["https://index.docker.io/v1/", "index.docker.io"][..]).prop_map(str::to_owned),
        1 => text("\\PC{0,8}"),
    ]
}

/// A string as JSON, some of its characters escaped in one way or another.
fn quoted(text: &str, style: u8) -> String {
    if style > 2 {
        return Value::from(text).to_string();
    }
    let mut units = [0; 2];
    let escaped = text.chars().map(|c| match style {
        0 => {
            let units: &[u16] = c.encode_utf16(&mut units);
            units.iter().fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}"))
        }
        1 if c == '/' => "\\/".to_owned(),
        2 if c.is_ascii_lowercase() => format!("\\u{:04X}", u32::from(c)),
        _ => Value::from(c.to_string()).to_string().trim_matches('"').to_owned(),
    });
    // A trimmed quotation mark was one that had to be escaped.
    format!(
        "\"{}\"",
        escaped.map(|e| if e == "\\" { "\\\"".into() } else { e }).collect::<String>()
    )
}

/// JSON text that is no string, for where one is expected, and odd strings.
fn odd_values() -> impl Strategy<Value = String> {
    select(
        &[
            "null",
            "null",
            "1",
            "-0.5e+3",
            "true",
            "false",
            "[]",
            "{}",
            "[1,\"x\"]",
            "{\"a\":{}}",
            "\"\"",
            "\"\\ud83d\"",
            "\"\\ude00x\"",
            "\"\\ud83d\\ude00\"",
            "\"\\u0000\"",
            "01",
            "tru",
            "\"\\x\"",
            "",
        ][..],
    )
    .prop_map(str::to_owned)
}

fn auths() -> impl Strategy<Value = String> {
    let login = prop_oneof![
        4 => text("[a-z]{0,3}:[a-z]{0,3}").prop_map(String::into_bytes),
        1 => text("[a-z:é\n]{0,6}").prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..6),
    ];
    let encoded =
        (login, 0..8_u8, any::<prop::sample::Index>()).prop_map(|(login, style, place)| {
            let mut text = STANDARD.encode(login);
            let at = place.index(text.len() + 1);
            match style {
                0 => text = text.trim_end_matches('=').to_owned(),
                1 => text.insert(at, '\n'),
                2 => text.insert_str(at, "\r\n"),
                3 => text.insert(at, ' '),
                4 => text.insert(at, '='),
                5 => text = text.replace('+', "-").replace('/', "_"),
                6 => text.truncate(at),
                _ => {}
            }
            text
        });
    prop_oneof![6 => encoded, 1 => text("[A-Za-z0-9+/=\\n -]{0,9}")]
}

/// One entry: an object with fields in any spelling, or something else.
fn entries() -> impl Strategy<Value = String> {
    let name = select(
        &[
            "username",
            "password",
            "auth",
            "auth",
            "email",
            "Username",
            "PASSWORD",
            "AUTH",
            "Auth",
            "paſſword",
            "uſername",
            "email\u{212a}",
            "identitytoken",
            "registrytoken",
            "Provider",
            "x",
            "",
        ][..],
    );
    let value = prop_oneof![
        4 => (auths(), 0..6_u8).prop_map(|(auth, style)| quoted(&auth, style)),
        4 => (text("[a-z:]{0,3}"), 0..6_u8).prop_map(|(text, style)| quoted(&text, style)),
        1 => odd_values(),
    ];
    let usual = (text("[a-z]{1,3}"), text("[a-z]{0,3}"))
        .prop_map(|(u, p)| format!("{{\"username\":\"{u}\",\"password\":\"{p}\"}}"));
    let with_auth = auths().prop_map(|auth| format!("{{\"auth\":{}}}", Value::from(auth)));
    let fields = vec((name, value, 0..8_u8), 0..4).prop_map(|fields| {
        let fields = fields.iter().map(|(n, v, style)| format!("{}:{v}", quoted(n, *style)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    });
    prop_oneof![16 => usual, 2 => with_auth, 2 => fields, 1 => Just("null".to_owned())]
}

/// A whole document of one of the two shapes, sometimes damaged.
pub fn documents(image: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let map = vec((keys(image), entries(), 0..8_u8), 0..5)
        .prop_map(|entries| {
            let entries = entries.iter().map(|(k, v, style)| format!("{}:{v}", quoted(k, *style)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        })
        .boxed();
    let member = prop_oneof![
        8 => map.clone().prop_map(|map| format!("\"auths\":{map}")),
        1 => (select(&["Auths", "AUTHS", "authſ", "auth\\u0073"][..]), map.clone())
            .prop_map(|(name, map)| format!("\"{name}\":{map}")),
        1 => (select(&["auths", "HttpHeaders", "httpheaders", "credsStore", "credHelpers"][..]), odd_values())
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        1 => odd_values().prop_map(|value| format!("\"HttpHeaders\":{{\"a\":{value}}}")),
    ];
    let whole = prop_oneof![
        9 => vec(member, 0..3).prop_map(|members| format!("{{{}}}", members.join(","))),
        4 => map,
        1 => odd_values(),
    ];
    let damage = prop_oneof![
        12 => Just(None),
        1 => (any::<prop::sample::Index>(), select(&b"{}[]\",:\\ \n\t\0x1-.eE'\x7f\xff\xc3\xa0/"[..]), 0..3_u8).prop_map(Some),
    ];
    (whole, damage).prop_map(|(text, damage)| {
        let mut bytes = text.into_bytes();
        if let Some((place, byte, how)) = damage {
            let at = place.index(bytes.len() + 1);
            match how {
                0 => bytes.insert(at, byte),
                1 => bytes.truncate(at),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    })
}
