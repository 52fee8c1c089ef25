//! Sources with something before them: the login of the person or the runner, in the place of what nodes
//! have (it proves what is there and what is not, and nothing about nodes), and a clock that measures how
//! long each image was waited for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::given::{Login, Logins};
use crate::credential::RuntimeLogin;
use crate::image::ImageReference;
use crate::pull::{Detail, Lookup, LookupRequest};
use crate::review::{ManifestSource, NodeCredentialSource, NodeCredentials};
use crate::telemetry::instant;
use crate::workload::Workload;

/// What nodes have, and then the own login.
pub(super) struct WithLogin<'a> {
    pub(super) nodes: &'a dyn NodeCredentialSource,
    pub(super) logins: &'a Logins,
}

impl NodeCredentialSource for WithLogin<'_> {
    fn runtime_login(&self, image: &ImageReference) -> RuntimeLogin {
        self.nodes.runtime_login(image)
    }

    fn node_credentials<'a>(
        &'a self,
        image: &'a ImageReference,
        deadline: Instant,
    ) -> BoxFuture<'a, NodeCredentials> {
        async move {
            let mut found = self.nodes.node_credentials(image, deadline).await;
            if let Login::Found(login) = self.logins.of(image.host()).await {
                found.credentials.push(login);
            }
            // Nodes have logins of their own, whatever this one is.
            found.unclear = true;
            found
        }
        .boxed()
    }
}

/// The workload as one whose ServiceAccount nobody has seen.
pub(super) fn without_secrets(workload: &Workload) -> Workload {
    let account = workload.service_account.clone().unwrap_or_else(|| "default".into());
    Workload { pull_secrets: Vec::new(), service_account: Some(account), ..workload.clone() }
}

/// Passes every question on, and keeps the longest wait for each image.
pub(super) struct TimedSource<'a> {
    registry: &'a dyn ManifestSource,
    /// What is read of every image.
    least: Detail,
    waits: Mutex<HashMap<String, Duration>>,
}

impl<'a> TimedSource<'a> {
    pub(super) fn new(registry: &'a dyn ManifestSource, least: Detail) -> Self {
        Self { registry, least, waits: Mutex::default() }
    }

    /// The longest wait for this image; nothing if it was not asked for.
    pub(super) fn took(&self, reference: &ImageReference) -> Option<Duration> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.get(&reference.canonical()).copied()
    }
}

impl ManifestSource for TimedSource<'_> {
    fn inner(&self) -> Option<&dyn ManifestSource> {
        Some(self.registry)
    }

    fn look_up(&self, request: LookupRequest, deadline: Instant) -> BoxFuture<'_, Lookup> {
        let name = request.reference.canonical();
        let request = LookupRequest { detail: request.detail.max(self.least), ..request };
        async move {
            let start = instant();
            let lookup = self.registry.look_up(request, deadline).await;
            let wait = start.elapsed();
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            let longest = waits.entry(name).or_default();
            *longest = wait.max(*longest);
            lookup
        }
        .boxed()
    }
}
