//! What is counted of reviews: answers, verdicts, and who got none.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{IntGauge, Metrics};

/// Seconds; reviews take from microseconds (nothing to judge) up to their deadline.
const REVIEW_SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

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
struct PassLabels {
    by: &'static str,
}

type ReviewSecondsFamily = Family<EndpointLabels, Histogram, fn() -> Histogram>;

/// How long reviews take.
#[derive(Debug)]
struct ReviewSeconds(ReviewSecondsFamily);

impl Default for ReviewSeconds {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(REVIEW_SECONDS)))
    }
}

/// The metrics of reviews.
#[derive(Debug, Default)]
pub(super) struct ReviewMetrics {
    reviews: Family<ReviewLabels, Counter>,
    review_seconds: ReviewSeconds,
    in_flight: IntGauge,
    verdicts: Family<VerdictLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    cut_short: Family<ReasonLabels, Counter>,
    let_through: Family<PassLabels, Counter>,
}

impl ReviewMetrics {
    /// Registers each once.
    pub(super) fn register(&self, r: &mut Registry) {
        r.register("reviews", "Reviews answered, by decision", self.reviews.clone());
        r.register(
            "review_duration_seconds",
            "Time from a request's arrival to its answer",
            self.review_seconds.0.clone(),
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
            "Objects admitted without evaluation",
            self.cut_short.clone(),
        );
        r.register(
            "let_through",
            "Reviews in which an exception or break-glass let an image through",
            self.let_through.clone(),
        );
    }
}

impl Metrics {
    /// Counts an answered review and how long it took.
    pub fn review(&self, endpoint: &'static str, decision: &'static str, seconds: f64) {
        self.reviews.reviews.get_or_create(&ReviewLabels { endpoint, decision }).inc();
        self.reviews.review_seconds.0.get_or_create(&EndpointLabels { endpoint }).observe(seconds);
    }

    /// Counts the verdict on one image under review; `cause` is empty where it works.
    pub fn verdict(&self, verdict: &'static str, cause: &'static str) {
        self.reviews.verdicts.get_or_create(&VerdictLabels { verdict, cause }).inc();
    }

    /// A review begins; it ends when the guard is dropped.
    pub(crate) fn review_begins(&self) -> InFlight {
        self.reviews.in_flight.inc();
        InFlight(self.reviews.in_flight.clone())
    }

    /// Counts a caller that got no answer.
    pub fn refused(&self, reason: Refusal) {
        self.reviews.refused.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a proven caller's request that is no review.
    pub fn rejected(&self, reason: Rejection) {
        self.reviews.rejected.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a review that was let through without a look.
    pub(crate) fn cut_short(&self, reason: FailOpenReason) {
        self.reviews.cut_short.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts what got past the policy, by `exception` or by `break_glass`.
    pub(crate) fn let_through(&self, by: &'static str) {
        self.reviews.let_through.get_or_create(&PassLabels { by }).inc();
    }
}

/// A review under way.
#[derive(Debug)]
pub(crate) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

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
        /// It is not the API server's aggregation layer, or somebody else asks by way of it.
        Aggregation = "aggregation",
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
    /// What the digest that pods run under a tag differs from.
    DriftAgainst {
        /// The one that the registry has for the tag now.
        Registry = "registry",
        /// The one that other pods run.
        Pods = "pods",
    }
}
label_values! {
    /// What the API server is asked by name, or told.
    ApiCall {
        /// A Secret.
        Secret = "secret",
        /// The names of a namespace's pull secrets.
        SecretNames = "secret_names",
        /// A ServiceAccount.
        ServiceAccount = "serviceaccount",
        /// A SubjectAccessReview.
        AccessReview = "subjectaccessreview",
        /// A `TokenReview`.
        TokenReview = "tokenreview",
        /// The Service and EndpointSlices behind an in-cluster registry.
        Service = "service",
        /// A few pods, for what is wrong with them.
        Pod = "pod",
        /// An Event that is written about a workload.
        Event = "event",
        /// Mutating webhooks and policies of others.
        Rewriters = "mutatingwebhookconfiguration",
        /// A `RuntimeClass`.
        RuntimeClass = "runtimeclass",
    }
}
