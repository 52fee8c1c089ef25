//! The report as Markdown, for a comment or a summary.

use std::fmt::Write as _;

use super::page::{headline, name, outlook, state};
use crate::cli::output::{MAX_ROWS, code, escaped};
use crate::risk::RiskReport;

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
