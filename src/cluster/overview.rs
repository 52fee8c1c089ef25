//! The cluster at a glance, as far as somebody may see it.

use jiff::Timestamp;

use super::Cluster;
use crate::history::{
    FailingImage, HealthIndex, KnownImage, RegistryReport, RunningDigest, Scope, Visibility,
};
use crate::image::ImageReference;

impl Cluster {
    fn index<T>(&self, ask: impl FnOnce(&HealthIndex) -> T) -> T {
        let freshness = self.freshness_now()();
        let mut memory = self.memory.lock();
        memory.index.set_freshness(freshness);
        ask(&memory.index)
    }

    /// The registries of which containers want images, those in trouble first.
    pub fn registries_seen(&self, visibility: &Visibility, now: Timestamp) -> Vec<RegistryReport> {
        self.index(|index| index.registries_seen(visibility, now))
    }

    /// The images that fail, those of the most containers first: at most so many, and how many there
    /// are.
    pub fn failing_images(
        &self,
        visibility: &Visibility,
        most: usize,
    ) -> (Vec<FailingImage>, usize) {
        self.index(|index| index.failing_images(visibility, most))
    }

    /// Who has an image, written so: nobody, if it is not known.
    pub fn scope_of(&self, image: &str, visibility: &Visibility) -> Scope {
        let image = ImageReference::parse(image);
        image.map_or_else(
            |_| Scope::default(),
            |image| self.index(|index| index.scope_of(&image, visibility)),
        )
    }

    /// The images whose name has all these words in it: at most so many, and how many there are.
    pub fn images_named(
        &self,
        words: &str,
        visibility: &Visibility,
        most: usize,
    ) -> (Vec<KnownImage>, usize) {
        self.index(|index| index.images_named(words, visibility, most))
    }

    /// The digests that pods run under this name now.
    pub fn running_digests(
        &self,
        image: &ImageReference,
        visibility: &Visibility,
    ) -> Vec<RunningDigest> {
        self.index(|index| index.running_digests(image, visibility))
    }

    /// The images that pods of a workload (kind, namespace, name) have or want.
    pub fn images_of_workload(
        &self,
        workload: [&str; 3],
        visibility: &Visibility,
    ) -> Vec<ImageReference> {
        self.index(|index| index.images_of_workload(workload, visibility))
    }
}
