//! The registry client against registries that follow a script, and against real ones.

mod addresses;
mod basics;
mod bounds;
mod credentials;
mod economy;
mod freshness;
mod fuzz;
mod logins;
mod mirrors;
mod mixed;
mod proxies;
mod real;
mod remembered;
pub mod scripted;
mod slow;
mod tls;
mod trouble;
mod words;
