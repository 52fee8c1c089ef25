//! The conversation with the API server: an AdmissionReview in, an AdmissionReview out, and the
//! words that a person reads at `kubectl`.
//!
//! Pure: bytes and values. It never decides; it says what was decided.

mod decode;
mod encode;
mod line;
mod patch;
mod picture;
mod sentence;
mod wording;

pub use decode::{AdmissionRequest, DecodeError, Operation, decode, peek_uid};
pub use encode::{Answer, Patch, encode};
pub use line::{Finding, MAX_HEAD, lines};
pub use patch::{ORIGINAL_IMAGES_ANNOTATION, Pin, PodChanges, patch_pod};
pub use picture::{Picture, View};
pub use sentence::{escape_words, evidence, sentence, tls_words};
pub use wording::{MAX_WARNING, MAX_WARNINGS_TOTAL, clean, fit_warnings, shorten};
