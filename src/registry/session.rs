//! One conversation with one endpoint: proves itself when challenged, follows redirects of
//! content, and keeps credentials at the host that they belong to.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::auth::{Authorization, Secret};
use super::classify::Reply;
use super::classify::{self, AuthUsed};
use super::deadline::Deadline;
use super::decode;
use super::hints::{HostHints, MAX_REMEMBERED};
use super::http::{Answer, ConnectionKey, Outgoing, Transport};
use super::limits::HostLimits;
use super::limits::Quota;
use super::logins::Logins;
use super::metrics::{Kind, RegistryMetrics};
use super::redirect::{is_home, redirect_target, to_plain, without_login};
use super::token::Tokens;
use crate::credential::CredentialIdentity;
use crate::node_config::Endpoint;
use crate::pull::{NetworkFault, Outcome, Purpose, TlsFault};

/// What all conversations share.
pub(super) struct SessionContext {
    pub(super) transport: Arc<Transport>,
    pub(super) tokens: Tokens,
    pub(super) logins: Arc<Logins>,
    pub(super) metrics: Arc<RegistryMetrics>,
    pub(super) redirects: usize,
    pub(super) error_bytes: usize,
    habits: Mutex<HostHints>,
}

/// One conversation.
pub(super) struct Session<'a> {
    pub(super) means: &'a SessionContext,
    pub(super) endpoint: &'a Endpoint,
    pub(super) host: &'a HostLimits,
    pub(super) repository: &'a str,
    /// The registry's name, told to mirrors.
    pub(super) registry: &'a str,
    pub(super) identity: CredentialIdentity,
    pub(super) secret: Option<Secret>,
    pub(super) purpose: Purpose,
    pub(super) began: Instant,
    pub(super) deadline: Deadline,
    /// Tokens from before are not used: what they allow may have been revoked.
    pub(super) tokens_since: Option<Instant>,
    /// Whether the host is known to be there: it has just answered this look-up, or an earlier one
    /// that this only carries on.
    pub(super) heard: AtomicBool,
    /// Whether this repository has asked for a login by Basic.
    pub(super) wants_login: AtomicBool,
    /// When the last request was sent to the registry.
    pub(super) last_request: Mutex<Instant>,
}

impl SessionContext {
    pub(super) fn new(
        transport: Arc<Transport>,
        tokens: Tokens,
        metrics: Arc<RegistryMetrics>,
        limits: &super::options::StepLimits,
    ) -> Self {
        Self {
            transport,
            logins: Arc::clone(tokens.logins()),
            tokens,
            metrics,
            redirects: limits.redirects,
            error_bytes: limits.error_bytes,
            habits: Mutex::new(HostHints::default()),
        }
    }

