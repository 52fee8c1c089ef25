//! The one use case: from a workload to a decision about each of its images.
//!
//! The webhook and the command line share it. It defines what it needs of the outside as traits
//! and never reaches out itself; time is an argument.

mod source;

pub use source::{
    AccessSource, ClusterSource, HealthSource, ManifestSource, SecretAnswer, ServiceAccountAnswer,
    ServiceAccountFacts,
};
