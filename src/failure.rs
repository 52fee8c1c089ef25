//! What a kubelet's or a runtime's message means: from its text to a cause, the registry it speaks
//! of, and the next step.
//!
//! No text of a message comes out again, except host names that parse as such.

mod classify;
mod context;
mod explain;
mod hosts;
mod parts;
mod rules;
#[cfg(test)]
mod tests;
mod tokens;

pub use classify::{Classified, CredentialProblem, KnownMessage, classify, known_messages};
pub use explain::next_step;
pub(crate) use explain::{explain_line, explain_message, next_step_of};
