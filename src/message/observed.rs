//! What was observed of an image or a registry, in one sentence.

use super::cause::sentence;
use crate::history::Report;
use crate::pull::Verdict;

/// What goes on whatever a registry answers now: that nothing is known, or that the registry as a
/// whole is in trouble. Nothing, if neither.
pub(crate) fn observed_at_large(report: &Report) -> Option<String> {
    if report.freshness != "current" {
        return Some("nothing can be said yet: the cluster's history is not known".to_owned());
    }
    let health = &report.registry.health;
    if !health.in_trouble {
        return None;
    }
    let mostly = health.main_cause.map(|cause| sentence(cause, Verdict::Fails));
    let mostly = mostly.map(|words| format!(", mostly {words}"));
    Some(format!(
        "the registry {} is in trouble: {} of {} containers cannot pull from it{}",
        report.registry.host,
        health.failing,
        health.failing + health.healthy,
        mostly.unwrap_or_default()
    ))
}

/// What is wrong by what was observed alone.
pub(crate) fn observed(report: &Report) -> String {
    if let Some(at_large) = observed_at_large(report) {
        return at_large;
    }
    if let Some(line) = report.failures.causes.first() {
        let words = sentence(line.cause, Verdict::Fails);
        return format!("{words} ({})", containers(report.scope.failing, ""));
    }
    match report.registry.health.failing {
        0 => "no container fails".to_owned(),
        failing => format!(
            "{} of its images cannot get them; it is not the registry as a whole",
            containers(failing, "")
        ),
    }
}

/// A number of containers, and what they do.
pub fn containers(count: u32, verb: &str) -> String {
    let (noun, ending) = if count == 1 { ("container", "s") } else { ("containers", "") };
    if verb.is_empty() {
        format!("{count} {noun}")
    } else {
        format!("{count} {noun} {verb}{ending}")
    }
}

/// With a capital in front and a full stop behind.
pub(crate) fn as_sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}
