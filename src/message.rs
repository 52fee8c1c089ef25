//! Every sentence for people: what a line at `kubectl` says, how long it may be, and what is cut.

mod cause;
mod decision;
mod fit;
mod line;
mod observed;
mod stats;

pub use cause::{escape_words, evidence, sentence, tls_words};
pub use decision::{
    denial, denied_by, held_back_by, history_hidden, ignored_label, reopened, still_learning,
};
pub use fit::{DETAILS, MAX_HEAD};
pub use fit::{MAX_WARNING, fit_warnings};
pub use line::{Finding, lines};
pub use observed::DigestDrift;
pub use observed::containers;
pub(crate) use observed::{as_sentence, observed, observed_at_large};
pub(crate) use observed::{drift_sentences, start_sentences};
pub use stats::QuotaForecast;
pub use stats::{FailureStats, NodesFailing, StatsScope};
