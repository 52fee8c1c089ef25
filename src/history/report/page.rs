//! The page: four short blocks, a label on the left, nothing wider than the terminal.

use std::fmt::Write;

use jiff::Timestamp;

use super::{PullSummary, RegistryReport, Report, RunningDigest, Spread, TagLine};
use crate::failure::{Classified, next_step};
use crate::history::index::{Trend, TroubleKind};
use crate::pull::Cause;
use crate::text::count;

/// Width of the labels on the left.
const LABEL: usize = 12;
/// Most workloads and tags on a page.
const MAX_ROWS: usize = 8;
/// Most nodes and workloads in a line.
const MAX_NAMES: usize = 5;

/// A page that grows line by line.
struct Page {
    text: String,
    width: usize,
}

impl Page {
    /// Adds a line behind a label (empty for the lines that follow), broken between words.
    fn line(&mut self, label: &str, text: &str) {
        let room = self.width.saturating_sub(LABEL).max(20);
        let mut label = label;
        let mut row = String::new();
        for word in text.split_inclusive(' ') {
            if !row.is_empty() && row.chars().count() + word.trim_end().chars().count() > room {
                self.push(label, &row);
                label = "";
                row.clear();
            }
            row.push_str(word);
        }
        self.push(label, &row);
    }

    fn push(&mut self, label: &str, row: &str) {
        let line = format!("{label:<LABEL$}{row}");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn gap(&mut self) {
        self.text.push('\n');
    }
}

/// The whole page.
pub(super) fn render(report: &Report, now: Timestamp, width: usize) -> String {
    let mut page = Page { text: String::new(), width };
    let of_registry = report.subject == report.registry.host;
    page.line(if of_registry { "Registry" } else { "Image" }, &report.subject);
    match report.freshness {
        "learning" => {
            page.line("", "Still loading the cluster's state; no answer yet.");
            return page.text;
        }
        "stale" => {
            page.line("", "Lost contact with the API server; no answer.");
            return page.text;
        }
        "absent" => {
            page.line("", "No data about this cluster.");
            return page.text;
        }
        _ => {}
    }
    if report.partial {
        page.line("", "Partial view: only namespaces in which you may list pods are counted.");
    }
    page.gap();
    scope(&mut page, report, now);
    page.gap();
    digests(&mut page, report, now);
    failures(&mut page, report, now);
    page.gap();
    if !of_registry {
        tags(&mut page, report, now);
        page.gap();
    }
    page.line(if of_registry { "Health" } else { "Registry" }, &statement(&report.registry));
    if let Some(pulls) = &report.pulls {
        page.line("Pulls", &pull_times(pulls));
    }
    page.text
}

/// How long pulls took, in a sentence.
fn pull_times(pulls: &PullSummary) -> String {
    let seconds = |milliseconds: u32| match milliseconds {
        0..10_000 => format!("{:.1} s", f64::from(milliseconds) / 1000.0),
        _ => format!("{} s", milliseconds / 1000),
    };
    let mut text = match pulls.pulls {
        1 => format!("The last one took {}", seconds(pulls.slowest_milliseconds)),
        count => format!(
            "Half of the last {count} took no longer than {}, the slowest {}",
            seconds(pulls.median_milliseconds),
            seconds(pulls.slowest_milliseconds)
        ),
    };
    // Of one node there is nothing to compare.
    if let [slowest, _, ..] = pulls.nodes.as_slice() {
        let took = seconds(slowest.median_milliseconds);
        let _ = write!(text, "; slowest node {}: ", slowest.node);
        let _ = match slowest.pulls {
            1 => write!(text, "{took}"),
            count => write!(text, "half of its {count} took no longer than {took}"),
        };
    }
    if let Some(bytes) = pulls.largest_bytes {
        let _ = write!(text, "; {} MB", bytes.div_ceil(1_000_000));
    }
    text + "."
}

fn scope(page: &mut Page, report: &Report, now: Timestamp) {
    let scope = &report.scope;
    if scope.pods == 0 {
        let text = match report.last_success {
            Some(at) => format!("No pod has it now. It last ran here {}.", ago(at, now)),
            None => "No pod has it, and none is in the history.".to_owned(),
        };
        page.line("Scope", &text);
    } else {
        let mut text = format!("{}: ", count(scope.pods, "pod"));
        text.push_str(&scope.states("failing"));
        text.push_str(match scope.spread {
            Spread::Nowhere => ".",
            Spread::OneWorkload => "; one workload.",
            Spread::OneNamespace => "; several workloads of one namespace.",
            Spread::Widespread => "; widespread.",
        });
        page.line("Scope", &text);
        for line in scope.workloads.iter().take(MAX_ROWS) {
            let kind = line.kind.to_ascii_lowercase();
            page.line(
                "",
                &format!(
                    "  {kind}/{} in {}: {} of {} running, {} failing",
                    line.name, line.namespace, line.running, line.containers, line.failing
                ),
            );
        }
        let more = scope.workloads.len().saturating_sub(MAX_ROWS) + scope.more_workloads;
        if more > 0 {
            page.line("", &format!("  and {more} more workloads"));
        }
    }
    for gone in report.remembered.iter().take(MAX_ROWS) {
        let kind = gone.kind.to_ascii_lowercase();
        let did = if gone.ran { "had it" } else { "could not get it" };
        let ago = ago(gone.last, now);
        page.line(
            "",
            &format!("  {kind}/{} in {}: gone; {did} until {ago}", gone.name, gone.namespace),
        );
    }
    if scope.nodes_listing > 0 {
        page.line("", &format!("{} listed with it.", count_are(scope.nodes_listing, "node")));
    }
}

/// What pods run under this name, digest by digest.
fn digests(page: &mut Page, report: &Report, now: Timestamp) {
    for (nth, one) in report.digests.iter().take(MAX_ROWS).enumerate() {
        page.line(if nth == 0 { "Runs" } else { "" }, &one.digest);
        page.line("", &format!("  {}", who_runs(one, now)));
    }
    if !report.digests.is_empty() {
        page.gap();
    }
}

/// Who runs a digest, where and since when.
fn who_runs(one: &RunningDigest, now: Timestamp) -> String {
    let some = |names: Vec<String>, more: usize| {
        let left_out = names.len().saturating_sub(MAX_NAMES) + more;
        let shown: Vec<String> = names.into_iter().take(MAX_NAMES).collect();
        let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    let users = one.workloads.iter().map(|user| {
        format!("{}/{} in {}", user.kind.to_ascii_lowercase(), user.name, user.namespace)
    });
    let mut text = count(one.pods, "pod");
    if !one.nodes.is_empty() {
        let _ = write!(text, " on {}", some(one.nodes.clone(), one.more_nodes));
    }
    let users = some(users.collect(), one.more_workloads);
    let _ = write!(text, ", the first started {}: {users}", ago(one.since, now));
    text
}

fn failures(page: &mut Page, report: &Report, now: Timestamp) {
    let failures = &report.failures;
    if failures.causes.is_empty() {
        page.line("Failures", "None now.");
        return;
    }
    for (nth, line) in failures.causes.iter().take(MAX_ROWS).enumerate() {
        let since = line.since.map(|at| format!(", for {}", age(at, now))).unwrap_or_default();
        let of = match u32::try_from(line.workloads).unwrap_or(u32::MAX) {
            0 => "pods without a workload".to_owned(),
            workloads => count(workloads, "workload"),
        };
        let containers = count(line.containers, "container");
        let text = format!("{}: {containers} of {of}{since}", line.cause);
        page.line(if nth == 0 { "Failures" } else { "" }, &text);
    }
    page.line(
        "",
        if failures.consistent { "The same cause everywhere." } else { "The causes vary." },
    );
}

fn tags(page: &mut Page, report: &Report, now: Timestamp) {
    let others: Vec<&TagLine> = report.tags.iter().filter(|tag| !tag.asked).collect();
    for tag in report.tags.iter().filter(|tag| tag.asked && tag.differs) {
        page.line(
            "Content",
            &format!("Pods run {} different digests behind {}.", tag.digests.len(), name(tag)),
        );
    }
    if others.is_empty() {
        page.line("Other tags", "None known here.");
        return;
    }
    for (nth, tag) in others.iter().take(MAX_ROWS).enumerate() {
        let mut text = format!("{}: {} running, {} failing", name(tag), tag.running, tag.failing);
        if let Some(at) = tag.last_seen {
            let _ = write!(text, ", last started {}", ago(at, now));
        }
        if tag.differs {
            text.push_str(", different digests");
        }
        if report.last_good.as_deref() == Some(&*tag.reference) {
            text.push_str("  <- last good");
        }
        page.line(if nth == 0 { "Other tags" } else { "" }, &text);
    }
    if others.len() > MAX_ROWS {
        page.line("", &format!("and {} more", others.len() - MAX_ROWS));
    }
}

fn name(tag: &TagLine) -> &str {
    tag.tag.as_deref().unwrap_or_else(|| {
        tag.reference.rsplit_once('@').map_or(tag.reference.as_str(), |(_, digest)| digest)
    })
}

/// The registry's health in one sentence, with its numbers.
pub(super) fn statement(report: &RegistryReport) -> String {
    let RegistryReport { host, health, .. } = report;
    let all = health.healthy + health.failing;
    if all == 0 && report.trouble.is_none() {
        return format!("{host}: no container uses it now.");
    }
    let mut text = format!(
        "{host}: {} of {} cannot get their image ({} %)",
        health.failing,
        count(all, "container"),
        health.failing * 100 / all.max(1)
    );
    if let (Some(cause), true) = (health.main_cause, health.failing > 0) {
        let _ = write!(text, ", mostly {cause}");
    }
    match report.trend {
        Some(Trend::Rising) => text.push_str(", rising"),
        Some(Trend::Falling) => text.push_str(", falling"),
        _ => {}
    }
    text.push_str(". ");
    match report.trouble {
        Some(kind) => {
            text.push_str(match kind {
                TroubleKind::Outage => "The registry is in trouble",
                TroubleKind::Limit => "The registry's pull limit is used up",
                TroubleKind::Login => "The registry refuses log-ins that worked before",
            });
            if report.repositories > 0 {
                let _ = write!(
                    text,
                    ": {}, {}, {}, fewer fresh pulls than failures",
                    amount(report.repositories, "repository", "repositories"),
                    amount(report.namespaces, "namespace", "namespaces"),
                    amount(report.nodes, "node", "nodes"),
                );
            }
            text.push('.');
        }
        None if health.failing > 0 => text.push_str("No sign of trouble with the registry itself."),
        None => text.push_str("It is well."),
    }
    if let Some(until) = report.escapes_open_until {
        let _ = write!(
            text,
            " Nodes pulled what look-ups still refused ({} times): nothing is denied for it until {}.",
            report.disagreements,
            until.strftime("%Y-%m-%d")
        );
    }
    text
}

/// What to do by what was observed alone; nothing where nothing fails.
pub(super) fn next(report: &Report) -> Option<String> {
    let cause = report.failures.causes.first()?.cause;
    Some(advice(report, cause))
}

fn advice(report: &Report, cause: Cause) -> String {
    if report.registry.health.in_trouble {
        return "wait for the registry, or fix its login: this image is not the only one".into();
    }
    let classified =
        Classified { cause, registry: None, credential_problem: None, address: None, advice: None };
    let step = next_step(&classified);
    match (&report.last_good, cause) {
        (Some(good), Cause::TagNotFound | Cause::PlatformMismatch | Cause::CorruptContent) => {
            format!("{step}; {good} runs here")
        }
        _ => step.to_owned(),
    }
}

fn count_are(number: u32, noun: &str) -> String {
    if number == 1 { format!("1 {noun} is") } else { format!("{number} {noun}s are") }
}

fn amount(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

/// How long ago something was, in the largest unit that fits.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", age(at, now))
}

/// The time between, in the largest unit that fits.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now.as_second() - at.as_second()).max(0);
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", (seconds + 30) / 60),
        5400..=172_799 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
