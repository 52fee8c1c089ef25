//! How old an answer is, and what may be older than it seems: tokens, answers that are carried on.

use std::time::Duration;

use pullgate::pull::{Detail, ErrorCode, LookupRequest, Outcome, Purpose, Step};
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

/// What a token allows may have been revoked since it was made: what proves something is asked with one
/// of the last minute.
#[rstest]
#[case::suggestion(Purpose::Advice, None, true)]
#[case::second_look(Purpose::Verdict, Some(Duration::from_secs(1)), true)]
#[case::first_look(Purpose::Verdict, None, false)]
#[tokio::test]
async fn old_tokens_prove_nothing(
    #[case] purpose: Purpose,
    #[case] max_age: Option<Duration>,
    #[case] anew: bool,
) {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("ann", "p", &["*"])]));
    for tag in ["v1", "v2", "v3"] {
        registry.put_image("a/b", tag, "linux", "amd64");
    }
    let client = client(&[&registry]);
    let ann = credential("ann", "p");
    let ask = async |tag: &str| {
        registry.take_log();
        let reference = registry.reference(&format!("a/b:{tag}"));
        let question = request(&reference, Some(&ann), Detail::Presence);
        client.look_up(LookupRequest { purpose, max_age, ..question }, soon()).await;
        registry.log().iter().any(|line| line.starts_with("GET /token"))
    };
    assert!(ask("v1").await);
    jump(Duration::from_secs(50)).await;
    assert!(!ask("v2").await);
    jump(Duration::from_secs(20)).await;
    assert_eq!(ask("v3").await, anew);
}

/// Who may read a digest now may not in an hour; what anybody may read costs a request an hour.
#[tokio::test]
async fn a_digest_that_a_login_found_is_asked_for_again_in_ten_minutes() {
    let registry = Scripted::start().await;
    let digest = registry.put_image("a/b", "v1", "linux", "amd64");
    let reference = registry.reference(&format!("a/b@{digest}"));
    let client = client(&[&registry]);
    let ann = credential("ann", "p");
    let ask = async |credential| {
        registry.take_log();
        look(&client, &reference, credential).await;
        registry.log().len()
    };
    assert_eq!((ask(None).await, ask(Some(&ann)).await), (1, 1));
    jump(Duration::from_secs(595)).await;
    assert_eq!((ask(None).await, ask(Some(&ann)).await), (0, 0));
    jump(Duration::from_secs(10)).await;
    assert_eq!((ask(None).await, ask(Some(&ann)).await), (0, 1));
}

/// A look-up that only reads the content of what an older HEAD found is no answer to who wants a new one.
#[tokio::test]
async fn whoever_wants_a_new_answer_does_not_wait_for_one_that_carries_on_an_old() {
    let registry = Scripted::start().await;
    let first = index(&[("linux", "amd64")]);
    registry.put("a/b", "v1", INDEX, first.as_bytes());
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    look(&client, &reference, None).await;
    jump(Duration::from_secs(10)).await;
    // The tag moves; what it was is read slowly.
    let moved = index(&[("linux", "arm64")]);
    let now = registry.put("a/b", "v1", INDEX, moved.as_bytes());
    registry.delay(Duration::from_millis(200));
    let deeper = client.look_up(request(&reference, None, Detail::Platforms), soon());
    let fresh = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let question = request(&reference, None, Detail::Platforms);
        let max_age = Some(Duration::from_secs(1));
        client.look_up(LookupRequest { max_age, ..question }, soon()).await
    };
    let (_, fresh) = tokio::join!(deeper, fresh);
    let Outcome::Exists(found) = fresh.outcome else { panic!("{fresh:?}") };
    assert_eq!(found.digest, Some(now));
}

/// What was pushed while the registry took its time is not in its answer.
#[tokio::test]
async fn a_refusal_is_as_old_as_the_question() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_millis(300));
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) });
    assert!(lookup.age >= Duration::from_millis(300), "{lookup:?}");
    assert!(lookup.age < Duration::from_millis(600), "the question was the GET: {lookup:?}");
}

/// What is not there in time is kept from when that was clear, or it would be asked for again at once.
#[tokio::test]
async fn what_was_waited_for_in_vain_is_kept_from_then_on() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_secs(2));
    let mut options = options(&[&registry]);
    (options.limits.connect, options.limits.first_byte) =
        (Duration::from_millis(100), Duration::from_millis(300));
    options.cache.unreachable = Duration::from_millis(200);
    let client = RegistryClient::new(options).unwrap();
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::Timeout(Step::FirstByte));
    let kept = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(kept.outcome, lookup.outcome);
    assert!(kept.age < Duration::from_millis(200), "{kept:?}");
    assert_eq!(requests(&client, "head"), 1);
}

/// Only the body of a refusal says whose it is, and a HEAD has none.
#[tokio::test]
async fn a_second_look_reads_what_a_refusal_says() {
    let registry = Scripted::start().await;
    registry.replies(|call| {
        let body = r#"{"errors":[{"code":"DENIED","message":"client with IP '203.0.113.9' is not allowed access"}]}"#;
        let body = if call.method == "HEAD" { "" } else { body };
        Some(reply(401, &[("www-authenticate", r#"Basic realm="r""#)], body))
    });
    let client = client(&[&registry]);
    let question = request(&registry.reference("a/b:v1"), None, Detail::Presence);
    let first = client.look_up(question.clone(), soon()).await;
    assert!(first.is_first_refusal(), "{first:?}");
    client.repeat(question.clone()).await;
    let second = client.look_up(question, soon()).await;
    assert_eq!(second.outcome, Outcome::AddressRefused);
}

/// Only what was answered in the same way all the time has stood: not after another refusal, and not
/// beside an outage.
#[rstest]
#[case::all_the_time("NOT_FOUND", 404, 600)]
#[case::after_another_refusal("DENIED", 403, 300)]
#[case::after_an_outage("UNKNOWN", 502, 300)]
#[tokio::test]
async fn what_a_proxy_cache_may_miss_has_to_stand(
    #[case] code: &'static str,
    #[case] status: u16,
    #[case] stood: u64,
) {
    let registry = Scripted::start().await;
    let client = client(&[&registry]);
    let question = request(&registry.reference("a/b:v1"), None, Detail::Presence);
    let ask = async |code: &'static str, status: u16| {
        registry.replies(move |_| Some(envelope(status, code)));
        client.look_up(question.clone(), soon()).await
    };
    let first = ask(code, status).await;
    assert_eq!(first.refused_for, Duration::ZERO);
    for seconds in [300, 300] {
        jump(Duration::from_secs(seconds)).await;
        let lookup = ask("NOT_FOUND", 404).await;
        let code = Some(ErrorCode::NotFound);
        assert_eq!(lookup.outcome, Outcome::TagMissing { code });
        assert!(!lookup.is_first_refusal(), "no login was refused");
    }
    let last = client.look_up(question.clone(), soon()).await;
    assert_eq!(last.refused_for.as_secs(), stood);
    assert_eq!(last.is_unconfirmed(), stood < 600);
}
