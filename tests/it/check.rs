//! `pullgate check` as a person or a pipeline runs it: the real binary, files, and a registry on
//! loopback.

mod bad_input;
mod baseline;
pub mod credentials;
pub mod formats;
mod inputs;
mod json;
mod lock;
mod many;
mod noted;
mod private;
mod registry;
mod render;
pub mod run;
pub mod schema;
mod shell;
mod terminal;
mod text;
