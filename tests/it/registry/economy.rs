//! Requests are few, answers are kept as long as they hold, and trouble stays where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pullgate::credential::Credential;
use pullgate::image::ImageReference;
use pullgate::pull::{Content, Detail, ErrorCode, Lookup, NetworkFault, Outcome};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;

/// Lets the clock jump without waiting.
async fn jump(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

/// Asks the same question many times at once.
async fn crowd(
    client: &Arc<RegistryClient>,
    references: &[ImageReference],
    times: usize,
    detail: Detail,
) -> Vec<Lookup> {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..times {
        let client = Arc::clone(client);
        let reference = references[n % references.len()].clone();
        tasks.spawn(async move { client.look_up(request(&reference, None, detail), soon()).await });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn five_hundred_reviews_of_a_cold_image_are_three_requests() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("", "", &["*"])])).delay(Duration::from_millis(20));
    registry.put_image("a/b", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let lookups = crowd(&client, &[registry.reference("a/b:v1")], 500, Detail::Platforms).await;
    assert!(lookups.iter().all(|lookup| matches!(lookup.outcome, Outcome::Exists(_))));
    assert_eq!(
        registry.log(),
        ["HEAD /v2/a/b/manifests/v1 401", "GET /token 200", "HEAD /v2/a/b/manifests/v1 200",]
    );
    assert_eq!(counted(&client, r#"lookup_cache_total{answer="miss"}"#), 1);
    let shared = counted(&client, r#"lookup_cache_total{answer="joined"}"#)
        + counted(&client, r#"lookup_cache_total{answer="hit"}"#);
    assert_eq!(shared, 499);
    assert_eq!((requests(&client, "head"), requests(&client, "token")), (2, 1));
    assert_eq!(counted(&client, r#"lookups_total{outcome="exists"}"#), 1);
}

#[tokio::test]
async fn a_refusal_is_confirmed_by_a_second_exchange_in_the_background() {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(vec![user("ann", "p", &["*"])]));
    registry.put_image("a/b", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let question = request(&registry.reference("a/b:v1"), None, Detail::Presence);
    let first = client.look_up(question.clone(), soon()).await;
    assert!(first.is_first_refusal(), "{first:?}");
    let asked = registry.log().len();
    client.repeat(question.clone()).await;
    assert!(registry.log().len() > asked, "asked again by itself");
    let kept = client.look_up(question, soon()).await;
    assert!(kept.outcome.is_refusal() && !kept.is_first_refusal(), "{kept:?}");
}

#[tokio::test]
async fn ten_thousand_reviews_of_fifty_lone_manifests_are_fifty_heads() {
    let registry = Scripted::start().await;
    let references: Vec<_> = (0..50)
        .map(|n| {
            registry.put_image(&format!("team/app{n}"), "v1", "linux", "amd64");
            registry.reference(&format!("team/app{n}:v1"))
        })
        .collect();
    let client = client(&[&registry]);
    let lookups = crowd(&client, &references, 10_000, Detail::Platforms).await;
    assert!(lookups.iter().all(|lookup| matches!(lookup.outcome, Outcome::Exists(_))));
    assert_eq!((registry.count("HEAD"), registry.log().len()), (50, 50));
}

#[tokio::test]
async fn ten_thousand_reviews_of_fifty_indexes_are_fifty_gets_more() {
    let registry = Scripted::start().await;
    let references: Vec<_> = (0..50)
        .map(|n| {
            let architecture = format!("arch{n}");
            let index = index(&[("linux", "amd64"), ("linux", &architecture)]);
            registry.put(&format!("team/app{n}"), "v1", INDEX, index.as_bytes());
            registry.reference(&format!("team/app{n}:v1"))
        })
        .collect();
    let client = client(&[&registry]);
    // First the admission of workloads that need presence only, then of those that need more.
    crowd(&client, &references, 2_000, Detail::Presence).await;
    let lookups = crowd(&client, &references, 8_000, Detail::Platforms).await;
    for lookup in lookups {
        let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
        assert!(matches!(found.content, Content::Platforms(ref p) if p.len() == 2));
    }
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (50, 50));
    // A minute later the tags are asked for again; the digests are known.
    jump(Duration::from_secs(61)).await;
    crowd(&client, &references, 1_000, Detail::Platforms).await;
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (100, 50));
}

#[rstest]
#[case::missing(None, 2, 15)]
#[case::unauthorized(Some(401), 1, 15)]
#[case::broken(Some(500), 1, 5)]
#[tokio::test]
async fn a_bad_answer_is_asked_for_once_per_lifetime(
    #[case] status: Option<u16>,
    #[case] requests: usize,
    #[case] seconds: u64,
) {
    let registry = Scripted::start().await;
    if let Some(status) = status {
        registry.replies(move |_| {
            Some(match status {
                401 => challenged(401, r#"Basic realm="r""#, "UNAUTHORIZED"),
                status => envelope(status, "UNKNOWN"),
            })
        });
    }
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    crowd(&client, std::slice::from_ref(&reference), 50, Detail::Presence).await;
    assert_eq!(registry.log().len(), requests, "{:?}", registry.log());
    jump(Duration::from_millis(seconds * 1000 - 500)).await;
    look(&client, &reference, None).await;
    assert_eq!(registry.log().len(), requests);
    jump(Duration::from_secs(1)).await;
    look(&client, &reference, None).await;
    assert_eq!(registry.log().len(), 2 * requests);
}

#[tokio::test]
async fn a_late_push_heals_within_the_lifetime_of_missing() {
    let registry = Scripted::start().await;
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    let before = look(&client, &reference, None).await;
    let code = Some(ErrorCode::ManifestUnknown);
    assert_eq!(before.outcome, Outcome::TagMissing { code });
    registry.put_image("a/b", "v1", "linux", "amd64");
    jump(Duration::from_secs(16)).await;
    let after = look(&client, &reference, None).await;
    assert!(matches!(after.outcome, Outcome::Exists(_)), "{after:?}");
}

#[tokio::test]
async fn an_answer_older_than_asked_for_is_looked_up_again_once_for_all() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_millis(20));
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    look(&client, &reference, None).await;
    jump(Duration::from_secs(3)).await;
    let kept = look(&client, &reference, None).await;
    assert!(kept.age >= Duration::from_secs(3), "{:?}", kept.age);
    assert_eq!(registry.take_log().len(), 2);
    let mut fresh = request(&reference, None, Detail::Presence);
    fresh.max_age = Some(Duration::from_secs(1));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (client, fresh) = (Arc::clone(&client), fresh.clone());
        tasks.spawn(async move { client.look_up(fresh, soon()).await.age });
    }
    for age in tasks.join_all().await {
        assert!(age < Duration::from_secs(1), "{age:?}");
    }
    assert_eq!(registry.log().len(), 2, "{:?}", registry.log());
}

#[tokio::test]
async fn content_read_later_does_not_make_a_tag_younger() {
    let registry = Scripted::start().await;
    registry.put("a/b", "v1", INDEX, index(&[("linux", "amd64")]).as_bytes());
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    look(&client, &reference, None).await;
    jump(Duration::from_secs(50)).await;
    let deeper = client.look_up(request(&reference, None, Detail::Platforms), soon()).await;
    assert!(deeper.age >= Duration::from_secs(50), "{:?}", deeper.age);
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (1, 1));
    // To be believed to a second, the tag is asked for again; its content is known.
    let mut fresh = request(&reference, None, Detail::Platforms);
    fresh.max_age = Some(Duration::from_secs(1));
    let lookup = client.look_up(fresh, soon()).await;
    assert!(lookup.age < Duration::from_secs(1), "{:?}", lookup.age);
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (2, 1));
}

