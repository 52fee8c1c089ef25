//! The tags of a repository, for hints only: page by page, within bounds.

use http::{Method, StatusCode};
use serde::Deserialize;

use super::decode;
use super::link;
use super::metrics::Kind;
use super::options::StepLimits;
use super::session::Session;
use crate::image::ImageReference;
use crate::pull::{Outcome, TagList};

/// The most tags that are kept.
const MAX_TAGS: usize = 20_000;

#[derive(Deserialize)]
struct RawTags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// Reads the tags; what does not parse as a tag is left out.
pub(super) async fn list(
    session: &Session<'_>,
    repository: &ImageReference,
    limits: &StepLimits,
) -> Result<TagList, Outcome> {
    let mut url = session.url("tags/list")?;
    url.query_pairs_mut().append_pair("n", "1000");
    let mut list = TagList { tags: Vec::new(), truncated: false };
    for _ in 0..limits.tag_pages {
        let reply = session.ask(Method::GET, url.clone(), "application/json", Kind::Tags).await?;
        if reply.answer.status != StatusCode::OK {
            return Err(session.refuse(reply, true).await);
        }
        let next = reply
            .answer
            .headers
            .get(http::header::LINK)
            .and_then(|link| link::next_page(&url, link.as_bytes()));
        let body = reply.answer.body(limits.tag_page_bytes).await?;
        let page: RawTags =
            decode::object(&body).ok_or(Outcome::Malformed("the list of tags cannot be read"))?;
        for tag in page.tags.unwrap_or_default() {
            if list.tags.len() >= MAX_TAGS {
                list.truncated = true;
                return Ok(list);
            }
            if repository.with_tag(&tag).is_ok() {
                list.tags.push(tag.into());
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
