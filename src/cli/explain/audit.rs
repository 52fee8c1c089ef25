//! One look at every image in use, with a person's own rights: could a node that needs one now still
//! pull it? Asked registry by registry and one image at a time, so that none is asked in a rush.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};

use super::ask::{NodesAround, RegistryReviewer};
use crate::cluster::{Cluster, Survey};
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::pull::Cause;
use crate::review::{Compared, ImageUse, ProbeResult};
use crate::telemetry::now;
use crate::web::{AuditSummary, LostImage, MovedTag, UnpullableImages};

/// Ways in which one image is used that are looked at.
const USES: usize = 16;

/// The last look, if there was one.
#[derive(Clone, Default)]
pub(super) struct Again(Arc<Mutex<Option<AuditSummary>>>);

impl Again {
    fn lock(&self) -> MutexGuard<'_, Option<AuditSummary>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it, for the page.
    pub(super) fn lost(&self, in_use: usize) -> UnpullableImages {
        match &*self.lock() {
            None => UnpullableImages::NotYet { in_use },
            Some(looked) => UnpullableImages::AuditSummary(looked.clone()),
        }
    }

    /// Begins a look in the background, unless one is under way.
    pub(super) fn begin(
        &self,
        cluster: Arc<Cluster>,
        survey: Survey,
        reviewer: Arc<RegistryReviewer>,
    ) {
        let images = in_use(&cluster);
        {
            let mut last = self.lock();
            if last.as_ref().is_some_and(|last| last.goes_on) {
                return;
            }
            *last =
                Some(AuditSummary { of: images.len(), goes_on: true, ..AuditSummary::default() });
        }
        let own = self.clone();
        tokio::spawn(async move {
            let looking = own.clone();
            // Whatever becomes of it, it has ended then.
            let look = tokio::spawn(async move {
                looking.probe_all(images, &cluster, &survey, &reviewer).await;
            });
            let _ended = look.await;
            if let Some(looked) = &mut *own.lock() {
                looked.goes_on = false;
                looked.ended = Some(now());
            }
        });
    }

    async fn probe_all(
        &self,
        images: BTreeMap<Box<str>, Vec<ImageUse>>,
        cluster: &Cluster,
        survey: &Survey,
        reviewer: &RegistryReviewer,
    ) {
        let by_host = images.into_iter().map(|(image, uses)| (host_of(&image), uses));
        let around = NodesAround::default();
        in_turns(by_host, |uses| async move {
            let (mut limited, mut unclear) = (false, false);
            for used in uses.iter().take(USES) {
                let found = reviewer.check_in_use(cluster, &survey.visibility, used, around).await;
                if let Some(found) = &found {
                    let compared = reviewer.compare(cluster, &survey.visibility, used, found);
                    self.note_drift(used, compared);
                }
                let found = found.map(|found| found.result);
                limited |= found.and_then(ProbeResult::cause) == Some(Cause::RateLimited);
                unclear |= matches!(found, None | Some(ProbeResult::Unclear(_)));
                self.note(cluster, used, found);
            }
            if let Some(looked) = &mut *self.lock() {
                looked.looked += 1;
                looked.unclear += usize::from(unclear);
            }
            !limited
        })
        .await;
    }

    fn note_drift(&self, used: &ImageUse, compared: Compared) {
        let Compared::Differs(drift) = compared else { return };
        let since = now();
        let (image, namespace) = (used.image.clone(), used.namespace.clone());
        let moved = MovedTag { image, namespace, pods: drift.pods, since };
        if let Some(looked) = &mut *self.lock() {
            let known =
                |one: &MovedTag| (&one.image, &one.namespace) == (&moved.image, &moved.namespace);
            if !looked.moved.iter().any(known) {
                looked.moved.push(moved);
            }
        }
    }

    fn note(&self, cluster: &Cluster, used: &ImageUse, found: Option<ProbeResult>) {
        let Some(ProbeResult::Refused(cause)) = found else { return };
        let since = now();
        let (image, namespace) = (used.image.clone(), used.namespace.clone());
        let there = Visibility::Namespaces(vec![namespace.clone()]);
        let scope = cluster.scope_of(&image, &there);
        let lost = LostImage { image, namespace, cause, since, loaded: used.loaded, scope };
        if let Some(looked) = &mut *self.lock() {
            let known =
                |one: &LostImage| (&one.image, &one.namespace) == (&lost.image, &lost.namespace);
            if !looked.images.iter().any(known) {
                looked.images.push(lost);
            }
        }
    }
}

/// The images in use, each with the ways in which it is used.
fn in_use(cluster: &Cluster) -> BTreeMap<Box<str>, Vec<ImageUse>> {
    let mut images: BTreeMap<Box<str>, Vec<ImageUse>> = BTreeMap::new();
    for used in cluster.in_use().into_iter().chain(cluster.resting()) {
        images.entry(used.image.clone()).or_default().push(used);
    }
    images
}

/// How many images are in use.
pub(super) fn count(cluster: &Cluster) -> usize {
    in_use(cluster).len()
}

/// Registries that are asked at the same time.
const REGISTRIES: usize = 8;
/// Between two images of one registry.
const PACE: Duration = Duration::from_millis(100);

/// The registry of an image as it is written; empty for what is no name.
pub(in crate::cli) fn host_of(image: &str) -> Box<str> {
    ImageReference::parse(image).map(|one| one.host().into()).unwrap_or_default()
}

/// Asks about each of these, given with their registries. `ask` says whether its registry may be asked
/// about the next one; if not, its others are left.
pub(in crate::cli) async fn in_turns<T, A: Future<Output = bool>>(
    all: impl IntoIterator<Item = (Box<str>, T)>,
    ask: impl Fn(T) -> A,
) {
    let mut registries: HashMap<Box<str>, Vec<T>> = HashMap::new();
    for (host, one) in all {
        registries.entry(host).or_default().push(one);
    }
    let ask = &ask;
    let registry = |all: Vec<T>| async move {
        for one in all {
            if !ask(one).await {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    };
    stream::iter(registries.into_values()).for_each_concurrent(REGISTRIES, registry).await;
}
