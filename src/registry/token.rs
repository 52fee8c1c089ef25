//! Tokens: asked of the token service that the registry names, kept for whoever they were given to.
//!
//! Kept per registry, credential identity and repository, so that what one credential obtained
//! never serves another. Where a credential may be sent is decided by `realm`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use moka::future::Cache;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::auth::Secret;
use super::challenge::Challenge;
use super::classify::{self, RegistryVendor};
use super::decode;
use super::http::{ConnectionKey, Outgoing, Transport};
use super::logins::{LoginKey, Logins};
use super::metrics::{Kind, RegistryMetrics};
use super::options::{RegistryOptions, RegistryPolicy};
use super::realm;
use crate::credential::CredentialIdentity;
use crate::policy::TokenRealm;
use crate::pull::{Outcome, Step};

/// What the specification has where a token service does not say (seconds).
const DEFAULT_LIFETIME: u64 = 60;
/// A token is not used in its last seconds: it must arrive before it expires.
const MARGIN: Duration = Duration::from_secs(5);
/// The longest that any token is kept (seconds).
const LONGEST_LIFETIME: u64 = 3600;
/// What we are to OAuth 2 token services.
const CLIENT_ID: &str = "pullgate";

/// Whose token, for what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenKey {
    /// Scheme, host and port of the registry.
    pub(super) registry: Box<str>,
    pub(super) identity: CredentialIdentity,
    pub(super) repository: Box<str>,
}

/// A token, ready to be sent.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) good_until: Instant,
    /// When it came: it allows what its owner was allowed then.
    pub(super) since: Instant,
    /// Whether its service was named for another repository.
    pub(super) ahead: bool,
}

impl Token {
    fn serves(&self, since: Option<Instant>) -> bool {
        self.good_until > Instant::now() && since.is_none_or(|since| self.since >= since)
    }
}

/// What a token is asked with.
pub(super) struct Application {
    pub(super) registry: Url,
    pub(super) challenge: Challenge,
    /// The repository at the registry itself; nothing where a redirect led elsewhere.
    pub(super) repository: Option<String>,
    pub(super) secret: Option<Secret>,
    pub(super) login: LoginKey,
    pub(super) lane: ConnectionKey,
    pub(super) family: RegistryVendor,
    /// Whether the challenge is that of another repository.
    pub(super) ahead: bool,
}

/// The kept tokens.
pub(super) struct Tokens {
    kept: Cache<TokenKey, Token>,
    exchange: Arc<TokenExchange>,
}

/// How tokens are asked for.
struct TokenExchange {
    transport: Arc<Transport>,
    listed: Vec<TokenRealm>,
    directions: Arc<ArcSwap<RegistryPolicy>>,
    cap: usize,
    limit: Duration,
    logins: Arc<Logins>,
    metrics: Arc<RegistryMetrics>,
}

impl Tokens {
    pub(super) fn new(
        options: &RegistryOptions,
        transport: Arc<Transport>,
        directions: Arc<ArcSwap<RegistryPolicy>>,
        metrics: Arc<RegistryMetrics>,
    ) -> Self {
        let limits = &options.limits;
        Self {
            kept: Cache::builder()
                .max_capacity(options.cache.tokens)
                .time_to_live(Duration::from_secs(LONGEST_LIFETIME))
                .build(),
            exchange: Arc::new(TokenExchange {
                transport,
                listed: options.realms.clone(),
                directions,
                cap: limits.token_bytes,
                logins: Arc::default(),
                limit: limits.connect + limits.first_byte + limits.body,
                metrics,
            }),
        }
    }

    /// How logins at token services came out; those at registries themselves belong there, too.
    pub(super) fn logins(&self) -> &Arc<Logins> {
        &self.exchange.logins
    }

    /// A token that is still good, and is not from before `since`.
    pub(super) async fn kept(&self, key: &TokenKey, since: Option<Instant>) -> Option<Token> {
        self.kept.get(key).await.filter(|token| token.serves(since))
    }

    /// Forgets a token that the registry no longer takes.
    pub(super) async fn forget(&self, key: &TokenKey) {
        self.kept.invalidate(key).await;
    }

    /// A token for this key; equal questions under way collapse into one. The exchange has a limit
    /// of its own: who has less time leaves it to those who come after.
    pub(super) async fn obtain(
        &self,
        key: TokenKey,
        application: Application,
        since: Option<Instant>,
        deadline: Instant,
    ) -> Result<Token, Outcome> {
        if self.kept.get(&key).await.is_some_and(|token| !token.serves(since)) {
            self.kept.invalidate(&key).await;
        }
        let (kept, exchange) = (self.kept.clone(), Arc::clone(&self.exchange));
        let task = tokio::spawn(async move {
            let asked = Box::pin(exchange.obtain(application));
            kept.try_get_with(key, asked).await
        });
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(asked)) => asked.map_err(|outcome| Outcome::clone(&outcome)),
            Ok(Err(_)) => {
                tracing::error!("asking for a token panicked");
                Err(Outcome::Overloaded)
            }
            Err(_) => Err(Outcome::Timeout(Step::Whole)),
        }
    }
}

