//! The conversation with the API server: an `AdmissionReview` in, an `AdmissionReview` out.
//!
//! Pure: bytes and values. It never decides; it says what was decided.

mod decode;
mod encode;
mod patch;

pub use decode::{AdmissionRequest, DecodeError, Object, Operation, decode};
pub(crate) use decode::{FRONT_OF_UID, decode_with_pod};
pub use encode::{Answer, Patch, encode};
pub use patch::Pin;
pub(crate) use patch::{PodChanges, patch_pod};