    pub(super) fn habits<T>(&self, with: impl FnOnce(&mut HostHints) -> T) -> T {
        with(&mut self.habits.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session<'_> {
    /// The address of something in the repository: `manifests/…`, `blobs/…`, `tags/list`.
    pub(super) fn url(&self, rest: &str) -> Result<Url, Outcome> {
        self.root(&format!("{}/{rest}", self.repository))
    }

    /// The address of something of the registry as a whole, such as its catalogue.
    pub(super) fn root(&self, rest: &str) -> Result<Url, Outcome> {
        let mut url = self.endpoint.url.clone();
        let plain = origin(&url);
        if self.endpoint.falls_back_to_http
            && self.means.habits(|habits| habits.plain.contains(&plain))
        {
            to_plain(&mut url)?;
        }
        let path = format!("{}/{rest}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        if self.endpoint.told_registry && self.endpoint.is_mirror {
            url.query_pairs_mut().append_pair("ns", self.registry);
        }
        Ok(url)
    }

    /// Asks, with what is kept, plainly, or with proof, along at most a few redirects.
    pub(super) async fn request(
        &self,
        method: Method,
        mut url: Url,
        accept: &'static str,
        kind: Kind,
    ) -> Result<Reply, Outcome> {
        let mut redirects = 0;
        let mut proving = None;
        // Runtimes begin every pull anew: a refusal counts only if nothing was shown that was not asked
        // for here. Others may be wanted to log in, and nobody for this repository.
        let (mut anew, mut login_unknown) = (false, false);
        loop {
            let home = is_home(self.endpoint, &url);
            let warm = match proving.take() {
                Some(proving) => proving,
                None if anew => Authorization::nothing(),
                None => self.warm(&url, home).await,
            };
            let answer = match self.send(&method, &url, accept, kind, &warm).await {
                Err(outcome) if home && self.falls_back(&url, &outcome) => {
                    to_plain(&mut url)?;
                    continue;
                }
                sent => sent?,
            };
            if let Some(next) = redirect_target(&answer, &url)? {
                redirects += 1;
                if redirects > self.means.redirects {
                    return Err(Outcome::Malformed("too many redirects"));
                }
                (url, login_unknown) = (next, false);
                continue;
            }
            if warm.is_outdated_by(answer.status) {
                self.forget(&url, home, warm.proof).await;
                anew = true;
                // Where it is not known it need not be shown again: accounts get locked.
                login_unknown =
                    warm.proof == AuthUsed::Basic && answer.status == StatusCode::UNAUTHORIZED;
                continue;
            }
            if warm.proof == AuthUsed::Basic && answer.status.is_success() {
                self.note_basic(&url, home);
            }
            let reply = Reply::new(answer, warm.proof, &url, home);
            if reply.answer.status == StatusCode::UNAUTHORIZED && !warm.fresh {
                let tried = if login_unknown { AuthUsed::Basic } else { warm.proof };
                let proved = self.prove(&url, home, &reply.challenges, reply.family, tried).await;
                proving = proved.map_err(|outcome| self.heard_from(home, outcome))?;
                if proving.is_some() {
                    continue;
                }
            }
            return Ok(reply);
        }
    }

    /// What an outcome says, given where it was heard: a host elsewhere that did not get the login
    /// may have refused for want of it.
    fn heard_from(&self, home: bool, outcome: Outcome) -> Outcome {
        if self.secret.is_some() && self.secret_for(home).is_none() {
            without_login(outcome)
        } else {
            outcome
        }
    }

    pub(super) fn secret_for(&self, home: bool) -> Option<&Secret> {
        self.secret.as_ref().filter(|_| home && self.endpoint.takes_credentials)
    }

    pub(super) fn identity_for(&self, home: bool) -> CredentialIdentity {
        if home && self.endpoint.takes_credentials {
            self.identity
        } else {
            CredentialIdentity::ANONYMOUS
        }
    }

    pub(super) fn lane(&self, home: bool) -> ConnectionKey {
        let tls = self.endpoint.tls.clone().filter(|_| home);
        ConnectionKey { identity: self.identity_for(home), tls }
    }

    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        accept: &'static str,
        kind: Kind,
        proving: &Authorization,
    ) -> Result<Answer, Outcome> {
        let home = is_home(self.endpoint, url);
        let mut headers = HeaderMap::new();
        if home {
            for (name, value) in &self.endpoint.headers {
                if let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
                {
                    headers.append(name, value);
                }
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(value) = &proving.header {
            headers.insert(AUTHORIZATION, value.clone());
        }
        self.deadline.put_off(self.host.spend(self.purpose, self.deadline.get()).await?);
        self.means.metrics.request(kind);
        let login = match (home, proving.proof) {
            (true, AuthUsed::Basic) => {
                let key = (origin(&self.endpoint.url), self.identity);
                Some(self.means.logins.begin(key, self.deadline.get()).await?)
            }
            _ => None,
        };
        let lane = self.lane(home);
        *self.last_request.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let request = Outgoing { method: method.clone(), url, headers, form: None };
        let sent = self.means.transport.send(&lane, request, self.deadline.get()).await;
        if let (Some(login), Ok(answer)) = (login, &sent) {
            match answer.status {
                StatusCode::UNAUTHORIZED => login.refused(),
                status if status.is_server_error() => {}
                _ => login.accepted(),
            }
        }
        if home {
            match &sent {
                Ok(answer) => self.learn(answer),
                Err(outcome) if self.falls_back(url, outcome) => {}
                // What follows the first request is asked of a registry that has just answered, and
                // may fail for one repository only.
                Err(outcome) if self.purpose == Purpose::Verdict && !self.heard.load(Relaxed) => {
                    self.host.failed(outcome);
                }
                Err(_) => {}
            }
        }
        sent
    }

    fn learn(&self, answer: &Answer) {
        self.heard.store(true, Relaxed);
        self.host.answered();
        if self.endpoint.url.host_str() == Some("registry-1.docker.io")
            && let Some(quota) = Quota::read(|name| answer.header(name))
        {
            self.means.metrics.hub_remaining(quota.remaining);
            self.host.quota(self.identity, quota);
        }
    }

    /// When the last request was sent to the registry; when it began, if none was.
    pub(super) fn asked_at(&self) -> Instant {
        *self.last_request.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so few pulls are left that reading manifests, which counts as one, has to wait.
    pub(super) fn is_short_of_pulls(&self) -> bool {
        self.host.is_short_of_pulls(self.identity)
    }

    /// Whether plain HTTP is next, as the runtime has it for this endpoint.
    fn falls_back(&self, url: &Url, outcome: &Outcome) -> bool {
        let plain = matches!(
            outcome,
            Outcome::Tls(TlsFault::PlainHttp) | Outcome::Network(NetworkFault::Refused)
        );
        if !plain || !self.endpoint.falls_back_to_http || url.scheme() != "https" {
            return false;
        }
        if matches!(outcome, Outcome::Tls(_)) {
            self.means.habits(|habits| {
                if habits.plain.len() < MAX_REMEMBERED {
                    habits.plain.insert(origin(&self.endpoint.url));
                }
            });
        }
        true
    }

    /// The outcome of a reply that is no success; reads the body of a GET.
    pub(super) async fn refuse(&self, reply: Reply, with_body: bool) -> Outcome {
        let Reply { answer, proof, family, challenges, home } = reply;
        let (status, headers) = (answer.status, answer.headers.clone());
        let body = if with_body && status.is_client_error() {
            match answer.body(self.means.error_bytes).await {
                Ok(body) => Some(body),
                // The status is there; a body that cannot be read confirms nothing.
                Err(Outcome::Malformed(_)) => None,
                Err(outcome) => return outcome,
            }
        } else {
            None
        };
        let outcome =
            classify::refusal(status, &headers, &challenges, proof, family, body.as_deref());
        let mut outcome = self.heard_from(home, outcome);
        if let Outcome::Throttled { retry_after } = &mut outcome {
            *retry_after = Some(self.host.throttled(self.identity, *retry_after));
        }
        tracing::debug!(
            host = self.endpoint.url.host_str(),
            status = status.as_u16(),
            outcome = outcome.as_str(),
            said = decode::excerpt(body.as_deref().unwrap_or_default()),
            "a registry refused"
        );
        outcome
    }
}

/// Scheme, host and port.
pub(super) fn origin(url: &Url) -> Box<str> {
    url.origin().ascii_serialization().into()
}
