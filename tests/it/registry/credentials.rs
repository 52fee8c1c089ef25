//! What one credential got never serves another, and nobody lures a credential away.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pullgate::credential::{Credential, CredentialOrigin};
use pullgate::policy::{HostName, TokenRealm};
use pullgate::pull::{BlindSpot, Detail, LookupRequest, Outcome};
use pullgate::registry::{RegistryClient, RegistryOptions, RegistryPolicy};
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;
use super::words::Here;

fn exists(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Exists(_))
}

fn two_tenants() -> Vec<User> {
    vec![user("alice", "a", &["alice/app"]), user("bob", "b", &["bob/app"])]
}

#[rstest]
#[case::tokens_good_first(true, true)]
#[case::tokens_bad_first(true, false)]
#[case::basic_good_first(false, true)]
#[case::basic_bad_first(false, false)]
#[tokio::test]
async fn what_one_credential_got_never_serves_another(
    #[case] tokens: bool,
    #[case] good_first: bool,
) {
    let registry = Scripted::start().await;
    let access = if tokens { Access::Token } else { Access::Basic };
    registry.access(access(two_tenants()));
    registry.put_image("alice/app", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let reference = registry.reference("alice/app:v1");
    let alice = credential("alice", "a");
    let bob = credential("bob", "b");
    let order = if good_first { [&alice, &bob] } else { [&bob, &alice] };
    for _ in 0..2 {
        for who in order {
            let found = exists(&look(&client, &reference, Some(who)).await.outcome);
            assert_eq!(found, who.username() == "alice", "{}", who.username());
        }
        let anonymous = look(&client, &reference, None).await;
        assert!(!exists(&anonymous.outcome), "{anonymous:?}");
    }
    let stolen = registry
        .calls()
        .into_iter()
        .filter(|call| call.path.contains("alice/app"))
        .filter(|call| call.proof().is_some_and(|proof| proof.contains("bob")))
        .count();
    assert!(stolen > 0, "bob asked with his own proof");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_look_ups_at_once_keep_credentials_apart() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(two_tenants()));
    for tag in 0..10 {
        registry.put_image("alice/app", &format!("v{tag}"), "linux", "amd64");
        registry.put_image("bob/app", &format!("v{tag}"), "linux", "amd64");
    }
    let client = client(&[&registry]);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let client = Arc::clone(&client);
        let (who, password) = if n % 2 == 0 { ("alice", "a") } else { ("bob", "b") };
        let of = if n % 4 < 2 { "alice" } else { "bob" };
        let reference = registry.reference(&format!("{of}/app:v{}", n % 10));
        tasks.spawn(async move {
            let credential = credential(who, password);
            let lookup = look(&client, &reference, Some(&credential)).await;
            (who == of, exists(&lookup.outcome))
        });
    }
    while let Some(task) = tasks.join_next().await {
        let (may, could) = task.unwrap();
        assert_eq!(may, could);
    }
}

#[tokio::test]
async fn a_changed_password_is_a_new_identity_at_once() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("alice", "new", &["*"])]));
    registry.put_image("team/app", "v1", "linux", "amd64");
    let client = client(&[&registry]);
    let reference = registry.reference("team/app:v1");
    let old = look(&client, &reference, Some(&credential("alice", "old"))).await;
    assert_eq!(old.outcome, Outcome::Unauthorized);
    let new = look(&client, &reference, Some(&credential("alice", "new"))).await;
    assert!(exists(&new.outcome), "{new:?}");
}

