//! The tables of the kubelet's keyring: which keys serve which image, and in which order.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use pullgate::credential::{
    ConfigError, Credential, DockerConfig, Keyring, KeyringError, MatchRule, PullSecret,
    SecretProblem, pattern_fits,
};
use pullgate::image::ImageReference;
use serde_json::{Value, json};

use crate::oracle::cases;

const SINGLE: &str = include_str!("../oracle/cases/keyring.jsonl");
const ORDER: &str = include_str!("../oracle/cases/keyring-order.jsonl");

fn secret(name: &str, key: &str, username: &str) -> PullSecret {
    let content = json!({"auths": {key: {"username": username, "password": "p"}}});
    PullSecret::docker_config_json(name, content.to_string().as_bytes())
}

fn image(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

/// A string of what a case says of itself.
fn about<'a>(case: &'a Value, what: &str) -> &'a str {
    case["about"][what].as_str().unwrap()
}

/// The Secrets of a case.
fn secrets(case: &Value) -> Vec<PullSecret> {
    let secrets = case["secrets"].as_array().unwrap().iter();
    let secret = |secret: &Value| {
        let data = secret["data"][".dockerconfigjson"].as_str().unwrap();
        PullSecret::docker_config_json(
            secret["name"].as_str().unwrap(),
            &STANDARD.decode(data).unwrap(),
        )
    };
    secrets.map(secret).collect()
}

/// The credentials that the kubelet tries for a case, as ours are written down.
fn tried(keyring: &Keyring, image: &ImageReference) -> Value {
    let found = keyring.lookup(image);
    let credential = |one: &&Credential| {
        json!({"username": STANDARD.encode(one.username().as_bytes()), "password": STANDARD.encode("p"),
            "secret": one.source().origin.to_string().strip_prefix("secret ")})
    };
    found.iter().map(|one| credential(&one)).collect()
}

#[test]
fn every_row_with_a_single_key_holds() {
    let table = cases(SINGLE);
    for (number, case) in (1..).zip(&table) {
        let [key, stored] = ["key", "stored"].map(|what| about(case, what));
        let keyring = Keyring::from_secrets(&secrets(case)).unwrap();
        let reference = image(case["image"].as_str().unwrap());
        assert_eq!(reference.name(), about(case, "looked_up"), "row {number}");
        let rule = keyring.explain(&reference).next().map(|found| found.rule);
        let expected = match about(case, "match") {
            "yes" => Some(MatchRule::Key),
            "hub" => Some(MatchRule::HubFallback),
            _ => None,
        };
        assert_eq!(rule, expected, "row {number}: {case}");
        assert_eq!(tried(&keyring, &reference), case["want"]["credentials"], "row {number}");
        if let Some(found) = keyring.lookup(&reference).first() {
            assert_eq!(&*found.source().key, stored, "row {number}");
            let is_shown_whole = !key.contains(['?', '@']);
            assert_eq!(&*found.source().written == key, is_shown_whole, "row {number}");
        }
        assert_eq!(keyring.dropped().count(), usize::from(stored == "!"), "row {number}");
    }
    assert_eq!(table.len(), 102);
}

#[test]
fn every_row_with_several_keys_holds() {
    let table = cases(ORDER);
    for case in &table {
        let keyring = Keyring::from_secrets(&secrets(case)).unwrap();
        let image = image(case["image"].as_str().unwrap());
        assert_eq!(tried(&keyring, &image), case["want"]["credentials"], "{case}");
    }
    assert_eq!(table.len(), 9);
}

