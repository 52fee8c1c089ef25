//! The baseline: faults that were there before, which are reported and fail no check.
//!
//! A fault is known by its object, container, image and cause: files may be moved and lines may
//! change. What may pass by itself is never written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::cli::own_file::{self, OwnDocument};
use crate::cli::print_message;
use crate::policy::{API_VERSION, Decision};
use crate::pull::{Cause, Verdict};
use crate::report::{CheckReport, ImageEntry};

const KIND: &str = "CheckBaseline";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BaselineFile {
    api_version: String,
    kind: String,
    faults: Vec<Fault>,
}

/// One fault; as often in the file as it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Fault {
    object: String,
    container: String,
    image: String,
    cause: String,
}

impl Fault {
    /// The fault of an entry, if it has one that lasts.
    fn of(entry: &ImageEntry) -> Option<Self> {
        let finding = &entry.finding;
        let denied = finding.decision == Decision::Deny;
        let lasts = !finding.cause.is_some_and(Cause::is_transient);
        let is_fault = denied || (finding.verdict != Verdict::Works && !finding.skipped && lasts);
        is_fault.then(|| Self {
            object: entry.object_title(),
            container: entry.container_words(),
            image: entry.image.as_ref().into(),
            cause: entry.rule().into(),
        })
    }
}

/// Marks what is known, and says how much of the baseline is gone.
pub(super) fn compare(report: &mut CheckReport, path: &Path) -> anyhow::Result<()> {
    let mut known: BTreeMap<Fault, usize> = BTreeMap::new();
    for fault in own_file::read::<BaselineFile>(path)?.faults {
        *known.entry(fault).or_default() += 1;
    }
    report.has_baseline = true;
    for entry in &mut report.images {
        let left = Fault::of(entry).and_then(|fault| known.get_mut(&fault));
        if let Some(left) = left.filter(|left| **left > 0) {
            *left -= 1;
            entry.known = true;
        }
    }
    let gone: usize = known.values().sum();
    if gone > 0 {
        print_message(format_args!(
            "{gone} of the faults in the baseline are gone: --write-baseline takes them out"
        ));
    }
    Ok(())
}

/// Writes the faults of a report, and marks them as known.
pub(super) fn write(report: &mut CheckReport, path: &Path) -> anyhow::Result<()> {
    let mut faults = Vec::new();
    report.has_baseline = true;
    for entry in &mut report.images {
        if let Some(fault) = Fault::of(entry) {
            entry.known = true;
            faults.push(fault);
        }
    }
    faults.sort();
    let count = faults.len();
    let file = BaselineFile { api_version: API_VERSION.into(), kind: KIND.into(), faults };
    let text = serde_json::to_string_pretty(&file)? + "\n";
    let shown = path.display();
    fs::write(path, text).with_context(|| format!("failed to write the baseline {shown}"))?;
    print_message(format_args!("wrote {count} known faults to {shown}"));
    Ok(())
}

impl OwnDocument for BaselineFile {
    const NAME: &str = "baseline";
    const WRITTEN_BY: &str = "--write-baseline";
    const KIND: (&str, &str) = ("a", KIND);

    fn says(&self) -> (&str, &str) {
        (&self.api_version, &self.kind)
    }
}
