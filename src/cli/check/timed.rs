//! Registries, with a clock beside them: how long each image was waited for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::cli::clock::instant;
use crate::image::ImageReference;
use crate::pull::{Detail, Lookup, LookupRequest};
use crate::review::ManifestSource;

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
