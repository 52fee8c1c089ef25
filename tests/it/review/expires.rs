//! A login that works now and ends soon is told of; one that a machine renews is not.

use base64::Engine as _;
use pullgate::credential::PullSecret;
use pullgate::policy::Decision;
use rstest::rstest;
use serde_json::json;

use super::fakes::{World, exists};
use super::{NOW, VOUCHED, line, pod, run};

const APP: &str = "reg.example.com/app:1";

/// A pull secret whose password is a token that ends so many hours from now.
fn token(hours: i64, lives: Option<i64>) -> PullSecret {
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let end = now.as_second() + hours * 3600;
    let claims = match lives {
        Some(lives) => json!({"exp": end, "iat": end - lives * 3600}),
        None => json!({"exp": end}),
    };
    let body = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.to_string());
    let password = format!("eyJhbGciOiJub25lIn0.{body}.c2ln");
    let config = json!({"auths": {"reg.example.com": {"username": "robot", "password": password}}});
    PullSecret::docker_config_json("regcred", config.to_string().as_bytes())
}

#[rstest]
#[case::soon(5, None, true)]
#[case::not_yet(72, None, false)]
#[case::renewed_by_a_machine(5, Some(12), false)]
#[case::not_renewed_by_the_machine(0, Some(12), true)]
#[tokio::test]
async fn who_uses_a_login_hears_of_its_end(
    #[case] hours: i64,
    #[case] lives: Option<i64>,
    #[case] told: bool,
) {
    let mut world = World::enforcing().answer(APP, "regcred", exists());
    world.secrets.insert("regcred".to_owned(), token(hours, lives));
    let mut object = pod(APP);
    object["spec"]["imagePullSecrets"] = json!([{"name": "regcred"}]);
    let review = run(&world, object, VOUCHED).await;
    assert_eq!((review.decision, review.images[0].is_noted()), (Decision::Allow, told));
    if told {
        let line = line(&review);
        assert!(line.contains("can be pulled now, but not for long"), "{line}");
        assert!(line.contains("the login in secret regcred expires in"), "{line}");
    }
}
