//! What the audit last found of the images in use, by namespace: for reports and for the page.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::image::ImageReference;
use crate::review::{Compared, Drift, ProbeResult};

/// What was last found of an image in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) registry: Box<str>,
    pub(super) found: ProbeResult,
    /// Whether it was put onto nodes without a registry.
    pub(super) loaded: bool,
    /// Since when it is found to be so.
    pub(super) at: Timestamp,
    /// Pods there that run another image than the registry has now, and since when that is known.
    pub(super) drift: Option<(Drift, Timestamp)>,
}

/// A namespace, an image that is in use there, and what was found of it.
pub(super) type FoundImage = (Box<str>, Box<str>, Finding);
/// The images of one namespace.
pub(super) type Images = BTreeMap<Box<str>, Finding>;

#[derive(Debug, Default)]
struct Found {
    images: BTreeMap<Box<str>, Images>,
    /// Namespaces whose report is another now.
    changed: BTreeSet<Box<str>>,
    /// Whether anybody writes reports.
    reported: bool,
    /// Whether this replica is the one that looks.
    looks: bool,
}

/// What was found, shared between who looks and who tells.
#[derive(Debug, Clone)]
pub(super) struct Findings(Arc<Mutex<Found>>);

impl Findings {
    /// Nothing is found yet; `reported`: whether changes are to be kept for reports.
    pub(super) fn new(reported: bool) -> Self {
        Self(Arc::new(Mutex::new(Found { reported, ..Found::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this replica looks.
    pub(super) fn begin(&self) {
        self.lock().looks = true;
    }

    /// Forgets everything: another replica leads, and looks.
    pub(super) fn forget(&self) {
        let mut all = self.lock();
        *all = Found { reported: all.reported, ..Found::default() };
    }

    /// Notes what an image of a namespace came to.
    pub(super) fn note(
        &self,
        (registry, namespace, image): (&str, &str, &str),
        (found, loaded): (ProbeResult, bool),
        drift: Compared,
        at: Timestamp,
    ) {
        let mut all = self.lock();
        let mut new = Finding { registry: registry.into(), found, loaded, at, drift: None };
        let images = all.images.entry(namespace.into()).or_default();
        let before = images.get(image).and_then(|old| old.drift.as_ref());
        new.drift = match (drift, before) {
            (Compared::Not, before) => before.cloned(),
            (Compared::Alike, _) => None,
            (Compared::Differs(drift), Some((old, since))) if old.now == drift.now => {
                Some((drift, *since))
            }
            (Compared::Differs(drift), _) => Some((drift, at)),
        };
        let same = images.get(image).is_some_and(|old| {
            (&old.registry, old.found, old.loaded) == (&new.registry, new.found, new.loaded)
        });
        if same && let Some(old) = images.get_mut(image) {
            old.drift = new.drift;
        } else {
            images.insert(image.into(), new);
            if all.reported {
                all.changed.insert(namespace.into());
            }
        }
    }

    /// Forgets the images of a registry that are no longer in use in a namespace.
    pub(super) fn keep(&self, registry: &str, in_use: impl Fn(&str, &str) -> bool) {
        let mut all = self.lock();
        let Found { images, changed, reported, .. } = &mut *all;
        for (namespace, images) in images.iter_mut() {
            let before = images.len();
            images.retain(|image, finding| {
                &*finding.registry != registry || in_use(namespace, image)
            });
            if *reported && images.len() != before {
                changed.insert(namespace.clone());
            }
        }
        let changed = &*changed;
        images.retain(|namespace, images| !images.is_empty() || changed.contains(namespace));
    }

    /// Every image by namespace, of those namespaces that are wanted; nothing if this replica does
    /// not look.
    pub(super) fn all(&self, wanted: impl Fn(&str) -> bool) -> Option<Vec<FoundImage>> {
        let all = self.lock();
        let spaces = all.images.iter().filter(|(namespace, _)| wanted(namespace));
        let found = spaces.flat_map(|(namespace, images)| {
            images.iter().map(|(image, one)| (namespace.clone(), image.clone(), one.clone()))
        });
        all.looks.then(|| found.collect())
    }

    /// What was found of one image, in those namespaces that are wanted, however its name is written.
    pub(super) fn of_image(
        &self,
        image: &ImageReference,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<(Box<str>, Finding)> {
        // Most names are told apart without being parsed.
        let last = image.repository().rsplit('/').next().unwrap_or_default();
        let same = |name: &str| {
            name.contains(last)
                && ImageReference::parse(name).is_ok_and(|one| one.is_same_image(image))
        };
        let all = self.lock();
        let spaces = all.images.iter().filter(|(namespace, _)| wanted(namespace));
        let found = spaces.flat_map(|(namespace, images)| {
            let own = images.iter().filter(|(name, _)| same(name));
            own.map(|(_, finding)| (namespace.clone(), finding.clone()))
        });
        found.collect()
    }

    /// The next namespaces of which something has changed, with their images; nothing, if none is
    /// left in use.
    pub(super) fn changed(&self, most: usize) -> Vec<(Box<str>, Option<Images>)> {
        let mut all = self.lock();
        let due: Vec<Box<str>> = all.changed.iter().take(most).cloned().collect();
        due.into_iter()
            .map(|namespace| {
                all.changed.remove(&namespace);
                let images =
                    all.images.get(&namespace).filter(|images| !images.is_empty()).cloned();
                if images.is_none() {
                    all.images.remove(&namespace);
                }
                (namespace, images)
            })
            .collect()
    }

    /// What has changed could not be told.
    pub(super) fn changed_again(&self, namespace: Box<str>) {
        self.lock().changed.insert(namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::Cause;

    const LOST: ProbeResult = ProbeResult::Refused(Cause::TagNotFound);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_finding_is_as_old_as_its_first_look() {
        let findings = Findings::new(true);
        findings.note(("r.io", "shop", "r.io/a:1"), (LOST, false), Compared::Not, at(10));
        assert!(findings.all(|_| true).is_none(), "who does not look knows nothing");
        findings.begin();
        findings.note(("r.io", "shop", "r.io/a:1"), (LOST, false), Compared::Not, at(20));
        findings.note(
            ("r.io", "till", "r.io/a:1"),
            (ProbeResult::Pullable, false),
            Compared::Not,
            at(20),
        );
        let shop = findings.all(|namespace| namespace == "shop").unwrap();
        assert_eq!((shop.len(), shop[0].2.at), (1, at(10)));
        findings.note(
            ("r.io", "shop", "r.io/a:1"),
            (ProbeResult::Pullable, false),
            Compared::Not,
            at(30),
        );
        assert_eq!(findings.all(|_| true).unwrap()[0].2.at, at(30));
        let changed = findings.changed(9);
        assert_eq!((changed.len(), findings.changed(9).len()), (2, 0));
        findings.keep("r.io", |namespace, _| namespace == "till");
        assert!(findings.changed(9)[0].1.is_none(), "its report goes");
        findings.forget();
        assert!(findings.all(|_| true).is_none());
    }
}
