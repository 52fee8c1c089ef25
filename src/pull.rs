//! What a pull will come to: outcomes of look-ups in, a verdict with its cause and its open
//! escapes out.
//!
//! Pure: it is given what registries, nodes and history said, and never asks. The rules are those
//! of the product: only what the registry itself confirmed to the pod's own credentials `fails`,
//! and every way in which a node could still succeed is carried along as an escape.

mod assess;
mod blind;
mod cause;
mod content;
mod escapes;
mod known_manifest;
mod evidence;
mod outcome;
mod runtime;
mod verdict;
mod vouches;

pub use assess::assess;
pub(crate) use assess::{is_about_access, meaning, on_every_node, starts_without_asking};
pub(crate) use blind::realm_to_list;
pub use blind::{BlindReason, BlindSpot};
pub use cause::Cause;
pub(crate) use evidence::has_other_mirrors;
pub use evidence::{
    Assessment, Attempt, Doubt, HistoryFacts, Observation, RepositoryAccess, SecretsState, lists,
};
pub use known_manifest::KnownManifest;
pub(crate) use known_manifest::same_image;
pub(crate) use outcome::REFUSALS_APART;
pub use outcome::{
    Content, Detail, ErrorCode, Found, ListRequest, Listing, Lookup, LookupRequest, MediaKind,
    NetworkFault, Outcome, PullsLeft, Purpose, Step, TagList, TlsFault,
};
pub use runtime::Runtime;
pub(crate) use runtime::runs_on;
pub use verdict::{Escape, Verdict};
pub use vouches::{NodeLogin, Vouch, Vouches};
