//! Pullgate says, before anything is rolled out, whether the nodes of a cluster will be able to
//! pull the images it names, why not, and what to use instead.

// Pure rooms, each using only those above it: no tokio, no sockets, no clock, no logging.
pub mod image;
pub mod credential;
pub mod workload;
pub mod pull;
pub mod health;
pub mod advice;
pub mod policy;
pub mod admission;
// The one use case, and the traits it needs of the outside.
pub mod review;
// Edges: each speaks to one thing outside, and none imports another (metric handles excepted).
pub mod telemetry;
pub mod config;
pub mod server;
pub mod plugin;
