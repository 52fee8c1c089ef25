//! What this cluster has lived through: observations in, four questions answered.

mod history;

pub use history::{
    Freshness, History, HistoryQuestion, KnownTag, RegistryHealth, Success, Visibility,
};