impl TokenExchange {
    async fn obtain(&self, application: Application) -> Result<Token, Outcome> {
        let realm = application
            .challenge
            .realm
            .as_deref()
            .and_then(|realm| Url::parse(realm).ok())
            .ok_or(Outcome::Malformed("a challenge without a usable realm"))?;
        let anonymous = matches!(application.secret, None | Some(Secret::NameAlone));
        let in_policy = &self.directions.load().realms;
        let listed = self.listed.iter().chain(in_policy);
        if !realm::may_ask(&application.registry, &realm, anonymous, listed) {
            return Err(Outcome::ForeignRealm(realm.host_str().unwrap_or_default().into()));
        }
        let login = if anonymous {
            None
        } else {
            let deadline = Instant::now() + self.limit;
            Some(self.logins.begin(application.login.clone(), deadline).await?)
        };
        let (status, headers, body) = self.exchange(&application, realm).await?;
        if let Some(login) = login {
            match status {
                status if application.family.rejects_all_logins(status) => login.refused(),
                StatusCode::OK => login.accepted(),
                _ => {}
            }
        }
        if status != StatusCode::OK {
            return Err(classify::token_refusal(status, &headers, application.family, &body));
        }
        Ok(Token { ahead: application.ahead, ..read_token(&body)? })
    }

    async fn exchange(
        &self,
        application: &Application,
        mut realm: Url,
    ) -> Result<(StatusCode, HeaderMap, bytes::Bytes), Outcome> {
        let challenge = &application.challenge;
        let scopes = scopes(application.repository.as_deref(), challenge.scope.as_deref());
        let service = challenge.service.as_deref();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut form = None;
        let method = if let Some(Secret::Identity(token)) = &application.secret {
            let mut fields = vec![
                ("grant_type", "refresh_token".to_owned()),
                ("refresh_token", token.to_string()),
                ("client_id", CLIENT_ID.to_owned()),
                ("scope", scopes.join(" ")),
            ];
            fields.extend(service.map(|service| ("service", service.to_owned())));
            form = Some(fields);
            Method::POST
        } else {
            if let Some(Secret::Basic(value)) = &application.secret {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let mut query = realm.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
            drop(query);
            Method::GET
        };
        self.metrics.request(Kind::Token);
        let request = Outgoing { method, url: &realm, headers, form };
        let deadline = Instant::now() + self.limit;
        let answer = self.transport.send(&application.lane, request, deadline).await?;
        let (status, headers) = (answer.status, answer.headers.clone());
        let body = answer.body(self.cap).await?;
        Ok((status, headers, body))
    }
}

/// What is asked for: to pull this repository, and what the challenge names beside it, cut down
/// to pulling. containerd asks for both too.
fn scopes(repository: Option<&str>, challenged: Option<&str>) -> Vec<String> {
    let own = repository.map(|repository| format!("repository:{repository}:pull"));
    let mut scopes: Vec<_> = own.into_iter().collect();
    for scope in challenged.unwrap_or_default().split_ascii_whitespace().take(8) {
        let Some((resource, actions)) = scope.rsplit_once(':') else { continue };
        if !resource.starts_with("repository:") || !actions.split(',').any(|a| a == "pull") {
            continue;
        }
        let pull = format!("{resource}:pull");
        if !scopes.contains(&pull) {
            scopes.push(pull);
        }
    }
    scopes
}

#[derive(Deserialize)]
struct RawToken {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

fn read_token(body: &[u8]) -> Result<Token, Outcome> {
    let raw: RawToken =
        decode::object(body).ok_or(Outcome::Malformed("the token answer cannot be read"))?;
    // As containerd has it, `access_token` wins.
    let text = [raw.access_token, raw.token]
        .into_iter()
        .flatten()
        .find(|token| !token.is_empty())
        .ok_or(Outcome::Malformed("the token answer has no token"))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {text}"))
        .map_err(|_| Outcome::Malformed("the token cannot stand in a header"))?;
    header.set_sensitive(true);
    let seconds = match raw.expires_in {
        Some(serde_json::Value::Number(number)) => {
            number.as_u64().or_else(|| number.as_f64().map(|_| 0)).unwrap_or(DEFAULT_LIFETIME)
        }
        _ => DEFAULT_LIFETIME,
    };
    let lifetime = Duration::from_secs(seconds.min(LONGEST_LIFETIME));
    let since = Instant::now();
    let good_until = since + lifetime.saturating_sub(MARGIN);
    Ok(Token { header, good_until, since, ahead: false })
}
