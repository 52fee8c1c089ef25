//! Pull secrets and the keyring against the kubelet's code.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use pullgate::credential::{Keyring, PullSecret, pattern_fits};
use pullgate::image::ImageReference;
use serde_json::{Value, json};

use super::client::{Oracle, text};
use super::compare;
use super::documents::{IMAGES, documents, keys};

#[derive(Debug, Clone)]
struct Case {
    image: &'static str,
    /// Type, data key, content.
    secrets: Vec<(&'static str, &'static str, Vec<u8>)>,
}

fn cases() -> impl Strategy<Value = Case> {
    const JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
    const LEGACY: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");
    let kind = prop_oneof![
        8 => Just(JSON),
        3 => Just(LEGACY),
        1 => select(&[(JSON.0, LEGACY.1), (LEGACY.0, JSON.1), ("Opaque", JSON.1), ("", "")][..]),
    ]
    .boxed();
    // One strategy for each image, made once.
    Union::new(IMAGES.iter().map(|&image| {
        let secret = (kind.clone(), documents(image));
        let secret = secret.prop_map(|((kind, key), content)| (kind, key, content));
        vec(secret, 0..4).prop_map(move |secrets| Case { image, secrets }).boxed()
    }))
}

fn question(case: &Case) -> Value {
    let secrets = case.secrets.iter().enumerate().map(|(index, (kind, key, content))| {
        json!({"name": index.to_string(), "type": kind, "data": {*key: STANDARD.encode(content)}})
    });
    json!({"op": "keyring", "image": case.image, "secrets": secrets.collect::<Vec<_>>()})
}

/// Error text, or secret, user name and password of each credential in order.
type Answer = Result<Vec<(String, Vec<u8>, Vec<u8>)>, String>;

fn theirs(answer: &Value) -> Answer {
    match text(answer, "error") {
        "" => {
            let bytes = |value: &Value| match value.as_str() {
                Some(text) => STANDARD.decode(text).unwrap(),
                None => Vec::new(),
            };
            let list = answer["credentials"].as_array().unwrap().iter();
            Ok(list
                .map(|c| {
                    (text(c, "secret").to_owned(), bytes(&c["username"]), bytes(&c["password"]))
                })
                .collect())
        }
        error => Err(error.to_owned()),
    }
}

fn check(oracle: &mut Oracle, case: &Case) -> Result<&'static str, String> {
    let Ok(reference) = ImageReference::parse(case.image) else { return Ok("no name") };
    let mut theirs = theirs(&oracle.ask(&question(case)));
    let secrets: Vec<_> = case
        .secrets
        .iter()
        .enumerate()
        .map(|(index, (kind, key, content))| {
            let data = [((*key).to_owned(), k8s_openapi::ByteString(content.clone()))];
            PullSecret::new(&index.to_string(), kind, &data.into())
        })
        .collect();
    let keyring = Keyring::from_secrets(&secrets);
    let found = keyring.as_ref().map(|keyring| keyring.lookup(&reference));
    let mut ours: Answer = match &found {
        Err(error) => Err(error.to_string()),
        Ok(found) => Ok(found
            .iter()
            .map(|c| {
                let secret = c.source().origin.to_string();
                let secret = secret.strip_prefix("secret ").unwrap_or_default().to_owned();
                (secret, c.username_bytes().to_vec(), c.password().expose().to_vec())
            })
            .collect()),
    };
    if let (Ok(theirs), Ok(ours), Ok(found)) = (&mut theirs, &mut ours, &found)
        && theirs.len() == ours.len()
    {
        // Entries of one secret that come to the same key are in no order there: a Go map.
        let mut start = 0;
        for group in found.chunk_by(|a, b| {
            a.source().origin == b.source().origin && a.source().key == b.source().key
        }) {
            let end = start + group.len();
            theirs[start..end].sort();
            ours[start..end].sort();
            start = end;
        }
    }
    if ours == theirs {
        return Ok(match ours.as_deref() {
            Err(_) => "broken",
            Ok([]) => "no credential",
            Ok([_]) => "one credential",
            Ok(_) => "several credentials",
        });
    }
    let shown: Vec<_> = case
        .secrets
        .iter()
        .map(|(kind, _, data)| format!("{kind}: {}", data.escape_ascii()))
        .collect();
    Err(format!("{}: ours {ours:?}, theirs {theirs:?}; {shown:#?}", case.image))
}

#[test]
fn generated_keyrings() {
    compare("keyrings", 1, &cases(), check);
}

#[test]
fn generated_patterns_of_plugins() {
    let cases =
        Union::new(IMAGES.iter().map(|&image| (Just(image), vec(keys(image), 1..4)).boxed()));
    compare("plugin patterns", 4, &cases, |oracle, (image, globs)| {
        let Ok(reference) = ImageReference::parse(image) else { return Ok("no name") };
        let theirs = oracle.ask(&json!({"op": "globs", "image": image, "globs": globs}));
        let ours: Vec<bool> = globs.iter().map(|glob| pattern_fits(glob, &reference)).collect();
        if theirs["fits"] == json!(ours) {
            return Ok(if ours.contains(&true) { "fits" } else { "does not fit" });
        }
        Err(format!("{image}, {globs:?}: ours {ours:?}, theirs {}", theirs["fits"]))
    });
}
