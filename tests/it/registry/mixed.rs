//! Registries with repositories that anybody may read beside others: what a login gets at one of them
//! says nothing of another. Nodes begin every pull without a login.

use std::time::Duration;

use pullgate::pull::{Detail, LookupRequest, Outcome};
use pullgate::registry::RegistryClient;
use pullgate::review::ManifestSource as _;
use rstest::rstest;

use super::scripted::*;

/// zot with `team/**` for a robot and `public/**` for everybody who does not log in.
async fn zot(password: &str) -> Scripted {
    let registry = Scripted::start().await;
    let robot = user("robot", password, &["team/app"]);
    registry.access(Access::Basic(vec![robot, user("", "", &["public/tool"])]));
    for name in ["team/app", "public/tool"] {
        registry.put_image(name, "v1", "linux", "amd64");
    }
    registry
}

/// Asks for an image with nothing that was kept of it.
async fn ask(client: &RegistryClient, registry: &Scripted, name: &str, detail: Detail) -> Outcome {
    let robot = credential("robot", "pw");
    let question = request(&registry.reference(name), Some(&robot), detail);
    let fresh = LookupRequest { max_age: Some(Duration::ZERO), ..question };
    client.look_up(fresh, soon()).await.outcome
}

fn is_there(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Exists(found) if !found.head_refused)
}

#[rstest]
#[case::may_not_read_it("pw", Detail::Presence)]
#[case::may_not_read_it_whole("pw", Detail::Config)]
#[case::not_known("another", Detail::Presence)]
#[case::not_known_whole("another", Detail::Config)]
#[tokio::test]
async fn a_login_for_one_repository_takes_nothing_from_another(
    #[case] password: &str,
    #[case] detail: Detail,
) {
    let registry = zot(password).await;
    let client = client(&[&registry]);
    // The second question is the one before a denial.
    for _ in 0..2 {
        let team = ask(&client, &registry, "team/app:v1", detail).await;
        assert_eq!(is_there(&team), password == "pw", "{team:?}");
        let public = ask(&client, &registry, "public/tool:v1", detail).await;
        assert!(is_there(&public), "{public:?}: {:#?}", registry.log());
    }
}

#[tokio::test]
async fn a_login_is_shown_unasked_only_as_long_as_it_is_let_in() {
    let registry = zot("pw").await;
    let client = client(&[&registry]);
    let (team, public) = ("HEAD /v2/team/app/manifests", "HEAD /v2/public/tool/manifests");
    for (name, log) in [
        ("team/app:v1", [format!("{team}/v1 401"), format!("{team}/v1 200 robot")].as_slice()),
        ("team/app:v1", &[format!("{team}/v1 200 robot")]),
        ("public/tool:v1", &[format!("{public}/v1 403 robot"), format!("{public}/v1 200")]),
        ("public/tool:v1", &[format!("{public}/v1 200")]),
        ("team/app:v1", &[format!("{team}/v1 401"), format!("{team}/v1 200 robot")]),
        (
            "team/app:v2",
            &[
                format!("{team}/v2 404 robot"),
                format!("{team}/v2 401"),
                format!("{team}/v2 404 robot"),
                "GET /v2/team/app/manifests/v2 404 robot".to_owned(),
            ],
        ),
    ] {
        ask(&client, &registry, name, Detail::Presence).await;
        assert_eq!(registry.take_log(), log, "{name}");
    }
}

/// Accounts get locked: a login that is no longer known is shown once.
#[tokio::test]
async fn a_login_that_was_revoked_is_shown_once_and_takes_nothing_from_others() {
    let registry = zot("pw").await;
    let client = client(&[&registry]);
    assert!(is_there(&ask(&client, &registry, "team/app:v1", Detail::Presence).await));
    let robot = user("robot", "changed", &["team/app"]);
    registry.access(Access::Basic(vec![robot, user("", "", &["public/tool"])]));
    registry.take_log();
    let team = ask(&client, &registry, "team/app:v1", Detail::Presence).await;
    assert_eq!(team, Outcome::Unauthorized);
    let path = "HEAD /v2/team/app/manifests/v1 401";
    assert_eq!(registry.take_log(), [format!("{path} robot"), path.to_owned()]);
    let public = ask(&client, &registry, "public/tool:v1", Detail::Presence).await;
    assert!(is_there(&public), "{public:?}");
}