#[tokio::test]
async fn after_429_nothing_is_asked_until_the_time_said() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v2", "linux", "amd64");
    registry.replies(|_| Some(reply(429, &[("retry-after", "40")], "")));
    let client = client(&[&registry]);
    let first = look(&client, &registry.reference("a/b:v1"), None).await;
    let wait = Duration::from_secs(40);
    assert!(is_throttled_for(&first.outcome, wait), "{first:?}");
    registry.remove_script();
    // Neither this image nor another of the same registry, however fresh it has to be.
    let mut other = request(&registry.reference("a/b:v2"), None, Detail::Presence);
    other.max_age = Some(Duration::ZERO);
    let second = client.look_up(other.clone(), soon()).await;
    assert!(is_throttled_for(&second.outcome, wait), "{second:?}");
    assert_eq!(registry.log().len(), 1);
    // Another credential is not throttled by it.
    let alice = credential("alice", "pw");
    let third = look(&client, &registry.reference("a/b:v2"), Some(&alice)).await;
    assert!(matches!(third.outcome, Outcome::Exists(_)), "{third:?}");
    jump(Duration::from_secs(41)).await;
    let healed = client.look_up(other, soon()).await;
    assert!(matches!(healed.outcome, Outcome::Exists(_)), "{healed:?}");
}

