//! Reports as values, and their formats. What a report says is decided before; here it is only
//! written.

mod json;
mod text;

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

use clap::ValueEnum;

use crate::policy::Decision;
use crate::pull::{Cause, Escape, Verdict};
use crate::workload::{ContainerKind, ObjectRef};

pub(super) use json::check_report as json_report;
pub(super) use text::check_report as text_report;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// What `pullgate check` found.
#[derive(Debug, Default)]
pub(super) struct CheckReport {
    /// One entry for each place of an image, in the order of the files.
    pub(super) images: Vec<ImageEntry>,
}

/// One image at one place.
#[derive(Debug, Clone)]
pub(super) struct ImageEntry {
    /// The object, with the namespace that stands in if it names none.
    pub(super) object: ObjectRef,
    /// Which of the objects in the report it is.
    pub(super) object_index: usize,
    /// File and line, if it stands in a file.
    pub(super) place: Option<(Arc<str>, u64)>,
    /// The JSON pointer of the image.
    pub(super) path: Box<str>,
    /// The container's or volume's name.
    pub(super) container: Box<str>,
    /// What it is the image of.
    pub(super) kind: ContainerKind,
    /// The image as written.
    pub(super) image: Box<str>,
    /// What was found of it.
    pub(super) finding: Arc<ImageFinding>,
}

/// What was found of an image, shared by its places.
#[derive(Debug)]
pub(super) struct ImageFinding {
    /// The canonical reference; nothing if it does not parse.
    pub(super) reference: Option<String>,
    /// What will become of it.
    pub(super) verdict: Verdict,
    /// Why.
    pub(super) cause: Option<Cause>,
    /// How a node could still succeed.
    pub(super) escapes: Vec<Escape>,
    /// The words for a person, without the image.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: Vec<AdviceEntry>,
    /// What the policy makes of it, or of the pods of the object.
    pub(super) decision: Decision,
    /// Whether it was not looked at because the policy says so.
    pub(super) skipped: bool,
    /// Which credentials matched and what each got, if asked for.
    pub(super) credentials: Option<CredentialReport>,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) struct AdviceEntry {
    /// What kind of thing.
    pub(super) kind: &'static str,
    /// The tag, secret or reference itself.
    pub(super) value: String,
    /// The words for a person.
    pub(super) message: String,
    /// A command that does it, with words in angle brackets for what only the person knows.
    pub(super) command: Option<String>,
}

/// Which credentials matched an image, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub(super) struct CredentialReport {
    /// Where the pull secrets come from, in words.
    pub(super) origin: String,
    /// What was tried, in order.
    pub(super) tried: Vec<TriedCredential>,
    /// Secrets and entries that do not count, with the reason.
    pub(super) notes: Vec<String>,
}

/// One matching entry.
#[derive(Debug, Clone)]
pub(super) struct TriedCredential {
    /// Where it is from, in words; `anonymous` for none.
    pub(super) from: String,
    /// Its key as written; empty for none.
    pub(super) key: String,
    /// How it came to match: `key`, `hub_fallback`, `node`, `own_login` or `anonymous`.
    pub(super) rule: &'static str,
    /// `works`, the word of a cause, or `not_tried`.
    pub(super) outcome: &'static str,
    /// The outcome in words.
    pub(super) words: String,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) objects: usize,
    pub(super) images: usize,
    pub(super) works: usize,
    pub(super) fails: usize,
    pub(super) cannot_tell: usize,
    pub(super) allow: usize,
    pub(super) warn: usize,
    pub(super) deny: usize,
}

impl CheckReport {
    /// The counts.
    pub(super) fn summary(&self) -> Summary {
        let mut summary = Summary { images: self.images.len(), ..Summary::default() };
        let mut last = None;
        for entry in &self.images {
            summary.objects += usize::from(last != Some(entry.object_index));
            last = Some(entry.object_index);
            match entry.finding.verdict {
                Verdict::Works => summary.works += 1,
                Verdict::Fails => summary.fails += 1,
                Verdict::CannotTell => summary.cannot_tell += 1,
            }
            match entry.finding.decision {
                Decision::Allow => summary.allow += 1,
                Decision::Warn => summary.warn += 1,
                Decision::Deny => summary.deny += 1,
            }
        }
        summary
    }
}

/// Writes to standard output. That nobody reads on is no error.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line of words to standard error, where nothing can be done if that fails.
pub(super) fn say(words: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "pullgate: {words}");
}
