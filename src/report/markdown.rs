//! Markdown: a table for a job summary or a comment. What works is folded away below it, and left
//! out first where a comment would become too long.

use std::fmt::Write as _;

use super::rule::capitalised;
use super::{CheckReport, ImageEntry, Severity};
use crate::text::{clean, count};

/// Bytes of rows: GitHub takes comments of 65,536 characters.
pub(crate) const MAX_ROWS: usize = 56_000;

/// Lines about what could not be read.
const MAX_UNREAD: usize = 20;

/// The whole report.
pub(super) fn check_report(report: &CheckReport) -> String {
    let mut text = format!("### Pullgate: {}\n", escaped(&report.summary().message()));
    let (rest, told): (Vec<&ImageEntry>, Vec<&ImageEntry>) =
        report.images.iter().partition(|entry| report.severity(entry) == Severity::None);
    let mut room = MAX_ROWS;
    if !report.unread.is_empty() {
        text.push_str("\nCould not be read:\n\n");
    }
    for error in report.unread.iter().take(MAX_UNREAD) {
        let _ = writeln!(text, "- {}", escaped(&error.to_string()));
    }
    if !told.is_empty() {
        text.push_str("\n| | image | where | why, and what to do |\n|---|---|---|---|\n");
        rows(&mut text, &mut room, &told, |entry| problem(report, entry));
    }
    if !rest.is_empty() {
        let title = format!("{} without a problem", count(rest.len(), "image"));
        let _ = write!(
            text,
            "\n<details><summary>{title}</summary>\n\n\
             | | image | where | digest, platforms, credentials, time |\n|---|---|---|---|\n"
        );
        rows(&mut text, &mut room, &rest, success);
        text.push_str("\n</details>\n");
    }
    text
}

/// As many rows as there is room for, and how many are left out.
fn rows(
    text: &mut String,
    room: &mut usize,
    entries: &[&ImageEntry],
    row: impl Fn(&ImageEntry) -> String,
) {
    for (index, entry) in entries.iter().enumerate() {
        let row = row(entry);
        if row.len() > *room {
            *room = 0;
            let left = count(entries.len() - index, "more image");
            let _ = writeln!(text, "\n… and {left}, which had no room here.");
            return;
        }
        *room -= row.len();
        text.push_str(&row);
    }
}

fn problem(report: &CheckReport, entry: &ImageEntry) -> String {
    let word = match (report.severity(entry), entry.verdict_words()) {
        (Severity::Error, word) => format!("**{}**", capitalised(word)),
        (_, word) => word.to_owned(),
    };
    let mut why = escaped(&entry.message());
    for command in entry.finding.advice.iter().filter_map(|advice| advice.command.as_ref()) {
        let _ = write!(why, "<br>{}", code(command));
    }
    format!("| {word} | {} | {} | {why} |\n", code(&entry.image), place(entry))
}

fn success(entry: &ImageEntry) -> String {
    let facts = escaped(&entry.finding.pull.message());
    let word = entry.verdict_words();
    format!("| {word} | {} | {} | {facts} |\n", code(&entry.image), place(entry))
}

fn place(entry: &ImageEntry) -> String {
    let Some(file) = entry.file() else { return "`--image`".to_owned() };
    let line = entry.position().known_line().map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}<br>{}", code(&format!("{file}{line}")), escaped(&entry.subject_words()))
}

/// The text as code in a table, whatever is in it.
pub(crate) fn code(text: &str) -> String {
    let text = clean(text).replace('|', "\\|");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The text in a table as words and nothing else: no markup, no link, nobody called.
pub(crate) fn escaped(text: &str) -> String {
    let text = clean(text);
    let mut words = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '&' => words.push_str("&amp;"),
            '<' => words.push_str("&lt;"),
            '>' => words.push_str("&gt;"),
            // A name is nobody to be called.
            '@' => words.push_str("&#64;"),
            // What begins like an address would be made one.
            ':' if text[at..].starts_with("://") => words.push_str("\\:"),
            '.' if www(&text[..at]) => words.push_str("\\."),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '!' => {
                words.push('\\');
                words.push(c);
            }
            _ => words.push(c),
        }
    }
    words
}

/// Whether the text ends like the start of an address without its scheme.
fn www(before: &str) -> bool {
    let start = before.len().saturating_sub("www".len());
    before.get(start..).is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_cell() {
        assert_eq!(escaped("use `1.2|3` <b> @me"), r"use \`1.2\|3\` &lt;b&gt; &#64;me");
        assert_eq!(escaped("www.a.b https://c"), r"www\.a.b https\://c");
        assert_eq!(escaped("one ` alone"), r"one \` alone");
        assert_eq!(code("a`b``c"), "```a`b``c```");
        assert_eq!(code("`"), "`` ` ``");
    }
}
