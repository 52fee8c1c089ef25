//! A token service for registries with Bearer authentication, as the distribution protocol wants
//! it: it answers `GET /token?service=…&scope=repository:name:pull` with a signed token.
//!
//! Repositories below `public/` may be pulled by anybody, everything else by the known users.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use super::pki::{Authority, Identity};
use super::registry::{OTHER, PULLER};
use super::runtime;

/// What the registry and the tokens call their service and issuer.
pub const SERVICE: &str = "registry.test";
/// Who signs the tokens.
pub const ISSUER: &str = "tokens.test";

/// A running token service; it ends with its value.
#[derive(Debug)]
pub struct TokenServer {
    url: String,
    authority: String,
    service: Arc<Service>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct Service {
    signer: EcdsaKeyPair,
    certificate: String,
    asked: Mutex<Vec<String>>,
}

impl TokenServer {
    /// Starts it on a free port of loopback.
    pub fn start() -> Result<Self, String> {
        let authority = Authority::new("pullgate-test-tokens");
        let identity = authority.server(&[ISSUER]);
        let service = Arc::new(Service::new(&identity)?);
        let router = axum::Router::new()
            .route("/token", axum::routing::get(answer))
            .with_state(Arc::clone(&service));
        let listener = runtime()
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let task = runtime().spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let url = format!("http://{address}/token");
        Ok(Self { url, authority: authority.certificate(), service, task })
    }

    /// Where it answers: the `realm` of a challenge.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that the registry has to trust, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `user scope` of every request so far (`- scope` for an anonymous one).
    pub fn asked(&self) -> Vec<String> {
        self.service.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A token that allows pulling from and pushing to `repository`.
    pub fn token_to_push(&self, repository: &str) -> String {
        let access = json!([
            {"type": "repository", "name": repository, "actions": ["pull", "push"]},
        ]);
        self.service.sign(PULLER.0, &access)
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    fn new(identity: &Identity) -> Result<Self, String> {
        let key = rcgen::KeyPair::from_pem(&identity.key).map_err(|error| error.to_string())?;
        let signer = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            key.serialized_der(),
            &SystemRandom::new(),
        )
        .map_err(|error| error.to_string())?;
        // Between the lines of a PEM file stands what `x5c` wants: the certificate in base64.
        let certificate: String =
            identity.certificate.lines().filter(|line| !line.starts_with("-----")).collect();
        Ok(Self { signer, certificate, asked: Mutex::default() })
    }

    fn sign(&self, user: &str, access: &Value) -> String {
        let now = jiff::Timestamp::now().as_second();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [self.certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "jti": format!("{now}"),
            "iat": now, "nbf": now - 60, "exp": now + 300, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature =
            self.signer.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let scopes: Vec<&str> =
        query.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.as_str()).collect();
    let Ok(user) = basic_user(&headers) else {
        let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]});
        return (StatusCode::UNAUTHORIZED, as_json(&body)).into_response();
    };
    let name = user.as_deref().unwrap_or("-");
    let asked = format!("{name} {}", scopes.join(" "));
    service.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let access: Vec<Value> =
        scopes.iter().filter_map(|scope| granted(scope, user.is_some())).collect();
    let token = service.sign(name, &Value::Array(access));
    let body = json!({"token": token, "access_token": token, "expires_in": 300});
    as_json(&body).into_response()
}

fn as_json(body: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string())
}

/// What of `repository:name:actions` may be done.
fn granted(scope: &str, known_user: bool) -> Option<Value> {
    let name = scope.strip_prefix("repository:")?.rsplit_once(':')?.0;
    let may_pull = known_user || name.starts_with("public/");
    may_pull.then(|| json!({"type": "repository", "name": name, "actions": ["pull"]}))
}

/// The user of the `Authorization` header, `None` without one, an error for a wrong password.
fn basic_user(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|_| ())?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ").ok_or(())?).map_err(|_| ())?;
    let decoded = String::from_utf8(decoded).map_err(|_| ())?;
    let users: HashMap<&str, &str> = [PULLER, OTHER].map(|(user, word, _)| (user, word)).into();
    match decoded.split_once(':') {
        Some((user, word)) if users.get(user) == Some(&word) => Ok(Some(user.to_owned())),
        _ => Err(()),
    }
}
