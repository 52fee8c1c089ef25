//! Who has signed in. The secret that was entered is forgotten at once; what stays is who it was, under
//! a random name that a cookie has and of which only a digest is kept.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use moka::future::Cache;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest as _, Sha256};

use crate::user::UserInfo;

/// After this long a person signs in again: a token that was withdrawn since counts no longer.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Sessions at a time; the one that was used least makes room.
const MAX_SESSIONS: u64 = 256;
const COOKIE: &str = "pullgate";
const SECRET_BYTES: usize = 32;

/// One person's visit.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: UserInfo,
    /// The namespace to look at, for who may not see all.
    namespace: RwLock<Option<Box<str>>>,
}

impl Session {
    pub(super) fn namespace(&self) -> Option<Box<str>> {
        self.namespace.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn look_at(&self, namespace: Option<Box<str>>) {
        *self.namespace.write().unwrap_or_else(PoisonError::into_inner) = namespace;
    }
}

/// All visits.
pub(super) struct Sessions {
    kept: Cache<[u8; 32], Arc<Session>>,
    random: SystemRandom,
}

impl Sessions {
    pub(super) fn new() -> Self {
        let kept = Cache::builder().max_capacity(MAX_SESSIONS).time_to_live(LIFETIME).build();
        Self { kept, random: SystemRandom::new() }
    }

    /// Opens one; the cookie that proves it, or nothing if the machine has no random numbers.
    pub(super) async fn open(&self, user: UserInfo) -> Option<HeaderValue> {
        let mut secret = [0; SECRET_BYTES];
        self.random.fill(&mut secret).ok()?;
        let session = Session { user, namespace: RwLock::default() };
        self.kept.insert(digest(&secret), Arc::new(session)).await;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        cookie(&format!("{COOKIE}={secret}; Max-Age={}", LIFETIME.as_secs()))
    }

    /// The one that a request belongs to.
    pub(super) async fn of(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        self.kept.get(&named(headers)?).await
    }

    /// Ends it; the cookie that takes the other away.
    pub(super) async fn end(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if let Some(name) = named(headers) {
            self.kept.invalidate(&name).await;
        }
        cookie(&format!("{COOKIE}=; Max-Age=0"))
    }
}

/// No script reads it, and no other site's page sends it along. It goes over plain HTTP, since that is
/// what a forwarded port speaks.
fn cookie(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{text}; Path=/; HttpOnly; SameSite=Strict")).ok()
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The digest of the secret in the cookie.
fn named(headers: &HeaderMap) -> Option<[u8; 32]> {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    cookies.find_map(|line| {
        let mut pairs = line.to_str().ok()?.split("; ");
        let text = pairs.find_map(|pair| pair.strip_prefix(COOKIE)?.strip_prefix('='))?;
        let secret = URL_SAFE_NO_PAD.decode(text).ok()?;
        (secret.len() == SECRET_BYTES).then(|| digest(&secret))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn only_the_cookie_that_was_given_out_opens_a_session_until_it_is_ended() {
        let sessions = Sessions::new();
        let ann = UserInfo { username: "ann".into(), ..UserInfo::default() };
        let cookie = sessions.open(ann).await.unwrap();
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
        let own = cookie.split(';').next().unwrap();
        let found = sessions.of(&headers(&format!("a=b; {own}; c=d"))).await.unwrap();
        assert_eq!(&*found.user.username, "ann");
        for wrong in ["pullgate=", "pullgate=AAAA", "other=1", &own.replace("pullgate", "p")] {
            assert!(sessions.of(&headers(wrong)).await.is_none(), "{wrong}");
        }
        sessions.end(&headers(own)).await.unwrap();
        assert!(sessions.of(&headers(own)).await.is_none());
    }
}
