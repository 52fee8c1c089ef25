//! Names that a registry lists: the tags of a repository, its repositories. For hints only, page by
//! page, within bounds.

use http::{Method, StatusCode};
use serde::Deserialize;

use super::decode;
use super::link;
use super::metrics::Kind;
use super::options::StepLimits;
use super::session::Session;
use crate::image::ImageReference;
use crate::pull::{Outcome, TagList};

/// The most names that are kept.
const MAX_NAMES: usize = 20_000;

/// Which names are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// The tags of the repository.
    Tags,
    /// The repositories of the registry, which most registries keep to themselves.
    /// <https://distribution.github.io/distribution/spec/api/#listing-repositories>
    Repositories,
}

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
            .and_then(|link| link::next_page(&url, link.as_bytes()));
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
