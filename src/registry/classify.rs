//! Says which outcome an answer is: status, headers and error envelope in, outcome out.
//!
//! Registries differ in what they hide; the differences stand in one table of families. Pure,
//! and the only place where an answer is judged. What a registry sent is read here and goes no
//! further: outcomes carry closed words only.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge, Scheme};
use super::decode;
use super::http::Answer;
use crate::pull::{ErrorCode, Outcome};

/// Registries that answer in ways of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RegistryVendor {
    DockerHub,
    Ghcr,
    /// Artifact Registry and Container Registry.
    Google,
    Quay,
    GitLab,
    Harbor,
    Artifactory,
    /// Those that answer as the specification has it, and those we do not know: distribution,
    /// zot, ECR, ACR, Nexus.
    Plain,
}

impl RegistryVendor {
    /// Recognises a registry by its host, its challenge and its headers.
    pub(super) fn of(host: &str, challenge: Option<&Challenge>, headers: &HeaderMap) -> Self {
        let realm = challenge.and_then(|c| c.realm.as_deref()).unwrap_or_default();
        let service = challenge.and_then(|c| c.service.as_deref()).unwrap_or_default();
        let under = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if under("docker.io") || realm.starts_with("https://auth.docker.io/") {
            Self::DockerHub
        } else if host == "ghcr.io" || realm.starts_with("https://ghcr.io/") {
            Self::Ghcr
        } else if under("pkg.dev") || under("gcr.io") {
            Self::Google
        } else if host == "quay.io" || realm.ends_with("/v2/auth") {
            Self::Quay
        } else if realm.ends_with("/jwt/auth") {
            Self::GitLab
        } else if service == "harbor-registry" {
            Self::Harbor
        } else if headers.contains_key("x-jfrog-version")
            || headers.contains_key("x-artifactory-id")
        {
            Self::Artifactory
        } else {
            Self::Plain
        }
    }

    /// Whether a refusal of the token service hides what one may not see.
    fn token_refusal_hides(self, status: StatusCode) -> bool {
        match self {
            Self::Ghcr | Self::Google | Self::GitLab => true,
            Self::Quay => status == StatusCode::FORBIDDEN,
            Self::DockerHub | Self::Harbor | Self::Artifactory | Self::Plain => false,
        }
    }

    /// Whether a token service that answers so does not know the credential. A 403 that hides is
    /// also for those who may log in and not read.
    pub(super) fn rejects_all_logins(self, status: StatusCode) -> bool {
        status == StatusCode::UNAUTHORIZED
            || (status == StatusCode::FORBIDDEN && !self.token_refusal_hides(status))
    }

    /// Whether a 403 of the registry itself hides what one may not see.
    fn forbidden_hides(self) -> bool {
        matches!(self, Self::Ghcr | Self::Google | Self::GitLab | Self::Artifactory)
    }
}

/// How the request that was answered had proven itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthUsed {
    /// Not at all.
    Nothing,
    /// User name and password.
    Basic,
    /// A token that the token service gave.
    Token,
}

/// The outcome of an answer that is not a success. `body` is that of a GET; a HEAD has none.
pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    challenges: &[Challenge],
    proof: AuthUsed,
    family: RegistryVendor,
    body: Option<&[u8]>,
) -> Outcome {
    let envelope = body.map(Envelope::read).unwrap_or_default();
    let of_address = body.is_some_and(speaks_of_address);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if of_address => Outcome::AddressRefused,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if envelope.is_throttling() || says_later(headers) =>
        {
            throttled(headers)
        }
        StatusCode::NOT_FOUND => missing(&envelope),
        StatusCode::UNAUTHORIZED => unauthorized(challenges, proof, family, &envelope),
        StatusCode::FORBIDDEN => {
            if challenges.is_empty() && !envelope.is_registry() {
                Outcome::RefusedByStranger
            } else if family.forbidden_hides() {
                Outcome::MissingOrDenied
            } else {
                Outcome::Forbidden
            }
        }
        StatusCode::TOO_MANY_REQUESTS => throttled(headers),
        // A retry date on a 503 is a request to come back later, not an outage.
        StatusCode::SERVICE_UNAVAILABLE if says_later(headers) => throttled(headers),
        status if status.is_redirection() => Outcome::Malformed("a redirect without a target"),
        status if status.is_success() || status.is_informational() => {
            Outcome::Malformed("a success that is none")
        }
        status => Outcome::RegistryError { status: status.as_u16() },
    }
}

