//! The formats of the report of `pullgate check`, and where each report goes.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};

use super::{CheckReport, github, gitlab, json, junit, markdown, print, sarif, terminal, text};

/// A format: its word on the command line, and how a report is written in it.
struct Format {
    word: &'static str,
    render: fn(&CheckReport) -> serde_json::Result<String>,
    /// How it is written on a terminal, if it is another way.
    painted: Option<fn(&CheckReport) -> String>,
}

/// Every format. A new one is a line here, a line in the help of `--output`, and a module that
/// makes text of a [`CheckReport`].
const FORMATS: &[Format] = &[
    Format {
        word: "text",
        render: |report| Ok(text::check_report(report)),
        painted: Some(text::painted),
    },
    Format { word: "json", render: json::check_report, painted: None },
    Format { word: "sarif", render: sarif::check_report, painted: None },
    Format { word: "junit", render: |report| Ok(junit::check_report(report)), painted: None },
    Format { word: "github", render: |report| Ok(github::check_report(report)), painted: None },
    Format { word: "gitlab", render: gitlab::check_report, painted: None },
    Format { word: "markdown", render: |report| Ok(markdown::check_report(report)), painted: None },
];

/// The first one, for whoever asks for none.
const DEFAULT: &Format = &FORMATS[0];

/// A report that was asked for: `FORMAT`, or `FORMAT=FILE`.
#[derive(Clone)]
pub(in crate::cli) struct OutputRequest {
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
pub(in crate::cli) fn check_requests(requests: &[OutputRequest]) -> anyhow::Result<()> {
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
pub(in crate::cli) fn write_reports(
    report: &CheckReport,
    requests: &[OutputRequest],
) -> anyhow::Result<()> {
    let standard = OutputRequest { format: DEFAULT, file: None };
    let requests = if requests.is_empty() { std::slice::from_ref(&standard) } else { requests };
    let results: Vec<_> = requests.iter().map(|request| request.write(report)).collect();
    results.into_iter().collect()
}

impl OutputRequest {
    fn write(&self, report: &CheckReport) -> anyhow::Result<()> {
        let painted =
            self.format.painted.filter(|_| self.file.is_none() && terminal::has_colours());
        let text = match painted {
            Some(painted) => painted(report),
            None => (self.format.render)(report).context("failed to write the report")?,
        };
        match &self.file {
            None => print(&text).context("failed to write the report"),
            Some(file) => std::fs::write(file, text)
                .with_context(|| format!("failed to write the report to {}", file.display())),
        }
    }
}
