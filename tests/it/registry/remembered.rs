//! What fails is remembered like what succeeds, for as long as its kind of failure holds.

use std::sync::Arc;
use std::time::Duration;

use pullgate::pull::{Content, Detail, MediaKind, Outcome};
use pullgate::registry::RegistryClient;
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;

/// Lets the clock jump without waiting.
async fn jump(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Many reviews at once that want to suggest a tag.
async fn reviews(client: &Arc<RegistryClient>, registry: &Scripted) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, repository) = (Arc::clone(client), registry.reference("a/b:v1"));
        tasks.spawn(async move {
            client.list(tags_of(&repository, None, "shop"), soon()).await.is_err()
        });
    }
    assert!(tasks.join_all().await.into_iter().all(|failed| failed));
}

#[rstest]
#[case::no_such_path(404, 15)]
#[case::not_supported(405, 5)]
#[case::not_allowed(403, 15)]
#[case::broken(500, 5)]
#[case::odd(200, 30)]
#[tokio::test]
async fn a_repository_without_a_list_of_tags_costs_one_request_for_many_reviews(
    #[case] status: u16,
    #[case] seconds: u64,
) {
    let registry = Scripted::start().await;
    registry.replies(move |_| Some(envelope(status, "UNSUPPORTED")).filter(|_| status != 200));
    if status == 200 {
        registry.replies(|_| Some(reply(200, &[], "a page of a portal")));
    }
    let client = client(&[&registry]);
    reviews(&client, &registry).await;
    reviews(&client, &registry).await;
    assert_eq!(registry.log().len(), 1, "{:?}", registry.log());
    jump(Duration::from_secs(seconds) + Duration::from_secs(1)).await;
    reviews(&client, &registry).await;
    assert_eq!(registry.log().len(), 2, "{:?}", registry.log());
    // Whose list failed is nobody else's business.
    let alice = credential("alice", "a");
    client
        .list(tags_of(&registry.reference("a/b:v1"), Some(&alice), "shop"), soon())
        .await
        .unwrap_err();
    assert_eq!(registry.log().len(), 3, "{:?}", registry.log());
}

#[tokio::test]
async fn a_list_of_tags_that_is_late_is_there_for_the_next_review() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_millis(150));
    registry.replies(|_| Some(reply(200, &[], r#"{"tags":["v1","v2"]}"#)));
    let client = client(&[&registry]);
    let repository = registry.reference("a/b:v3");
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_millis(30);
    assert_eq!(
        client.list(tags_of(&repository, None, "shop"), deadline).await,
        Err(Outcome::TooLate)
    );
    let listed = client.list(tags_of(&repository, None, "shop"), soon()).await.unwrap();
    assert_eq!(listed.tags, ["v1", "v2"].map(Box::from));
    assert_eq!(requests(&client, "tags"), 1);
}

async fn content(client: &RegistryClient, registry: &Scripted, rest: &str) -> Content {
    let question = request(&registry.reference(rest), None, Detail::Config);
    let outcome = client.look_up(question, soon()).await.outcome;
    let Outcome::Exists(found) = outcome else { panic!("{outcome:?}") };
    assert_eq!(found.media, MediaKind::Manifest);
    found.content
}

#[tokio::test]
async fn a_configuration_that_cannot_be_had_is_asked_for_again_later_and_seldom() {
    let registry = Scripted::start().await;
    let digest = registry.put_image("a/b", "v1", "linux", "amd64");
    registry.replies(|call| call.path.contains("/blobs/").then(|| envelope(500, "UNKNOWN")));
    let client = client(&[&registry]);
    let by_digest = format!("a/b@{digest}");
    let blobs = || requests(&client, "blob");
    for name in ["a/b:v1", &by_digest, "a/b:v1", &by_digest] {
        assert_eq!(content(&client, &registry, name).await, Content::Unread);
    }
    assert_eq!(blobs(), 1);
    // The second failure in a row holds twice as long.
    jump(Duration::from_secs(6)).await;
    for seconds in [0, 6] {
        jump(Duration::from_secs(seconds)).await;
        for name in ["a/b:v1", &by_digest] {
            assert_eq!(content(&client, &registry, name).await, Content::Unread);
        }
        assert_eq!(blobs(), 2);
    }
    // The digest itself is known for an hour; what was missing of it is not missed so long.
    registry.remove_script();
    jump(Duration::from_secs(11)).await;
    assert!(matches!(content(&client, &registry, &by_digest).await, Content::Config(..)));
    assert_eq!(blobs(), 3);
}
