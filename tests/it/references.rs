//! The table of image references: what the kubelet and the runtimes make of each.

use proptest::prelude::*;
use pullgate::image::{ImageReference, defaults_to_always};
use rstest::rstest;

use crate::oracle::cases;

const TABLE: &str = include_str!("../oracle/cases/references.jsonl");

#[test]
fn every_row_of_the_table_holds() {
    let table = cases(TABLE);
    for (number, case) in (1..).zip(&table) {
        let (image, want) = (case["image"].as_str().unwrap(), &case["want"]);
        let policy = if defaults_to_always(image) { "Always" } else { "IfNotPresent" };
        assert_eq!(want["policy"], policy, "row {number}: pull policy of {image:?}");
        match ImageReference::parse(image) {
            Ok(reference) => {
                assert_eq!(want["error"], "", "row {number}: {image:?} parses");
                // The library may know no domain.
                let (host, repository) = match want["domain"].as_str().unwrap() {
                    "" => want["path"].as_str().unwrap().split_once('/').unwrap(),
                    host => (host, want["path"].as_str().unwrap()),
                };
                assert_eq!(reference.host(), host, "row {number}");
                assert_eq!(reference.repository(), repository, "row {number}");
                assert_eq!(reference.tag().unwrap_or_default(), want["tag"], "row {number}");
                let digest = reference.digest().map(ToString::to_string).unwrap_or_default();
                assert_eq!(digest, want["digest"], "row {number}");
                assert_eq!(reference.name(), want["name"], "row {number}");
                assert_eq!(reference.is_short(), want["short"], "row {number}");
            }
            Err(found) => {
                assert_eq!(found.to_string(), want["error"], "row {number}: {image:?}");
                assert!(!found.offending().is_empty(), "row {number}");
            }
        }
    }
    assert_eq!(table.len(), 149);
}

#[test]
fn canonical_form_and_manifest_reference() {
    let parse = |image: &str| ImageReference::parse(image).unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let pinned = parse(&format!("ghcr.io/org/app:v1@{digest}"));
    assert_eq!(pinned.canonical(), format!("ghcr.io/org/app@{digest}"));
    assert_eq!(pinned.manifest_reference(), digest);
    assert_eq!(pinned.with_tag("v2").unwrap().canonical(), "ghcr.io/org/app:v2");
    assert!(pinned.with_tag("no such").is_err());
    assert_eq!(parse("nginx").canonical(), "docker.io/library/nginx:latest");
    let repinned = parse("nginx").with_digest(pinned.digest().unwrap().clone());
    assert_eq!(repinned.canonical(), format!("docker.io/library/nginx@{digest}"));
    assert_eq!(parse("foo_bar.com/a/b").host(), "foo_bar.com");
    assert!(parse("foo_bar.com/a/b").has_irregular_host());
}

#[test]
fn short_names_are_those_that_crio_resolves() {
    for (image, short) in [
        ("nginx", true),
        ("localhost:5000", true),
        ("library/nginx", true),
        ("MyHost/app", true),
        ("foo_bar.com/app", true),
        ("docker.io/nginx", false),
        ("index.docker.io/nginx", false),
        ("localhost/app", false),
        ("myhost:5000/app", false),
        ("[::1]/app", false),
    ] {
        assert_eq!(ImageReference::parse(image).unwrap().is_short(), short, "{image}");
    }
}

proptest! {
    #[test]
    fn prop_any_text_is_a_stable_reference_or_says_what_is_wrong(
        image in "([a-zA-Z0-9._:/@\\[\\]-]|\\PC|[ \n\t]){0,40}"
    ) {
        match ImageReference::parse(&image) {
            Ok(reference) => {
                let again = ImageReference::parse(&reference.canonical()).unwrap();
                prop_assert_eq!(again.canonical(), reference.canonical());
                prop_assert_eq!(again.name(), reference.name());
                prop_assert!(reference.name().is_ascii());
            }
            Err(error) => {
                prop_assert!(!error.offending().is_empty());
                prop_assert!(!error.offending().contains(char::is_control));
                prop_assert!(!defaults_to_always(&image));
            }
        }
    }
}

#[rstest]
#[case("nginx", Some("nginx"))]
#[case("nginx:1.25", Some("nginx"))]
#[case("library/nginx", Some("library/nginx"))]
#[case("team/app:1", Some("team/app"))]
#[case("docker.io/nginx", None)]
#[case("localhost/app", None)]
#[case("quay.io/team/app", None)]
#[case("foo_bar.com/app", Some("foo_bar.com/app"))]
#[case("MyHost/app", Some("MyHost/app"))]
fn short_names_as_they_are_written(#[case] image: &str, #[case] short: Option<&str>) {
    assert_eq!(ImageReference::parse(image).unwrap().short_name(), short);
}

#[rstest]
#[case("reg.example.com/app:1", false)]
#[case("[::1]:5000/app", true)]
#[case("nginx", false)]
fn names_that_cri_o_refuses(#[case] image: &str, #[case] refused: bool) {
    let parsed = ImageReference::parse(image).unwrap();
    assert_eq!((parsed.cri_o_refuses(), parsed.is_short()), (refused, image == "nginx"));
}

#[test]
fn cri_o_counts_the_host_of_a_long_name() {
    let named = |length: usize| {
        ImageReference::parse(&format!("reg.example.com/{}", "a".repeat(length))).unwrap()
    };
    assert!(!named(239).cri_o_refuses());
    assert!(named(240).cri_o_refuses());
}
