//! Text of JSON that is borrowed from the bytes where it can be.

use std::borrow::Cow;

use serde::Deserialize;

/// Text without a copy where JSON has no escape in it. Go writes `<`, `>` and `&` as `\u003c` and so
/// on, so plain `&str` would not do.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn boxed(&self) -> Box<str> {
        self.0.as_ref().into()
    }
}
