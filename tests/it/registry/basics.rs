//! How many requests a look-up takes, and what its answers come to.

use pullgate::image::Platform;
use pullgate::pull::{Content, Detail, ErrorCode, MediaKind, Outcome};
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;

#[tokio::test]
async fn an_open_registry_is_asked_once() {
    let registry = Scripted::start().await;
    let digest = registry.put_image("team/app", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("team/app:v1"), None).await;
    let Outcome::Exists(found) = &lookup.outcome else { panic!("{lookup:?}") };
    assert_eq!(found.digest.as_ref(), Some(&digest));
    assert_eq!((found.media, &found.content), (MediaKind::Manifest, &Content::Unread));
    look(&client, &registry.reference("team/app:v1"), None).await;
    assert_eq!(registry.log(), ["HEAD /v2/team/app/manifests/v1 200"]);
}

#[tokio::test]
async fn first_contact_with_tokens_takes_three_requests_and_then_one() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("alice", "pw", &["team/app"])]));
    registry.put_image("team/app", "v1", "linux", "amd64");
    registry.put_image("team/app", "v2", "linux", "amd64");
    let client = client(&[&registry]);
    let alice = credential("alice", "pw");
    let first = look(&client, &registry.reference("team/app:v1"), Some(&alice)).await;
    assert!(matches!(first.outcome, Outcome::Exists(_)), "{first:?}");
    assert_eq!(
        registry.take_log(),
        [
            "HEAD /v2/team/app/manifests/v1 401",
            "GET /token 200 alice",
            "HEAD /v2/team/app/manifests/v1 200 alice",
        ]
    );
    look(&client, &registry.reference("team/app:v2"), Some(&alice)).await;
    assert_eq!(registry.log(), ["HEAD /v2/team/app/manifests/v2 200 alice"]);
}

#[tokio::test]
async fn basic_takes_two_requests_and_then_one() {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(vec![user("alice", "pw", &["*"])]));
    registry.put_image("team/app", "v1", "linux", "amd64");
    registry.put_image("team/app", "v2", "linux", "amd64");
    let client = client(&[&registry]);
    let alice = credential("alice", "pw");
    for tag in ["v1", "v2"] {
        let reference = registry.reference(&format!("team/app:{tag}"));
        let lookup = look(&client, &reference, Some(&alice)).await;
        assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    }
    assert_eq!(
        registry.log(),
        [
            "HEAD /v2/team/app/manifests/v1 401",
            "HEAD /v2/team/app/manifests/v1 200 alice",
            "HEAD /v2/team/app/manifests/v2 200 alice",
        ]
    );
}

#[tokio::test]
async fn missing_is_confirmed_by_one_get() {
    let registry = Scripted::start().await;
    let client = client(&[&registry]);
    let reference = registry.reference("team/app:v9");
    for _ in 0..3 {
        let lookup = look(&client, &reference, None).await;
        let code = Some(ErrorCode::ManifestUnknown);
        assert_eq!(lookup.outcome, Outcome::TagMissing { code });
    }
    assert_eq!(
        registry.log(),
        ["HEAD /v2/team/app/manifests/v9 404", "GET /v2/team/app/manifests/v9 404"]
    );
}

#[tokio::test]
async fn an_index_is_read_once_per_digest() {
    let registry = Scripted::start().await;
    let body = index(&[("linux", "amd64"), ("linux", "arm64"), ("unknown", "unknown")]);
    let digest = registry.put("team/app", "v1", INDEX, body.as_bytes());
    registry.put("team/app", "v2", INDEX, body.as_bytes());
    let client = client(&[&registry]);
    for tag in ["v1", "v2", "v1"] {
        let reference = registry.reference(&format!("team/app:{tag}"));
        let lookup = client.look_up(request(&reference, None, Detail::Platforms), soon()).await;
        let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
        let platforms = ["amd64", "arm64"].map(|a| Some(Platform::new("linux", a)));
        assert_eq!(found.content, Content::Platforms(platforms.into()));
    }
    assert_eq!(
        registry.log(),
        [
            "HEAD /v2/team/app/manifests/v1 200".to_owned(),
            format!("GET /v2/team/app/manifests/{digest} 200"),
            "HEAD /v2/team/app/manifests/v2 200".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_lone_manifest_is_read_only_when_its_configuration_is_wanted() {
    let registry = Scripted::start().await;
    registry.put_image("team/app", "v1", "linux", "arm64");
    let client = client(&[&registry]);
    let reference = registry.reference("team/app:v1");
    for detail in [Detail::Presence, Detail::Platforms] {
        client.look_up(request(&reference, None, detail), soon()).await;
    }
    assert_eq!(registry.take_log(), ["HEAD /v2/team/app/manifests/v1 200"]);
    for _ in 0..2 {
        let lookup = client.look_up(request(&reference, None, Detail::Config), soon()).await;
        let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
        let Content::Config(platform, bytes) = &found.content else { panic!("{found:?}") };
        assert_eq!(*platform, Platform::new("linux", "arm64"));
        assert!(bytes.is_some(), "{found:?}");
    }
    let log = registry.log();
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log[0].starts_with("GET /v2/team/app/manifests/sha256:"), "{log:?}");
    assert!(log[1].starts_with("GET /v2/team/app/blobs/sha256:"), "{log:?}");
}

/// containerd asks by HEAD and tries GET after a 405 alone.
#[rstest]
#[case::forbidden(403, true)]
#[case::missing(404, true)]
#[case::unauthorized(401, true)]
#[case::not_allowed(405, false)]
#[case::broken_at_times(500, false)]
#[tokio::test]
async fn who_refuses_heads_is_known_from_the_first_image_on(
    #[case] status: u16,
    #[case] refused: bool,
) {
    let registry = Scripted::start().await;
    for tag in ["v1", "v2"] {
        registry.put_image("a/b", tag, "linux", "amd64");
    }
    registry.replies(move |call| (call.method == "HEAD").then(|| reply(status, &[], "")));
    let client = client(&[&registry]);
    // What is missing shows nothing of HEADs.
    let missing = request(&registry.reference("a/b:none"), None, Detail::Config);
    client.look_up(missing, soon()).await;
    for tag in ["v1", "v2"] {
        let question = request(&registry.reference(&format!("a/b:{tag}")), None, Detail::Config);
        let lookup = client.look_up(question, soon()).await;
        let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
        assert_eq!(found.head_refused, refused, "{tag}");
    }
}

/// The HEAD came before the tag, or was asked with a token of before.
#[tokio::test]
async fn a_head_that_came_too_early_is_no_refusal_of_heads() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let first = std::sync::atomic::AtomicBool::new(true);
    registry.replies(move |call| {
        let early = call.method == "HEAD" && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        early.then(|| reply(404, &[], ""))
    });
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
    assert!(!found.head_refused);
}
