//! Whole families of texts, after the sources of the programs that write them, and what a message
//! makes of them that cannot be told from its words alone.

use rstest::rstest;

use super::super::{classify, next_step};

const FAMILIES: &str = include_str!("../../../tests/fixtures/pull-failure-families.tsv");

/// Causes that no wrapper carries.
const NO_FAULT: &[&str] = &["not_an_image_failure", "back_off"];
/// What kubelet, skopeo and ECS write around the texts of others.
const WRAPPERS: &[(&str, &str)] = &[
    ("Failed to pull image \"r.example/denied:404\": rpc error: code = Unknown desc = ", ""),
    ("Back-off pulling image \"r.example/x:1\": ErrImagePull: ", ""),
    ("Error parsing image name \"docker://r.example/x:1\": ", ""),
    ("[rpc error: code = Unknown desc = ", ", rpc error: code = Unknown desc = EOF]"),
    ("CannotPullContainerError: ref pull has been retried 5 time(s): ", ": unknown"),
];
/// What is an answer in full if nothing follows, and a part that says what is wrong.
const SAID: &[(&str, usize)] =
    &[("denied: ", 24), ("Source image rejected", 31), ("failed to convert whiteout file", 45)];

fn families() -> impl Iterator<Item = (&'static str, &'static str)> {
    FAMILIES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap())
}

#[test]
fn every_text_of_the_families_has_its_cause() {
    let wrong: Vec<String> = families()
        .map(|(cause, message)| (cause, classify(None, message).cause, message))
        .filter(|(cause, got, _)| got.as_str() != *cause)
        .map(|(cause, got, message)| format!("{cause}, not {got}: {message}"))
        .collect();
    assert!(families().count() > 380);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Behind every wrapper of kubelet and runtimes, a passing trouble stays one and a proven fault
/// too. (Wrappers that give a text of another kind a cause of its own are left out.)
#[test]
fn wrappers_do_not_change_what_is_passing() {
    let mut crossed = Vec::new();
    for (cause, message) in families().filter(|(cause, _)| !NO_FAULT.contains(cause)) {
        let bare = classify(None, message).is_transient();
        for (before, behind) in WRAPPERS {
            let got = classify(Some("Failed"), &format!("{before}{message}{behind}"));
            if got.is_transient() != bare {
                crossed.push(format!("{cause} as {}: {before}{message}", got.cause));
            }
        }
    }
    assert!(crossed.is_empty(), "{}", crossed.join("\n"));
}

/// Cut off anywhere, what passes is never called proven.
#[test]
fn a_passing_text_that_is_cut_off_proves_nothing() {
    let mut crossed = Vec::new();
    for (_, message) in families() {
        if !classify(None, message).is_transient() {
            continue;
        }
        let said = SAID.iter().find(|(start, _)| message.starts_with(start));
        let from = said.map_or(8, |(_, from)| *from);
        for (end, _) in message.char_indices().skip(from).step_by(4) {
            let got = classify(Some("ErrImagePull"), &message[..end]);
            if !got.is_transient() {
                crossed.push((got.cause, &message[..end]));
            }
        }
    }
    assert!(crossed.is_empty(), "{crossed:#?}");
}

/// "not found" is said of much that is no image.
#[rstest]
#[case(None, "sh: 1: foo: not found", false)]
#[case(None, "/bin/app: not found", false)]
#[case(None, "docker.io/library/nginx:9: not found", true)]
#[case(None, "tag v1 not found", true)]
#[case(Some("ErrImagePull"), "x: not found", true)]
#[case(Some("Failed"), "something else: not found", false)]
fn what_is_missing_must_be_an_image(
    #[case] reason: Option<&str>,
    #[case] message: &str,
    #[case] proven: bool,
) {
    assert_eq!(!classify(reason, message).is_transient(), proven);
}

#[rstest]
#[case("cannot be pulled due to configured policy in 'Prevent images'", "scanner")]
#[case("denied: Encountered a billing-related error.", "billing")]
#[case("denied: client with IP '1.2.3.4' is not allowed access.", "address")]
#[case("http: server gave HTTP response to HTTPS client", "plain HTTP")]
#[case("short-name resolution enforced but cannot prompt without a TTY", "registry in front")]
#[case("pull QPS exceeded", "registryPullQPS")]
#[case("unexpected status from HEAD request to https://r.example/v2/x: 403 Forbidden", "filters")]
fn the_next_step_is_of_the_words(#[case] message: &str, #[case] says: &str) {
    let step = next_step(&classify(None, message));
    assert!(step.contains(says), "{step}");
}

/// A page of help is not at fault; a name that was looked up is.
#[rstest]
#[case("toomanyrequests: see https://www.docker.com/increase-rate-limit", None)]
#[case("failed to authorize: Get \"https://tokens.example/t\": EOF", Some("tokens.example"))]
#[case("dial tcp: lookup mirror.example on 10.0.0.1:53: no such host", Some("mirror.example"))]
fn the_address_at_fault_is_one_that_was_asked(
    #[case] message: &str,
    #[case] address: Option<&str>,
) {
    assert_eq!(classify(None, message).address.as_deref(), address);
}

/// Go puts the inner error behind the outer one, so what fails with the network in the end has
/// proven nothing, whatever the wrapper in front of it is called.
#[rstest]
#[case(
    "dns_failure",
    "Error determining manifest MIME type for docker://x: pinging docker registry returned: Get https://r.example/v2/: dial tcp: lookup r.example: no such host"
)]
#[case(
    "timeout",
    "choosing an image: no image found in image index for architecture arm64: reading manifest: Get \"https://r.example/v2/\": dial tcp 10.0.0.1:443: i/o timeout"
)]
#[case(
    "registry_error",
    "manifest unknown: trying the next: received unexpected HTTP status: 503 Service Unavailable"
)]
#[case("tag_not_found", "dial tcp 10.0.0.1:443: i/o timeout, then: manifest unknown")]
fn the_inner_error_of_the_network_counts(#[case] cause: &str, #[case] message: &str) {
    assert_eq!(classify(None, message).cause.as_str(), cause);
}

/// Docker's API answers 500 for nearly everything that a registry said.
#[rstest]
#[case("forbidden", "(HTTP code 500) server error - Head \"https://r.example/v2/x\": denied")]
#[case("tag_not_found", "(HTTP code 404) no such image - manifest unknown")]
#[case("unauthorized", "API error (500): unauthorized: authentication required")]
#[case("registry_error", "API error (500): received unexpected HTTP status: 502 Bad Gateway")]
#[case("registry_error", "(HTTP code 500) server error - something else")]
#[case("unauthorized", r#"Status 500: {"message":"Get https://r.example/v2/: unauthorized"}"#)]
#[case(
    "forbidden",
    r#"500 Server Error for http+docker://localhost/images: Internal Server Error ("denied: access forbidden")"#
)]
fn a_client_of_docker_wraps_what_the_registry_said(#[case] cause: &str, #[case] message: &str) {
    assert_eq!(classify(None, message).cause.as_str(), cause);
}
