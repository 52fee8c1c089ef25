//! How much a report is to make of a finding: one rule for all formats.

use clap::ValueEnum;

use super::ImageEntry;
use crate::policy::Decision;
use crate::pull::Verdict;

/// From which result on the exit code is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(in crate::cli) enum FailOn {
    /// Something would be denied, by the policy and the mode of its namespace
    Deny,
    /// An image certainly fails, whatever the mode
    #[default]
    Fails,
    /// It cannot be told of an image whether it works
    CannotTell,
}

/// What is to be made of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// It works, or the policy wants it left alone.
    None,
    /// Nobody has to act: it cannot be told, or something is worth knowing.
    Note,
    /// Admission warns of it, or it fails and the check was told to let that pass.
    Warning,
    /// Admission denies it, or the check fails on it.
    Error,
}

impl FailOn {
    /// Whether this entry makes the exit code 1. What an exception is for does not, as at admission,
    /// nor what is in the baseline.
    pub(super) fn counts(self, entry: &ImageEntry) -> bool {
        let finding = &entry.finding;
        if entry.known {
            return false;
        }
        finding.decision == Decision::Deny
            || entry.lock.is_some()
            || match finding.verdict {
                _ if finding.excepted => false,
                Verdict::Fails => self != Self::Deny,
                Verdict::CannotTell => self == Self::CannotTell && !finding.skipped,
                Verdict::Works => false,
            }
    }

    /// What is to be made of this entry.
    pub(super) fn severity(self, entry: &ImageEntry) -> Severity {
        let finding = &entry.finding;
        let fails = finding.verdict == Verdict::Fails && !finding.excepted;
        if self.counts(entry) {
            Severity::Error
        } else if !entry.known && (finding.decision == Decision::Warn || fails) {
            Severity::Warning
        } else if finding.skipped
            || (finding.verdict == Verdict::Works
                && finding.cause.is_none()
                && finding.noted.is_none())
        {
            Severity::None
        } else {
            Severity::Note
        }
    }
}
