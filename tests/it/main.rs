//! The one integration test binary.
mod references;
