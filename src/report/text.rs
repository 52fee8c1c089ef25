//! The report for people: grouped by object, problems in detail, a summary in the last line, at most
//! [`WIDTH`] columns where words allow it. Colours only on a terminal.

use std::fmt::Write as _;
use std::sync::Arc;

use super::{CheckReport, CredentialReport, Forecast, ImageEntry};
use crate::policy::Decision;
use crate::pull::Verdict;
use crate::text::clean;

/// Columns of a line.
const WIDTH: usize = 96;
/// What stands in front of the details of an image.
const INDENT: usize = 10;
/// Most images of which it is said how long nodes will pull them.
const MOST_FORECASTS: usize = 5;

/// How words are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paint {
    Bold,
    Red,
    Yellow,
    Green,
}

impl Paint {
    /// The text in this colour.
    fn on(self, text: &str) -> String {
        let code = match self {
            Self::Bold => 1,
            Self::Red => 31,
            Self::Yellow => 33,
            Self::Green => 32,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// The whole report. Objects without problems are only counted, unless credentials are explained.
pub(super) fn check_report(report: &CheckReport) -> String {
    written(report, |_, text| text.to_owned())
}

/// The same in colours.
pub(super) fn painted(report: &CheckReport) -> String {
    written(report, Paint::on)
}

fn written(report: &CheckReport, paint: fn(Paint, &str) -> String) -> String {
    // Why stands among the errors.
    if report.images.is_empty() && !report.unread.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for object in report.images.chunk_by(|a, b| a.object_index == b.object_index) {
        let told: Vec<&[ImageEntry]> = object
            .chunk_by(|a, b| Arc::ptr_eq(&a.finding, &b.finding) && a.known == b.known)
            .filter(|places| places.first().is_some_and(is_told))
            .collect();
        if let (Some(first), false) = (object.first(), told.is_empty()) {
            header(&mut text, first, paint);
            for places in told {
                image(&mut text, places, paint);
            }
            text.push('\n');
        }
    }
    forecasts(&mut text, report);
    text.push_str(&report.summary().message());
    text.push('\n');
    text
}

/// How long nodes will pull, by what was seen in the cluster; the longest first.
fn forecasts(text: &mut String, report: &CheckReport) {
    let mut known: Vec<(&str, Forecast)> = Vec::new();
    for entry in &report.images {
        let Some(forecast) = entry.finding.pull.forecast else { continue };
        match known.iter_mut().find(|(image, _)| *image == &*entry.image) {
            Some((_, same)) => same.nodes = same.nodes.max(forecast.nodes),
            None => known.push((&entry.image, forecast)),
        }
    }
    if known.is_empty() {
        return;
    }
    known.sort_by_key(|(_, forecast)| std::cmp::Reverse(forecast.expected.milliseconds));
    text.push_str("Pulls to come, estimated:\n");
    for (image, forecast) in known.iter().take(MOST_FORECASTS) {
        wrap(text, &format!("{}: {}", clean(image), forecast.message()), 2, 2);
    }
    if let Some(more @ 1..) = known.len().checked_sub(MOST_FORECASTS) {
        let _ = writeln!(text, "  and {more} more that take no longer");
    }
    text.push('\n');
}

fn is_told(entry: &ImageEntry) -> bool {
    let finding = &entry.finding;
    entry.lock.is_some()
        || finding.verdict != Verdict::Works
        || finding.cause.is_some()
        || finding.decision != Decision::Allow
        || finding.credentials.is_some()
        || finding.noted.is_some()
        || !finding.advice.is_empty()
}

fn header(text: &mut String, entry: &ImageEntry, paint: fn(Paint, &str) -> String) {
    let name = paint(Paint::Bold, &entry.object_title());
    let place = entry.file().map(|file| format!(" ({})", clean(file)));
    let _ = writeln!(text, "{name}{}", place.unwrap_or_default());
}

/// One image of an object, with every container that has it.
fn image(text: &mut String, places: &[ImageEntry], paint: fn(Paint, &str) -> String) {
    let Some(entry) = places.first() else { return };
    let finding = &entry.finding;
    let (word, colour) = match finding.verdict {
        Verdict::Works if entry.lock.is_some() => ("LOCK", Paint::Red),
        Verdict::Works => ("works", Paint::Green),
        Verdict::Fails => ("FAILS", Paint::Red),
        Verdict::CannotTell if finding.skipped => ("skipped", Paint::Yellow),
        Verdict::CannotTell => ("cannot tell", Paint::Yellow),
    };
    let mut head = Vec::new();
    if !entry.is_alone() {
        let names: Vec<String> = places.iter().map(ImageEntry::container_words).collect();
        head.push(names.join(", "));
    }
    let line = entry.position().line;
    if line > 0 {
        head.push(format!("line {line}"));
    }
    if entry.lock.is_some() || finding.cause.is_some() || finding.noted.is_some() {
        head.push(entry.rule().to_owned());
    }
    match finding.decision {
        Decision::Deny => head.push("would be denied".to_owned()),
        Decision::Allow | Decision::Warn => {}
    }
    if entry.known {
        head.push("known".to_owned());
    }
    let head = format!("{word:<12}{}", head.join("  "));
    let rest = head.trim_end().strip_prefix(word).unwrap_or_default();
    let _ = writeln!(text, "  {}{rest}", paint(colour, word));
    if !entry.is_alone() {
        let _ = writeln!(text, "{:INDENT$}{}", "", clean(&entry.image));
    }
    wrap(text, &entry.message(), INDENT, 0);
    // Whole, to be copied.
    for command in finding.advice.iter().filter_map(|advice| advice.command.as_ref()) {
        let _ = writeln!(text, "{:INDENT$}$ {}", "", clean(command));
    }
    if let Some(credentials) = &finding.credentials {
        explanation(text, credentials);
    }
}

fn explanation(text: &mut String, credentials: &CredentialReport) {
    wrap(text, &format!("Credentials: {}", credentials.origin), INDENT, 2);
    for (index, tried) in credentials.tried.iter().enumerate() {
        let key = if tried.key.is_empty() { String::new() } else { format!(", key {}", tried.key) };
        let number = index + 1;
        wrap(text, &format!("{number}. {}{key}: {}", tried.from, tried.words), INDENT + 2, 3);
    }
    for note in &credentials.notes {
        wrap(text, &format!("- {note}"), INDENT + 2, 2);
    }
}

/// Adds words in lines of at most [`WIDTH`] columns, each behind `indent` blanks, those after the
/// first behind `hang` more. A word that is longer than a line stays whole.
fn wrap(text: &mut String, words: &str, indent: usize, hang: usize) {
    let mut column = 0;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if column == 0 {
            let _ = write!(text, "{:indent$}", "");
            column = indent;
        } else if column + 1 + length > WIDTH {
            let hanging = indent + hang;
            let _ = write!(text, "\n{:hanging$}", "");
            column = hanging;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    if column > 0 {
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let mut text = String::new();
        wrap(&mut text, &format!("{} {} end", "a".repeat(60), "b".repeat(40)), 4, 2);
        assert_eq!(text, format!("    {}\n      {} end\n", "a".repeat(60), "b".repeat(40)));
    }
}
