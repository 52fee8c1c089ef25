//! Where an answer sends who asked.

use http::header::LOCATION;
use url::Url;

use super::http::Answer;
use crate::pull::Outcome;

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
