//! The slim shapes of what the API server sends: only what is used, borrowed from the bytes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

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
