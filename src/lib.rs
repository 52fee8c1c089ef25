//! Pullgate says, before anything is rolled out, whether the nodes of a cluster will be able to
//! pull the images it names, why not, and what to use instead.
//!
//! It is a Kubernetes admission webhook and a command line on one engine.
//!
//! # The line
//!
//! One request goes one way, and nothing goes back:
//!
//! ```text
//! bytes → decode  → AdmissionRequest
//!       → extract → Workload    every image it will pull, with its place
//!       → gather  → Evidence    what was observed in this cluster, and what the registry
//!                               answered to each of the pod's own credentials
//!       → assess  → Assessment  works, fails or cannot tell; the cause; the open escapes
//!       → decide  → Decision    allow, warn or deny, as the policy has it
//!       → confirm               before a denial: the three above again, with answers of the last
//!                               second
//!       → advise  → Advice      what to use instead, tried before it is said
//!       → encode  → AdmissionResponse → record → bytes
//! ```
//!
//! From the workload to the advice it is one function, [`review::review`], which the webhook and
//! `pullgate check` share.
//!
//! # The import rule
//!
//! Pure modules take and return plain values: no tokio, no sockets, no clock, no logging. Each uses
//! only those above it in the list below. The edges speak to one outside thing each, implement
//! the traits that [`review`] defines, and never import each other. A test holds the source to
//! this (`tests/it/architecture.rs`).
//!
//! # What it must never do
//!
//! Deny what a node could have pulled. Only a *fails* that the registry itself confirmed to
//! exactly the pod's own credentials, with no way left in which a node could still succeed, may
//! deny ([`pull::assess`]); the policy can make that milder, never harsher ([`policy`]).

// What the tests, the benches and the program use is public, and nothing else.
#![warn(unreachable_pub)]

// Pure modules, each using only those above it: no tokio, no sockets, no clock, no logging.
pub mod text;
pub mod duration;
mod yaml;
pub mod image;
pub mod user;
pub mod kube_views;
pub mod node_config;
pub mod credential;
pub mod workload;
pub mod pull;
pub mod failure;
pub mod builds;
pub mod history;
pub mod advice;
pub mod policy;
pub mod message;
pub mod risk;
mod report;
pub mod admission;
// The one use case, and the traits it needs of the outside.
pub mod review;
// Edges: each speaks to one thing outside, and none imports another (metric handles excepted).
pub mod telemetry;
pub mod cluster;
pub mod registry;
pub mod pki;
pub mod server;
pub mod web;
pub mod node;
// The programs.
pub mod serve;
pub mod cli;
