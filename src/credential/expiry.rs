//! When a login expires, where it says so itself: tokens that are JSON web tokens (RFC 7519, `exp`),
//! and those of Amazon ECR, which carry their end, or live for twelve hours
//! (<https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>).
//!
//! Nothing of a token is shown or kept.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::identity::Credential;

/// The user name of Amazon ECR's tokens.
const ECR_USER: &[u8] = b"AWS";
/// How long they live.
const ECR_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// The longest token that is looked into.
const MAX_TOKEN: usize = 64 * 1024;
/// Times before 2001 or after 2286 are none.
const PLAUSIBLE: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// What lives no longer is renewed by a machine: that it ends soon is no news.
const SHORT: SignedDuration = SignedDuration::from_hours(48);
/// Before the end of a login that a person renews, and of one that a machine renews.
const NEAR: SignedDuration = SignedDuration::from_hours(24);
const NEAR_SHORT: SignedDuration = SignedDuration::from_hours(1);

/// The end of a login, or of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// When it ends.
    pub at: Timestamp,
    /// Whether it lives for two days at most, so that a machine renews it.
    pub short_lived: bool,
}

impl Expiry {
    /// The end of what is good from one moment to another.
    pub(crate) fn of_life(from: Timestamp, at: Timestamp) -> Self {
        Self { at, short_lived: at.duration_since(from) <= SHORT }
    }

    /// Whether it is so near that who uses the login should hear of it.
    pub(crate) fn is_near(&self, now: Timestamp) -> bool {
        let near = if self.short_lived { NEAR_SHORT } else { NEAR };
        self.at.duration_since(now) < near
    }
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    expiration: Option<f64>,
}

impl Credential {
    /// When it expires, as far as that can be known. `created` is when its Secret was.
    pub fn expires(&self, created: Option<Timestamp>) -> Option<Expiry> {
        let password = self.password().expose();
        if password.len() > MAX_TOKEN {
            return None;
        }
        if let Some(end) = jwt(password) {
            return Some(end);
        }
        if self.username_bytes() != ECR_USER {
            return None;
        }
        let said = STANDARD.decode(password).ok().and_then(|token| claims(&token)?.expiration);
        let at = said.and_then(time).or_else(|| created?.checked_add(ECR_LIFE).ok())?;
        Some(Expiry { at, short_lived: true })
    }
}

/// The end of a JSON web token.
fn jwt(token: &[u8]) -> Option<Expiry> {
    let mut parts = token.split(|byte| *byte == b'.');
    let (_head, body, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let body = URL_SAFE.decode(body).ok()?;
    let claims = claims(&body)?;
    let at = claims.exp.and_then(time)?;
    let issued = claims.iat.and_then(time);
    Some(issued.map_or(Expiry { at, short_lived: false }, |issued| Expiry::of_life(issued, at)))
}

fn claims(json: &[u8]) -> Option<Claims> {
    serde_json::from_slice(json).ok()
}

fn time(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "compared with what is plausible")]
    let seconds = seconds as i64;
    PLAUSIBLE.contains(&seconds).then(|| Timestamp::from_second(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::credential::CredentialOrigin;

    fn token(claims: &str) -> String {
        format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE.encode(claims))
    }

    #[rstest]
    #[case::jwt("robot", &token(r#"{"exp": 1900000000, "sub": "x"}"#), None, Some(1_900_000_000))]
    #[case::jwt_without_an_end("robot", &token(r#"{"sub": "x"}"#), None, None)]
    #[case::nonsense("robot", &token(r#"{"exp": 7}"#), None, None)]
    #[case::password("robot", "a.b.c", None, None)]
    #[case::ecr("AWS", &STANDARD.encode(r#"{"payload": "p", "expiration": 1900000000}"#), None, Some(1_900_000_000))]
    #[case::ecr_by_age("AWS", "opaque", Some(1_800_000_000), Some(1_800_043_200))]
    #[case::not_ecr("aws", "opaque", Some(1_800_000_000), None)]
    fn when_it_ends(
        #[case] username: &str,
        #[case] password: &str,
        #[case] created: Option<i64>,
        #[case] end: Option<i64>,
    ) {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let credential = Credential::new(username, password, CredentialOrigin::Secret("s".into()));
        assert_eq!(credential.expires(created.map(at)).map(|end| end.at), end.map(at));
    }

    #[test]
    fn what_a_machine_renews_is_near_its_end_only_at_the_end() {
        let at = |hour: i64| Timestamp::from_second(1_900_000_000 + hour * 3600).unwrap();
        let end = |claims: &str| {
            let origin = CredentialOrigin::Secret("s".into());
            Credential::new("robot", &token(claims), origin).expires(None).unwrap()
        };
        let by_hand = end(r#"{"exp": 1900000000}"#);
        let by_machine = end(r#"{"exp": 1900000000, "iat": 1899996400}"#);
        assert!(by_hand.is_near(at(-23)) && !by_hand.is_near(at(-25)));
        assert!(by_machine.is_near(at(0)) && !by_machine.is_near(at(-2)));
    }
}
