//! What of a changed object is pulled anew: only that is judged.
//!
//! A container that runs is not pulled again. The kubelet pulls for containers whose image is
//! another one, and a controller makes new pods with what its template has.

use super::object::{ContainerImage, ContainerKind, ImagePullPolicy, Workload};
use super::rollout::PodCount;
use crate::image::ImageReference;

impl Workload {
    /// The same with only those images that are others than in `old`, are pulled in another way, or
    /// with other secrets. New pods of a template may land on other nodes; a pod stays where it is.
    /// What made no pods and now does pulls everything; what was only paused may pull nothing, and
    /// its controller makes an object for what it does.
    #[must_use]
    pub fn pulled_anew(mut self, old: &Self) -> Self {
        let moved = !self.is_pod && self.placement != old.placement;
        let wakes = old.pods == PodCount::Count(0) && !self.makes_no_pods();
        if self.secrets_from() != old.secrets_from() || moved || wakes {
            return self;
        }
        let stays = |image: &ContainerImage| old.images.iter().any(|one| one.is_pulled_like(image));
        let (kept, mut changed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.images).into_iter().partition(stays);
        changed.retain(|image| !kept.iter().any(|other| other.brings(image)));
        self.images = changed;
        self
    }

    /// Whether it makes more pods than in `old`, or its pods may come to other nodes, each of which gets
    /// one.
    pub(crate) fn adds_pods_to(&self, old: &Self) -> bool {
        match (old.pods, self.pods) {
            (PodCount::Count(before), PodCount::Count(now)) => now > before,
            (PodCount::OnePerNode, PodCount::OnePerNode) => self.placement != old.placement,
            _ => false,
        }
    }

    /// Where the pull secrets come from: the pod's own list, and the ServiceAccount only if there
    /// is none.
    fn secrets_from(&self) -> (&[Box<str>], Option<&str>) {
        let account = self.service_account.as_deref().filter(|_| self.pull_secrets.is_empty());
        (&self.pull_secrets, account)
    }
}

impl ContainerImage {
    /// Whether the same container pulls the same image in the same way.
    fn is_pulled_like(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.container == other.container
            && self.image == other.image
            && self.pull_policy == other.pull_policy
    }

    /// Whether this one's pull puts the image onto the node for the other, which has the pull
    /// policy `Never`: volumes and init containers come before containers. Init containers are
    /// started one after the other; of volumes and of containers the kubelet tries each again until
    /// it finds its image.
    pub fn brings(&self, other: &Self) -> bool {
        use ContainerKind::{Ephemeral, ImageVolume, Init, Regular};
        let order = |kind: ContainerKind| match kind {
            ImageVolume => 0,
            Init => 1,
            Regular => 2,
            Ephemeral => 3,
        };
        let in_time = || match (self.kind, other.kind) {
            (Regular, Regular) | (ImageVolume, ImageVolume) => true,
            (Init, Init) => self.position() < other.position(),
            (own, others) => order(own) < order(others),
        };
        self.pull_policy != ImagePullPolicy::Never
            && other.pull_policy == ImagePullPolicy::Never
            && in_time()
            && self.names_the_same(other)
    }

    /// Where it stands in its list.
    fn position(&self) -> Option<usize> {
        self.pointer.rsplit('/').nth(1)?.parse().ok()
    }

    /// Whether both names are those of one image, however they are written.
    fn names_the_same(&self, other: &Self) -> bool {
        let canonical =
            |image: &str| ImageReference::parse(image).map(|reference| reference.canonical());
        self.image == other.image
            || canonical(&self.image).ok().is_some_and(|own| Ok(own) == canonical(&other.image))
    }
}
