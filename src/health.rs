//! What this cluster has lived through: observations in, four questions answered.

mod asker;
mod history;

pub use asker::Asker;
pub use history::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success, Visibility,
};
