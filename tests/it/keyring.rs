//! The tables of the kubelet's keyring: which keys serve which image, and in which order.

use proptest::prelude::*;
use pullgate::credential::{
    ConfigError, DockerConfig, Keyring, KeyringError, MatchRule, PullSecret, SecretProblem,
    pattern_fits,
};
use pullgate::image::ImageReference;
use serde_json::json;

const SINGLE: &str = include_str!("../fixtures/keyring.tsv");
const ORDER: &str = include_str!("../fixtures/keyring-order.tsv");

fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn secret(name: &str, key: &str, username: &str) -> PullSecret {
    let content = json!({"auths": {key: {"username": username, "password": "p"}}});
    PullSecret::docker_config_json(name, content.to_string().as_bytes())
}

fn image(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

#[test]
fn every_row_with_a_single_key_holds() {
    let mut count = 0;
    for row in rows(SINGLE) {
        let [number, key, stored, written, looked_up, matched] = row[..] else {
            panic!("not six columns: {row:?}");
        };
        let keyring = Keyring::from_secrets(&[secret("s", key, "u")]).unwrap();
        let reference = image(written);
        assert_eq!(reference.name(), looked_up, "row {number}");
        let rule = keyring.explain(&reference).next().map(|found| found.rule);
        let expected = match matched {
            "yes" => Some(MatchRule::Key),
            "hub" => Some(MatchRule::HubFallback),
            _ => None,
        };
        assert_eq!(rule, expected, "row {number}: {key:?} for {written:?}");
        if let Some(found) = keyring.lookup(&reference).first() {
            assert_eq!(&*found.source().key, stored, "row {number}");
            let is_shown_whole = !key.contains(['?', '@']);
            assert_eq!(&*found.source().written == key, is_shown_whole, "row {number}");
        }
        assert_eq!(keyring.dropped().count(), usize::from(stored == "!"), "row {number}");
        count += 1;
    }
    assert_eq!(count, 102);
}

#[test]
fn every_row_with_several_keys_holds() {
    let mut count = 0;
    for row in rows(ORDER) {
        let [present, written, tried] = row[..] else { panic!("not three columns: {row:?}") };
        let secrets: Vec<_> = present.split(' ').map(|key| secret("s", key, key)).collect();
        let keyring = Keyring::from_secrets(&secrets).unwrap();
        let found = keyring.lookup(&image(written));
        let names: Vec<_> = found.iter().map(|credential| credential.username()).collect();
        assert_eq!(names.join(" "), tried, "{present:?} for {written:?}");
        count += 1;
    }
    assert_eq!(count, 9);
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
    assert!(keyring.ignored().iter().all(|ignored| ignored.problem.is_ignored()));
    assert!(matches!(keyring.ignored()[0].problem, SecretProblem::WrongType { .. }));
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
        let taken = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let fault = DockerConfig::parse(text.as_bytes()).err();
        prop_assert!(!taken || !matches!(fault, Some(ConfigError::Syntax(_))), "{:?}", fault);
    }
}
