//! What is counted of the process: its files, its certificate, its watches, its calls.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::words::ApiCall;
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
    pub fn handshake_failed(&self) {
        self.process.handshakes_failed.inc();
    }

    /// Counts a changed file that was taken into use (or not, and the old content kept).
    pub fn reloaded(&self, file: &'static str, taken: bool) {
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
    pub fn watch_synced(&self, resource: &'static str, synced: bool) {
        self.process
            .watch_synced
            .get_or_create(&ResourceLabels { resource })
            .set(i64::from(synced));
    }

    /// Notes when a watch last heard of the API server (Unix seconds).
    pub fn watch_contact(&self, resource: &'static str, at: f64) {
        self.process.watch_contact.get_or_create(&ResourceLabels { resource }).set(at);
    }

    /// Counts a watch error.
    pub fn watch_failed(&self, resource: &'static str) {
        self.process.watch_failures.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a complete list taken in by a watch.
    pub fn watch_listed(&self, resource: &'static str) {
        self.process.watch_lists.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a watched object that could not be read.
    pub fn watch_undecodable(&self, resource: &'static str) {
        self.process.watch_undecodable.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a call to the API server by name; `outcome` is one of `ok`, `missing`, `exists`,
    /// `refused`, `failed`, `late`, `dropped`.
    pub fn api_call(&self, call: ApiCall, outcome: &'static str) {
        self.process.api_calls.get_or_create(&ApiLabels { resource: call.as_str(), outcome }).inc();
    }
}
