//! What the images of one workload share while they are reviewed. It is built once for each request.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::future::{BoxFuture, Shared};

use super::pod_secrets::PodSecrets;
use super::{ReviewRequest, Sources};
use crate::image::{ImageReference, ReferenceError};
use crate::pull::Purpose;
use crate::workload::{Eligible, NamespaceFacts, Node};

/// A denial is never made from an answer that is older.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What the images of one workload share while they are reviewed.
#[derive(Clone, Copy)]
pub(super) struct ReviewContext<'a> {
    pub sources: Sources<'a>,
    pub subject: ReviewRequest<'a>,
    pub secrets: &'a PodSecrets,
    pub eligible: &'a Eligible<'a>,
    /// What is known of the namespace.
    pub facts: Option<&'a NamespaceFacts>,
    /// Whether somebody else may change the workload's pods; nothing if that is unknown.
    pub pods_rewritten: Option<bool>,
    /// Access reviews that may still be made for Services.
    pub more_reviews: &'a AtomicUsize,
    /// What registries are asked for.
    pub purpose: Purpose,
}

/// The pull secrets, read past everything that is kept; not before somebody wants to know.
pub(super) type SecretsNow<'a> = Shared<BoxFuture<'a, Arc<PodSecrets>>>;

/// An image's name: as it was written, and where runtimes look for it if that is elsewhere.
#[derive(Clone, Copy)]
pub(super) struct ResolvedName<'a> {
    pub written: &'a Result<ImageReference, ReferenceError>,
    pub elsewhere: Option<&'a ImageReference>,
}

impl<'a> ResolvedName<'a> {
    /// What the runtimes ask for.
    pub(super) fn meant(self) -> Result<&'a ImageReference, &'a ReferenceError> {
        self.elsewhere.map_or(self.written.as_ref(), Ok)
    }
}

/// Whether a node's own list names this image.
pub(super) fn is_listed(node: &Node, wanted: &str) -> bool {
    node.images.iter().any(|name| **name == *wanted)
}