#[tokio::test]
async fn a_retry_after_of_a_year_is_capped() {
    let registry = Scripted::start().await;
    registry.replies(|_| Some(reply(429, &[("retry-after", "31536000")], "")));
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert!(is_throttled_for(&lookup.outcome, Duration::from_secs(600)), "{lookup:?}");
}

#[tokio::test]
async fn a_look_up_survives_its_caller() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.delay(Duration::from_millis(150));
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    let deadline = tokio::time::Instant::now().into_std() + Duration::from_millis(30);
    let late = client.look_up(request(&reference, None, Detail::Presence), deadline).await;
    assert_eq!(late.outcome, Outcome::TooLate);
    // Dropped in mid air: the same look-up goes on and serves the next caller.
    let next = look(&client, &reference, None).await;
    assert!(matches!(next.outcome, Outcome::Exists(_)), "{next:?}");
    assert_eq!(registry.log().len(), 1);
}

/// A port that nobody listens on.
async fn dead() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn at(host: &str, rest: &str) -> ImageReference {
    ImageReference::parse(&format!("{host}/{rest}")).unwrap()
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let host = dead().await;
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    let client = RegistryClient::new(options).unwrap();
    let refused = Outcome::Network(NetworkFault::Refused);
    for n in 0..3 {
        let lookup = look(&client, &at(&host, &format!("a/b:v{n}")), None).await;
        assert_eq!(lookup.outcome, refused);
    }
    assert_eq!(requests(&client, "head"), 3);
    assert!(is_left_alone(&client, &host));
    // Open: the price of a dead registry has been paid.
    for n in 3..20 {
        let lookup = look(&client, &at(&host, &format!("a/b:v{n}")), None).await;
        assert_eq!(lookup.outcome, refused);
    }
    assert_eq!(requests(&client, "head"), 3);
    // Half open: one probe, however many ask.
    jump(Duration::from_secs(3)).await;
    let many: Vec<_> = (20..40).map(|n| at(&host, &format!("a/b:v{n}"))).collect();
    crowd(&client, &many, 20, Detail::Presence).await;
    assert_eq!(requests(&client, "head"), 4);
    assert!(is_left_alone(&client, &host));
    // Back again: the next probe closes it.
    let listener = tokio::net::TcpListener::bind(&host).await.unwrap();
    let router = axum::Router::new().fallback(async || envelope(404, "MANIFEST_UNKNOWN"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    jump(Duration::from_secs(61)).await;
    let back = look(&client, &at(&host, "a/b:v50"), None).await;
    assert!(matches!(back.outcome, Outcome::TagMissing { code: Some(_) }), "{back:?}");
    assert!(!is_left_alone(&client, &host));
}

#[tokio::test]
async fn one_registrys_trouble_does_not_delay_another() {
    let stuck = Scripted::start().await;
    stuck.delay(Duration::from_secs(30));
    let well = Scripted::start().await;
    well.put_image("a/b", "v1", "linux", "amd64");
    let client = client(&[&stuck, &well]);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..600 {
        let (client, reference) = (Arc::clone(&client), stuck.reference(&format!("a/b:v{n}")));
        tasks.spawn(async move { look(&client, &reference, None).await });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = tokio::time::Instant::now();
    let lookup = look(&client, &well.reference("a/b:v1"), None).await;
    assert!(matches!(lookup.outcome, Outcome::Exists(_)), "{lookup:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn too_many_look_ups_are_shed() {
    let registry = Scripted::start().await;
    registry.delay(Duration::from_millis(300));
    let mut options = options(&[&registry]);
    options.load.lookups = 10;
    let client = RegistryClient::new(options).unwrap();
    let references: Vec<_> = (0..20).map(|n| registry.reference(&format!("a/b:v{n}"))).collect();
    let lookups = crowd(&client, &references, 20, Detail::Presence).await;
    let shed = lookups.iter().filter(|lookup| lookup.outcome == Outcome::Overloaded).count();
    // One namespace leaves room for others.
    assert_eq!(shed, 12);
    assert_eq!(counted(&client, "lookups_shed_total"), 12);
    // Nothing of that is kept.
    registry.delay(Duration::ZERO);
    let lookups = crowd(&client, &references[..5], 5, Detail::Presence).await;
    assert!(lookups.iter().all(|lookup| lookup.outcome != Outcome::Overloaded));
}

#[tokio::test]
async fn a_registrys_budget_is_bounded() {
    let registry = Scripted::start().await;
    let mut options = options(&[&registry]);
    options.load.request_burst = 4;
    options.load.requests_per_second = 1;
    options.limits.whole = Duration::from_millis(500);
    let client = RegistryClient::new(options).unwrap();
    let mut outcomes = Vec::new();
    for n in 0..4 {
        outcomes.push(look(&client, &registry.reference(&format!("a/b:v{n}")), None).await.outcome);
    }
    let missing = Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) };
    assert_eq!(outcomes, [missing.clone(), missing, Outcome::Overloaded, Outcome::Overloaded]);
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn concurrency_at_one_registry_is_bounded() {
    let registry = Scripted::start().await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (Arc::clone(&now), Arc::clone(&most));
    registry.script(move |_| {
        let inside = Arc::clone(&inside);
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Some(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            envelope(500, "UNKNOWN")
        })
    });
    let client = client(&[&registry]);
    let references: Vec<_> = (0..200).map(|n| registry.reference(&format!("a/b:v{n}"))).collect();
    crowd(&client, &references, 200, Detail::Presence).await;
    assert!(most.load(Ordering::SeqCst) <= 128, "{}", most.load(Ordering::SeqCst));
    assert_eq!(registry.log().len(), 200);
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let registry = Scripted::start().await;
    let mut options = options(&[&registry]);
    options.load.request_burst = 10_000;
    options.cache.outcome_bytes = 10_000;
    let client = RegistryClient::new(options).unwrap();
    let references: Vec<_> = (0..500).map(|n| registry.reference(&format!("a/b:v{n}"))).collect();
    crowd(&client, &references, 500, Detail::Presence).await;
    // What is too much is thrown out a little later, by whoever comes next.
    tokio::time::sleep(Duration::from_millis(500)).await;
    look(&client, &references[0], None).await;
    let asked = registry.log().len();
    let lookups = crowd(&client, &references, 500, Detail::Presence).await;
    let again = registry.log().len() - asked;
    assert!(again > 800, "asked {asked}, again {again}: {:?}", lookups.last());
}

#[tokio::test]
async fn a_throttled_index_still_exists() {
    let registry = Scripted::start().await;
    registry.put("a/b", "v1", INDEX, index(&[("linux", "amd64")]).as_bytes());
    registry.replies(|call| (call.method == "GET").then(|| reply(429, &[], "")));
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    for _ in 0..3 {
        let lookup = client.look_up(request(&reference, None, Detail::Platforms), soon()).await;
        let Outcome::Exists(found) = lookup.outcome else { panic!("{lookup:?}") };
        assert_eq!(found.content, Content::Unread);
    }
    assert_eq!((registry.count("HEAD"), registry.count("GET")), (1, 1));
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("", "", &["*"])]));
    registry.replies(|call| {
        if call.path != "/v2/a/b/tags/list" || call.proof().is_none() {
            return None;
        }
        let (body, next) = match call.query.as_str() {
            "n=1000" => (r#"{"name":"a/b","tags":["v1","v2","bad tag\n"]}"#, Some("v2")),
            "n=2&last=v2" => (r#"{"tags":["v3"]}"#, Some("v3")),
            _ => (r#"{"tags":null}"#, None),
        };
        let link = next.map(|last| format!("</v2/a/b/tags/list?n=2&last={last}>; rel=\"next\""));
        let headers: Vec<_> = link.iter().map(|link| ("link", link.as_str())).collect();
        Some(reply(200, &headers, body))
    });
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    for _ in 0..2 {
        let list = client.list(tags_of(&reference, None, "shop"), soon()).await.unwrap();
        assert_eq!(list.tags, ["v1", "v2", "v3"].map(Box::from));
        assert!(!list.truncated);
    }
    assert_eq!(registry.log().len(), 5, "{:?}", registry.log());
}

#[tokio::test]
async fn pages_of_tags_without_end_are_cut_off() {
    let registry = Scripted::start().await;
    let page = AtomicUsize::new(0);
    registry.replies(move |_| {
        let n = page.fetch_add(1, Ordering::SeqCst);
        let link = format!("</v2/a/b/tags/list?last={n}>; rel=\"next\"");
        Some(reply(200, &[("link", &link)], format!(r#"{{"tags":["v{n}"]}}"#)))
    });
    let client = client(&[&registry]);
    let list =
        client.list(tags_of(&registry.reference("a/b:v1"), None, "shop"), soon()).await.unwrap();
    assert_eq!((list.tags.len(), list.truncated), (10, true));
    assert_eq!(registry.log().len(), 10);
}

#[tokio::test]
async fn tags_that_cannot_be_had_are_an_outcome() {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(Vec::new()));
    let client = client(&[&registry]);
    let listed = client.list(tags_of(&registry.reference("a/b:v1"), None, "shop"), soon()).await;
    assert_eq!(listed, Err(Outcome::Unauthorized));
}

/// The token service is named once: the next repository costs a token and an answer.
#[tokio::test]
async fn the_token_service_of_a_registry_is_remembered() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("alice", "pw", &["*"]), user("", "", &["open/a"])]));
    for repository in ["team/a", "team/b", "open/a"] {
        registry.put_image(repository, "v1", "linux", "amd64");
    }
    let client = client(&[&registry]);
    let alice = credential("alice", "pw");
    let ask = async |name: &str, who: Option<&Credential>| {
        let found = look(&client, &registry.reference(name), who).await;
        (matches!(found.outcome, Outcome::Exists(_)), registry.take_log().len())
    };
    assert_eq!(ask("team/a:v1", Some(&alice)).await, (true, 3));
    assert_eq!(ask("team/b:v1", Some(&alice)).await, (true, 2));
    // What one credential learned is not used for another.
    assert_eq!(ask("open/a:v1", None).await, (true, 3));
    // A refusal is still the registry's own word.
    let refused = look(&client, &registry.reference("team/a:v1"), None).await.outcome;
    assert!(refused.is_refusal(), "{refused:?}");
}

