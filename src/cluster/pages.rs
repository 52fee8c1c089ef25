//! A whole list, page by page, each in the same bounded buffer.
//!
//! A page that is too large to be taken in is asked for again with fewer objects, so that a few
//! very large objects cost requests and never memory.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt};
use kube::api::ListParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::client::Connection;
use super::error::{ApiError, WatchError};

/// The pages of one list.
pub(super) struct Pages<'a> {
    connection: &'a Connection,
    path: Request,
    params: ListParams,
    metadata_only: bool,
    tuning: WatchTuning,
    /// The page itself, and then the next: one buffer for the whole list.
    text: Vec<u8>,
    ended: bool,
    version: Option<String>,
}

impl<'a> Pages<'a> {
    /// Of the objects in this collection, those that the field selector selects.
    pub(super) fn of(
        connection: &'a Connection,
        path: &str,
        fields: Option<String>,
        tuning: WatchTuning,
    ) -> Self {
        let mut params = ListParams::default().limit(tuning.page.max(1));
        params.field_selector = fields;
        Self {
            connection,
            path: Request::new(path),
            params,
            metadata_only: false,
            tuning,
            text: Vec::new(),
            ended: false,
            version: None,
        }
    }

    /// Asks for nothing but the objects' metadata.
    pub(super) fn metadata_only(mut self, metadata_only: bool) -> Self {
        self.metadata_only = metadata_only;
        self
    }

    /// The objects of the next page, undecoded; nothing after the last one.
    ///
    /// # Errors
    ///
    /// If the API server refuses, is late, breaks off, or sends something else than a list.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<&RawValue>>, WatchError> {
        if self.ended {
            return Ok(None);
        }
        let time = self.tuning.page_time;
        timeout(time, self.read()).await.map_err(|_late| WatchError::Late)??;
        let page: Page<'_> = serde_json::from_slice(&self.text).map_err(WatchError::Decode)?;
        let next = page.metadata.continue_token.filter(|token| !token.is_empty());
        self.ended = next.is_none();
        self.params.continue_token = next.map(Cow::into_owned);
        let version = page.metadata.resource_version.filter(|version| !version.is_empty());
        self.version = version.map(Cow::into_owned);
        Ok(Some(page.items.unwrap_or_default()))
    }

    /// The version that the list stands at, once it was read to its end.
    pub(super) fn version(self) -> Result<String, WatchError> {
        self.version.ok_or(WatchError::NoVersion)
    }

    /// Reads the page into the buffer, asking for fewer objects until it fits.
    async fn read(&mut self) -> Result<(), WatchError> {
        loop {
            let request = if self.metadata_only {
                self.path.list_metadata(&self.params)
            } else {
                self.path.list(&self.params)
            };
            let request = request.map_err(|error| WatchError::Request(Box::new(error)))?;
            let opened = self.connection.client().request_stream(request).await;
            let stream = opened.map_err(|error| WatchError::Api(ApiError::of(error)))?;
            if read_whole(stream, &mut self.text, self.tuning.longest_page).await? {
                return Ok(());
            }
            let asked = self.params.limit.unwrap_or(1);
            if asked <= 1 {
                return Err(WatchError::TooLong);
            }
            self.params.limit = Some((asked / 4).max(1));
        }
    }
}

/// Reads an answer into the buffer; `false` if it is longer than `most`.
async fn read_whole(
    stream: impl AsyncBufRead,
    text: &mut Vec<u8>,
    most: usize,
) -> Result<bool, WatchError> {
    let mut stream = pin!(stream);
    text.clear();
    loop {
        let piece = stream.fill_buf().await.map_err(WatchError::Read)?;
        if piece.is_empty() {
            return Ok(true);
        }
        if text.len() + piece.len() > most {
            return Ok(false);
        }
        text.extend_from_slice(piece);
        let taken = piece.len();
        stream.consume_unpin(taken);
    }
}

/// Times and sizes of watches.
#[derive(Debug, Clone, Copy)]
pub struct WatchTuning {
    /// Objects in one page of a list.
    pub page: u32,
    /// Bytes of one page; of a larger one fewer objects are asked for.
    pub longest_page: usize,
    /// How long one page may take.
    pub page_time: Duration,
    /// How long a watch runs before it is renewed; a quarter is added at random, so that not all
    /// are renewed at once.
    pub watch_time: Duration,
    /// After a failure, the first pause; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for WatchTuning {
    fn default() -> Self {
        Self {
            page: 500,
            longest_page: 32 << 20,
            page_time: Duration::from_secs(60),
            watch_time: Duration::from_secs(180),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// One page of a list, its items still undecoded: one that does not decode spoils no other.
#[derive(Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow, default)]
    pub(super) metadata: PageMeta<'a>,
    #[serde(borrow)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

/// Where a page stands in its list.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageMeta<'a> {
    #[serde(borrow)]
    pub(super) resource_version: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "continue")]
    pub(super) continue_token: Option<Cow<'a, str>>,
}

/// One line of a watch.
#[derive(Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// The uid in any object.
#[derive(Deserialize)]
pub(super) struct Identified<'a> {
    #[serde(borrow)]
    pub(super) metadata: UidMeta<'a>,
}

/// The uid in an object's metadata.
#[derive(Deserialize)]
pub(super) struct UidMeta<'a> {
    #[serde(borrow)]
    pub(super) uid: Cow<'a, str>,
}

/// The version in any object, bookmarks too.
#[derive(Deserialize)]
pub(super) struct Versioned<'a> {
    #[serde(borrow)]
    pub(super) metadata: VersionMeta<'a>,
}

/// The version in an object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionMeta<'a> {
    #[serde(borrow)]
    pub(super) resource_version: Cow<'a, str>,
}

/// A `Status`, as in a watch's `ERROR` line.
#[derive(Deserialize, Default)]
pub(super) struct StatusLine {
    #[serde(default)]
    pub(super) code: u16,
}
