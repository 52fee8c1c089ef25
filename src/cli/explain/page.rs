//! An explanation as a page: cause and remedy first, then what they stand on.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::ask::RegistryAnswer;
use super::explanation::{Explained, Origin};
use super::summary::times;
use crate::advice::AdviceKind;
use crate::history::how_long_ago;
use crate::message::start_sentences;

/// Width of the labels on the left, as in a report.
const LABEL: usize = 12;

impl Explained {
    /// The page, of at most `width` columns except for what is to be copied.
    pub(super) fn to_page(&self, now: Timestamp, width: usize) -> String {
        let report = self.report.to_page(now, width);
        let (head, rest) = report.split_once("\n\n").unwrap_or((&report, ""));
        let mut page = format!("{head}\n");
        lines(&mut page, "Cause", &self.cause, width);
        lines(&mut page, "Remedy", &self.remedy, width);
        copied(&mut page, "Do", &self.commands);
        for way in &self.alternatives {
            copied(&mut page, "Or", way);
        }
        copied(&mut page, "Verify", &self.verify);
        if !rest.is_empty() {
            let _ = write!(page, "\n{rest}");
        }
        for group in self.facts(now) {
            page.push('\n');
            for (label, fact) in group {
                lines(&mut page, label, &fact, width);
            }
        }
        page
    }

    /// What it stands on besides the report: groups of labels and sentences. A label that is empty
    /// goes on with the one before.
    pub(super) fn facts(&self, now: Timestamp) -> Vec<Vec<(&'static str, String)>> {
        let mut groups = Vec::new();
        for refused in &self.refused {
            let ago = refused.last.map(|at| format!(", last {}", how_long_ago(at, now)));
            let kind = refused.kind.to_ascii_lowercase();
            let words = format!(
                "pods of {kind}/{} {}{}: {}",
                refused.name,
                times(refused.times),
                ago.unwrap_or_default(),
                refused.message
            );
            groups.push(vec![("Refused", words)]);
        }
        groups.extend(self.registry_now.as_ref().map(RegistryAnswer::facts));
        let now = self.registry_now.as_ref().and_then(|answer| answer.digest.clone());
        if let Some(now) = now.filter(|_| !self.report.digests.is_empty() && self.drift.is_none()) {
            let others = self.report.digests.iter().filter(|one| one.digest != now);
            let others: Vec<_> = others.collect();
            let starts = (!others.is_empty()).then(|| ("", start_sentences(&others)));
            groups.push(std::iter::once(("Tag now", now)).chain(starts).collect());
        }
        groups.extend(self.drift.as_ref().map(|drift| vec![("Drift", drift.clone())]));
        for told in &self.advice {
            let label = match told.kind {
                AdviceKind::RegistryService => "Service",
                AdviceKind::NetworkPolicy => "Network",
                AdviceKind::BuildJob => "Build",
                _ => "Advice",
            };
            groups.push(vec![(label, told.message.clone())]);
        }
        let data = match self.memory {
            Origin::Serve => "current list, and the history of pullgate serve".to_owned(),
            Origin::List { why } => {
                format!("current list only, without the history of pullgate serve: {why}")
            }
        };
        groups.push(vec![("Data", data)]);
        groups
    }
}

impl RegistryAnswer {
    fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts =
            vec![("Asked now", format!("{}.", self.message)), ("Secrets", self.secrets.clone())];
        for tried in &self.tried {
            let key =
                if tried.key.is_empty() { String::new() } else { format!(", key {}", tried.key) };
            facts.push(("", format!("{}{key}: {}", tried.from, tried.words)));
        }
        facts.extend(self.not_tried.iter().map(|note| ("", note.clone())));
        facts
    }
}

/// Commands behind a label, never broken.
fn copied(page: &mut String, label: &str, commands: &[String]) {
    for (nth, command) in commands.iter().enumerate() {
        let label = if nth == 0 { label } else { "" };
        let _ = writeln!(page, "{label:<LABEL$}{command}");
    }
}

/// Words behind a label, broken between words.
fn lines(page: &mut String, label: &str, words: &str, width: usize) {
    let room = width.saturating_sub(LABEL).max(20);
    let (mut label, mut row) = (label, String::new());
    for word in words.split_inclusive(' ') {
        if !row.is_empty() && row.chars().count() + word.trim_end().chars().count() > room {
            let _ = writeln!(page, "{label:<LABEL$}{}", row.trim_end());
            label = "";
            row.clear();
        }
        row.push_str(word);
    }
    let line = format!("{label:<LABEL$}{row}");
    let _ = writeln!(page, "{}", line.trim_end());
}
