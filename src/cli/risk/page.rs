//! The report for a terminal, and as Markdown for a comment or a summary.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::history::how_long_ago;
use crate::report::{MAX_ROWS, code, escaped};
use crate::risk::{ImageRisk, PullerRisk, RiskReport, When};
use crate::text::{clean, count};

/// Who needs one image: more are counted.
const MAX_PULLERS: usize = 12;
/// Names in one list.
const MAX_NAMES: usize = 8;

/// The report as lines of text.
pub(in crate::cli) fn page(report: &RiskReport, supposing: Option<&str>, now: Timestamp) -> String {
    let mut page = headline(report, supposing) + "\n";
    for risk in &report.at_risk {
        let _ = writeln!(page, "\n{}", clean(&risk.image));
        let _ = writeln!(page, "  Why      {}", risk.why);
        if let Some(last) = risk.last_success {
            let _ = writeln!(page, "  Last     started or pulled here {}", how_long_ago(last, now));
        }
        let _ = writeln!(page, "  Held by  {}", holders(report, risk));
        for (nth, one) in risk.needed_by.iter().take(MAX_PULLERS).enumerate() {
            let head = if nth == 0 { "Needed" } else { "" };
            let _ = writeln!(page, "  {head:<9}{}: {}", name(one), state(one));
            let _ = writeln!(page, "           {}", outlook(report, one));
        }
        if let Some(more @ 1..) = risk.needed_by.len().checked_sub(MAX_PULLERS) {
            let _ = writeln!(page, "           and {more} more");
        }
        let _ = writeln!(page, "  Do       {}", risk.next_step);
    }
    if !report.unclear.is_empty() {
        page.push_str("\nUnknown:\n");
    }
    for one in &report.unclear {
        let _ = writeln!(page, "  {} in {}: {}", clean(&one.image), one.namespace, one.why);
    }
    page
}

/// What it came to, in one or two sentences.
/// `supposing`: what is only supposed, as the end of a sentence that begins with `if`.
fn headline(report: &RiskReport, supposing: Option<&str>) -> String {
    let node = report.node.as_ref().map(|node| format!("node {} goes", clean(node)));
    let place = supposing.map(clean).or(node).map(|what| format!(" if {what}")).unwrap_or_default();
    let mut line = match (report.images, report.at_risk.len()) {
        (0, _) => "Nothing here needs an image.".to_owned(),
        (_, 0) if report.unclear.is_empty() && report.not_looked_at == 0 => {
            format!("Nothing is at risk{place}: every image could be pulled again.")
        }
        (_, 0) => format!("No image is known to be lost{place}."),
        (all, risks) => {
            format!("{risks} of {} could not be pulled again{place}.", count(all, "image"))
        }
    };
    if !report.unclear.is_empty() {
        let _ = write!(line, " {} unknown.", report.unclear.len());
    }
    if report.not_looked_at > 0 {
        let _ = write!(line, " {} not looked at.", count(report.not_looked_at, "image"));
    }
    line
}

fn holders(report: &RiskReport, risk: &ImageRisk) -> String {
    match &*risk.held_by {
        _ if !report.nodes_known => "you may not list nodes".to_owned(),
        [] => "no node lists it; nodes list their largest images only".to_owned(),
        [only] if risk.last_copy => format!("{only} alone: the last copy that is known"),
        nodes => names(nodes),
    }
}

/// What would become of a new pod, in words.
fn outlook(report: &RiskReport, puller: &PullerRisk) -> String {
    if puller.pull_policy == "Always" {
        return "starts nowhere: it asks the registry at every start".to_owned();
    }
    let other = if report.node.is_some() { "other " } else { "" };
    match (&*puller.starts_on, puller.may_start_elsewhere) {
        (_, _) if !report.nodes_known => "starts only where a node has the image".to_owned(),
        ([], false) => format!("starts on no {other}node that is known"),
        ([], true) => format!("starts on no {other}node, unless one has the image unseen"),
        (nodes, false) => format!("starts on {} only", names(nodes)),
        (nodes, true) => format!("starts on {}, and where a node has it unseen", names(nodes)),
    }
}

/// How many pods it has where, or when it will have some.
pub(super) fn state(puller: &PullerRisk) -> String {
    let pods = match puller.pods {
        0 => return when_text(puller.when).to_owned(),
        pods => count(pods, "pod"),
    };
    match (&*puller.nodes, puller.when) {
        ([], When::Runs) => pods,
        ([], when) => format!("{pods}, {}", when_text(when)),
        (nodes, _) => format!("{pods} on {}", names(nodes)),
    }
}

fn when_text(when: When) -> &'static str {
    match when {
        When::Runs => "wants pods",
        When::AtZero => "scaled to zero",
        When::BetweenRuns => "between runs",
        When::Suspended => "suspended",
        When::NodesToCome => "for nodes to come",
    }
}

pub(super) fn name(puller: &PullerRisk) -> String {
    let kind = puller.kind.to_ascii_lowercase();
    clean(&format!("{kind}/{} in {}", puller.name, puller.namespace))
}

/// Some names, and how many more there are.
fn names(all: &[String]) -> String {
    let shown: Vec<String> = all.iter().take(MAX_NAMES).map(|name| clean(name)).collect();
    match all.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A table with a row for each image and each that needs it.
pub(in crate::cli) fn markdown(report: &RiskReport, supposing: Option<&str>) -> String {
    let mut text = format!("### Pullgate: {}\n", escaped(&headline(report, supposing)));
    let rows = report.at_risk.iter().flat_map(|risk| {
        risk.needed_by.iter().map(|one| {
            format!(
                "| {} | {} | {}: {} | {} |\n",
                code(&risk.image),
                escaped(&risk.why),
                escaped(&name(one)),
                escaped(&state(one)),
                escaped(&outlook(report, one)),
            )
        })
    });
    let mut left_out = 0;
    let mut table = String::new();
    for row in rows {
        if left_out == 0 && table.len() + row.len() <= MAX_ROWS {
            table.push_str(&row);
        } else {
            left_out += 1;
        }
    }
    if !table.is_empty() {
        text.push_str("\n| image | why | needed by | a new pod |\n|---|---|---|---|\n");
        text.push_str(&table);
    }
    if left_out > 0 {
        let _ = writeln!(text, "\n… and {left_out} more, which had no room here.");
    }
    if !report.unclear.is_empty() {
        let _ = writeln!(text, "\nUnknown:\n");
    }
    for one in &report.unclear {
        let _ = writeln!(text, "- {}: {}", code(&one.image), escaped(&one.why));
    }
    text
}