#[test]
fn one_broken_secret_is_the_end_of_all() {
    let good = secret("good", "ghcr.io", "u");
    let broken = PullSecret::docker_config_json("bad", br#"{"auths":{"r":{"auth":"*"}}}"#);
    let error = Keyring::from_secrets(&[good, broken]).unwrap_err();
    assert_eq!(error.to_string(), "illegal base64 data at input byte 0");
    assert_eq!(error.secret(), "bad");
    assert!(matches!(error, KeyringError::Broken { fault: ConfigError::Base64(0), .. }));
}

#[test]
fn other_secrets_are_passed_over_with_a_note() {
    let data = |key: &str, value: &str| {
        let value = k8s_openapi::ByteString(value.as_bytes().to_vec());
        std::collections::BTreeMap::from([(key.to_owned(), value)])
    };
    let config = r#"{"auths":{"ghcr.io":{"username":"u"}}}"#;
    let legacy = r#"{"ghcr.io":{"username":"old"}}"#;
    let secrets = [
        PullSecret::new("opaque", "Opaque", &data(".dockerconfigjson", config)),
        PullSecret::new("empty", "kubernetes.io/dockerconfigjson", &data(".dockerconfigjson", "")),
        PullSecret::new("other", "kubernetes.io/dockercfg", &data(".dockerconfigjson", config)),
        PullSecret::new("legacy", "kubernetes.io/dockercfg", &data(".dockercfg", legacy)),
    ];
    let keyring = Keyring::from_secrets(&secrets).unwrap();
    let names: Vec<_> = keyring.ignored().iter().map(|ignored| &*ignored.name).collect();
    assert_eq!(names, ["opaque", "empty", "other"]);
    let problems: Vec<_> = keyring.ignored().iter().map(|ignored| &ignored.problem).collect();
    assert!(matches!(
        problems[..],
        [
            SecretProblem::WrongType { .. },
            SecretProblem::MissingKey { .. },
            SecretProblem::MissingKey { .. }
        ]
    ));
    assert_eq!(keyring.lookup(&image("ghcr.io/a"))[0].username(), "old");
}

#[test]
fn brackets_that_only_older_kubelets_take_are_disputed() {
    let keyring = Keyring::from_secrets(&[secret("s", "g[gh]cr.io", "u")]).unwrap();
    assert!(keyring.lookup(&image("ghcr.io/a")).is_empty());
    assert!(keyring.is_disputed(&image("ghcr.io/a")));
    assert!(!keyring.is_disputed(&image("quay.io/a")));
}

#[test]
fn large_and_hostile_secrets_are_read_in_bounded_time() {
    let auths: serde_json::Map<_, _> =
        (0..9_000).map(|n| (format!("*.r{n}.example.com/{n}"), json!({"auth": "dTpw"}))).collect();
    let content = json!({ "auths": auths }).to_string();
    let many = PullSecret::docker_config_json("many", content.as_bytes());
    let keyring = Keyring::from_secrets(std::slice::from_ref(&many)).unwrap();
    assert_eq!(keyring.lookup(&image("a.r8999.example.com/8999/x")).len(), 1);

    let deep = PullSecret::docker_config_json("deep", "[".repeat(1 << 20).as_bytes());
    assert!(Keyring::from_secrets(&[deep]).is_err());
    let large = PullSecret::docker_config_json("large", "[".repeat((1 << 20) + 1).as_bytes());
    let error = Keyring::from_secrets(&[large]).unwrap_err();
    assert!(matches!(error, KeyringError::TooLarge { .. }));

    let stars = secret("stars", &format!("{}b.io", "*a".repeat(60)), "u");
    let name = format!("{}.io/x", "a".repeat(200));
    assert!(Keyring::from_secrets(&[stars]).unwrap().lookup(&image(&name)).is_empty());
    assert!(!format!("{many:?} {keyring:?}").contains("dTpw"));
}

#[test]
fn plugin_patterns_follow_the_same_rules() {
    let ecr = image("123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1");
    assert!(pattern_fits("*.dkr.ecr.*.amazonaws.com", &ecr));
    assert!(!pattern_fits("*.amazonaws.com", &ecr));
    assert!(!pattern_fits("[", &ecr));
}

proptest! {
    #[test]
    fn prop_any_secret_is_read_and_never_shown(
        content in prop_oneof![
            any::<Vec<u8>>(),
            "(\\{\"auths\":\\{\"(ghcr\\.io|[!-~]{0,9})\":\\{\"auth\":\"[A-Za-z0-9+/=]{0,9}\"\\}\\}\\}|[\\[\\]{}:,\"a0 ]{0,20})"
                .prop_map(String::into_bytes),
        ]
    ) {
        let secret = PullSecret::docker_config_json("s", &content);
        let keyring = Keyring::from_secrets(std::slice::from_ref(&secret));
        if let Ok(keyring) = keyring {
            for credential in keyring.lookup(&image("ghcr.io/org/app")) {
                let password = String::from_utf8_lossy(credential.password().expose());
                let shown = format!("{credential:?} {keyring:?} {secret:?}");
                prop_assert!(password.len() < 6 || !shown.contains(&*password));
            }
        }
    }

    #[test]
    fn prop_what_others_take_for_json_is_json(text in "[\\[\\]{}:,\"\\\\ua0-9.eE+ -]{0,24}") {
        // Go is laxer than serde_json, never stricter: whatever the latter takes must not be
        // called a syntax error.
        let taken = serde_json::from_str::<Value>(&text).is_ok();
        let fault = DockerConfig::parse(text.as_bytes()).err();
        prop_assert!(!taken || !matches!(fault, Some(ConfigError::Syntax(_))), "{:?}", fault);
    }
}
