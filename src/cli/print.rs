//! Where the commands write: reports to files and standard output, words to standard error, and what a
//! person at a terminal gets besides: colours, and how far the work is.
//!
//! Colours only where a terminal shows them and `NO_COLOR` (no-color.org) is not set; the line about
//! the work on standard error, only there, and only if it takes long.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use crate::report::{CheckReport, FORMATS, Format};
use crate::telemetry::instant;

/// Work that is over by then needs no line.
const AFTER: Duration = Duration::from_millis(700);
/// Between two lines.
const BETWEEN: Duration = Duration::from_millis(100);
/// To the start of the line, and nothing left on it.
const CLEAR: &str = "\r\x1b[2K";

/// How the answer of `pullgate explain` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// A report that was asked for: `FORMAT`, or `FORMAT=FILE`.
#[derive(Clone)]
pub(super) struct OutputRequest {
    format: &'static Format,
    /// Standard output if none.
    file: Option<PathBuf>,
}

impl FromStr for OutputRequest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, file) = match text.split_once('=') {
            Some((_, "")) => return Err("name a file behind =".to_owned()),
            Some((word, "-")) => (word, None),
            Some((word, file)) => (word, Some(PathBuf::from(file))),
            None => (text, None),
        };
        let format = FORMATS.iter().find(|format| format.word == word).ok_or_else(|| {
            let words: Vec<&str> = FORMATS.iter().map(|format| format.word).collect();
            format!("give one of {}", words.join(", "))
        })?;
        Ok(Self { format, file })
    }
}

impl fmt::Display for OutputRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format.word)?;
        self.file.iter().try_for_each(|file| write!(f, "={}", file.display()))
    }
}

impl fmt::Debug for OutputRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether all reports have somewhere to go, before anything is looked up.
pub(super) fn check_requests(requests: &[OutputRequest]) -> anyhow::Result<()> {
    if requests.iter().filter(|request| request.file.is_none()).count() > 1 {
        bail!(
            "only one report can go to standard output: give the others a file, as in -o text -o sarif=report.sarif"
        );
    }
    let mut seen = BTreeSet::new();
    for file in requests.iter().filter_map(|request| request.file.as_deref()) {
        if !seen.insert(file) {
            bail!("two reports cannot go to the same file: {}", file.display());
        }
        let directory = file.parent().filter(|directory| *directory != Path::new(""));
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            bail!("there is no directory {} for a report", directory.display());
        }
    }
    Ok(())
}

/// Writes every report; each is written even if another cannot be.
pub(super) fn write_reports(
    report: &CheckReport,
    requests: &[OutputRequest],
) -> anyhow::Result<()> {
    let standard = OutputRequest { format: &FORMATS[0], file: None };
    let requests = if requests.is_empty() { std::slice::from_ref(&standard) } else { requests };
    let results: Vec<_> = requests.iter().map(|request| request.write(report)).collect();
    results.into_iter().collect()
}

impl OutputRequest {
    fn write(&self, report: &CheckReport) -> anyhow::Result<()> {
        let colours = self.file.is_none() && has_colours();
        let text = self.format.write(report, colours).context("failed to write the report")?;
        match &self.file {
            None => print(&text).context("failed to write the report"),
            Some(file) => std::fs::write(file, text)
                .with_context(|| format!("failed to write the report to {}", file.display())),
        }
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
pub(super) fn print_message(words: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "pullgate: {words}");
}

/// Whether standard output shows colours.
fn has_colours() -> bool {
    let unwanted = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !unwanted && !is_dumb()
}

fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb")
}

/// How far the work is, on a line of its own that is gone at the end.
pub(super) struct Progress {
    all: usize,
    done: usize,
    /// When the next line is due; nothing where nobody would see it.
    due: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// Work on so many objects begins.
    pub(super) fn of(all: usize) -> Self {
        let seen = io::stderr().is_terminal() && !is_dumb();
        Self { all, done: 0, due: seen.then(|| instant() + AFTER), is_shown: false }
    }

    /// One more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        let now = instant();
        if self.due.is_some_and(|due| due <= now) {
            self.due = Some(now + BETWEEN);
            self.is_shown = true;
            let line = format!("{CLEAR}{} of {} objects checked", self.done, self.all);
            write(&line);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            write(CLEAR);
        }
    }
}

/// Nothing can be done if that fails.
fn write(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
