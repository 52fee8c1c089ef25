//! `pullgate pin`: puts the digest of each image behind its tag in the files, and leaves everything
//! else in them as it is.
//!
//! A name is replaced only where it stands as it was read, at its own place: what comes from an
//! anchor, a block or several fields is named and left.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use super::check::{CheckOptions, RESULT_HEADING, SubjectFlags, judged};
use super::print::{print, print_message};
use super::{CANNOT_JUDGE, exit_code};
use crate::image::ImageReference;
use crate::pull::Verdict;
use crate::report::{CheckReport, ImageEntry};
use crate::text::{clean, count};
use crate::yaml::{Edit, Edited, edit};

/// Images that could not be pinned and are named one by one.
const MAX_TOLD: usize = 20;

/// What the long help says beside the flags.
const ABOUT: &str = "\
Add digests to the tags in manifests: nginx:1.27 becomes nginx:1.27@sha256:…, which is what the tag stands \
for now. Comments and formatting stay as they are; images that have a digest, too.

Without --write it only says what would be changed.

Exit codes: 0 every image is pinned, 1 one is not, since it cannot be pulled or does not stand in the \
file as it was read, 2 something could not be read or written.";

/// What one types.
const EXAMPLES: &str = "\
Examples:
  pullgate pin -f k8s/            # show what would change
  pullgate pin -f k8s/ --write";

/// Flags of `pullgate pin`.
#[derive(Debug, Clone, Args)]
#[command(
    about = "Add digests to the tags in manifests",
    long_about = ABOUT,
    after_help = EXAMPLES,
    mut_arg("image", |image| image.hide(true))
)]
pub(super) struct PinFlags {
    #[command(flatten)]
    subjects: SubjectFlags,

    /// Change the files
    #[arg(long, help_heading = RESULT_HEADING)]
    write: bool,
}

/// Runs it. The exit code is that of the whole command.
pub(super) async fn run(flags: PinFlags) -> ExitCode {
    exit_code(pin(&flags).await)
}

async fn pin(flags: &PinFlags) -> anyhow::Result<ExitCode> {
    let named = flags.subjects.filename.iter().chain(&flags.subjects.images_from);
    if !flags.subjects.image.is_empty() || named.into_iter().any(|path| path.as_os_str() == "-") {
        bail!("images are pinned in files: give files or directories with -f or --images-from");
    }
    let report = judged(&flags.subjects, CheckOptions::default()).await?;
    let mut plan = Plan::of(&report);
    let mut told = String::new();
    for (file, edits) in std::mem::take(&mut plan.files) {
        let path = Path::new(&*file);
        let shown = clean(&file);
        let content = fs::read(path).with_context(|| format!("failed to read {shown}"))?;
        let Edited { content, done, undone } = edit(content, &edits);
        for edit in &done {
            let Edit { at, image, pinned } = edit;
            let _ = writeln!(told, "{shown}:{}: {} -> {}", at.line, clean(image), clean(pinned));
        }
        plan.left.extend(undone.iter().map(|Edit { at, image, .. }| {
            let image = clean(image);
            format!("{shown}:{}: {image} does not stand here as it was read", at.line)
        }));
        plan.pinned += done.len();
        if flags.write && !done.is_empty() {
            replace(path, &content).with_context(|| format!("failed to write {shown}"))?;
        }
    }
    print(&told).context("failed to write the answer")?;
    for words in plan.left.iter().take(MAX_TOLD) {
        print_message(format_args!("not pinned: {words}"));
    }
    if plan.left.len() > MAX_TOLD {
        print_message(format_args!("and {} more are not pinned", plan.left.len() - MAX_TOLD));
    }
    let what = match (plan.pinned, flags.write) {
        (0, _) => "nothing to pin".to_owned(),
        (pinned, true) => format!("pinned {}", count(pinned, "image")),
        (pinned, false) => {
            format!("{} would be pinned: --write changes the files", count(pinned, "image"))
        }
    };
    print_message(what);
    Ok(if report.unread.is_empty() {
        ExitCode::from(u8::from(!plan.left.is_empty()))
    } else {
        ExitCode::from(CANNOT_JUDGE)
    })
}

/// What is to be changed where, and what cannot be.
#[derive(Default)]
struct Plan {
    files: BTreeMap<Box<str>, Vec<Edit>>,
    left: Vec<String>,
    pinned: usize,
}

impl Plan {
    fn of(report: &CheckReport) -> Self {
        let mut plan = Self::default();
        for entry in &report.images {
            let (Some(place), Ok(reference)) = (&entry.place, ImageReference::parse(&entry.image))
            else {
                plan.left.push(entry.line_with_place());
                continue;
            };
            if reference.digest().is_some() || entry.finding.skipped {
                continue;
            }
            if let Some(pinned) = pinned(entry, &reference) {
                let edit = Edit { at: place.at, image: entry.image.clone(), pinned };
                plan.files.entry(place.file.as_ref().into()).or_default().push(edit);
            } else {
                plan.left.push(entry.line_with_place());
            }
        }
        plan
    }
}

/// The name with its digest. A name without a tag gets the one that it stands for, so that its pull
/// policy stays what it is.
fn pinned(entry: &ImageEntry, reference: &ImageReference) -> Option<String> {
    let digest = entry.finding.pull.digest.as_ref()?;
    let tag = if reference.tag().is_some() { "" } else { ":latest" };
    (entry.finding.verdict == Verdict::Works).then(|| format!("{}{tag}@{digest}", entry.image))
}

/// Puts other content in the place of a file's, at once and with the same rights; a link stays one.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = folder.join(format!(".{name}.{}.pullgate", std::process::id()));
    let written = fs::File::create_new(&beside).and_then(|mut file| {
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(content)?;
        file.sync_all()
    });
    let written = written.and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
