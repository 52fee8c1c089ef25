//! How a conversation proves itself: with what earlier ones were let in with, and, where that does not
//! do, with what this very repository asks for.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::auth::{Authorization, Secret};
use super::challenge::{Challenge, Scheme};
use super::classify::{AuthUsed, RegistryVendor, Reply};
use super::http::ConnectionKey;
use super::metrics::Kind;
use super::redirect::to_plain;
use super::session::{Session, origin};
use super::token::{Application, Token, TokenKey};
use crate::node_config::TlsSettings;
use crate::pull::Outcome;

impl Session<'_> {
    fn token_key(&self, url: &Url, home: bool) -> TokenKey {
        // Elsewhere the repository has another name: what is asked for stands in the path.
        let repository = if home { self.repository } else { url.path() };
        TokenKey {
            registry: origin(url),
            identity: self.identity_for(home),
            repository: repository.into(),
        }
    }

    /// What is kept from earlier conversations of the same credential.
    pub(super) async fn warm(&self, url: &Url, home: bool) -> Authorization {
        if let Some(token) =
            self.means.tokens.kept(&self.token_key(url, home), self.tokens_since).await
        {
            return Authorization {
                header: Some(token.header),
                proof: AuthUsed::Token,
                fresh: false,
                is_old: token.ahead || token.since < self.began,
            };
        }
        if home && let Some(token) = self.token_ahead(url).await {
            let header = Some(token.header);
            return Authorization { header, proof: AuthUsed::Token, fresh: false, is_old: true };
        }
        if let Some(Secret::Basic(value)) = self.secret_for(home) {
            let key = (origin(url), self.identity_for(home));
            let wanted = self.wants_login.load(Relaxed);
            if wanted || self.means.habits(|habits| habits.basic.contains(&key)) {
                return Authorization {
                    header: Some(value.clone()),
                    proof: AuthUsed::Basic,
                    fresh: false,
                    is_old: !wanted,
                };
            }
        }
        Authorization::nothing()
    }

    /// Forgets what was kept and is refused here.
    pub(super) async fn forget(&self, url: &Url, home: bool, proof: AuthUsed) {
        match proof {
            AuthUsed::Token => self.means.tokens.forget(&self.token_key(url, home)).await,
            AuthUsed::Basic => {
                let key = (origin(url), self.identity_for(home));
                self.means.habits(|habits| habits.basic.remove(&key));
            }
            AuthUsed::Nothing => {}
        }
    }

    /// Notes that a registry let the login in, so that it need not ask for it again.
    pub(super) fn note_basic(&self, url: &Url, home: bool) {
        let key = (origin(url), self.identity_for(home));
        self.means.habits(|habits| habits.note_basic(key));
    }

    /// A token of the service that a challenge names.
    async fn obtain(
        &self,
        url: &Url,
        home: bool,
        (challenge, ahead): (&Challenge, bool),
        family: RegistryVendor,
    ) -> Result<Token, Outcome> {
        let application = Application {
            registry: url.clone(),
            challenge: challenge.clone(),
            repository: home.then(|| self.repository.to_owned()),
            secret: self.secret_for(home).cloned(),
            login: (origin(&self.endpoint.url), self.identity_for(home)),
            lane: self.token_lane(challenge, url, home),
            family,
            ahead,
        };
        let key = self.token_key(url, home);
        self.means.tokens.obtain(key, application, self.tokens_since, self.deadline.get()).await
    }

    /// A token of the service that this registry named for another repository, so that it need not
    /// name it again. What comes of it without a token is no answer: its own challenge may differ.
    async fn token_ahead(&self, url: &Url) -> Option<Token> {
        let key = (origin(url), self.identity_for(true));
        let service = self.means.habits(|habits| habits.services.get(&key).cloned())??;
        let family = RegistryVendor::of(
            url.host_str().unwrap_or_default(),
            Some(&service),
            &HeaderMap::new(),
        );
        let token = self.obtain(url, true, (&service, true), family).await;
        let passes = matches!(
            token,
            Err(Outcome::Network(_)
                | Outcome::Timeout(_)
                | Outcome::Throttled { .. }
                | Outcome::Overloaded
                | Outcome::LoginWithheld)
        );
        if let Err(Outcome::Throttled { retry_after }) = &token {
            self.host.throttled(self.identity, *retry_after);
        }
        self.means.habits(|habits| match token {
            Ok(_) => None,
            Err(_) if passes => habits.services.remove(&key),
            Err(_) => habits.services.insert(key, None),
        });
        token.ok()
    }

    /// Answers a challenge; nothing if there is nothing to answer with.
    pub(super) async fn prove(
        &self,
        url: &Url,
        home: bool,
        challenges: &[Challenge],
        family: RegistryVendor,
        tried: AuthUsed,
    ) -> Result<Option<Authorization>, Outcome> {
        let offered = |scheme| challenges.iter().find(|c| c.scheme == scheme);
        if let Some(challenge) = offered(Scheme::Bearer) {
            if tried == AuthUsed::Token {
                self.means.tokens.forget(&self.token_key(url, home)).await;
            }
            // The service may have said so a moment ago.
            self.host.check_wait(self.identity)?;
            let token = self.obtain(url, home, (challenge, false), family).await;
            if let Err(Outcome::Throttled { retry_after }) = &token {
                self.host.throttled(self.identity, *retry_after);
            }
            let header = Some(token?.header);
            if home {
                let key = (origin(url), self.identity_for(home));
                self.means.habits(|habits| habits.note_service(key, challenge));
            }
            return Ok(Some(Authorization {
                header,
                proof: AuthUsed::Token,
                fresh: true,
                is_old: false,
            }));
        }
        let basic = offered(Scheme::Basic).is_some() && tried != AuthUsed::Basic;
        let secret = self.secret_for(home).filter(|_| basic);
        if let Some(Secret::NameAlone) = secret {
            return Err(Outcome::PasswordMissing);
        }
        if let Some(Secret::Basic(value)) = secret {
            self.wants_login.store(true, Relaxed);
            let header = Some(value.clone());
            return Ok(Some(Authorization {
                header,
                proof: AuthUsed::Basic,
                fresh: true,
                is_old: false,
            }));
        }
        Ok(None)
    }

    /// What CRI-O gets where the repository refused without asking for a login: it asks the registry as a
    /// whole first, and gives every repository the login that this wants (`detectProperties` and
    /// `setupRequestAuth` in `docker/docker_client.go` of go.podman.io/image). containerd gives what it is
    /// asked for. Nothing where CRI-O gives none either; an error where that cannot be told.
    pub(super) async fn ask_as_cri_o(
        &self,
        refused: &Reply,
        url: &Url,
        accept: &'static str,
    ) -> Result<Option<Reply>, Outcome> {
        let unasked = refused.proof == AuthUsed::Nothing && refused.home;
        if !unasked || self.secret_for(true).is_none() {
            return Ok(None);
        }
        let (root, mut url) = (self.root("")?, url.clone());
        if root.scheme() == "http" {
            to_plain(&mut url)?;
        }
        let plain = Authorization::nothing();
        let answer = self.send(&Method::GET, &root, "*/*", Kind::Get, &plain).await?;
        let reply = Reply::new(answer, AuthUsed::Nothing, &root, true);
        match reply.answer.status {
            StatusCode::UNAUTHORIZED => {}
            // There CRI-O gives up, or asks without a login.
            StatusCode::OK | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refuse(reply, true).await),
        }
        let proving =
            self.prove(&root, true, &reply.challenges, reply.family, AuthUsed::Nothing).await;
        let answer = match &proving {
            Ok(Some(shown)) => {
                let answer = self.send(&Method::GET, &url, accept, Kind::Get, shown).await;
                answer.map(|answer| Some(Reply::new(answer, shown.proof, &url, true)))
            }
            Ok(None) => Ok(None),
            Err(outcome) => Err(outcome.clone()),
        };
        // containerd would not be let in by it: the next question begins without.
        self.wants_login.store(false, Relaxed);
        self.forget(&root, true, AuthUsed::Token).await;
        let key = (origin(&root), self.identity_for(true));
        self.means.habits(|habits| habits.services.remove(&key));
        answer
    }

    /// The lane to the token service. Elsewhere than at the registry itself, what its own host is
    /// forgiven or shown does not hold; its authorities do.
    fn token_lane(&self, challenge: &Challenge, url: &Url, home: bool) -> ConnectionKey {
        let lane = self.lane(home);
        let realm = challenge.realm.as_deref().and_then(|realm| Url::parse(realm).ok());
        if realm.is_some_and(|realm| realm.host() == url.host()) {
            return lane;
        }
        let authorities = |tls: Arc<TlsSettings>| {
            let ca_files = tls.ca_files.clone();
            let only = TlsSettings { ca_files, ..TlsSettings::default() };
            (only != TlsSettings::default()).then(|| Arc::new(only))
        };
        ConnectionKey { tls: lane.tls.and_then(authorities), ..lane }
    }
}
