//! That pods run another digest under a tag than the registry has for it now.

use crate::history::RunningDigest;
use crate::image::Digest;

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
