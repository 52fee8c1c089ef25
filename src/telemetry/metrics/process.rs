//! What is counted of the process and its installation: its files, its certificate, its watches, its
//! calls; its policy, its leader, what it keeps.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::reviews::ApiCall;
use super::{FloatGauge, IntGauge, Metrics};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    resource: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    file: &'static str,
    result: &'static str,
}

/// The metrics of the process.
#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    handshakes_failed: Counter,
    reloads: Family<FileLabels, Counter>,
    certificate_expiry: IntGauge,
    ready: IntGauge,
    watch_synced: Family<ResourceLabels, IntGauge>,
    watch_contact: Family<ResourceLabels, FloatGauge>,
    watch_failures: Family<ResourceLabels, Counter>,
    watch_lists: Family<ResourceLabels, Counter>,
    watch_undecodable: Family<ResourceLabels, Counter>,
    api_calls: Family<ApiLabels, Counter>,
}

impl ProcessMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed or took too long",
            self.handshakes_failed.clone(),
        );
        r.register(
            "file_reloads",
            "Changed files taken into use, or refused with the old content kept",
            self.reloads.clone(),
        );
        r.register(
            "tls_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, as Unix time",
            self.certificate_expiry.clone(),
        );
        r.register("ready", "Whether /readyz says yes", self.ready.clone());
        r.register(
            "watch_synced",
            "Whether the first list of the watch is in",
            self.watch_synced.clone(),
        );
        r.register(
            "watch_last_contact_timestamp_seconds",
            "Last contact of the watch with the API server, as Unix time",
            self.watch_contact.clone(),
        );
        r.register("watch_failures", "Watch errors", self.watch_failures.clone());
        r.register("watch_lists", "Complete lists taken in", self.watch_lists.clone());
        r.register(
            "watch_undecodable_objects",
            "Watched objects that could not be read and were left out",
            self.watch_undecodable.clone(),
        );
        r.register("api_calls", "Calls to the API server by name", self.api_calls.clone());
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        let build = prometheus_client::metrics::info::Info::new(version);
        r.register("build", "The running version", build);
    }
}

impl Metrics {
    /// Counts a failed TLS handshake.
    pub(crate) fn handshake_failed(&self) {
        self.process.handshakes_failed.inc();
    }

    /// Counts a changed file that was taken into use (or not, and the old content kept).
    pub(crate) fn reloaded(&self, file: &'static str, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.process.reloads.get_or_create(&FileLabels { file, result }).inc();
    }

    /// Notes when the serving certificate expires (Unix seconds).
    pub fn certificate_expires(&self, at: i64) {
        self.process.certificate_expiry.set(at);
    }

    /// Notes what `/readyz` says.
    pub fn ready(&self, ready: bool) {
        self.process.ready.set(i64::from(ready));
    }

    /// Notes whether the first list of a watch is in.
    pub(crate) fn watch_synced(&self, resource: &'static str, synced: bool) {
        self.process
            .watch_synced
            .get_or_create(&ResourceLabels { resource })
            .set(i64::from(synced));
    }

    /// Notes when a watch last heard of the API server (Unix seconds).
    pub(crate) fn watch_contact(&self, resource: &'static str, at: f64) {
        self.process.watch_contact.get_or_create(&ResourceLabels { resource }).set(at);
    }

    /// Counts a watch error.
    pub(crate) fn watch_failed(&self, resource: &'static str) {
        self.process.watch_failures.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a complete list taken in by a watch.
    pub(crate) fn watch_listed(&self, resource: &'static str) {
        self.process.watch_lists.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a watched object that could not be read.
    pub(crate) fn watch_undecodable(&self, resource: &'static str) {
        self.process.watch_undecodable.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a call to the API server by name; `outcome` is one of `ok`, `missing`, `exists`,
    /// `refused`, `failed`, `late`, `dropped`.
    pub(crate) fn api_call(&self, call: ApiCall, outcome: &'static str) {
        self.process.api_calls.get_or_create(&ApiLabels { resource: call.as_str(), outcome }).inc();
    }
}

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
    pub(crate) fn policy_current(&self, current: bool) {
        self.installation.policy_current.set(i64::from(current));
    }

    /// Notes how many fields of the policy rely on files that were not given.
    pub(crate) fn listed_without_files(&self, fields: usize) {
        self.installation.listed_without_files.set(i64::try_from(fields).unwrap_or(i64::MAX));
    }

    /// Notes in how many ways the cluster contradicts the policy.
    pub(crate) fn policy_contradictions(&self, ways: usize) {
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
    pub(crate) fn installation_failed(&self) {
        self.installation.installation_failures.inc();
    }
}
