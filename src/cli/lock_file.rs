//! The file that says which digest each image had.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::own_file::{self, OwnDocument};
use crate::image::Digest;
use crate::policy::API_VERSION;
use crate::pull::Verdict;
use crate::report::{CheckReport, LockFault};
use crate::text::clean;

const KIND: &str = "ImageLock";

/// The file that is written and read if none is named.
pub(super) const LOCK_FILE: &str = "pullgate.lock";

/// What is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockDocument {
    api_version: String,
    kind: String,
    images: Vec<LockedImage>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LockedImage {
    /// Its canonical reference.
    image: String,
    digest: String,
    #[serde(default)]
    platforms: Vec<String>,
}

impl OwnDocument for LockDocument {
    const NAME: &str = "lock file";
    const WRITTEN_BY: &str = "pullgate lock";
    const KIND: (&str, &str) = ("an", KIND);

    fn says(&self) -> (&str, &str) {
        (&self.api_version, &self.kind)
    }
}

/// A lock file: images by their canonical reference.
#[derive(Debug, Default)]
pub(super) struct LockFile {
    images: BTreeMap<String, LockedImage>,
}

impl LockFile {
    /// How many images it has.
    pub(super) fn len(&self) -> usize {
        self.images.len()
    }

    /// Reads a lock file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let document: LockDocument = own_file::read(path)?;
        let shown = path.display();
        if let Some(odd) = document.images.iter().find(|one| Digest::parse(&one.digest).is_err()) {
            bail!("{shown}: {} is no digest", clean(&odd.digest));
        }
        let images = document.images.into_iter().map(|one| (one.image.clone(), one)).collect();
        Ok(Self { images })
    }

    /// What a report says, and in words what is not locked.
    pub(super) fn of(report: &CheckReport, before: &Self) -> (Self, Vec<String>) {
        let mut lock = Self::default();
        let mut left_out = Vec::new();
        for entry in &report.images {
            let finding = &entry.finding;
            let Some(image) = finding.reference.clone() else {
                left_out.push(format!("not locked: {}", entry.line_with_place()));
                continue;
            };
            if lock.images.contains_key(&image) {
                continue;
            }
            let found = match (finding.verdict, &finding.pull.digest) {
                (Verdict::Works, Some(digest)) => {
                    let platforms = finding.pull.platforms.iter();
                    let platforms = platforms.map(|one| clean(&one.to_string())).collect();
                    Some(LockedImage {
                        image: image.clone(),
                        digest: digest.to_string(),
                        platforms,
                    })
                }
                (Verdict::Fails, _) => None,
                (Verdict::Works | Verdict::CannotTell, _) => before.images.get(&image).cloned(),
            };
            match found {
                Some(found) => drop(lock.images.insert(image, found)),
                None if finding.skipped => {}
                None => left_out.push(format!("not locked: {}", entry.line_with_place())),
            }
        }
        left_out.dedup();
        (lock, left_out)
    }

    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        let document = LockDocument {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            images: self.images.values().cloned().collect(),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// A line for each image that is new, gone, or another one now.
    pub(super) fn changes_since(&self, before: &Self) -> String {
        let mut text = String::new();
        for (image, now) in &self.images {
            let _ = match before.images.get(image) {
                None => writeln!(text, "+ {} {}", clean(image), now.digest),
                Some(then) if then.digest != now.digest => {
                    writeln!(text, "~ {} {} -> {}", clean(image), then.digest, now.digest)
                }
                Some(_) => Ok(()),
            };
        }
        for (image, then) in &before.images {
            if !self.images.contains_key(image) {
                let _ = writeln!(text, "- {} {}", clean(image), then.digest);
            }
        }
        text
    }

    /// Marks what is otherwise in the file.
    pub(super) fn compare(&self, report: &mut CheckReport) {
        for entry in &mut report.images {
            let finding = &entry.finding;
            let (Verdict::Works, Some(image)) = (finding.verdict, &finding.reference) else {
                continue;
            };
            entry.lock = match (self.images.get(image), &finding.pull.digest) {
                (None, _) => Some(LockFault::Missing),
                (Some(locked), Some(digest)) if locked.digest != digest.as_str() => {
                    Some(LockFault::Moved { locked: locked.digest.as_str().into() })
                }
                (Some(_), _) => None,
            };
        }
    }
}