/// The code in the body of a 404 that confirms that something is missing, if there is one.
pub fn confirmed_missing(body: &[u8]) -> Option<ErrorCode> {
    Envelope::read(body).missing_code()
}

fn missing(envelope: &Envelope) -> Outcome {
    match envelope.missing_code() {
        code @ Some(ErrorCode::NameUnknown) => Outcome::RepositoryMissing { code },
        code => Outcome::TagMissing { code },
    }
}

fn unauthorized(
    challenges: &[Challenge],
    proof: AuthUsed,
    family: RegistryVendor,
    envelope: &Envelope,
) -> Outcome {
    let usable = challenges.iter().find(|c| c.scheme != Scheme::Other);
    match (usable, proof) {
        (None, _) if !envelope.is_registry() => Outcome::RefusedByStranger,
        // The token service knew us, and the registry still says no: it does not say whether
        // there is anything to see.
        (_, AuthUsed::Token) => Outcome::MissingOrDenied,
        _ if family == RegistryVendor::Quay => Outcome::MissingOrDenied,
        _ => Outcome::Unauthorized,
    }
}

/// The outcome of a token service that gave no token.
pub(super) fn token_refusal(
    status: StatusCode,
    headers: &HeaderMap,
    family: RegistryVendor,
    body: &[u8],
) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let own = headers.contains_key(WWW_AUTHENTICATE) || is_of_token_service(body);
            if speaks_of_address(body) {
                Outcome::AddressRefused
            } else if says_later(headers) || Envelope::read(body).is_throttling() {
                throttled(headers)
            } else if !own {
                Outcome::RefusedByStranger
            } else if family.token_refusal_hides(status) {
                Outcome::MissingOrDenied
            } else if status == StatusCode::UNAUTHORIZED {
                Outcome::Unauthorized
            } else {
                Outcome::Forbidden
            }
        }
        StatusCode::TOO_MANY_REQUESTS => throttled(headers),
        StatusCode::SERVICE_UNAVAILABLE if says_later(headers) => throttled(headers),
        status if status.is_redirection() => Outcome::Malformed("the token service redirects"),
        status => Outcome::RegistryError { status: status.as_u16() },
    }
}

/// How registries say, in lower case, that they refuse the address or network asked from. Nodes
/// ask from others: through another gateway, a private endpoint, another proxy. A phrase too many
/// costs a denial, one too few denies what nodes can pull.
const OF_THE_ADDRESS: &[&str] = &[
    // ACR's firewall: "client with IP '1.2.3.4' is not allowed access"
    // <https://learn.microsoft.com/azure/container-registry/container-registry-troubleshoot-access>
    "client with ip",
    "public network access",
    "private endpoint",
    "private link",
    // ECR behind an endpoint: "because no VPC endpoint policy allows the … action"
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    "vpc endpoint",
    // Artifact Registry in a service perimeter: "Request is prohibited by organization's policy"
    // <https://cloud.google.com/vpc-service-controls/docs/troubleshooting>
    "vpcservicecontrols",
    "vpc service controls",
    "prohibited by organization's policy",
    "security_policy_violated",
    // GitHub: "has an IP allow list enabled, and your IP address is not permitted"; Docker Hub's
    // export control and many others name the "IP address", too.
    "ip allow list",
    "ip address",
    "ip restriction",
    "source ip",
    "allowlist",
    "whitelist",
    "your location",
];

/// Whether a refusal is one of the address or network asked from. Nothing of it is repeated.
fn speaks_of_address(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_lowercase();
    OF_THE_ADDRESS.iter().any(|phrase| text.contains(phrase))
}

/// Whether it is a request to come back later, and so no refusal, whatever the status.
fn says_later(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::RETRY_AFTER)
}

fn throttled(headers: &HeaderMap) -> Outcome {
    Outcome::Throttled { retry_after: retry_after(headers) }
}

/// `Retry-After` in seconds, or as a date, which is held against the answer's own `Date`.
/// Whoever says more than this says nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(http::header::RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = date(after)?.duration_since(date(text(http::header::DATE)?)?);
    Duration::try_from(wait).ok().map(|wait| wait.min(LONGEST_WAIT))
}

