//! How much a report is to make of a finding: one rule for all formats.

use clap::ValueEnum;

use super::ImageFinding;
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
    /// Whether this finding makes the exit code 1.
    pub(super) fn counts(self, finding: &ImageFinding) -> bool {
        finding.decision == Decision::Deny
            || match finding.verdict {
                Verdict::Fails => self != Self::Deny,
                Verdict::CannotTell => self == Self::CannotTell && !finding.skipped,
                Verdict::Works => false,
            }
    }

    /// What is to be made of this finding.
    pub(super) fn severity(self, finding: &ImageFinding) -> Severity {
        if self.counts(finding) {
            Severity::Error
        } else if finding.decision == Decision::Warn || finding.verdict == Verdict::Fails {
            Severity::Warning
        } else if finding.skipped || (finding.verdict == Verdict::Works && finding.cause.is_none())
        {
            Severity::None
        } else {
            Severity::Note
        }
    }
}