/// A registry that sends its visitors to a token service of its choice.
async fn with_realm(realm: String) -> Scripted {
    let registry = Scripted::start().await;
    registry.replies(move |_| {
        let challenge =
            format!(r#"Bearer realm="{realm}",service="s",scope="repository:a/b:pull""#);
        Some(challenged(401, &challenge, "UNAUTHORIZED"))
    });
    registry
}

#[tokio::test]
async fn a_foreign_realm_gets_neither_credential_nor_request() {
    let thief = Scripted::start().await;
    // The same address under another name: a foreign host all the same.
    let realm = format!("http://localhost:{}/token", thief.host().rsplit_once(':').unwrap().1);
    let registry = with_realm(realm).await;
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    for who in [Some(credential("alice", "secret")), None] {
        let lookup = look(&client, &reference, who.as_ref()).await;
        assert_eq!(lookup.outcome, Outcome::ForeignRealm("localhost".into()));
    }
    assert_eq!(thief.log(), [""; 0]);
}

/// By the flags, or by the policy while the client runs.
#[rstest]
#[case::by_flag(true)]
#[case::by_policy(false)]
#[tokio::test]
async fn a_listed_pair_may_have_the_credential(#[case] by_flag: bool) {
    let service = Scripted::start().await;
    service.access(Access::Token(vec![user("alice", "pw", &["*"])]));
    let port = service.host().rsplit_once(':').unwrap().1.to_owned();
    let registry = with_realm(format!("http://sso.example.net:{port}/token")).await;
    let host = format!("r.corp.example:{}", registry.host().rsplit_once(':').unwrap().1);
    let mut options = RegistryOptions { contact_loopback: true, ..RegistryOptions::default() };
    options.hosts.insert(host.clone(), vec![endpoint(&host)]);
    options.resolver = Some(Arc::new(Here));
    let name = |text| HostName::parse(text).unwrap();
    let pair = TokenRealm { registry: name("*.corp.example"), host: name("sso.example.net") };
    let realms = vec![pair];
    if by_flag {
        options.realms.clone_from(&realms);
    }
    let client = RegistryClient::new(options).unwrap();
    let reference = format!("{host}/a/b:v1").parse().unwrap();
    let alice = credential("alice", "pw");
    if !by_flag {
        let before = look(&client, &reference, Some(&alice)).await.outcome;
        assert_eq!(before, Outcome::ForeignRealm("sso.example.net".into()));
        assert_eq!(service.log(), [""; 0]);
        client.take_directions(RegistryPolicy { realms, ..RegistryPolicy::default() });
    }
    look(&client, &reference, Some(&alice)).await;
    assert_eq!(service.log(), ["GET /token 200 alice"]);
}

#[tokio::test]
async fn the_pair_to_list_is_told_to_those_who_run_it_alone() {
    let registry = with_realm("https://sso.example.net/token".to_owned()).await;
    let client = client(&[&registry]);
    let reference = registry.reference("a/b:v1");
    for identity in ["a", "b", "c"] {
        look(&client, &reference, Some(&credential(identity, "secret"))).await;
    }
    let [spot] = &*client.blind_spots() else { panic!("one") };
    assert!(!spot.sentence().contains("sso"), "{}", spot.sentence());
    let spot = BlindSpot { host: "r.corp.example:5000".into(), ..spot.clone() };
    let told = spot.sentence_for_operators();
    assert!(told.contains("list {registry: r.corp.example, host: sso.example.net}"), "{told}");
}

#[tokio::test]
async fn a_redirect_elsewhere_carries_no_authorization() {
    let thief = Scripted::start().await;
    let registry = Scripted::start().await;
    thief.put_image("a/b", "v1", "linux", "amd64");
    let target = format!("http://{}", thief.host());
    registry.replies(move |call| {
        if call.proof().is_none() {
            return Some(challenged(401, r#"Basic realm="r""#, "UNAUTHORIZED"));
        }
        let location = format!("{target}{}", call.path);
        Some(reply(307, &[("location", &location)], ""))
    });
    let client = client(&[&registry]);
    let lookup =
        look(&client, &registry.reference("a/b:v1"), Some(&credential("alice", "pw"))).await;
    assert!(exists(&lookup.outcome), "{lookup:?}");
    assert_eq!(thief.log(), ["HEAD /v2/a/b/manifests/v1 200"]);
    assert!(thief.calls().iter().all(|call| call.proof().is_none()));
}

#[tokio::test]
async fn a_redirect_elsewhere_that_asks_for_a_login_gets_none() {
    let thief = Scripted::start().await;
    thief.access(Access::Basic(vec![user("alice", "pw", &["*"])]));
    let registry = Scripted::start().await;
    let target = format!("http://{}", thief.host());
    registry.replies(move |call| {
        let location = format!("{target}{}", call.path);
        Some(reply(302, &[("location", &location)], ""))
    });
    let client = client(&[&registry]);
    let alice = credential("alice", "pw");
    let lookup = look(&client, &registry.reference("a/b:v1"), Some(&alice)).await;
    assert!(thief.calls().iter().all(|call| call.proof().is_none()), "{:?}", thief.log());
    // A node gives it there, and gets the image.
    assert_eq!(lookup.outcome, Outcome::RedirectRefused);
    // Who has no login is refused there as nodes are.
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::Unauthorized);
}

type Script = Box<dyn Fn(&Call) -> Option<axum::response::Response> + Send + Sync>;

#[tokio::test]
async fn what_is_said_elsewhere_to_who_kept_the_login_back_is_no_refusal() {
    let elsewhere = Scripted::start().await;
    let registry = Scripted::start().await;
    let target = format!("http://{}", elsewhere.host());
    registry.replies(move |call| {
        let location = format!("{target}{}", call.path);
        Some(reply(302, &[("location", &location)], ""))
    });
    let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, elsewhere.host());
    let scripts: [(&str, Script); 4] = [
        ("missing", Box::new(|_| Some(envelope(404, "MANIFEST_UNKNOWN")))),
        ("no repository", Box::new(|_| Some(envelope(404, "NAME_UNKNOWN")))),
        ("forbidden", Box::new(|_| Some(envelope(403, "DENIED")))),
        (
            "no token for nobody",
            Box::new(move |call| match &*call.path {
                "/token" => Some(envelope(401, "UNAUTHORIZED")),
                _ => Some(challenged(401, &realm, "UNAUTHORIZED")),
            }),
        ),
    ];
    for (name, script) in scripts {
        elsewhere.replies(script);
        let client = client(&[&registry]);
        let alice = credential("alice", "pw");
        let lookup = look(&client, &registry.reference("a/b:v1"), Some(&alice)).await;
        assert_eq!(lookup.outcome, Outcome::RedirectRefused, "{name}");
        assert!(elsewhere.calls().iter().all(|call| call.proof().is_none()), "{name}");
    }
}

#[tokio::test]
async fn a_login_without_a_password_is_not_sent_and_is_not_refused_either() {
    let robot = credential("robot", "");
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.put_image("c/d", "v1", "linux", "amd64");
    // To a token service runtimes are nobody with it.
    registry.access(Access::Token(vec![user("", "", &["a/b"])]));
    let asked = client(&[&registry]);
    let lookup = look(&asked, &registry.reference("a/b:v1"), Some(&robot)).await;
    assert!(exists(&lookup.outcome), "{lookup:?}");
    let lookup = look(&asked, &registry.reference("c/d:v1"), Some(&robot)).await;
    assert_eq!(lookup.outcome, Outcome::MissingOrDenied);
    // By Basic CRI-O sends it, and containerd does not.
    for password in ["", "pw"] {
        registry.access(Access::Basic(vec![user("robot", password, &["*"])]));
        let asked = client(&[&registry]);
        let lookup = look(&asked, &registry.reference("a/b:v1"), Some(&robot)).await;
        assert_eq!(lookup.outcome, Outcome::PasswordMissing);
        let nobody = look(&asked, &registry.reference("a/b:v1"), None).await;
        assert_eq!(nobody.outcome, Outcome::Unauthorized);
    }
    let sent = registry.calls();
    assert!(sent.iter().all(|call| !call.proof().is_some_and(|proof| proof.contains("robot"))));
}

#[tokio::test]
async fn redirects_are_bounded() {
    let registry = Scripted::start().await;
    registry.replies(|call| Some(reply(302, &[("location", &format!("{}x", call.path))], "")));
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::Malformed("too many redirects"));
    assert_eq!(registry.log().len(), 6);
}

