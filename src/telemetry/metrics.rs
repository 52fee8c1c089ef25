//! The metrics of the process, as typed handles that edges are given.
//!
//! Names start with `pullgate_`, times are in seconds, labels come from closed lists.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::pull::Cause;

/// Seconds; reviews take from microseconds (nothing to judge) up to their deadline.
const REVIEW_SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Declares a closed list of label values.
macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

label_values! {
    /// Why a caller got no answer at all.
    Refusal {
        /// The path token is wrong or missing.
        Token = "token",
        /// No client certificate was presented.
        Certificate = "certificate",
        /// The path is none of ours.
        Path = "path",
    }
}
label_values! {
    /// Why a proven caller's request was not a review.
    Rejection {
        /// It is not a readable AdmissionReview.
        Unreadable = "unreadable",
        /// It is larger than the limit.
        TooLarge = "too_large",
        /// It did not arrive in time, or broke off.
        Incomplete = "incomplete",
        /// It is not a POST.
        Method = "method",
        /// Too many requests are being read already.
        Overload = "overload",
    }
}
label_values! {
    /// Why a review was let through without a look.
    FailOpenReason {
        /// It panicked.
        Panic = "panic",
        /// Its deadline passed.
        Late = "late",
        /// Too many reviews are under way already.
        Overload = "overload",
    }
}
label_values! {
    /// What the API server is asked by name, or told.
    ApiCall {
        /// A Secret.
        Secret = "secret",
        /// A ServiceAccount.
        ServiceAccount = "serviceaccount",
        /// A SubjectAccessReview.
        AccessReview = "subjectaccessreview",
        /// The Service and EndpointSlices behind an in-cluster registry.
        Service = "service",
        /// A few pods, for what is wrong with them.
        Pod = "pod",
        /// An Event that is written about a workload.
        Event = "event",
        /// Mutating webhooks and policies of others.
        Rewriters = "mutatingwebhookconfiguration",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    endpoint: &'static str,
    decision: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndpointLabels {
    endpoint: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
    cause: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgedLabels {
    verdict: &'static str,
    outcome: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WouldDenyLabels {
    registry: String,
    cause: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SnapshotLabels {
    operation: &'static str,
    result: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    by: &'static str,
}
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PullableLabels {
    registry: String,
    cause: &'static str,
}
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

type FloatGauge = Gauge<f64, AtomicU64>;
type IntGauge = Gauge<i64, AtomicI64>;

/// All metrics of the process. Shared by reference; every method is cheap and never waits.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    review_seconds: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    in_flight: IntGauge,
    verdicts: Family<VerdictLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    cut_short: Family<ReasonLabels, Counter>,
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
    index_pods: IntGauge,
    index_images: IntGauge,
    index_state: Family<StateLabels, IntGauge>,
    judged: Family<JudgedLabels, Counter>,
    would_deny: Family<WouldDenyLabels, Counter>,
    snapshots: Family<SnapshotLabels, Counter>,
    policy_current: IntGauge,
    listed_without_files: IntGauge,
    policy_contradictions: IntGauge,
    leader: IntGauge,
    renewals: Counter,
    installation_failures: Counter,
    let_through: Family<PassLabels, Counter>,
    pullable: Family<PullableLabels, IntGauge>,
    pullable_registries: Mutex<HashSet<Box<str>>>,
    audited: Counter,
}

/// The most registries that appear as labels of the audit; the rest are `other`.
const AUDITED_REGISTRIES: usize = 100;

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric once.
    pub fn new() -> Self {
        Self::including(|_| ())
    }

    /// Registers every metric once, and those of another room.
    pub fn including(register: impl FnOnce(&mut Registry)) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pullgate"),
            reviews: Family::default(),
            review_seconds: Family::new_with_constructor(|| Histogram::new(REVIEW_SECONDS)),
            in_flight: IntGauge::default(),
            verdicts: Family::default(),
            refused: Family::default(),
            rejected: Family::default(),
            cut_short: Family::default(),
            handshakes_failed: Counter::default(),
            reloads: Family::default(),
            certificate_expiry: IntGauge::default(),
            ready: IntGauge::default(),
            watch_synced: Family::default(),
            watch_contact: Family::default(),
            watch_failures: Family::default(),
            watch_lists: Family::default(),
            watch_undecodable: Family::default(),
            api_calls: Family::default(),
            index_pods: IntGauge::default(),
            index_images: IntGauge::default(),
            index_state: Family::default(),
            judged: Family::default(),
            would_deny: Family::default(),
            snapshots: Family::default(),
            policy_current: IntGauge::default(),
            listed_without_files: IntGauge::default(),
            policy_contradictions: IntGauge::default(),
            leader: IntGauge::default(),
            renewals: Counter::default(),
            installation_failures: Counter::default(),
            let_through: Family::default(),
            pullable: Family::default(),
            pullable_registries: Mutex::default(),
            audited: Counter::default(),
        };
        metrics.register_reviews();
        metrics.register_process();
        metrics.register_index();
        metrics.register_installation();
        register(&mut metrics.registry);
        metrics
    }

    fn register_reviews(&mut self) {
        let r = &mut self.registry;
        r.register("reviews", "Reviews answered, by decision", self.reviews.clone());
        r.register(
            "review_duration_seconds",
            "Time from a request's arrival to its answer",
            self.review_seconds.clone(),
        );
        r.register("reviews_in_flight", "Reviews under way", self.in_flight.clone());
        r.register("image_verdicts", "Verdicts on images under review", self.verdicts.clone());
        r.register(
            "callers_refused",
            "Requests of callers that did not prove to be the API server",
            self.refused.clone(),
        );
        r.register("requests_rejected", "Requests that are no reviews", self.rejected.clone());
        r.register(
            "reviews_cut_short",
            "Reviews let through without a look",
            self.cut_short.clone(),
        );
    }

    fn register_process(&mut self) {
        let r = &mut self.registry;
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
            "When the watch last heard of the API server, as Unix time",
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

    fn register_index(&mut self) {
        let r = &mut self.registry;
        r.register("index_pods", "Pods in the health index", self.index_pods.clone());
        r.register(
            "index_images",
            "Images in the health index, remembered ones included",
            self.index_images.clone(),
        );
        r.register(
            "index_state",
            "1 for what the health index is: learning, current or stale (it tells only while it is current)",
            self.index_state.clone(),
        );
        r.register(
            "verdicts_judged",
            "Verdicts on images of admitted pods, by what the nodes then did",
            self.judged.clone(),
        );
        r.register(
            "would_deny",
            "Images of pods that would be denied if everything were vouched for and every namespace enforced",
            self.would_deny.clone(),
        );
        r.register(
            "snapshots",
            "Reads and writes of the file that keeps the memory, by result",
            self.snapshots.clone(),
        );
    }

    fn register_installation(&mut self) {
        let r = &mut self.registry;
        r.register(
            "policy_current",
            "1 if the policy that was given is in force, 0 if it was refused or cannot be had",
            self.policy_current.clone(),
        );
        r.register(
            "policy_listed_without_files",
            "Fields of the policy that say `listed` of nodes' files that were not given",
            self.listed_without_files.clone(),
        );
        r.register(
            "policy_contradictions",
            "Ways in which the cluster shows otherwise than the policy says of its nodes",
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
            "Failed looks at the Secret, the Lease and the webhook configurations",
            self.installation_failures.clone(),
        );
        r.register(
            "let_through",
            "Reviews in which an exception or break-glass let an image through",
            self.let_through.clone(),
        );
        r.register(
            "image_pullable",
            "Images in use by what a look at them last came to; the cause `none` can be pulled",
            self.pullable.clone(),
        );
        r.register("audit_looks", "Looks at images in use", self.audited.clone());
    }

    /// The text of all metrics in the `OpenMetrics` format.
    pub fn render(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        if text::encode(&mut page, &self.registry).is_err() {
            page.clear();
            let _infallible = writeln!(page, "# EOF");
        }
        page
    }

    /// Counts an answered review and how long it took.
    pub fn review(&self, endpoint: &'static str, decision: &'static str, seconds: f64) {
        self.reviews.get_or_create(&ReviewLabels { endpoint, decision }).inc();
        self.review_seconds.get_or_create(&EndpointLabels { endpoint }).observe(seconds);
    }

    /// Counts the verdict on one image under review; `cause` is empty where it works.
    pub fn verdict(&self, verdict: &'static str, cause: &'static str) {
        self.verdicts.get_or_create(&VerdictLabels { verdict, cause }).inc();
    }

    /// A review begins; it ends when the guard is dropped.
    pub fn review_begins(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a caller that got no answer.
    pub fn refused(&self, reason: Refusal) {
        self.refused.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a proven caller's request that is no review.
    pub fn rejected(&self, reason: Rejection) {
        self.rejected.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a review that was let through without a look.
    pub fn cut_short(&self, reason: FailOpenReason) {
        self.cut_short.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a failed TLS handshake.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// Counts a changed file that was taken into use (or not, and the old content kept).
    pub fn reloaded(&self, file: &'static str, taken: bool) {
        let result = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&FileLabels { file, result }).inc();
    }

    /// Notes when the serving certificate expires (Unix seconds).
    pub fn certificate_expires(&self, at: i64) {
        self.certificate_expiry.set(at);
    }

    /// Notes whether the policy that was given is in force.
    pub fn policy_current(&self, current: bool) {
        self.policy_current.set(i64::from(current));
    }

    /// Notes how many fields of the policy rely on files that were not given.
    pub fn listed_without_files(&self, fields: usize) {
        self.listed_without_files.set(i64::try_from(fields).unwrap_or(i64::MAX));
    }

    /// Notes in how many ways the cluster contradicts the policy.
    pub fn policy_contradictions(&self, ways: usize) {
        self.policy_contradictions.set(i64::try_from(ways).unwrap_or(i64::MAX));
    }

    /// Notes whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts that authority, certificate or path token were made or renewed.
    pub fn renewed(&self) {
        self.renewals.inc();
    }

    /// Counts a failed look at what this installation keeps.
    pub fn installation_failed(&self) {
        self.installation_failures.inc();
    }

    /// Counts an image in use by what a look at it came to, or no longer (`by` is 1 or -1).
    pub fn pullable(&self, registry: &str, cause: Option<Cause>, by: i64) {
        let mut known = self.pullable_registries.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = known.contains(registry)
            || (known.len() < AUDITED_REGISTRIES && known.insert(registry.into()));
        let registry = if listed { registry } else { "other" }.to_owned();
        let cause = cause.map_or("none", Cause::as_str);
        self.pullable.get_or_create(&PullableLabels { registry, cause }).inc_by(by);
    }

    /// Forgets what is known of images in use: another replica looks at them now.
    pub fn forget_pullable(&self) {
        let mut known = self.pullable_registries.lock().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        self.pullable.clear();
    }

    /// Counts what got past the policy, by `exception` or by `break_glass`.
    pub fn let_through(&self, by: &'static str) {
        self.let_through.get_or_create(&PassLabels { by }).inc();
    }

    /// Counts a look at an image in use.
    pub fn audited(&self) {
        self.audited.inc();
    }

    /// Notes what `/readyz` says.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Notes whether the first list of a watch is in.
    pub fn watch_synced(&self, resource: &'static str, synced: bool) {
        self.watch_synced.get_or_create(&ResourceLabels { resource }).set(i64::from(synced));
    }

    /// Notes when a watch last heard of the API server (Unix seconds).
    pub fn watch_contact(&self, resource: &'static str, at: f64) {
        self.watch_contact.get_or_create(&ResourceLabels { resource }).set(at);
    }

    /// Counts a watch error.
    pub fn watch_failed(&self, resource: &'static str) {
        self.watch_failures.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a complete list taken in by a watch.
    pub fn watch_listed(&self, resource: &'static str) {
        self.watch_lists.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Counts a watched object that could not be read.
    pub fn watch_undecodable(&self, resource: &'static str) {
        self.watch_undecodable.get_or_create(&ResourceLabels { resource }).inc();
    }

    /// Notes how much is in the health index.
    pub fn index_size(&self, pods: usize, images: usize) {
        self.index_pods.set(i64::try_from(pods).unwrap_or(i64::MAX));
        self.index_images.set(i64::try_from(images).unwrap_or(i64::MAX));
    }

    /// Notes whether the health index may be believed: `learning`, `current` or `stale`.
    pub fn index_freshness(&self, now: &'static str) {
        for state in ["learning", "current", "stale"] {
            let labels = StateLabels { state };
            self.index_state.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// Notes how often a verdict has met an outcome in all.
    pub fn verdicts_judged(&self, verdict: &'static str, outcome: &'static str, total: u64) {
        let counter = self.judged.get_or_create_owned(&JudgedLabels { verdict, outcome });
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Notes how many images of a registry would have been denied for a cause in all.
    pub fn would_deny(&self, registry: &str, cause: &'static str, total: u64) {
        let labels = WouldDenyLabels { registry: registry.to_owned(), cause };
        let counter = self.would_deny.get_or_create_owned(&labels);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Counts a read or write of the memory's file; `result` is one of `ok`, `absent`, `refused`,
    /// `failed`.
    pub fn snapshot(&self, operation: &'static str, result: &'static str) {
        self.snapshots.get_or_create(&SnapshotLabels { operation, result }).inc();
    }

    /// Counts a call to the API server by name; `outcome` is one of `ok`, `missing`, `exists`,
    /// `refused`, `failed`, `late`, `dropped`.
    pub fn api_call(&self, call: ApiCall, outcome: &'static str) {
        self.api_calls.get_or_create(&ApiLabels { resource: call.as_str(), outcome }).inc();
    }
}

/// A review under way.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_and_labels_are_words() {
        let metrics = Metrics::new();
        metrics.review("validate", "deny", 0.2);
        metrics.refused(Refusal::Token);
        metrics.cut_short(FailOpenReason::Panic);
        metrics.watch_contact("pods", 1.5);
        drop(metrics.review_begins());
        let page = metrics.render();
        for line in [
            r#"pullgate_reviews_total{endpoint="validate",decision="deny"} 1"#,
            r#"pullgate_callers_refused_total{reason="token"} 1"#,
            r#"pullgate_reviews_cut_short_total{reason="panic"} 1"#,
            r#"pullgate_watch_last_contact_timestamp_seconds{resource="pods"} 1.5"#,
            "pullgate_reviews_in_flight 0",
            "# EOF",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
        for line in page.lines().filter(|l| !l.starts_with('#')) {
            assert!(line.starts_with("pullgate_"), "{line}");
        }
    }
}
