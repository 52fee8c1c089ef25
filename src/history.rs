//! What was observed in this cluster: observations in, questions answered; and how right earlier
//! verdicts were.

mod accuracy;
mod facts;
mod index;
mod memory;
mod related;
mod report;

pub(crate) use accuracy::TRIAL_DAYS;
pub use accuracy::{
    NodeOutcome, PodVerdicts, Recheck, RecordedVerdict, RegistryScore, RegistryScoreSummary, Score,
    VerdictCount, WouldDeny, is_refusal,
};
pub use facts::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success, Visibility,
    VisibleHistory,
};
pub use index::{
    FailingImage, HealthIndex, IndexSize, Limits, Refusal, Rewrite, Snapshot, SnapshotError, Trend,
    TroubleKind,
};
pub(crate) use index::{FailingWorkload, KnownImage, OwnerKind, RegistryCounts};
pub use memory::{RememberedHistory, RememberedTag};
pub use related::{
    AllowedSources, PodTrouble, RegistryService, SelectingNetworkPolicy, ServiceState,
};
pub use report::{
    CauseLine, DigestUser, FailurePattern, ForecastBasis, NamedCount, NodePulls, PullForecast,
    PullSummary, RegistryReport, RememberedLine, Report, ReportTarget, RunningDigest, Scope,
    Spread, TagLine, WorkloadLine, how_long_ago,
};