#[tokio::test]
async fn an_identity_token_is_posted_and_never_sent_to_the_registry() {
    let registry = Scripted::start().await;
    registry.put_image("a/b", "v1", "linux", "amd64");
    let host = registry.host();
    let forms = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&forms);
    registry.replies(move |call| {
        if call.path == "/token" {
            seen.lock().unwrap().push((call.method.to_string(), call.body.clone()));
            assert_eq!(call.proof(), None);
            return Some(reply(200, &[], r#"{"access_token":"tok-x","expires_in":300}"#));
        }
        (call.proof().as_deref() != Some("tok-x")).then(|| {
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="s""#);
            challenged(401, &challenge, "UNAUTHORIZED")
        })
    });
    let client = client(&[&registry]);
    let person = Credential::new("<token>", "refresh me", CredentialOrigin::User);
    let lookup = look(&client, &registry.reference("a/b:v1"), Some(&person)).await;
    assert!(exists(&lookup.outcome), "{lookup:?}");
    let forms = forms.lock().unwrap();
    assert_eq!(
        *forms,
        [(
            "POST".to_owned(),
            "grant_type=refresh_token&refresh_token=refresh+me&client_id=pullgate\
             &scope=repository%3Aa%2Fb%3Apull&service=s"
                .to_owned()
        )]
    );
}

#[tokio::test]
async fn only_pulling_is_asked_for_whatever_the_challenge_says() {
    let registry = Scripted::start().await;
    let host = registry.host();
    registry.replies(move |call| {
        if call.path == "/token" {
            return Some(reply(200, &[], r#"{"token":"tok-x"}"#));
        }
        let scope = "repository:a/b:pull,push,delete repository:other/c:push registry:catalog:*";
        let challenge =
            format!(r#"Bearer realm="http://{host}/token",service="s",scope="{scope}""#);
        Some(challenged(401, &challenge, "UNAUTHORIZED"))
    });
    let client = client(&[&registry]);
    look(&client, &registry.reference("a/b:v1"), None).await;
    let token = registry.calls().into_iter().find(|call| call.path == "/token").unwrap();
    assert_eq!(token.query, "service=s&scope=repository%3Aa%2Fb%3Apull");
}

#[tokio::test]
async fn a_stale_token_is_renewed_once() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("", "", &["*"])]));
    registry.put_image("a/b", "v1", "linux", "amd64");
    registry.put_image("a/b", "v2", "linux", "amd64");
    let client = client(&[&registry]);
    look(&client, &registry.reference("a/b:v1"), None).await;
    registry.take_log();
    let host = registry.host();
    registry.replies(move |call| {
        let stale = call.proof().as_deref() == Some("tok-#1");
        stale.then(|| {
            let challenge =
                format!(r#"Bearer realm="http://{host}/token",service="s",error="invalid_token""#);
            challenged(401, &challenge, "UNAUTHORIZED")
        })
    });
    let lookup = look(&client, &registry.reference("a/b:v2"), None).await;
    assert!(exists(&lookup.outcome), "{lookup:?}");
    // Without it the registry is asked first: it may want none here.
    assert_eq!(
        registry.log(),
        [
            "HEAD /v2/a/b/manifests/v2 401",
            "HEAD /v2/a/b/manifests/v2 401",
            "GET /token 200",
            "HEAD /v2/a/b/manifests/v2 200",
        ]
    );
}

#[tokio::test]
async fn a_token_that_opens_nothing_is_the_last_word() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("", "", &[])]));
    let client = client(&[&registry]);
    let lookup = look(&client, &registry.reference("a/b:v1"), None).await;
    assert_eq!(lookup.outcome, Outcome::MissingOrDenied);
    assert_eq!(
        registry.log(),
        ["HEAD /v2/a/b/manifests/v1 401", "GET /token 200", "HEAD /v2/a/b/manifests/v1 401",]
    );
}

/// A token holds what its owner was allowed when it was made.
#[rstest]
#[case::refused(403, "DENIED")]
#[case::hidden(404, "NAME_UNKNOWN")]
#[tokio::test]
async fn what_was_granted_since_is_not_hidden_by_an_old_token(
    #[case] status: u16,
    #[case] code: &'static str,
) {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("alice", "a", &["*"])]));
    registry.put_image("alice/app", "v1", "linux", "amd64");
    registry.replies(move |call| {
        let old =
            call.path.contains("/manifests/") && call.proof().as_deref() == Some("tok-alice#1");
        old.then(|| envelope(status, code))
    });
    let client = client(&[&registry]);
    let reference = registry.reference("alice/app:v1");
    let alice = credential("alice", "a");
    let before = look(&client, &reference, Some(&alice)).await;
    assert!(!exists(&before.outcome), "{before:?}");

    let again = LookupRequest {
        max_age: Some(Duration::ZERO),
        ..request(&reference, Some(&alice), Detail::Presence)
    };
    let after = client.look_up(again, soon()).await;
    assert!(exists(&after.outcome), "{after:?} {:#?}", registry.log());
}
