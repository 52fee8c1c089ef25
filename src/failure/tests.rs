//! The corpus, more messages of the same kinds from the sources of the runtimes, and what a
//! hostile or cut-off text does.

mod families;
mod held_out;

use proptest::prelude::*;
use rstest::rstest;

use super::tokens::{Phrase, Text};
use super::*;
use crate::pull::Cause;

const CORPUS: &str = include_str!("../../tests/fixtures/pull-failures.jsonl");

#[derive(serde::Deserialize)]
struct Line {
    id: String,
    reason: Option<String>,
    message: String,
    category: String,
    registry: Option<String>,
}

fn corpus() -> impl Iterator<Item = Line> {
    CORPUS.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn every_line_of_the_corpus_has_its_cause() {
    let wrong: Vec<String> = corpus()
        .filter_map(|line| {
            let cause = classify(line.reason.as_deref(), &line.message).cause;
            (cause.as_str() != line.category)
                .then(|| format!("{}: {} is not {cause}: {}", line.id, line.category, line.message))
        })
        .collect();
    assert_eq!(corpus().count(), 301);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Hosts that somebody blotted out (`<account>.example`, `####.example`) are no hosts, and two
/// names with a blank or a storage prefix in front of them are taken for what they look like.
#[test]
fn registries_of_the_corpus_are_found() {
    let wrong: Vec<String> = corpus()
        .filter(|line| !line.registry.as_ref().is_some_and(|host| host.contains(['<', '#'])))
        .filter(|line| classify(line.reason.as_deref(), &line.message).registry != line.registry)
        .map(|line| line.id)
        .collect();
    assert_eq!(wrong, ["pf-eab7488a", "pf-583649ae"]);
}

/// A message that is cut off (events are, at 1024 bytes) may lose its cause, but a passing trouble
/// must not turn into a proven fault.
#[test]
fn cutting_a_message_off_does_not_prove_anything() {
    let mut crossed = Vec::new();
    for line in corpus() {
        let whole = classify(line.reason.as_deref(), &line.message);
        let length = line.message.chars().count();
        for tenths in 3..10 {
            let cut: String = line.message.chars().take(length * tenths / 10).collect();
            let got = classify(line.reason.as_deref(), &cut);
            if whole.is_transient() && !got.is_transient() {
                crossed.push((line.id.clone(), tenths, got.cause));
            }
        }
    }
    assert!(crossed.is_empty(), "{crossed:?}");
}

#[rstest]
#[case(
    "tag_not_found",
    "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:aa (application/vnd.docker.image.rootfs.diff.tar.gzip) from remote: not found"
)]
#[case("node_runtime", r#"rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: connection refused""#)]
#[case("node_runtime", "rpc error: code = Unavailable desc = error reading from server: EOF")]
#[case("connection_refused", r#"failed to do request: Head "https://r.example/v2/x/manifests/1": stream error: stream ID 1; INTERNAL_ERROR; received from peer"#)]
#[case("timeout", r#"failed to do request: Head "https://registry-1.docker.io/v2/library/x/manifests/1": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)"#)]
#[case("unauthorized", r#"Get "https://registry.gitlab.com/v2/": unauthorized: HTTP Basic: Access denied. The provided password or token is incorrect"#)]
#[case("forbidden", r#"Failed to pull image "x.azurecr.io/a:1": denied: client with IP '1.2.3.4' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."#)]
#[case(
    "tag_not_found",
    "Error response from daemon: unknown: resource not found: repo proj/app, tag v1 not found"
)]
#[case(
    "repository_not_found",
    "Error response from daemon: unknown: repository proj/app not found"
)]
#[case(
    "unauthorized",
    "unauthorized: You don't have the needed permissions to perform this operation, and you may have invalid credentials. To authenticate your request, follow the steps in: https://cloud.google.com/container-registry/docs/advanced-authentication"
)]
#[case(
    "forbidden",
    "Error initializing source docker://quay.io/a/b:1: Requesting bear token: invalid status code from registry 403 (Forbidden)"
)]
#[case(
    "registry_error",
    "Requesting bearer token: invalid status code from registry 503 (Service Unavailable)"
)]
#[case(
    "unauthorized",
    "Requesting bearer token: invalid status code from registry 401 (Unauthorized)"
)]
#[case("timeout", r#"pinging container registry r.example:5000: Get "https://r.example:5000/v2/": proxyconnect tcp: dial tcp 10.0.0.1:3128: i/o timeout"#)]
#[case("dns_failure", r#"pinging container registry quay.io: Get "https://quay.io/v2/": dial tcp: lookup quay.io on 10.0.0.10:53: read udp 10.1.1.1:1->10.0.0.10:53: read: connection refused"#)]
#[case("node_storage", r#"writing blob: storing blob to file "/var/tmp/storage1/1": write /var/tmp/storage1/1: no space left on device"#)]
#[case("tls_failure", r#"failed to resolve reference "10.0.0.1:5000/x:1": failed to do request: Head "https://10.0.0.1:5000/v2/x/manifests/1": http: server gave HTTP response to HTTPS client"#)]
#[case("rate_limited", "toomanyrequests: Rate exceeded")]
#[case(
    "platform_mismatch",
    "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'"
)]
#[case(
    "platform_mismatch",
    "no matching manifest for windows/amd64 10.0.17763 in the manifest list entries"
)]
#[case(
    "platform_mismatch",
    "a Windows version 10.0.20348-based image is incompatible with a 10.0.17763 host"
)]
#[case(
    "platform_mismatch",
    "get image config descriptor: no match for platform in manifest sha256:aa: not found"
)]
#[case(
    "unauthorized",
    "denied: Your authorization token has expired. Reauthenticate and try again."
)]
#[case("access_denied_or_missing", r#"failed to resolve reference "us-docker.pkg.dev/p/r/i:1": unexpected status from HEAD request to https://us-docker.pkg.dev/v2/p/r/i/manifests/1: 403 Forbidden denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/p" (or it may not exist)"#)]
#[case(
    "unauthorized",
    "failed to resolve image: unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 401 Unauthorized"
)]
#[case("unauthorized", r#"failed to pull and unpack image "r.example/x:1": failed to resolve image: pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials"#)]
#[case(
    "signature_rejected",
    "image verifier cosign blocked pull of r.example/x:1 with digest sha256:aa for reason: not signed"
)]
#[case("unsupported_manifest", r#"not implemented: media type "application/vnd.docker.distribution.manifest.v1+prettyjws" is no longer supported since containerd v2.1, please rebuild the image as "application/vnd.docker.distribution.manifest.v2+json" or "application/vnd.oci.image.manifest.v1+json""#)]
#[case(
    "unsupported_manifest",
    r#"Encountered remote "application/vnd.cncf.helm.config.v1+json"(unknown) when fetching"#
)]
#[case("unsupported_manifest", "missing signature key")]
#[case(
    "connection_refused",
    "image pull failed for r.example/x because the registry is unavailable."
)]
#[case("back_off", r#"Back-off pulling image "denied""#)]
#[case("back_off", r#"Back-off pulling image "timeout""#)]
#[case("unauthorized", r#"Back-off pulling image "r.example/connection-refused:404": ErrImagePull: unauthorized: authentication required"#)]
#[case("tag_not_found", r#"(Mirrors also failed: [mirror.example/x:1: pinging container registry mirror.example: Get "https://mirror.example/v2/": dial tcp 10.0.0.1:443: connect: connection refused]): docker.io/library/x:1: reading manifest 1 in docker.io/library/x: manifest unknown"#)]
#[case("timeout", r#"(Mirrors also failed: [mirror.example/x:1: reading manifest 1 in mirror.example/x: unauthorized: authentication required]): docker.io/library/x:1: pinging container registry registry-1.docker.io: Get "https://registry-1.docker.io/v2/": dial tcp 1.1.1.1:443: i/o timeout"#)]
#[case("invalid_reference", r#"short-name "foo:1" did not resolve to an alias and no unqualified-search registries are defined in "/etc/containers/registries.conf""#)]
#[case("node_runtime", r#"Failed to inspect image "": rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial unix:///run/containerd/containerd.sock: timeout""#)]
#[case("timeout", "rpc error: code = DeadlineExceeded desc = context deadline exceeded")]
#[case("node_runtime", "rpc error: code = Canceled desc = context canceled")]
#[case("forbidden", r#"failed to resolve reference "r.example/x:1": unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 403 Forbidden
denied"#)]
#[case("rate_limited", "failed to copy: httpReadSeeker: failed open: unexpected status from GET request to https://registry-1.docker.io/v2/library/x/manifests/sha256:aa: 429 Too Many Requests
toomanyrequests: You have reached your unauthenticated pull rate limit.")]
#[case("registry_error", r#"failed to resolve reference "r.example/x:1": unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 500 Internal Server Error"#)]
#[case("connection_refused", r#"failed to resolve reference "r.example/x:1": failed to do request: Head "https://r.example/v2/x/manifests/1": EOF"#)]
#[case("connection_refused", r#"Get "https://r.example/v2/": dial tcp 10.0.0.1:443: connectex: No connection could be made because the target machine actively refused it."#)]
#[case("timeout", r#"Get "https://r.example/v2/": dial tcp 10.0.0.1:443: connectex: A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond."#)]
#[case("tag_not_found", r#"rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/x/timeout-app:denied": failed to resolve reference "ghcr.io/x/timeout-app:denied": ghcr.io/x/timeout-app:denied: not found"#)]
#[case("corrupt_content", r#"rpc error: code = FailedPrecondition desc = failed to pull and unpack image "r.example/x:1": failed commit on ref "layer-sha256:aa": "layer-sha256:aa" failed size validation: 10 != 20: failed precondition"#)]
#[case("node_runtime", r#"failed to prepare extraction snapshot "extract-1 sha256:aa": failed to create snapshot: missing parent "k8s.io/1/sha256:aa" bucket: not found"#)]
#[case(
    "node_runtime",
    "failed to unpack image on snapshotter overlayfs: failed to extract layer sha256:aa: failed to get reader from content store: content digest sha256:aa: not found"
)]
#[case("forbidden", "denied: permission_denied: read_package")]
#[case(
    "forbidden",
    "failed to authorize: failed to fetch oauth token: unexpected status from POST request to https://r.example/token: 403 Forbidden"
)]
#[case(
    "repository_not_found",
    "The repository with name 'app' does not exist in the registry with id '123456789012'"
)]
#[case(
    "unauthorized",
    "unable to retrieve auth token: invalid username/password: unauthorized: incorrect username or password"
)]
#[case("not_an_image_failure", r#"Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "foo": executable file not found in $PATH: unknown"#)]
#[case("not_an_image_failure", "Error: container has runAsNonRoot and image will run as root")]
#[case("not_an_image_failure", r#"Error: configmap "x" not found"#)]
#[case("not_an_image_failure", "Error: couldn't find key FOO in Secret ns/x")]
#[case("not_an_image_failure", r#"Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "a": plugin type="calico" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized"#)]
#[case("not_an_image_failure", "Liveness probe failed: HTTP probe failed with statuscode: 503")]
#[case("forbidden", r#"error parsing HTTP 403 response body: unexpected end of JSON input: """#)]
#[case("tag_not_found", r#"error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: "<html>""#)]
#[case("connection_refused", "proxyconnect tcp: EOF")]
#[case(
    "unauthorized",
    "failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"
)]
#[case(
    "registry_error",
    "failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://auth.docker.io/token: 503 Service Unavailable"
)]
#[case(
    "rate_limited",
    "failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token?scope=repository%3Alibrary%2Fx%3Apull&service=registry.docker.io: 429 Too Many Requests"
)]
#[case("dns_failure", r#"failed to authorize: failed to fetch anonymous token: Get "https://auth.docker.io/token?scope=repository%3Alibrary%2Fx%3Apull": dial tcp: lookup auth.docker.io: Temporary failure in name resolution"#)]
#[case(
    "node_runtime",
    r#"failed to extract layer sha256:aa: failed to convert whiteout file "usr/lib/.wh.libx.so": operation not permitted: unknown"#
)]
#[case(
    "timeout",
    r#"500 Server Error: Internal Server Error ("{\"message\":\"Get https://r.example/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)\"}")"#
)]
#[case(
    "dns_failure",
    r#"error pinging docker registry k8s.gcr.io: Get "https://k8s.gcr.io/v2/": dial tcp: lookup k8s.gcr.io: device or resource busy"#
)]
#[case(
    "access_denied_or_missing",
    "Error reading manifest latest in docker.io/a/b: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n"
)]
#[case(
    "node_storage",
    "Error pulling image (latest) from docker.io/a/b, Untar re-exec error: exit status 1: output: write /x: no space left on device"
)]
#[case(
    "registry_error",
    "pulling from host r.example:5000 failed with status code [manifests v1.24.0]: 503 Service Unavailable"
)]
#[case(
    "unauthorized",
    "pulling from host r.example failed with status code [manifests a]: 401 Unauthorized"
)]
#[case(
    "node_runtime",
    r#"failed to copy: httpReadSeeker: failed open: failed to do request: Get "https://r.example/v2/a/blobs/sha256:aa": context canceled"#
)]
#[case(
    "not_an_image_failure",
    r#"admission webhook "policy.example" denied the request: validation failed: invalid value: mysql:latest must be an image digest"#
)]
#[case("signature_rejected", "No valid trust data for 8edc4993")]
fn messages_of_the_sources(#[case] cause: &str, #[case] message: &str) {
    assert_eq!(classify(None, message).cause.as_str(), cause, "{message}");
}

