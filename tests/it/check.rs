//! `pullgate check` as a person or a pipeline runs it: the real binary, files, and a registry on
//! loopback.

mod bad_input;
mod credentials;
mod formats;
mod inputs;
mod json;
mod registry;
mod run;
mod schema;
mod text;