/// A registry with a token service for each repository is asked which, every time.
#[tokio::test]
async fn a_token_service_of_another_repository_decides_nothing() {
    let registry = Scripted::start().await;
    let host = registry.host();
    for repository in ["one/app", "two/app", "three/app"] {
        registry.put_image(repository, "v1", "linux", "amd64");
    }
    registry.replies(move |call| {
        let team = call.path.split('/').nth(2).unwrap_or_default();
        if call.path.starts_with("/token") {
            // Whoever comes for another team's repository is turned away.
            let own = call.query.contains(&format!("repository%3A{team}%2F"));
            let token = format!(r#"{{"token":"tok-{team}","expires_in":300}}"#);
            return Some(if own { reply(200, &[], token) } else { envelope(403, "DENIED") });
        }
        let challenge = format!(
            r#"Bearer realm="http://{host}/token/{team}",service="s",scope="repository:{team}/app:pull""#
        );
        (call.proof() != Some(format!("tok-{team}"))).then(|| challenged(401, &challenge, "UNAUTHORIZED"))
    });
    let client = client(&[&registry]);
    for name in ["one/app:v1", "two/app:v1", "three/app:v1"] {
        let found = look(&client, &registry.reference(name), Some(&credential("a", "b"))).await;
        assert!(matches!(found.outcome, Outcome::Exists(_)), "{name}: {found:?}");
    }
    // Once bitten.
    let wrong = registry
        .log()
        .iter()
        .filter(|line| line.contains("/token") && line.contains(" 403"))
        .count();
    assert_eq!(wrong, 1, "{:?}", registry.log());
}

/// One that gives a token to everybody and hides what it is not for: such a refusal says nothing
/// until the repository's own service was asked.
#[rstest]
#[case::hidden(404, "MANIFEST_UNKNOWN")]
#[case::denied(403, "DENIED")]
#[tokio::test]
async fn what_another_repository_s_token_may_not_see_is_not_refused(
    #[case] status: u16,
    #[case] code: &'static str,
) {
    let registry = Scripted::start().await;
    let host = registry.host();
    for repository in ["one/app", "two/app"] {
        registry.put_image(repository, "v1", "linux", "amd64");
    }
    registry.replies(move |call| {
        let team = call.path.split('/').nth(2).unwrap_or_default();
        if call.path.starts_with("/token") {
            return Some(reply(200, &[], format!(r#"{{"token":"tok-{team}","expires_in":300}}"#)));
        }
        let challenge = format!(
            r#"Bearer realm="http://{host}/token/{team}",service="s",scope="repository:{team}/app:pull""#
        );
        match call.proof() {
            None => Some(challenged(401, &challenge, "UNAUTHORIZED")),
            Some(token) => (token != format!("tok-{team}")).then(|| envelope(status, code)),
        }
    });
    let client = client(&[&registry]);
    for _ in 0..2 {
        for name in ["one/app:v1", "two/app:v1"] {
            let found = look(&client, &registry.reference(name), Some(&credential("a", "b"))).await;
            assert!(matches!(found.outcome, Outcome::Exists(_)), "{name}: {found:?}");
        }
    }
    let missing =
        look(&client, &registry.reference("two/app:v2"), Some(&credential("a", "b"))).await;
    assert!(matches!(missing.outcome, Outcome::TagMissing { .. }), "{missing:?}");
}

/// Where the content is needed in any case, it is asked for at once: one round trip for an index, two
/// for a single image, whose configuration stands elsewhere. The first image of a registry shows
/// beside it whether HEADs are answered.
#[tokio::test]
async fn content_that_is_needed_is_asked_for_at_once_and_only_once() {
    let registry = Scripted::start().await;
    let index = index(&[("linux", "amd64")]);
    registry.put("a/index", "v1", INDEX, index.as_bytes());
    registry.put_image("a/single", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let ask = async |name: &str| {
        let question = request(&registry.reference(name), None, Detail::Config);
        let lookup = client.look_up(question, soon()).await;
        assert!(
            matches!(lookup.outcome, Outcome::Exists(ref found) if found.content != Content::Unread)
        );
        registry.take_log()
    };
    assert_eq!(
        ask("a/index:v1").await,
        ["GET /v2/a/index/manifests/v1 200", "HEAD /v2/a/index/manifests/v1 200"]
    );
    let single = ask("a/single:v1").await;
    assert_eq!((single.len(), &*single[0]), (2, "GET /v2/a/single/manifests/v1 200"));
    assert!(single[1].starts_with("GET /v2/a/single/blobs/sha256:"), "{single:?}");
    // A minute later the content is known, and only what the tag means is asked.
    jump(Duration::from_secs(61)).await;
    assert_eq!(ask("a/index:v1").await, ["HEAD /v2/a/index/manifests/v1 200"]);
    assert_eq!(ask("a/single:v1").await, ["HEAD /v2/a/single/manifests/v1 200"]);
    // A tag that was moved costs one more.
    registry.put_image("a/single", "v1", "linux", "arm64");
    jump(Duration::from_secs(61)).await;
    assert_eq!(ask("a/single:v1").await.len(), 3);
    // What is missing is confirmed by the first answer.
    let missing = request(&registry.reference("a/single:v2"), None, Detail::Config);
    let missing = client.look_up(missing, soon()).await.outcome;
    assert_eq!(missing, Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) });
    assert_eq!(registry.take_log(), ["GET /v2/a/single/manifests/v2 404"]);
}

/// Ten images of one pod are asked for side by side: no answer comes before all have been asked for.
#[tokio::test]
async fn images_of_one_pod_do_not_wait_for_each_other() {
    let registry = Scripted::start().await;
    let all = Arc::new(tokio::sync::Barrier::new(10));
    registry.script(move |call| {
        let all = Arc::clone(&all);
        (call.method == "GET").then_some(async move {
            all.wait().await;
            reply(200, &[("content-type", INDEX)], index(&[("linux", "amd64")]))
        })
    });
    let client = client(&[&registry]);
    let references: Vec<_> = (0..10).map(|n| registry.reference(&format!("a/b{n}:v1"))).collect();
    let lookups = crowd(&client, &references, 10, Detail::Config).await;
    assert!(lookups.iter().all(|lookup| matches!(lookup.outcome, Outcome::Exists(_))));
    assert_eq!((registry.count("GET"), registry.count("HEAD")), (10, 1));
}

#[rstest]
#[case::missing(404, 50)]
#[case::denied(401, 50)]
// One answer speaks for all.
#[case::limited(429, 1)]
#[tokio::test]
async fn ten_thousand_reviews_of_fifty_images_that_cannot_be_had(
    #[case] status: u16,
    #[case] requests: usize,
) {
    let registry = Scripted::start().await;
    registry.replies(move |_| {
        Some(match status {
            401 => challenged(401, r#"Basic realm="r""#, "UNAUTHORIZED"),
            429 => reply(429, &[("retry-after", "300")], ""),
            status => envelope(status, "MANIFEST_UNKNOWN"),
        })
    });
    let client = client(&[&registry]);
    let references: Vec<_> = (0..50).map(|n| registry.reference(&format!("a/b{n}:v1"))).collect();
    crowd(&client, &references[..1], 1, Detail::Config).await;
    let lookups = crowd(&client, &references, 10_000, Detail::Config).await;
    assert!(lookups.iter().all(|lookup| !matches!(lookup.outcome, Outcome::Exists(_))));
    assert_eq!(registry.log().len(), requests);
}

/// A dead registry is left alone after three look-ups, however they begin.
#[rstest]
#[case::presence(Detail::Presence, "head")]
#[case::content(Detail::Config, "get")]
#[tokio::test]
async fn ten_thousand_reviews_of_a_dead_registry_are_three_requests(
    #[case] detail: Detail,
    #[case] kind: &str,
) {
    let host = dead().await;
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    let client = RegistryClient::new(options).unwrap();
    for n in 0..3 {
        let question = request(&at(&host, &format!("a/b{n}:v1")), None, detail);
        client.look_up(question, soon()).await;
    }
    let references: Vec<_> = (0..50).map(|n| at(&host, &format!("a/b{n}:v1"))).collect();
    crowd(&client, &references, 10_000, detail).await;
    assert_eq!(requests(&client, kind), 3);
}

/// Images of `docker import` and of some build tools name no platform. What was read once says so.
#[tokio::test]
async fn a_configuration_without_a_platform_is_read_once() {
    let registry = Scripted::start().await;
    registry.put_image("team/app", "v1", "", "");
    let client = client(&[&registry]);
    let reference = registry.reference("team/app:v1");
    for _ in 0..2 {
        let question = request(&reference, None, Detail::Config);
        let lookup = client.look_up(question, soon()).await;
        let Outcome::Exists(found) = &lookup.outcome else { panic!("{lookup:?}") };
        assert_eq!(found.content, Content::NoPlatform);
    }
    assert_eq!(registry.count("GET"), 2, "{:#?}", registry.log());
    tokio::time::sleep(Duration::from_secs(6)).await;
    client.look_up(request(&reference, None, Detail::Config), soon()).await;
    assert_eq!(registry.count("GET"), 2, "{:#?}", registry.log());
}
