//! A password that is wrong is tried a few times, and then not again for a while.

use std::sync::Arc;
use std::time::Duration;

use pullgate::credential::Credential;
use pullgate::pull::{Detail, LookupRequest, Outcome};
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

fn with_passwords(users: Vec<User>) -> Access {
    Access::Basic(users)
}

/// Requests that showed a password.
fn logins(registry: &Scripted) -> usize {
    let shown = |call: &&Call| call.proof().is_some_and(|proof| proof.contains(':'));
    registry.calls().iter().filter(shown).count()
}

/// Asks for an image with nothing that was kept.
async fn ask(client: &RegistryClient, registry: &Scripted, n: usize, with: &Credential) -> Outcome {
    let reference = registry.reference(&format!("team/app{n}:v1"));
    let question = request(&reference, Some(with), Detail::Presence);
    let fresh = LookupRequest { max_age: Some(Duration::ZERO), ..question };
    client.look_up(fresh, soon()).await.outcome
}

#[rstest]
#[case::passwords(with_passwords)]
#[case::tokens(Access::Token)]
#[tokio::test]
async fn a_wrong_password_is_tried_three_times_and_then_ever_more_seldom(
    #[case] access: fn(Vec<User>) -> Access,
) {
    let registry = Scripted::start().await;
    registry.access(access(vec![user("ann", "right", &["*"]), user("bob", "b", &["*"])]));
    for n in 0..20 {
        registry.put_image(&format!("team/app{n}"), "v1", "linux", "amd64");
    }
    let client = client(&[&registry]);
    let ann = credential("ann", "wrong");
    for n in 0..3 {
        assert_eq!(ask(&client, &registry, n, &ann).await, Outcome::Unauthorized);
    }
    let asked = registry.log().len();
    for n in 0..10 {
        assert_eq!(ask(&client, &registry, n, &ann).await, Outcome::LoginWithheld);
    }
    assert_eq!((logins(&registry), registry.log().len()), (3, asked), "{:#?}", registry.log());
    // Another password, or somebody else, is another matter.
    for other in [credential("ann", "right"), credential("bob", "b")] {
        let outcome = ask(&client, &registry, 1, &other).await;
        assert!(matches!(outcome, Outcome::Exists(_)), "{outcome:?}");
    }
    // Who goes on with it waits longer each time.
    for pause in [61, 121, 241] {
        jump(Duration::from_secs(pause - 2)).await;
        assert_eq!(ask(&client, &registry, 4, &ann).await, Outcome::LoginWithheld, "{pause}");
        jump(Duration::from_secs(2)).await;
        for _ in 0..2 {
            assert_eq!(ask(&client, &registry, 4, &ann).await, Outcome::Unauthorized, "{pause}");
        }
        assert_eq!(ask(&client, &registry, 4, &ann).await, Outcome::LoginWithheld, "{pause}");
    }
}

#[rstest]
#[case::passwords(with_passwords)]
#[case::tokens(Access::Token)]
#[tokio::test]
async fn a_hundred_pods_at_once_lock_no_account(#[case] access: fn(Vec<User>) -> Access) {
    let registry = Scripted::start().await;
    registry.access(access(vec![user("ann", "right", &["*"])])).delay(Duration::from_millis(20));
    for n in 0..100 {
        registry.put_image(&format!("team/app{n}"), "v1", "linux", "amd64");
    }
    let client = client(&[&registry]);
    for (password, works) in [("wrong", 0), ("right", 100)] {
        let ann = credential("ann", password);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (client, registry, ann) = (Arc::clone(&client), registry.clone(), ann.clone());
            tasks.spawn(async move { ask(&client, &registry, n, &ann).await });
        }
        let outcomes = tasks.join_all().await;
        let found = outcomes.iter().filter(|one| matches!(one, Outcome::Exists(_))).count();
        assert_eq!(found, works, "{password}");
        if works == 0 {
            assert_eq!(logins(&registry), 3);
            let refused = outcomes.iter().filter(|one| **one == Outcome::Unauthorized).count();
            let held = outcomes.iter().filter(|one| **one == Outcome::LoginWithheld).count();
            assert_eq!((refused, held), (3, 97));
        }
    }
}

#[tokio::test]
async fn who_may_log_in_and_not_read_is_not_held_back() {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(vec![user("ann", "a", &[])]));
    let client = client(&[&registry]);
    for n in 0..8 {
        let outcome = ask(&client, &registry, n, &credential("ann", "a")).await;
        assert_eq!(outcome, Outcome::Forbidden);
    }
}
