//! Names that a registry lists: the tags of a repository, its repositories. For hints only, page by
//! page, within bounds. Where the next page is, a `Link` header says (RFC 8288).

use http::{Method, StatusCode};
use serde::Deserialize;
use url::Url;

use super::decode;
use super::metrics::Kind;
use super::options::StepLimits;
use super::session::Session;
use crate::image::ImageReference;
use crate::pull::{Listing, Outcome, TagList};

/// The most names that are kept.
const MAX_NAMES: usize = 20_000;

#[derive(Deserialize)]
struct Page {
    #[serde(default, alias = "repositories")]
    tags: Option<Vec<String>>,
}

/// Reads the names; what does not parse as a tag is left out of tags.
pub(super) async fn list(
    session: &Session<'_>,
    repository: &ImageReference,
    listing: Listing,
    limits: &StepLimits,
) -> Result<TagList, Outcome> {
    let mut url = match listing {
        Listing::Tags => session.url("tags/list")?,
        Listing::Repositories => session.root("_catalog")?,
    };
    url.query_pairs_mut().append_pair("n", "1000");
    let mut list = TagList { tags: Vec::new(), truncated: false };
    for _ in 0..limits.tag_pages {
        let reply =
            session.request(Method::GET, url.clone(), "application/json", Kind::Tags).await?;
        if reply.answer.status != StatusCode::OK {
            return Err(session.refuse(reply, true).await);
        }
        let next = reply
            .answer
            .headers
            .get(http::header::LINK)
            .and_then(|link| next_page(&url, link.as_bytes()));
        let body = reply.answer.body(limits.tag_page_bytes).await?;
        let page: Page =
            decode::object(&body).ok_or(Outcome::Malformed("the list of names cannot be read"))?;
        for name in page.tags.unwrap_or_default() {
            if list.tags.len() >= MAX_NAMES {
                list.truncated = true;
                return Ok(list);
            }
            if listing == Listing::Repositories || repository.with_tag(&name).is_ok() {
                list.tags.push(name.into());
            }
        }
        match next {
            Some(next) => url = next,
            None => return Ok(list),
        }
    }
    list.truncated = true;
    Ok(list)
}

/// The longest header that is read, in bytes.
const MAX_HEADER: usize = 8 * 1024;

/// The address behind `rel="next"`, if it is on the same host as the page itself: a page that
/// leads elsewhere is not followed.
pub fn next_page(page: &Url, header: &[u8]) -> Option<Url> {
    if header.len() > MAX_HEADER {
        return None;
    }
    let mut rest = std::str::from_utf8(header).ok()?;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let (target, behind) = rest.split_once('>')?;
        let end = behind.find('<').unwrap_or(behind.len());
        let is_next = behind[..end].split(';').any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else { return false };
            let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel")
                && value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            let next = page.join(target).ok()?;
            let same_place = next.origin() == page.origin() && next.username().is_empty();
            return (same_place && next != *page).then_some(next);
        }
        rest = &behind[end..];
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::relative(
        r#"</v2/a/tags/list?last=b&n=2>; rel="next""#,
        Some("https://r.example/v2/a/tags/list?last=b&n=2")
    )]
    #[case::absolute(
        "<https://r.example/v2/a/tags/list?last=c>; rel=next",
        Some("https://r.example/v2/a/tags/list?last=c")
    )]
    #[case::second(
        r#"</p>; rel="prev", </v2/a/tags/list?last=d>; rel="next""#,
        Some("https://r.example/v2/a/tags/list?last=d")
    )]
    #[case::elsewhere(r#"<https://evil.example/v2/a/tags/list>; rel="next""#, None)]
    #[case::downgrade(r#"<http://r.example/v2/a/tags/list?last=c>; rel="next""#, None)]
    #[case::other_port(r#"<https://r.example:8443/v2/a/tags/list>; rel="next""#, None)]
    #[case::itself(r#"</v2/a/tags/list?n=2>; rel="next""#, None)]
    #[case::no_relation("</v2/a/tags/list?last=b>", None)]
    #[case::unclosed(r#"</v2/a/tags/list?last=b; rel="next""#, None)]
    #[case::empty("", None)]
    fn finds_the_next_page(#[case] header: &str, #[case] expected: Option<&str>) {
        let page = Url::parse("https://r.example/v2/a/tags/list?n=2").unwrap();
        let next = next_page(&page, header.as_bytes());
        assert_eq!(next.as_ref().map(Url::as_str), expected);
    }
}