/// Some hide what a login may not see.
#[rstest]
#[case::presence(Detail::Presence)]
#[case::whole(Detail::Config)]
#[tokio::test]
async fn what_is_hidden_from_a_login_is_there_for_everybody(#[case] detail: Detail) {
    let registry = zot("pw").await;
    registry.replies(|call| {
        let hidden = call.path.starts_with("/v2/public/") && call.proof().is_some();
        hidden.then(|| envelope(404, "MANIFEST_UNKNOWN"))
    });
    let client = client(&[&registry]);
    assert!(is_there(&ask(&client, &registry, "team/app:v1", detail).await));
    let public = ask(&client, &registry, "public/tool:v1", detail).await;
    assert!(is_there(&public), "{public:?}: {:#?}", registry.log());
}

/// Harbor gives what is public without a token, and a robot of another project none for it.
#[tokio::test]
async fn a_token_for_one_repository_takes_nothing_from_another() {
    let registry = Scripted::start().await;
    registry.access(Access::Token(vec![user("robot", "pw", &["team/app"])]));
    registry.put_image("team/app", "v1", "linux", "amd64");
    let digest = registry.put_image("public/tool", "v1", "linux", "amd64");
    registry.replies(move |call| {
        let open = call.path.starts_with("/v2/public/") && call.proof().is_none();
        let headers = [("content-type", MANIFEST), ("docker-content-digest", digest.as_str())];
        open.then(|| reply(200, &headers, ""))
    });
    let client = client(&[&registry]);
    for _ in 0..2 {
        for name in ["team/app:v1", "public/tool:v1"] {
            let found = ask(&client, &registry, name, Detail::Presence).await;
            assert!(is_there(&found), "{name}: {found:?}: {:#?}", registry.log());
        }
    }
}

/// Artifactory gives what is public to everybody, and says of the rest that it is not there; `/v2/` wants
/// a login. CRI-O asks there first, and logs in; containerd is not asked to. Whatever keeps that from being
/// found out is no proof that a tag is missing.
#[rstest]
#[case::let_in("pw", Root::Asks, "found")]
#[case::not_known("another", Root::Asks, "refused")]
#[case::open("pw", Root::Answers(200), "missing")]
#[case::shut("pw", Root::Answers(403), "missing")]
#[case::in_trouble("pw", Root::Answers(503), "open")]
#[case::odd("pw", Root::Answers(302), "open")]
#[case::names_a_stranger("pw", Root::Names("https://elsewhere.example/token"), "open")]
#[tokio::test]
async fn what_only_cri_o_is_asked_to_log_in_for_is_not_missing(
    #[case] password: &str,
    #[case] root: Root,
    #[case] expected: &str,
    #[values(Detail::Presence, Detail::Config)] detail: Detail,
) {
    let registry = Scripted::start().await;
    registry.access(Access::Basic(vec![user("robot", password, &["team/app"])]));
    registry.put_image("team/app", "v1", "linux", "amd64");
    registry.replies(move |call| {
        if call.path == "/v2/" {
            return Some(match root {
                Root::Asks => challenged(401, r#"Basic realm="all""#, "UNAUTHORIZED"),
                Root::Answers(status) => reply(status, &[], "{}"),
                Root::Names(realm) => {
                    let challenge = format!(r#"Bearer realm="{realm}",service="all""#);
                    challenged(401, &challenge, "UNAUTHORIZED")
                }
            });
        }
        call.proof().is_none().then(|| envelope(404, "MANIFEST_UNKNOWN"))
    });
    let client = client(&[&registry]);
    for _ in 0..2 {
        let outcome = ask(&client, &registry, "team/app:v1", detail).await;
        let came_to = match &outcome {
            Outcome::Exists(found) if found.head_refused => "found",
            Outcome::TagMissing { code: Some(_) } => "missing",
            outcome if outcome.is_refusal() => "refused",
            _ => "open",
        };
        assert_eq!(came_to, expected, "{outcome:?}: {:#?}", registry.log());
        assert!(registry.take_log().len() <= 5);
    }
}

/// What a registry says of itself, to who does not log in.
#[derive(Clone, Copy)]
enum Root {
    Asks,
    Answers(u16),
    Names(&'static str),
}
