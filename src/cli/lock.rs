//! `pullgate lock`: which digest each tag stands for, written down, so that a check can tell when one
//! has moved.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use super::CANNOT_JUDGE;
use super::check::{SubjectFlags, Wish, judged};
use super::output::{CheckReport, LockFault, count, print, say};
use crate::image::Digest;
use crate::policy::API_VERSION;
use crate::pull::Verdict;
use crate::text::clean;

const KIND: &str = "ImageLock";
/// The file that is written and read if none is named.
pub(super) const LOCK_FILE: &str = "pullgate.lock";
/// Bytes of a lock file that is read.
const MAX_BYTES: u64 = 64 << 20;
/// Images that could not be locked and are named one by one.
const MAX_TOLD: usize = 20;

/// What the long help says beside the flags.
const ABOUT: &str = "\
Writes a lock file: for every image that can be pulled the digest that its tag stands for now, and the \
platforms that it is built for.

`pullgate check --locked` then fails where a tag has moved, and for images that are not in the file. \
An image of which it cannot be told whether it works keeps the entry that it had; one that is in none \
of the files any more loses it.

Exit codes: 0 every image is locked, 1 one is not, 2 something could not be read; the file is written \
all the same.";

/// Flags of `pullgate lock`.
#[derive(Debug, Clone, Args)]
#[command(about = "Write down which digest each tag stands for", long_about = ABOUT)]
pub(super) struct LockFlags {
    #[command(flatten)]
    subjects: SubjectFlags,

    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = LOCK_FILE)]
    lock_file: PathBuf,
}

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

/// A lock file: images by their canonical reference.
#[derive(Debug, Default)]
pub(super) struct LockFile {
    images: BTreeMap<String, LockedImage>,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: LockFlags) -> ExitCode {
    match lock(&flags).await {
        Ok(code) => code,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(CANNOT_JUDGE)
        }
    }
}

async fn lock(flags: &LockFlags) -> anyhow::Result<ExitCode> {
    let path = &flags.lock_file;
    let before = if path.exists() { LockFile::read(path)? } else { LockFile::default() };
    let report = judged(&flags.subjects, Wish { platforms: true, ..Wish::default() }).await?;
    let (after, left_out) = LockFile::of(&report, &before);
    let shown = clean(&path.display().to_string());
    fs::write(path, after.to_text()?)
        .with_context(|| format!("failed to write the lock file {shown}"))?;
    print(&after.changes_since(&before)).context("failed to write the answer")?;
    for words in left_out.iter().take(MAX_TOLD) {
        say(words);
    }
    if left_out.len() > MAX_TOLD {
        say(format_args!("and {} more are not locked", left_out.len() - MAX_TOLD));
    }
    say(format_args!("{shown}: {}", count(after.images.len(), "image")));
    Ok(if report.unread.is_empty() {
        ExitCode::from(u8::from(!left_out.is_empty()))
    } else {
        ExitCode::from(CANNOT_JUDGE)
    })
}

impl LockFile {
    /// Reads a lock file.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = fs::metadata(path).map(|about| about.len());
        let size = size.with_context(|| {
            format!("failed to read the lock file {shown} (`pullgate lock` writes one)")
        })?;
        if size > MAX_BYTES {
            bail!("the lock file {shown} is larger than 64 MiB");
        }
        let text =
            fs::read(path).with_context(|| format!("failed to read the lock file {shown}"))?;
        let document: LockDocument =
            serde_json::from_slice(&text).with_context(|| format!("{shown} is no lock file"))?;
        if (document.api_version.as_str(), document.kind.as_str()) != (API_VERSION, KIND) {
            bail!("{shown} is no lock file: it is not an {KIND} of {API_VERSION}");
        }
        if let Some(odd) = document.images.iter().find(|one| Digest::parse(&one.digest).is_err()) {
            bail!("{shown}: `{}` is no digest", clean(&odd.digest));
        }
        let images = document.images.into_iter().map(|one| (one.image.clone(), one)).collect();
        Ok(Self { images })
    }

    /// What a report says, and in words what is not locked.
    fn of(report: &CheckReport, before: &Self) -> (Self, Vec<String>) {
        let mut lock = Self::default();
        let mut left_out = Vec::new();
        for entry in &report.images {
            let finding = &entry.finding;
            let Some(image) = finding.reference.clone() else {
                left_out.push(format!("not locked: {}", entry.line()));
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
                None => left_out.push(format!("not locked: {}", entry.line())),
            }
        }
        left_out.dedup();
        (lock, left_out)
    }

    fn to_text(&self) -> serde_json::Result<String> {
        let document = LockDocument {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            images: self.images.values().cloned().collect(),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// A line for each image that is new, gone, or another one now.
    fn changes_since(&self, before: &Self) -> String {
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
