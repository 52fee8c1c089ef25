//! What the images of one workload share while they are reviewed, built once for each request; and the
//! pull secrets that the kubelet will have for its pod.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::future::{BoxFuture, Shared};

use super::{ReviewRequest, Sources};
use crate::credential::{Keyring, KeyringError};
use crate::image::{ImageReference, ReferenceError};
use crate::pull::{Purpose, SecretsState};
use crate::text::clean;
use crate::workload::{Eligible, NamespaceFacts, Node};

/// A denial is never made from an answer that is older.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What the images of one workload share while they are reviewed.
#[derive(Clone, Copy)]
pub(super) struct ReviewContext<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) subject: &'a ReviewRequest<'a>,
    pub(super) secrets: &'a PodSecrets,
    pub(super) eligible: &'a Eligible<'a>,
    /// What is known of the namespace.
    pub(super) facts: Option<&'a NamespaceFacts>,
    /// Whether somebody else may change the workload's pods; nothing if that is unknown.
    pub(super) pods_rewritten: Option<bool>,
    /// Access reviews that may still be made for Services.
    pub(super) more_reviews: &'a AtomicUsize,
    /// What registries are asked for.
    pub(super) purpose: Purpose,
}

/// The pull secrets, read past everything that is kept; not before somebody wants to know.
pub(super) type SecretsNow<'a> = Shared<BoxFuture<'a, Arc<PodSecrets>>>;

/// An image's name: as it was written, and where runtimes look for it if that is elsewhere.
#[derive(Clone, Copy)]
pub(super) struct ResolvedName<'a> {
    pub(super) written: &'a Result<ImageReference, ReferenceError>,
    pub(super) elsewhere: Option<&'a ImageReference>,
}

impl<'a> ResolvedName<'a> {
    /// What the runtimes ask for.
    pub(super) fn effective(self) -> Result<&'a ImageReference, &'a ReferenceError> {
        self.elsewhere.map_or(self.written.as_ref(), Ok)
    }
}

/// Whether a node's own list names this image.
pub(super) fn is_listed(node: &Node, wanted: &str) -> bool {
    node.images.iter().any(|name| **name == *wanted)
}

/// Where the names of the pull secrets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsOrigin {
    /// The pod (template) lists them.
    Pod,
    /// The pod lists none, so those of its ServiceAccount count.
    ServiceAccount(Box<str>),
    /// The object does not know under which account its pods will run.
    NotYetKnown,
}

/// The pull secrets that the kubelet will have for a workload's pods.
#[derive(Debug)]
pub struct PodSecrets {
    /// Where their names come from.
    pub origin: SecretsOrigin,
    /// Every name, in order.
    pub names: Vec<Box<str>>,
    /// Names of secrets that do not exist (yet): the kubelet goes on without them.
    pub missing: Vec<Box<str>>,
    /// Whether one of them, or the ServiceAccount, could not be read; the account may not exist
    /// yet.
    pub unread: bool,
    /// Whether the ServiceAccount is not in the files that were given.
    pub account_not_given: bool,
    /// The keyring that the kubelet makes of them.
    pub keyring: Result<Keyring, KeyringError>,
}

impl PodSecrets {
    /// Whose they are and their names, with these words where they could not be read; nothing if the
    /// object does not say which its pods will have.
    pub fn describe(&self, unread: &str) -> Option<String> {
        let names: Vec<String> = self.names.iter().map(|name| clean(name)).collect();
        let names = match names.is_empty() {
            true if self.unread => unread.to_owned(),
            true => "none".to_owned(),
            false => names.join(", "),
        };
        match &self.origin {
            SecretsOrigin::Pod => Some(format!("of the pod: {names}")),
            SecretsOrigin::ServiceAccount(account) => {
                Some(format!("of ServiceAccount {}: {names}", clean(account)))
            }
            SecretsOrigin::NotYetKnown => None,
        }
    }

    /// The secret that makes the kubelet give up, and what is wrong with it. The words are the
    /// kubelet's own and repeat nothing of the secret.
    pub fn broken(&self) -> Option<(&str, &'static str)> {
        match &self.keyring {
            Err(KeyringError::Broken { secret, .. }) => {
                Some((secret, "its docker configuration does not parse"))
            }
            _ => None,
        }
    }

    /// What is known of the credentials for this image.
    pub(super) fn state(&self, reference: Option<&ImageReference>) -> SecretsState {
        match &self.keyring {
            Err(KeyringError::Broken { .. }) => SecretsState::Broken,
            Err(KeyringError::TooLarge { .. }) => SecretsState::Unread,
            Ok(keyring) => {
                let disputed = reference.is_some_and(|reference| {
                    keyring.is_disputed(reference)
                        || keyring.explain(reference).any(|found| !found.credential.is_text())
                        || keyring.explain(reference).count() > MAX_CREDENTIALS
                });
                if self.unread || disputed {
                    SecretsState::Unread
                } else if !self.missing.is_empty() {
                    SecretsState::Missing
                } else if self.account_not_given {
                    SecretsState::NotInFiles
                } else {
                    SecretsState::Read
                }
            }
        }
    }
}

/// The kubelet tries every credential that matches, and so do we, as long as there is time; more
/// than these nobody has.
pub(super) const MAX_CREDENTIALS: usize = 64;
