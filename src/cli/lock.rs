//! `pullgate lock`: which digest each tag stands for, written down, so that a check can tell when one
//! has moved.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::check::{CheckOptions, RESULT_HEADING, SubjectFlags, judged};
use super::lock_file::{LOCK_FILE, LockFile};
use super::print::{print, print_message};
use super::{CANNOT_JUDGE, exit_code};
use crate::text::{clean, count};

/// Images that could not be locked and are named one by one.
const MAX_TOLD: usize = 20;

/// What the long help says beside the flags.
const ABOUT: &str = "\
Record the digest of each tag in a lock file, and the platforms that the image is built for.

pullgate check --locked then fails where a tag has moved, and for images that are not in the file. \
An image whose verdict is \"cannot tell\" keeps its entry; one that is in none of the files any more loses \
it.

Exit codes: 0 every image is locked, 1 one is not, 2 something could not be read; the file is written \
anyway.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate lock -f k8s/
  pullgate check -f k8s/ --locked";

/// Flags of `pullgate lock`.
#[derive(Debug, Clone, Args)]
#[command(about = "Record the digest of each tag", long_about = ABOUT, after_help = EXAMPLES)]
pub(super) struct LockFlags {
    #[command(flatten)]
    subjects: SubjectFlags,

    /// The file that is written
    #[arg(long, help_heading = RESULT_HEADING, value_name = "FILE", default_value = LOCK_FILE)]
    lock_file: PathBuf,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: LockFlags) -> ExitCode {
    exit_code(lock(&flags).await)
}

async fn lock(flags: &LockFlags) -> anyhow::Result<ExitCode> {
    let path = &flags.lock_file;
    let before = if path.exists() { LockFile::read(path)? } else { LockFile::default() };
    let report =
        judged(&flags.subjects, CheckOptions { platforms: true, ..CheckOptions::default() })
            .await?;
    let (after, left_out) = LockFile::of(&report, &before);
    let shown = clean(&path.display().to_string());
    fs::write(path, after.to_text()?)
        .with_context(|| format!("failed to write the lock file {shown}"))?;
    print(&after.changes_since(&before)).context("failed to write the answer")?;
    for words in left_out.iter().take(MAX_TOLD) {
        print_message(words);
    }
    if left_out.len() > MAX_TOLD {
        print_message(format_args!("and {} more are not locked", left_out.len() - MAX_TOLD));
    }
    print_message(format_args!("{shown}: {}", count(after.len(), "image")));
    Ok(if report.unread.is_empty() {
        ExitCode::from(u8::from(!left_out.is_empty()))
    } else {
        ExitCode::from(CANNOT_JUDGE)
    })
}
