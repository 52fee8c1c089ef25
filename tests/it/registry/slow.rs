//! Registries that answer later than reviews wait, and more images at once than are asked for at
//! once: what is late is known at the next try.

use std::sync::Arc;
use std::time::Duration;

use pullgate::image::ImageReference;
use pullgate::pull::{Detail, LookupRequest, Outcome, Step};
use pullgate::registry::RegistryClient;
use pullgate::review::ManifestSource as _;

use super::scripted::*;

/// What came of a look-up by somebody who waits so long.
async fn within(client: &RegistryClient, reference: &ImageReference, wait: Duration) -> Outcome {
    let deadline = tokio::time::Instant::now().into_std() + wait;
    client.look_up(request(reference, None, Detail::Presence), deadline).await.outcome
}

async fn with_tokens(delay: Duration) -> Scripted {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("", "", &["*"])])).delay(delay);
    registry
}

/// Three times as fast as 0.9 s per answer, a policy of 1.5 s and a review of 2 s.
#[tokio::test]
async fn a_slow_registry_with_tokens_is_known_at_the_second_try() {
    let registry = with_tokens(Duration::from_millis(300)).await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let mut options = options(&[&registry]);
    options.directions.whole = Duration::from_millis(500);
    let client = RegistryClient::new(options).unwrap();
    let reference = registry.reference("a/b:v1");
    let review = Duration::from_millis(600);
    assert_eq!(within(&client, &reference, review).await, Outcome::TooLate);
    let second = within(&client, &reference, review).await;
    assert!(matches!(second, Outcome::Exists(_)), "{second:?}");
    assert_eq!((registry.count("HEAD"), requests(&client, "token")), (2, 1));
}

/// What is not ready in time is a time-out of the registry's where it let the last look-up wait to
/// its end, also for another image, and until it answers.
#[tokio::test]
async fn a_registry_that_never_answers_is_called_so_before_every_look_up_has_ended() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.put_image("a/b", "v2", "linux", "amd64");
    registry.delay(Duration::from_millis(900));
    let mut options = options(&[&registry]);
    (options.limits.connect, options.limits.first_byte) =
        (Duration::from_millis(100), Duration::from_millis(300));
    options.load.breaker_threshold = u32::MAX;
    let client = RegistryClient::new(options).unwrap();
    let review = Duration::from_millis(100);
    let [first, second] = ["a/b:v1", "a/b:v2"].map(|image| registry.reference(image));
    assert_eq!(within(&client, &first, review).await, Outcome::TooLate);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let never = Outcome::Timeout(Step::FirstByte);
    assert_eq!(within(&client, &second, review).await, never);

    tokio::time::sleep(Duration::from_millis(600)).await;
    registry.delay(Duration::ZERO);
    let third = registry.reference("a/b:v3");
    assert!(matches!(within(&client, &third, review * 10).await, Outcome::TagMissing { .. }));
    registry.delay(Duration::from_millis(300));
    let fourth = registry.reference("a/b:v4");
    assert_eq!(within(&client, &fourth, review).await, Outcome::TooLate, "slow, and there");
}

#[tokio::test]
async fn a_token_that_is_late_for_the_first_is_there_for_who_comes_after() {
    let registry = with_tokens(Duration::ZERO).await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.put_image("a/b", "v2", "linux", "amd64");
    registry.script(|call| {
        (call.path == "/token").then_some(async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            reply(200, &[], r#"{"token":"tok-#1"}"#)
        })
    });
    let mut options = options(&[&registry]);
    options.limits.whole = Duration::from_millis(400);
    let client = RegistryClient::new(options).unwrap();
    let wait = Duration::from_secs(20);
    let (first, second) = (registry.reference("a/b:v1"), registry.reference("a/b:v2"));
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        within(&client, &second, wait).await
    };
    let (late, joined) = tokio::join!(within(&client, &first, wait), later);
    assert_eq!(late, Outcome::Timeout(Step::Whole));
    assert!(matches!(joined, Outcome::Exists(_)), "{joined:?}");
    let again = within(&client, &first, wait).await;
    assert!(matches!(again, Outcome::Exists(_)), "{again:?}");
    assert_eq!(requests(&client, "token"), 1);
}

