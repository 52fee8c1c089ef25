//! The breaker opens for a registry's own trouble, and for nothing else.

use std::sync::Arc;
use std::time::Duration;

use pullgate::pull::{Detail, LookupRequest, Outcome, Purpose, Step};
use pullgate::registry::{RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;

use super::scripted::*;

/// The longest that these tests let a registry take for its answer.
const PATIENCE: Duration = Duration::from_millis(100);

fn impatient(registries: &[&Scripted]) -> RegistryOptions {
    let mut options = options(registries);
    options.limits.connect = PATIENCE;
    options.limits.first_byte = PATIENCE;
    options
}

/// Hangs on every path that holds this.
fn hangs_at(registry: &Scripted, part: &'static str) {
    registry.script(move |call| {
        call.path.contains(part).then_some(async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            envelope(500, "UNKNOWN")
        })
    });
}

async fn exists(client: &RegistryClient, registry: &Scripted, name: &str) -> bool {
    let lookup = look(client, &registry.reference(name), None).await;
    matches!(lookup.outcome, Outcome::Exists(_))
}

#[tokio::test]
async fn tag_lists_that_hang_leave_verdicts_about_other_images_alone() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    hangs_at(&registry, "/tags/list");
    let client = RegistryClient::new(impatient(&[&registry])).unwrap();
    for n in 0..5 {
        let listed = client
            .list(tags_of(&registry.reference(&format!("big/r{n}:v1")), None, "shop"), soon())
            .await;
        assert_eq!(listed, Err(Outcome::Timeout(Step::FirstByte)));
    }
    assert!(!is_left_alone(&client, &registry.host()));
    assert!(exists(&client, &registry, "a/b:v1").await);
}

#[tokio::test]
async fn configurations_that_hang_leave_verdicts_about_other_images_alone() {
    let registry = Scripted::start().await;
    let references: Vec<_> = (0..8)
        .map(|n| {
            registry.put_image("a/b", &format!("v{n}"), "linux", "amd64");
            registry.reference(&format!("a/b:v{n}"))
        })
        .collect();
    hangs_at(&registry, "/blobs/");
    let client = RegistryClient::new(impatient(&[&registry])).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for reference in references {
        let client = Arc::clone(&client);
        let question = request(&reference, None, Detail::Config);
        tasks.spawn(async move { client.look_up(question, soon()).await.outcome });
    }
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Outcome::Exists(_)), "{outcome:?}");
    }
    assert!(!is_left_alone(&client, &registry.host()));
}

#[tokio::test]
async fn suggestions_that_cannot_be_proven_leave_verdicts_alone() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    hangs_at(&registry, "/manifests/near");
    let client = RegistryClient::new(impatient(&[&registry])).unwrap();
    let near = |n| registry.reference(&format!("a/b:near{n}"));
    let ask = async |n, purpose| {
        let question = request(&near(n), None, Detail::Presence);
        client.look_up(LookupRequest { purpose, ..question }, soon()).await.outcome
    };
    for n in 0..5 {
        assert_eq!(ask(n, Purpose::Advice).await, Outcome::Timeout(Step::FirstByte));
    }
    assert!(!is_left_alone(&client, &registry.host()));
    assert!(exists(&client, &registry, "a/b:v1").await);
    // The same failures count where a verdict depends on them, and open it for advice, too.
    for n in 5..8 {
        ask(n, Purpose::Verdict).await;
    }
    assert!(is_left_alone(&client, &registry.host()));
    let asked = requests(&client, "head");
    ask(9, Purpose::Advice).await;
    assert_eq!(requests(&client, "head"), asked);
}

#[tokio::test]
async fn a_burst_of_pods_that_outlasts_our_own_deadline_opens_nothing() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.delay(Duration::from_millis(300));
    let mut options = options(&[&registry]);
    options.limits.whole = Duration::from_millis(150);
    let client = RegistryClient::new(options).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let client = Arc::clone(&client);
        let question = request(&registry.reference(&format!("a/b:p{n}")), None, Detail::Presence);
        tasks.spawn(async move { client.look_up(question, soon()).await.outcome });
    }
    for outcome in tasks.join_all().await {
        let ours = matches!(outcome, Outcome::Timeout(Step::Whole) | Outcome::Overloaded);
        assert!(ours, "{outcome:?}");
    }
    assert!(!is_left_alone(&client, &registry.host()));
    registry.delay(Duration::ZERO);
    assert!(exists(&client, &registry, "a/b:v1").await);
}
