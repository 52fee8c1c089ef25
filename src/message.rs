//! Every sentence for people: what a line at `kubectl` says, how long it may be, and what is cut.

mod cause;
mod decision;
mod fit;
mod line;
mod observed;
mod stats;

pub(crate) use cause::tried_words;
pub use cause::{escape_words, evidence, sentence, tls_words};
pub use decision::{
    denial, denied_by, held_back_by, history_hidden, ignored_label, reopened, still_learning,
};
pub use fit::{DETAILS, MAX_HEAD, MAX_WARNING, fit_warnings};
pub use line::{Finding, lines};
pub use observed::{DigestDrift, containers};
pub(crate) use observed::{
    as_sentence, drift_sentences, observed, observed_at_large, start_sentences,
};
pub use stats::{FailureStats, NodesFailing, QuotaForecast, StatsScope};