#[rstest]
#[case::both_refused(
    "[rpc error: code = NotFound desc = r.example/x:1: not found, rpc error: code = Unknown desc = 401 Unauthorized]",
    Cause::TagNotFound
)]
#[case::one_timed_out(
    "[rpc error: code = Unknown desc = 401 Unauthorized, rpc error: code = Unknown desc = i/o timeout]",
    Cause::Unauthorized
)]
#[case::one_cut_off(
    "[rpc error: code = Unknown desc = i/o timeout, rpc error: code = Unknown desc =",
    Cause::Timeout
)]
fn of_several_credentials_the_decisive_error_counts(#[case] message: &str, #[case] cause: Cause) {
    assert_eq!(classify(Some("ErrImagePull"), message).cause, cause);
}

#[rstest]
#[case(
    "failed to authorize: failed to fetch oauth token: unexpected status from GET request to https://auth.docker.io/token: 401 Unauthorized",
    Some(CredentialProblem::Rejected)
)]
#[case("no basic auth credentials", Some(CredentialProblem::Missing))]
#[case("denied: Your authorization token has expired.", Some(CredentialProblem::Expired))]
#[case("manifest unknown", None)]
fn credential_problems(#[case] message: &str, #[case] problem: Option<CredentialProblem>) {
    assert_eq!(classify(None, message).credential_problem, problem);
}

