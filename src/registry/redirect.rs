//! Where an answer sends who asked, and what is heard there.

use http::header::LOCATION;
use url::Url;

use super::http::Answer;
use crate::node_config::Endpoint;
use crate::pull::Outcome;

/// Whether an address is the registry's own, where its login may be sent: the same host and port,
/// by the same scheme or, where it was asked in the clear, by TLS.
pub(super) fn is_home(endpoint: &Endpoint, url: &Url) -> bool {
    let own = &endpoint.url;
    let fell_back = endpoint.falls_back_to_http && own.port() == url.port();
    let upgraded = own.scheme() == "http" && url.scheme() == "https" && own.port() == url.port();
    let same_place =
        own.scheme() == url.scheme() && own.port_or_known_default() == url.port_or_known_default();
    own.host() == url.host() && (same_place || fell_back || upgraded)
}

/// What a host says to which a redirect led without the login. Runtimes answer the challenge of
/// whatever host it is with the pod's login (containerd's `authorizer.go`, `AddResponses`), so a
/// refusal there, or a 404 that hides what one may not see, is not what nodes get.
pub(super) fn without_login(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::TagMissing { .. } | Outcome::RepositoryMissing { .. } => Outcome::RedirectRefused,
        outcome if outcome.is_refusal() => Outcome::RedirectRefused,
        outcome => outcome,
    }
}

/// The address of a redirect; an error for one that is not followed.
pub(super) fn redirect_target(answer: &Answer, from: &Url) -> Result<Option<Url>, Outcome> {
    let moved = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    if !moved {
        return Ok(None);
    }
    let Some(location) = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let mut target =
        from.join(location).map_err(|_| Outcome::Malformed("a redirect to no address"))?;
    if from.scheme() == "https" && target.scheme() != "https" {
        return Err(Outcome::Malformed("a redirect from https to something else"));
    }
    if !target.username().is_empty() || target.password().is_some() {
        return Err(Outcome::Malformed("a redirect with credentials in the address"));
    }
    target.set_fragment(None);
    Ok(Some(target))
}

/// Makes the same address one of plain HTTP.
pub(super) fn to_plain(url: &mut Url) -> Result<(), Outcome> {
    url.set_scheme("http").map_err(|()| Outcome::Malformed("an address that cannot be asked"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same("https://r.example/v2", "https://r.example/x", true)]
    #[case::named_port("https://r.example/v2", "https://r.example:443/x", true)]
    #[case::other_host("https://r.example/v2", "https://cdn.r.example/x", false)]
    #[case::other_port("https://r.example/v2", "https://r.example:8443/x", false)]
    #[case::upgraded("http://r.example/v2", "https://r.example/x", true)]
    #[case::upgraded_there("http://r.example:5000/v2", "https://r.example:5000/x", true)]
    #[case::upgraded_elsewhere("http://r.example:5000/v2", "https://r.example/x", false)]
    #[case::in_the_clear("https://r.example/v2", "http://r.example/x", false)]
    #[case::in_the_clear_there("https://r.example:5000/v2", "http://r.example:5000/x", false)]
    fn the_login_stays_at_home(#[case] own: &str, #[case] url: &str, #[case] home: bool) {
        let endpoint = Endpoint::at(own.parse().unwrap());
        assert_eq!(is_home(&endpoint, &url.parse().unwrap()), home);
    }
}
