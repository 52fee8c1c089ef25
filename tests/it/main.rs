//! The one integration test binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may fail the test, and say why one was skipped"
)]

mod keyring;
mod references;
