//! Workflow commands of GitHub Actions, which are shown beside the lines of the files.
//!
//! A runner takes a line for a command where it begins with two colons, and, as it did once, where
//! `##[` stands anywhere in it: neither comes from a name here.

use std::fmt::Write as _;

use super::rule::{UNREADABLE, rule_id};
use super::{CheckReport, ImageEntry, Severity};
use crate::text::clean;
use crate::yaml::Position;

/// The whole report: a command for each image that is to be acted on or known, then those that
/// need nothing, folded away.
pub(super) fn check_report(report: &CheckReport) -> String {
    let mut text = String::new();
    let mut rest = Vec::new();
    for entry in &report.images {
        let command = match report.severity(entry) {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
            Severity::None => {
                rest.push(entry);
                continue;
            }
        };
        let _ = writeln!(text, "{}", annotation(command, entry));
    }
    for error in &report.unread {
        let title = format!("title={}", property(&format!("pullgate: {UNREADABLE}")));
        let mut properties = place(&error.file, error.at);
        properties.push(title);
        let _ = writeln!(text, "::error {}::{}", properties.join(","), data(&error.to_string()));
    }
    if !rest.is_empty() {
        text.push_str("::group::Images without a problem\n");
        for entry in rest {
            let _ = writeln!(text, "{}", plain(entry));
        }
        text.push_str("::endgroup::\n");
    }
    text.push_str(&report.summary().message());
    text.push('\n');
    text
}

fn annotation(command: &str, entry: &ImageEntry) -> String {
    let mut properties = entry.file().map(|file| place(file, entry.position())).unwrap_or_default();
    properties.push(format!("title={}", property(&format!("pullgate: {}", rule_id(entry)))));
    let message = format!("{} ({})", entry.line(), entry.subject_words());
    format!("::{command} {}::{}", properties.join(","), data(&message))
}

fn place(file: &str, at: Position) -> Vec<String> {
    let mut properties = vec![format!("file={}", property(file.trim_start_matches("./")))];
    properties.extend(at.known_line().map(|line| format!("line={line}")));
    properties.extend(at.known_column().map(|column| format!("col={column}")));
    properties
}

/// A line that is no command.
fn plain(entry: &ImageEntry) -> String {
    let words = entry.finding.pull.message();
    let facts = if words.is_empty() { String::new() } else { format!(" ({words})") };
    let verdict = entry.verdict_words();
    let (image, subject) = (clean(&entry.image), entry.subject_words());
    harmless(&format!("{verdict}  {image}  {subject}{facts}"))
}

fn harmless(text: &str) -> String {
    clean(text).replace("##[", "# #[")
}

/// The text behind a command.
fn data(text: &str) -> String {
    harmless(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_end_a_command() {
        assert_eq!(property("a,b:c%\n##[debug]"), "a%2Cb%3Ac%25 # #[debug]");
        assert_eq!(data("50%: a, b"), "50%25: a, b");
    }
}
