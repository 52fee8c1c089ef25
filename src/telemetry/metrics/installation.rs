//! What is counted of this installation: its policy, its leader, what it keeps.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{IntGauge, Metrics};

/// The metrics of the installation.
#[derive(Debug, Default)]
pub(super) struct InstallationMetrics {
    policy_current: IntGauge,
    listed_without_files: IntGauge,
    policy_contradictions: IntGauge,
    leader: IntGauge,
    renewals: Counter,
    installation_failures: Counter,
}

impl InstallationMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "policy_current",
            "1 if the policy that was given is in force, 0 if it was refused or cannot be had",
            self.policy_current.clone(),
        );
        r.register(
            "policy_listed_without_files",
            "Fields of the policy that say \"listed\" although no file was provided",
            self.listed_without_files.clone(),
        );
        r.register(
            "policy_contradictions",
            "Ways in which the cluster contradicts what the policy says of its nodes",
            self.policy_contradictions.clone(),
        );
        r.register("leader", "1 on the replica that leads", self.leader.clone());
        r.register(
            "certificate_renewals",
            "Times that this replica made or renewed authority, certificate or path token",
            self.renewals.clone(),
        );
        r.register(
            "installation_failures",
            "Failed reads of the Secret, the Lease and the webhook configurations",
            self.installation_failures.clone(),
        );
    }
}

impl Metrics {
    /// Notes whether the policy that was given is in force.
    pub fn policy_current(&self, current: bool) {
        self.installation.policy_current.set(i64::from(current));
    }

    /// Notes how many fields of the policy rely on files that were not given.
    pub fn listed_without_files(&self, fields: usize) {
        self.installation.listed_without_files.set(i64::try_from(fields).unwrap_or(i64::MAX));
    }

    /// Notes in how many ways the cluster contradicts the policy.
    pub fn policy_contradictions(&self, ways: usize) {
        self.installation.policy_contradictions.set(i64::try_from(ways).unwrap_or(i64::MAX));
    }

    /// Notes whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.installation.leader.set(i64::from(leads));
    }

    /// Counts that authority, certificate or path token were made or renewed.
    pub fn renewed(&self) {
        self.installation.renewals.inc();
    }

    /// Counts a failed look at what this installation keeps.
    pub fn installation_failed(&self) {
        self.installation.installation_failures.inc();
    }
}
