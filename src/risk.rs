//! Images that something in the cluster would have to pull again, and what becomes of whom when
//! they cannot be pulled: pods that run, and templates of which pods will be made some day.
//!
//! Everything here is told by what was seen once; nothing is asked.

mod need;
mod report;

pub(crate) use need::Question;
pub use need::{Need, NeedKey, Needs, Puller, PullerName, When};
pub use report::{ImageRisk, PullerRisk, RiskReport, UnclearImage};
