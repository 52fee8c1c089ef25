//! GitLab's Code Quality report: a list of issues, which a merge request shows. What works is no
//! issue, so it is not in it.

use serde::Serialize;

use super::rule::{Fingerprints, UNREADABLE, rule_id};
use super::{CheckReport, ImageEntry, Severity};
use crate::text::clean;
use crate::yaml::Position;

#[derive(Serialize)]
struct Issue {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: &'static str,
    location: Location,
}

#[derive(Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: u32,
}

/// The whole report, with a line end.
pub(super) fn check_report(report: &CheckReport) -> serde_json::Result<String> {
    let mut fingerprints = Fingerprints::default();
    let mut issues: Vec<Issue> = report
        .images
        .iter()
        .filter_map(|entry| {
            let severity = severity_name(report.severity(entry))?;
            Some(issue(entry, severity, fingerprints.next(entry)))
        })
        .collect();
    issues.extend(report.unread.iter().map(|error| Issue {
        description: error.to_string(),
        check_name: format!("pullgate/{UNREADABLE}"),
        fingerprint: fingerprints.of_unread(error),
        severity: "critical",
        location: Location::new(&error.file, error.at),
    }));
    Ok(serde_json::to_string_pretty(&issues)? + "\n")
}

const fn severity_name(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::None => None,
        Severity::Note => Some("info"),
        Severity::Warning => Some("minor"),
        Severity::Error => Some("critical"),
    }
}

fn issue(entry: &ImageEntry, severity: &'static str, fingerprint: String) -> Issue {
    // A path and a line are required of every issue.
    let path = entry.file().unwrap_or(&entry.image);
    Issue {
        description: format!("{} ({})", entry.line(), entry.subject_words()),
        check_name: format!("pullgate/{}", rule_id(entry)),
        fingerprint,
        severity,
        location: Location::new(path, entry.position()),
    }
}

impl Location {
    fn new(path: &str, at: Position) -> Self {
        let begin = at.known_line().unwrap_or(1);
        Self { path: clean(path.trim_start_matches("./")), lines: Lines { begin } }
    }
}
