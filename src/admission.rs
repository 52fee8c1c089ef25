//! The conversation with the API server: an `AdmissionReview` in, an `AdmissionReview` out.
//!
//! Pure: bytes and values. It never decides; it says what was decided.

mod decode;
mod encode;
mod patch;

pub use decode::{
    AdmissionRequest, DecodeError, FRONT_OF_UID, Object, Operation, decode, decode_with_pod,
};
pub use encode::{Answer, Patch, encode};
pub use patch::{ORIGINAL_IMAGES_ANNOTATION, Pin, PodChanges, patch_pod};
