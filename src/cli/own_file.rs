//! Files that Pullgate wrote itself and reads again: a baseline, a lock file.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

use crate::policy::API_VERSION;

/// Larger ones are not read.
const MAX_BYTES: u64 = 64 << 20;

/// A document with the two fields that say what it is.
pub(super) trait OwnDocument: DeserializeOwned {
    /// What people call it.
    const NAME: &str;
    /// What writes one.
    const WRITTEN_BY: &str;
    /// Its kind, with the article before it.
    const KIND: (&str, &str);
    /// Its `apiVersion` and `kind`.
    fn says(&self) -> (&str, &str);
}

/// Reads one.
pub(super) fn read<D: OwnDocument>(path: &Path) -> anyhow::Result<D> {
    let (shown, name, (article, kind)) = (path.display(), D::NAME, D::KIND);
    let size = fs::metadata(path).map(|about| about.len());
    let size = size.with_context(|| {
        format!("failed to read the {name} {shown} ({} writes one)", D::WRITTEN_BY)
    })?;
    if size > MAX_BYTES {
        bail!("the {name} {shown} is larger than 64 MiB");
    }
    let text = fs::read(path).with_context(|| format!("failed to read the {name} {shown}"))?;
    let document: D =
        serde_json::from_slice(&text).with_context(|| format!("{shown} is no {name}"))?;
    if document.says() != (API_VERSION, kind) {
        bail!("{shown} is no {name}: it is not {article} {kind} of {API_VERSION}");
    }
    Ok(document)
}