#[tokio::test]
async fn a_thousand_images_at_once_are_all_known_at_the_next_try() {
    let registry = with_tokens(Duration::from_millis(50)).await;
    let references: Vec<_> = (0..1000)
        .map(|n| {
            registry.put_image(&format!("team/app{n}"), "v1", "linux", "amd64");
            registry.reference(&format!("team/app{n}:v1"))
        })
        .collect();
    let mut options = options(&[&registry]);
    // Less than they take all together: the time in our own queue does not count.
    options.limits.whole = Duration::from_secs(3);
    options.load.concurrency_per_registry = 32;
    let client = RegistryClient::new(options).unwrap();
    for wait in [Duration::from_millis(50), Duration::from_secs(60)] {
        let mut tasks = tokio::task::JoinSet::new();
        for reference in references.clone() {
            let client = Arc::clone(&client);
            tasks.spawn(async move { within(&client, &reference, wait).await });
        }
        let outcomes = tasks.join_all().await;
        let known = |outcome: &&Outcome| matches!(outcome, Outcome::Exists(_));
        let late = outcomes.iter().filter(|outcome| **outcome == Outcome::TooLate).count();
        let known = outcomes.iter().filter(known).count();
        assert_eq!(known + late, 1000, "{known} known, {late} late");
        assert!(wait < Duration::from_secs(1) || late == 0, "{late} late at the second try");
    }
    // Only those that were under way before the token service was known were sent there.
    let heads = requests(&client, "head");
    assert!((1000..=1032).contains(&heads), "{heads}");
    assert_eq!(requests(&client, "token"), 1000);
    assert!(!is_left_alone(&client, &registry.host()));
}

/// Asks for an image on behalf of a namespace.
async fn ask_for(
    client: Arc<RegistryClient>,
    namespace: &'static str,
    reference: ImageReference,
) -> Outcome {
    let question = request(&reference, None, Detail::Presence);
    let question = LookupRequest { namespace: namespace.into(), ..question };
    client.look_up(question, soon()).await.outcome
}

#[tokio::test]
async fn a_namespace_with_a_thousand_images_delays_another_by_few() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_millis(20));
    let mut options = options(&[&registry]);
    options.load.concurrency_per_registry = 4;
    let client = RegistryClient::new(options).unwrap();
    let mut noisy = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let reference = registry.reference(&format!("a/b:n{n}"));
        noisy.spawn(ask_for(Arc::clone(&client), "noisy", reference));
    }
    tokio::task::yield_now().await;
    let reference = registry.reference("shop/app:v1");
    let outcome = ask_for(Arc::clone(&client), "shop", reference).await;
    assert!(matches!(outcome, Outcome::TagMissing { .. }), "{outcome:?}");
    let before = registry.log().len();
    assert!(before < 100, "{before} requests came first");
}

#[tokio::test]
async fn a_namespace_that_fills_all_look_ups_leaves_room_for_others() {
    let stuck = Scripted::start().await;
    stuck.delay(Duration::from_secs(30));
    let well = Scripted::start().await;
    well.put_image("a/b", "v1", "linux", "amd64");
    let mut options = options(&[&stuck, &well]);
    options.load.lookups = 100;
    let client = RegistryClient::new(options).unwrap();
    let mut noisy = tokio::task::JoinSet::new();
    for n in 0..200 {
        let reference = stuck.reference(&format!("a/b:n{n}"));
        noisy.spawn(ask_for(Arc::clone(&client), "noisy", reference));
    }
    while counted(&client, "lookups_shed_total") < 125 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let outcome = ask_for(Arc::clone(&client), "shop", well.reference("a/b:v1")).await;
    assert!(matches!(outcome, Outcome::Exists(_)), "{outcome:?}");
}

/// A tenant whose registries say nothing to any list of tags takes no other's advice away.
#[tokio::test]
async fn a_namespace_that_fills_all_lists_of_tags_leaves_room_for_others() {
    let stuck: Vec<Scripted> = futures::future::join_all((0..6).map(|_| Scripted::start())).await;
    for registry in &stuck {
        registry.delay(Duration::from_secs(30));
    }
    let well = Scripted::start().await;
    well.replies(|_| Some(reply(200, &[], r#"{"tags":["v1"]}"#)));
    let all: Vec<&Scripted> = stuck.iter().chain([&well]).collect();
    let client = RegistryClient::new(options(&all)).unwrap();
    let mut noisy = tokio::task::JoinSet::new();
    for n in 0..300 {
        let (client, repository) =
            (Arc::clone(&client), stuck[n % 6].reference(&format!("a/r{n}:v1")));
        noisy.spawn(async move { client.list(tags_of(&repository, None, "noisy"), soon()).await });
    }
    // A quarter is left, and what is beyond is turned away.
    while counted(&client, "lookups_shed_total") < 300 - 192 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let listed = client.list(tags_of(&well.reference("shop/app:v1"), None, "shop"), soon()).await;
    assert_eq!(listed.unwrap().tags, ["v1".into()]);
}
