//! What was observed of an image, its registry or the digests that pods run, in one sentence.

use super::cause::sentence;
use crate::history::{Report, RunningDigest};
use crate::image::Digest;
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

/// Pods that run another digest of a tag than the registry has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestDrift {
    /// How many.
    pub pods: u32,
    /// Whether all of them are of the workload that is looked at; otherwise they are of its namespace.
    pub of_workload: bool,
}

impl DigestDrift {
    /// What is the case, as the head of a line.
    pub(super) fn message(self) -> String {
        let who = match (self.pods, self.of_workload) {
            (1, true) => "1 of its pods runs".to_owned(),
            (1, false) => "1 pod of its namespace runs".to_owned(),
            (pods, true) => format!("{pods} of its pods run"),
            (pods, false) => format!("{pods} pods of its namespace run"),
        };
        format!("{who} another digest of the tag than the registry has")
    }
}

/// What becomes of pods that run another digest than the registry has, as sentences.
pub(crate) fn drift_sentences(others: &[&RunningDigest], now: &Digest) -> String {
    let pods: u32 = others.iter().map(|one| one.pods).sum();
    let run = if pods == 1 { "1 pod runs" } else { &format!("{pods} pods run") };
    let starts = start_sentences(others);
    format!("The registry has {now} under this tag now; {run} another digest. {starts}")
}

/// What the next starts of these pods run, by their pull policies.
pub(crate) fn start_sentences(running: &[&RunningDigest]) -> String {
    let pods: u32 = running.iter().map(|one| one.pods).sum();
    let always: u32 = running.iter().map(|one| one.always).sum();
    let mut words = Vec::new();
    if always > 0 {
        let of = if always == pods { String::new() } else { format!(" ({always} of {pods} pods)") };
        words.push(format!(
            "With Always{of} the next start of a container runs what the registry has."
        ));
    }
    if always < pods {
        words.push(
            "With IfNotPresent a node that has the tag starts what it has; a node without it pulls what \
             the registry has."
                .to_owned(),
        );
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_few_pods_is_whole() {
        for (pods, of_workload, head) in [
            (1, true, "1 of its pods runs another digest of the tag than the registry has"),
            (
                9,
                false,
                "9 pods of its namespace run another digest of the tag than the registry has",
            ),
        ] {
            let words = DigestDrift { pods, of_workload }.message();
            assert_eq!(words, head);
            assert!(words.len() <= 80, "{words}");
        }
    }
}