/// Whether a body is one of those with which token services refuse: the specification's list, the
/// `error` of OAuth 2 (Quay), the `details` of Docker Hub. A gateway between says no in JSON, too.
fn is_of_token_service(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        errors: Option<Vec<serde::de::IgnoredAny>>,
        #[serde(default)]
        error: Option<String>,
        #[serde(default)]
        details: Option<String>,
    }
    decode::object::<Refusal>(body).is_some_and(|refusal| {
        refusal.errors.is_some_and(|errors| !errors.is_empty())
            || refusal.error.is_some()
            || refusal.details.is_some()
    })
}

/// The codes of an error envelope of the distribution specification.
#[derive(Debug, Default)]
struct Envelope {
    codes: Vec<String>,
}

#[derive(Deserialize)]
struct RawEnvelope {
    errors: Vec<RawError>,
}

#[derive(Deserialize)]
struct RawError {
    #[serde(default)]
    code: serde_json::Value,
}

impl Envelope {
    /// Reads what can be read; a body that is no envelope has no codes.
    fn read(body: &[u8]) -> Self {
        let codes = decode::object::<RawEnvelope>(body)
            .map(|raw| {
                let codes = raw.errors.into_iter().take(16).filter_map(|error| match error.code {
                    serde_json::Value::String(code) => Some(code.to_ascii_uppercase()),
                    _ => None,
                });
                codes.collect()
            })
            .unwrap_or_default();
        Self { codes }
    }

    fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    fn missing_code(&self) -> Option<ErrorCode> {
        if self.has("NAME_UNKNOWN") {
            Some(ErrorCode::NameUnknown)
        } else if self.has("MANIFEST_UNKNOWN") {
            Some(ErrorCode::ManifestUnknown)
        } else if self.has("NOT_FOUND") {
            Some(ErrorCode::NotFound)
        } else {
            None
        }
    }

    /// Whether a registry wrote it: at least one code in the specification's form.
    fn is_registry(&self) -> bool {
        self.codes.iter().any(|code| {
            !code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
        })
    }

    fn is_throttling(&self) -> bool {
        self.has("TOOMANYREQUESTS")
    }
}

/// The last answer, and what is needed to judge it.
pub(super) struct Reply {
    pub(super) answer: Answer,
    pub(super) proof: AuthUsed,
    pub(super) family: RegistryVendor,
    pub(super) challenges: Vec<Challenge>,
    /// Whether it came from the registry itself, and not from where a redirect led.
    pub(super) home: bool,
}

impl Reply {
    pub(super) fn new(answer: Answer, proof: AuthUsed, url: &Url, home: bool) -> Self {
        let asked = answer.headers.get_all(WWW_AUTHENTICATE);
        let challenges = challenge::parse(asked.iter().map(HeaderValue::as_bytes));
        let host = url.host_str().unwrap_or_default();
        let family = RegistryVendor::of(host, challenges.first(), &answer.headers);
        Self { answer, proof, family, challenges, home }
    }

