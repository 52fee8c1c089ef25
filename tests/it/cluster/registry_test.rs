//! That the harness' registries are real ones and answer as registries do.

use reqwest::StatusCode;

use super::images::Image;
use super::pki::Authority;
use super::registry::{Access, OTHER, PULLER, Registry};
use super::{programs, skipped};

fn start(access: Access) -> Option<Registry> {
    match programs() {
        Ok(folder) => Some(Registry::start(&folder, access).unwrap()),
        Err(reason) => {
            skipped(&reason);
            None
        }
    }
}

#[test]
fn an_open_registry_serves_what_was_pushed() {
    let Some(mut registry) = start(Access::Anonymous) else { return };
    let index = Image::index(&["amd64", "arm64"], "1");
    registry.push("shop/app", &["1.0.0", "1.0"], &index);
    registry.push("shop/app", &["lone-arm64"], &Image::single("arm64", "1"));

    let (status, media_type, body) = registry.manifest("shop/app", "1.0", None).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert_eq!(media_type, "application/vnd.oci.image.index.v1+json");
    assert!(body.contains(r#""architecture":"amd64""#), "{body}");
    let (status, media_type, _) = registry.manifest("shop/app", index.digest(), None).unwrap();
    assert_eq!((status, &*media_type), (StatusCode::OK, "application/vnd.oci.image.index.v1+json"));
    let (_, media_type, _) = registry.manifest("shop/app", "lone-arm64", None).unwrap();
    assert_eq!(media_type, "application/vnd.oci.image.manifest.v1+json");
    let (status, _, body) = registry.manifest("shop/app", "2.0.0", None).unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("MANIFEST_UNKNOWN"), "{body}");
    assert!(registry.requests().iter().any(|line| line.contains("/manifests/2.0.0")));

    registry.stop();
    assert!(registry.manifest("shop/app", "1.0", None).is_err());
    registry.start_again().unwrap();
    assert_eq!(registry.manifest("shop/app", "1.0", None).unwrap().0, StatusCode::OK);
}

#[test]
fn a_registry_with_passwords_wants_the_right_one() {
    let Some(registry) = start(Access::Basic) else { return };
    registry.push("shop/private", &["1"], &Image::single("amd64", "1"));
    let status = |user| registry.manifest("shop/private", "1", user).unwrap().0;
    assert_eq!(status(None), StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some(("shop-puller", "wrong", ""))), StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some(PULLER)), StatusCode::OK);
    assert_eq!(status(Some(OTHER)), StatusCode::OK);
    let config = registry.docker_config(PULLER);
    assert!(config.contains(&registry.host()) && !config.contains(PULLER.1), "{config}");
}

#[test]
fn a_registry_with_tokens_takes_those_of_its_token_service() {
    let Some(registry) = start(Access::Token) else { return };
    registry.push("shop/private", &["1"], &Image::single("amd64", "1"));
    registry.push("public/app", &["1"], &Image::single("amd64", "1"));
    let tokens = registry.tokens().unwrap();
    // As a client does it: ask, read the challenge, get a token, ask again.
    let ask = |repository: &str, user: Option<(&str, &str)>| {
        super::runtime().block_on(async {
            let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
            let url = format!("http://{}/v2/{repository}/manifests/1", registry.host());
            let first = client.get(&url).send().await.unwrap();
            let challenge = first.headers()["www-authenticate"].to_str().unwrap().to_owned();
            assert!(challenge.contains(tokens.url()), "{challenge}");
            let scope = format!("repository:{repository}:pull");
            let query = [("service", super::token_server::SERVICE), ("scope", &scope)];
            let mut request = client.get(tokens.url()).query(&query);
            if let Some((name, password)) = user {
                request = request.basic_auth(name, Some(password));
            }
            let answer = request.send().await.unwrap();
            if !answer.status().is_success() {
                return answer.status();
            }
            let answer: serde_json::Value = answer.json().await.unwrap();
            let token = answer["token"].as_str().unwrap();
            let accept = "application/vnd.oci.image.manifest.v1+json";
            let request = client.get(&url).bearer_auth(token).header("accept", accept);
            request.send().await.unwrap().status()
        })
    };
    assert_eq!(ask("public/app", None), StatusCode::OK);
    assert_eq!(ask("shop/private", None), StatusCode::UNAUTHORIZED);
    assert_eq!(ask("shop/private", Some((PULLER.0, PULLER.1))), StatusCode::OK);
    assert_eq!(ask("shop/private", Some((PULLER.0, "wrong"))), StatusCode::UNAUTHORIZED);
    assert_eq!(tokens.asked().last().unwrap(), "shop-puller repository:shop/private:pull");
}

#[test]
fn a_registry_over_tls_has_a_certificate_of_the_tests_own_authority() {
    let Ok(folder) = programs().inspect_err(|reason| skipped(reason)) else { return };
    let authority = Authority::new("registry-test");
    let registry = Registry::start_tls(&folder, Access::Anonymous, &authority).unwrap();
    registry.push("shop/app", &["1"], &Image::single("amd64", "1"));
    assert_eq!(registry.manifest("shop/app", "1", None).unwrap().0, StatusCode::OK);
}
