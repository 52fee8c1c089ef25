//! Logs and metrics: what Pullgate says about itself.
//!
//! One log line per review, fields only: never a body, an object, a secret or the path token.
//! Metrics carry labels from closed lists; never an image, a pod, a namespace or an error text.

mod clock;
mod logging;
mod metrics;
mod otlp;

pub use clock::now;
pub(crate) use clock::{clock, instant, random_between};
pub use logging::{LogFormat, LogLevel, init};
pub(crate) use metrics::SecretEnd;
pub use metrics::{
    ApiCall, DriftAgainst, FailOpenReason, FailingContainers, Metrics, Refusal, RegistryNumbers,
    Rejection,
};
pub(crate) use otlp::{METRICS_EVERY, lookup_span, review_span};
pub use otlp::{Otlp, OtlpError};
