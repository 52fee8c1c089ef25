//! What this cluster has lived through: observations in, four questions answered.

mod asker;
mod builds;
mod classify;
mod explain;
mod history;
mod index;
mod neighbour;
mod observation;
mod report;
mod score;

pub use asker::Asker;
pub use builds::{Builds, JobView};
pub use classify::{
    Classified, CredentialProblem, KnownMessage, classify, known_messages, next_step,
};
pub use explain::{ExplainError, Explanation, MessageLine, explain_line, explain_message};
pub use history::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success, Visibility,
};
pub use index::{
    HealthIndex, IndexSize, Limits, OwnerKind, Refusal, Rewrite, Snapshot, SnapshotError, Trend,
    TroubleKind, UsedImage,
};
pub use neighbour::{BuildJob, BuildKind, BuildState, PodTrouble, RegistryService, ServiceState};
pub use observation::{
    ContainerStatusView, ContainerView, EventView, InvolvedObject, OwnerView, PodSpecView,
    PodStatusView, PodView, RunningView, SecretName, SeriesView, StateView, TerminatedView,
    WaitingView, controller,
};
pub use report::{
    CauseLine, FailurePattern, NamedCount, RegistryReport, Report, Scope, Spread, Subject, TagLine,
    WorkloadLine, how_long_ago,
};
pub use score::{
    FIRST_REOPENING, GivenVerdict, NodeOutcome, PodVerdicts, Recheck, RegistryScore,
    RegistryScoreSummary, Score, VerdictCount, is_refusal,
};
