//! The one integration test binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::format_collect,
    reason = "helpers of tests may fail the test, say why one was skipped, and look at the clock"
)]

#[allow(dead_code, reason = "the harness offers more than the tests of today use")]
mod cluster;
mod browser;
mod cluster_edge;
mod admit;
mod architecture;
mod chaos;
mod check;
mod custom_resources;
mod keyring;
mod deploy;
mod docs;
mod golden;
mod policy;
mod model;
mod pull;
mod workload;
mod oracle;
mod pipelines;
mod references;
mod serve;
mod server;
mod plugin;
mod review;
mod mirror;
mod registry;
mod advice;
mod messages;