#[test]
fn the_host_at_fault_is_told_apart_from_the_registry() {
    let got = classify(
        Some("ErrImagePull"),
        r#"failed to resolve reference "harbor.example/a/b:1": failed to authorize: failed to fetch anonymous token: Get "https://tokens.example/t?scope=x": dial tcp 10.0.0.1:443: i/o timeout"#,
    );
    assert_eq!(got.registry.as_deref(), Some("harbor.example"));
    assert_eq!(got.address.as_deref(), Some("tokens.example"));
}

/// A phrase that no text can have is a slip in the table.
#[test]
fn every_rule_can_match_and_names_its_source() {
    for known in known_messages() {
        assert!(!known.source.is_empty(), "{}", known.phrase);
        let lower = known.phrase.to_ascii_lowercase();
        assert_eq!(lower, known.phrase);
        let sample: Vec<String> = known
            .phrase
            .split(' ')
            .filter(|word| *word != "..")
            .map(|word| word.split('|').next().unwrap_or_default().replace('*', "x"))
            .collect();
        let text = Text::new(&sample.join(" "));
        assert!(
            Phrase::new(known.phrase).is_in(&text, text.tokens(), false),
            "{:?} does not match {:?}",
            known.phrase,
            sample
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_classified_and_only_hosts_come_out(
        message in "\\PC{0,200}|[a-z\\[\\]:/,.\" \n]{0,300}",
        reason in proptest::option::of("[A-Za-z ]{0,12}"),
    ) {
        let got = classify(reason.as_deref(), &message);
        for host in [got.registry, got.address].into_iter().flatten() {
            prop_assert!(host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b)));
        }
    }
}
