//! What this cluster has lived through: observations in, four questions answered.

mod asker;
mod classify;
mod explain;
mod history;
mod observation;

pub use asker::Asker;
pub use classify::{
    Classified, CredentialProblem, KnownMessage, classify, known_messages, next_step,
};
pub use explain::{ExplainError, Explanation, MessageLine, explain_line, explain_message};
pub use history::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success, Visibility,
};
pub use observation::{
    ContainerStatusView, ContainerView, EventView, InvolvedObject, OwnerView, PodSpecView,
    PodStatusView, PodView, RunningView, SecretName, SeriesView, StateView, TerminatedView,
    WaitingView, controller,
};
