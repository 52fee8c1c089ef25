//! JUnit XML: a suite for each file, a case for each image.
//!
//! A case fails if the check fails on it, and is skipped if it cannot be told.

use std::fmt::Write as _;
use std::time::Duration;

use super::rule::{UNREADABLE, rule_id};
use super::{CheckReport, ImageEntry, Severity};
use crate::pull::Verdict;
use crate::text::clean;

/// The suite of images that stand in no file.
const NO_FILE: &str = "--image";

/// How many cases came to what.
#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    time: Duration,
}

/// The whole report.
pub(super) fn check_report(report: &CheckReport) -> String {
    let mut suites = String::new();
    let mut all = Counts::default();
    for entries in report.images.chunk_by(|a, b| a.file() == b.file()) {
        let mut cases = String::new();
        let mut counts = Counts::default();
        for entry in entries {
            case(&mut cases, &mut counts, entry, report.severity(entry));
        }
        let name = entries.first().map_or(NO_FILE, suite_name);
        let _ =
            writeln!(suites, "  <testsuite name=\"{}\" {}>", escaped(name), counts.attributes());
        suites.push_str(&cases);
        suites.push_str("  </testsuite>\n");
        all.add(&counts);
    }
    for error in &report.unread {
        let (file, problem) = (escaped(&error.file), escaped(&error.to_string()));
        let counts = Counts { tests: 1, errors: 1, ..Counts::default() };
        let _ = writeln!(
            suites,
            "  <testsuite name=\"{file}\" {}>\n    \
             <testcase name=\"can be read\" classname=\"{file}\" time=\"0.000\" file=\"{file}\">\n      \
             <error type=\"{UNREADABLE}\" message=\"{problem}\"/>\n    </testcase>\n  </testsuite>",
            counts.attributes()
        );
        all.add(&counts);
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"pullgate check\" {}>\n{suites}</testsuites>\n",
        all.attributes()
    )
}

impl Counts {
    fn attributes(&self) -> String {
        let Self { tests, failures, errors, skipped, time } = self;
        format!(
            "tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
             time=\"{:.3}\"",
            time.as_secs_f64()
        )
    }

    fn add(&mut self, other: &Self) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.skipped += other.skipped;
        self.time += other.time;
    }
}

fn suite_name(entry: &ImageEntry) -> &str {
    entry.file().unwrap_or(NO_FILE)
}

fn case(text: &mut String, counts: &mut Counts, entry: &ImageEntry, severity: Severity) {
    let finding = &entry.finding;
    let took = finding.pull.took.unwrap_or_default();
    counts.tests += 1;
    counts.time += took;
    let name = format!("{}: {}", entry.subject_words(), clean(&entry.image));
    let _ = write!(
        text,
        "    <testcase name=\"{}\" classname=\"{}\" time=\"{:.3}\"",
        escaped(&name),
        escaped(suite_name(entry)),
        took.as_secs_f64()
    );
    if let Some(file) = entry.file() {
        let _ = write!(text, " file=\"{}\"", escaped(file));
    }
    if let Some(line) = entry.position().known_line() {
        let _ = write!(text, " line=\"{line}\"");
    }
    text.push_str(">\n");
    let message = escaped(&entry.line());
    if severity == Severity::Error {
        counts.failures += 1;
        let kind = rule_id(entry);
        let _ = writeln!(
            text,
            "      <failure type=\"{kind}\" message=\"{message}\">{message}</failure>"
        );
    } else if finding.verdict == Verdict::CannotTell {
        counts.skipped += 1;
        let _ = writeln!(text, "      <skipped message=\"{message}\"/>");
    }
    let words = match severity {
        Severity::Warning => format!("warning: {}", entry.line()),
        Severity::Note if finding.noted.is_some() => format!("note: {}", entry.line()),
        _ => finding.pull.message(),
    };
    if !words.is_empty() {
        let _ = writeln!(text, "      <system-out>{}</system-out>", escaped(&words));
    }
    text.push_str("    </testcase>\n");
}

/// The text within XML, without the characters that XML cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => {}
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_an_element() {
        assert_eq!(
            escaped("a<b>&\"'\u{ffff}\u{1b}[0m]]>"),
            "a&lt;b&gt;&amp;&quot;&apos; [0m]]&gt;"
        );
    }
}
