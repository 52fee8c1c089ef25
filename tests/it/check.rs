//! `pullgate check` as a person or a pipeline runs it: the real binary, files, and a registry on
//! loopback.

mod bad_input;
mod credentials;
pub mod formats;
mod inputs;
mod json;
mod registry;
pub mod run;
mod schema;
mod shell;
mod text;
