//! The repositories of a registry, for hints only: page by page, within bounds. Most registries
//! refuse, or have none.
//!
//! <https://distribution.github.io/distribution/spec/api/#listing-repositories>

use http::{Method, StatusCode};
use serde::Deserialize;

use super::decode;
use super::link;
use super::metrics::Kind;
use super::options::StepLimits;
use super::session::Session;
use crate::pull::{Outcome, TagList};

/// The most repositories that are kept.
const MAX_REPOSITORIES: usize = 10_000;

#[derive(Deserialize)]
struct RawCatalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

/// Reads their names, as they come.
pub(super) async fn list(session: &Session<'_>, limits: &StepLimits) -> Result<TagList, Outcome> {
    let mut url = session.root("_catalog")?;
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
        let page: RawCatalog =
            decode::object(&body).ok_or(Outcome::Malformed("the catalogue cannot be read"))?;
        for name in page.repositories.unwrap_or_default() {
            if list.tags.len() >= MAX_REPOSITORIES {
                list.truncated = true;
                return Ok(list);
            }
            list.tags.push(name.into());
        }
        match next {
            Some(next) => url = next,
            None => return Ok(list),
        }
    }
    list.truncated = true;
    Ok(list)
}