    /// Whether the registry showed in the headers that the answer is its own.
    pub(super) fn is_challenged(&self) -> bool {
        !self.challenges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
    use http::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::super::challenge;
    use super::*;

    /// One answer of a registry to a GET, as D.5 of the facts has it.
    struct Shape {
        host: &'static str,
        status: u16,
        challenge: &'static str,
        headers: &'static [(&'static str, &'static str)],
        body: &'static str,
        proof: AuthUsed,
    }

    impl Default for Shape {
        fn default() -> Self {
            let proof = AuthUsed::Nothing;
            Self { host: "r.example", status: 401, challenge: "", headers: &[], body: "", proof }
        }
    }

    impl Shape {
        fn headers(&self) -> HeaderMap {
            let mut map = HeaderMap::new();
            if !self.challenge.is_empty() {
                map.insert(WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
            }
            for (name, value) in self.headers {
                map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            map
        }

        fn outcome(&self) -> Outcome {
            let headers = self.headers();
            let challenges = challenge::parse([self.challenge.as_bytes()]);
            let family = RegistryVendor::of(self.host, challenges.first(), &headers);
            let status = StatusCode::from_u16(self.status).unwrap();
            refusal(status, &headers, &challenges, self.proof, family, Some(self.body.as_bytes()))
        }
    }

    const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"m"}]}"#;
    const UNAUTHORIZED: &str = r#"{"errors":[{"code":"UNAUTHORIZED","message":"m"}]}"#;
    const MANIFEST_UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m"}]}"#;
    const NAME_UNKNOWN: &str = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"m"}]}"#;
    const HTML: &str = "<html><body>403 Forbidden</body></html>";

    #[rstest]
    #[case::hub_missing_or_private(
        Shape { host: "registry-1.docker.io", body: UNAUTHORIZED, proof: AuthUsed::Token,
            challenge: r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull",error="insufficient_scope""#,
            ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::hub_missing_tag(
        Shape { host: "registry-1.docker.io", status: 404, body: MANIFEST_UNKNOWN, proof: AuthUsed::Token, ..Shape::default() },
        Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) })]
    #[case::google_denied(
        Shape { host: "europe-docker.pkg.dev", status: 403, body: DENIED, proof: AuthUsed::Token, ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::gcr_denied(
        Shape { host: "eu.gcr.io", status: 403, body: DENIED, ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::ecr_no_login(
        Shape { host: "1.dkr.ecr.eu-west-1.amazonaws.com", challenge: r#"Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com""#, ..Shape::default() },
        Outcome::Unauthorized)]
    #[case::ecr_no_repository(
        Shape { host: "1.dkr.ecr.eu-west-1.amazonaws.com", status: 404, body: NAME_UNKNOWN, proof: AuthUsed::Basic, ..Shape::default() },
        Outcome::RepositoryMissing { code: Some(ErrorCode::NameUnknown) })]
    #[case::ecr_denied(
        Shape { host: "1.dkr.ecr.eu-west-1.amazonaws.com", status: 403, body: DENIED, proof: AuthUsed::Basic, ..Shape::default() },
        Outcome::Forbidden)]
    #[case::acr_missing(
        Shape { host: "x.azurecr.io", status: 404, body: MANIFEST_UNKNOWN, proof: AuthUsed::Token, ..Shape::default() },
        Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) })]
    #[case::quay_refuses(
        Shape { host: "quay.io", body: UNAUTHORIZED, proof: AuthUsed::Token, challenge: r#"Bearer realm="https://quay.io/v2/auth",service="quay.io""#, ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::harbor_empty_actions(
        Shape { host: "h.example", body: UNAUTHORIZED, proof: AuthUsed::Token, challenge: r#"Bearer realm="https://h.example/service/token",service="harbor-registry""#, ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::harbor_missing(
        Shape { status: 404, body: r#"{"errors":[{"code":"NOT_FOUND","message":"artifact a/b:c not found"}]}"#, proof: AuthUsed::Token, ..Shape::default() },
        Outcome::TagMissing { code: Some(ErrorCode::NotFound) })]
    #[case::artifactory_forbidden(
        Shape { status: 403, body: DENIED, proof: AuthUsed::Basic, headers: &[("x-jfrog-version", "Artifactory/7")], ..Shape::default() },
        Outcome::MissingOrDenied)]
    #[case::nexus_no_login(
        Shape { challenge: r#"BASIC realm="Sonatype Nexus Repository Manager""#, body: UNAUTHORIZED, ..Shape::default() },
        Outcome::Unauthorized)]
    #[case::distribution_wrong_password(
        Shape { challenge: r#"Basic realm="registry""#, body: UNAUTHORIZED, proof: AuthUsed::Basic, ..Shape::default() },
        Outcome::Unauthorized)]
    #[case::distribution_missing(
        Shape { status: 404, body: MANIFEST_UNKNOWN, ..Shape::default() },
        Outcome::TagMissing { code: Some(ErrorCode::ManifestUnknown) })]
    #[case::zot_missing_repository(
        Shape { status: 404, body: NAME_UNKNOWN, ..Shape::default() },
        Outcome::RepositoryMissing { code: Some(ErrorCode::NameUnknown) })]
    #[case::ingress_without_backend(
        Shape { status: 404, body: "default backend - 404", ..Shape::default() },
        Outcome::TagMissing { code: None })]
    #[case::kubernetes_blocked_source(
        Shape { host: "registry.k8s.io", status: 403, body: HTML, ..Shape::default() },
        Outcome::RefusedByStranger)]
    #[case::proxy_login_page(
        Shape { status: 401, body: HTML, ..Shape::default() },
        Outcome::RefusedByStranger)]
    #[case::proxy_negotiate(
        Shape { status: 401, challenge: "Negotiate", body: HTML, ..Shape::default() },
        Outcome::RefusedByStranger)]
    #[case::acr_firewall(
        Shape { host: "x.azurecr.io", status: 403, proof: AuthUsed::Token,
            body: r#"{"errors":[{"code":"DENIED","message":"client with IP '203.0.113.9' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."}]}"#, ..Shape::default() },
        Outcome::AddressRefused)]
    #[case::ecr_endpoint_policy(
        Shape { host: "1.dkr.ecr.eu-west-1.amazonaws.com", status: 403, proof: AuthUsed::Basic,
            body: r#"{"errors":[{"code":"DENIED","message":"User: arn:aws:sts::1:assumed-role/n is not authorized to perform: ecr:BatchGetImage on resource: r because no VPC endpoint policy allows the ecr:BatchGetImage action"}]}"#, ..Shape::default() },
        Outcome::AddressRefused)]
    #[case::google_perimeter(
        Shape { host: "europe-docker.pkg.dev", status: 403, proof: AuthUsed::Token,
            body: r#"{"errors":[{"code":"DENIED","message":"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x"}]}"#, ..Shape::default() },
        Outcome::AddressRefused)]
    #[case::github_allow_list(
        Shape { host: "ghcr.io", status: 403, proof: AuthUsed::Token,
            body: r#"{"errors":[{"code":"DENIED","message":"Although you appear to have the correct authorization credentials, the organization has an IP allow list enabled, and your IP address is not permitted to access this resource."}]}"#, ..Shape::default() },
        Outcome::AddressRefused)]
    #[case::hub_limit(
        Shape { status: 429, body: r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"m"}]}"#, ..Shape::default() },
        Outcome::Throttled { retry_after: None })]
    #[case::seconds(
        Shape { status: 429, headers: &[("retry-after", "17")], ..Shape::default() },
        Outcome::Throttled { retry_after: Some(Duration::from_secs(17)) })]
    #[case::for_ever(
        Shape { status: 429, headers: &[("retry-after", "18446744073709551615")], ..Shape::default() },
        Outcome::Throttled { retry_after: Some(LONGEST_WAIT) })]
    #[case::date(
        Shape { status: 503, headers: &[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")], ..Shape::default() },
        Outcome::Throttled { retry_after: Some(Duration::from_secs(30)) })]
    #[case::past_date(
        Shape { status: 429, headers: &[("retry-after", "Sun, 06 Nov 1994 08:40:07 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")], ..Shape::default() },
        Outcome::Throttled { retry_after: None })]
    #[case::throttled_as_forbidden(
        Shape { status: 403, body: r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, ..Shape::default() },
        Outcome::Throttled { retry_after: None })]
    #[case::throttled_as_unauthorized(
        Shape { body: r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#, challenge: r#"Basic realm="r""#, proof: AuthUsed::Basic, ..Shape::default() },
        Outcome::Throttled { retry_after: None })]
    #[case::forbidden_for_a_while(
        Shape { status: 403, body: DENIED, headers: &[("retry-after", "17")], ..Shape::default() },
        Outcome::Throttled { retry_after: Some(Duration::from_secs(17)) })]
    #[case::unauthorized_for_a_while(
        Shape { body: UNAUTHORIZED, headers: &[("retry-after", "17")], ..Shape::default() },
        Outcome::Throttled { retry_after: Some(Duration::from_secs(17)) })]
    #[case::broken(Shape { status: 500, ..Shape::default() }, Outcome::RegistryError { status: 500 })]
    #[case::odd(Shape { status: 418, ..Shape::default() }, Outcome::RegistryError { status: 418 })]
    #[case::no_content(Shape { status: 204, ..Shape::default() }, Outcome::Malformed("a success that is none"))]
    fn of_registries(#[case] shape: Shape, #[case] expected: Outcome) {
        assert_eq!(shape.outcome(), expected);
    }

    #[rstest]
    #[case::hub_bad_login(
        "registry-1.docker.io",
        "",
        401,
        r#"{"details":"incorrect username or password"}"#,
        Outcome::Unauthorized
    )]
    #[case::ghcr("ghcr.io", "", 401, UNAUTHORIZED, Outcome::MissingOrDenied)]
    #[case::ghcr_old("ghcr.io", "", 403, DENIED, Outcome::MissingOrDenied)]
    #[case::google("europe-docker.pkg.dev", "", 403, DENIED, Outcome::MissingOrDenied)]
    #[case::gitlab(
        "registry.gitlab.com",
        r#"Bearer realm="https://gitlab.com/jwt/auth",service="container_registry""#,
        403,
        DENIED,
        Outcome::MissingOrDenied
    )]
    #[case::acr("x.azurecr.io", "", 401, UNAUTHORIZED, Outcome::Unauthorized)]
    #[case::quay_bad_login("quay.io", "", 401, r#"{"error":"m"}"#, Outcome::Unauthorized)]
    #[case::plain_forbidden("r.example", "", 403, DENIED, Outcome::Forbidden)]
    #[case::stranger("r.example", "", 403, HTML, Outcome::RefusedByStranger)]
    #[case::throttled("r.example", "", 429, "", Outcome::Throttled { retry_after: None })]
    #[case::throttled_as_forbidden(
        "r.example",
        "",
        403,
        r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#,
        Outcome::Throttled { retry_after: None }
    )]
    #[case::gateway("r.example", "", 403, r#"{"message":"Forbidden"}"#, Outcome::RefusedByStranger)]
    #[case::nothing_said("r.example", "", 401, r#"{"errors":[]}"#, Outcome::RefusedByStranger)]
    #[case::not_text("r.example", "", 401, r#"{"error":{"code":401}}"#, Outcome::RefusedByStranger)]
    #[case::broken("r.example", "", 500, "", Outcome::RegistryError { status: 500 })]
    #[case::gone("r.example", "", 404, HTML, Outcome::RegistryError { status: 404 })]
    #[case::redirect("r.example", "", 302, "", Outcome::Malformed("the token service redirects"))]
    fn of_token_services(
        #[case] host: &str,
        #[case] challenge: &'static str,
        #[case] status: u16,
        #[case] body: &str,
        #[case] expected: Outcome,
    ) {
        let challenges = challenge::parse([challenge.as_bytes()]);
        let headers = HeaderMap::new();
        let family = RegistryVendor::of(host, challenges.first(), &headers);
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(token_refusal(status, &headers, family, body.as_bytes()), expected);
    }

    #[rstest]
    #[case::not_json("<html>")]
    #[case::no_list(r#"{"errors":"MANIFEST_UNKNOWN"}"#)]
    #[case::no_code(r#"{"errors":[{"message":"MANIFEST_UNKNOWN"}]}"#)]
    #[case::other_code(r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#)]
    #[case::number(r#"{"errors":[{"code":404}]}"#)]
    #[case::bare_list(r#"[{"code":"MANIFEST_UNKNOWN"}]"#)]
    #[case::truncated(r#"{"errors":[{"code":"MANIFEST_UNKNOWN""#)]
    fn confirms_nothing(#[case] body: &str) {
        let shape = Shape { status: 404, ..Shape::default() };
        let found = refusal(
            StatusCode::NOT_FOUND,
            &shape.headers(),
            &[],
            AuthUsed::Nothing,
            RegistryVendor::Plain,
            Some(body.as_bytes()),
        );
        assert_eq!(found, Outcome::TagMissing { code: None });
    }

    #[test]
    fn a_head_confirms_nothing() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("1"))]);
        let found = refusal(
            StatusCode::NOT_FOUND,
            &headers,
            &[],
            AuthUsed::Token,
            RegistryVendor::Plain,
            None,
        );
        assert_eq!(found, Outcome::TagMissing { code: None });
    }

    #[test]
    fn a_token_service_that_refuses_the_address_proves_nothing_about_nodes() {
        let body = br#"{"errors":[{"code":"DENIED","message":"client with IP '203.0.113.9' is not allowed access"}]}"#;
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let outcome = token_refusal(status, &HeaderMap::new(), RegistryVendor::Plain, body);
            assert_eq!(outcome, Outcome::AddressRefused);
        }
    }
}
