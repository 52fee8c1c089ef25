//! Which pods run another image under a tag than the registry has for it, or than other pods run.
//!
//! Told only where two digests can be compared; nobody is asked for more than was known already.

use super::{AuditResult, ImageUse, ManifestSource, ProbeResult, Sources};
use crate::history::{DigestUser, Freshness, RunningDigest, Visibility};
use crate::image::{Digest, ImageReference};
use crate::pull::{KnownManifest, same_image};

/// What one registry's digests are known to be.
struct KnownDigests<'a> {
    registry: &'a dyn ManifestSource,
    image: &'a ImageReference,
}

impl KnownDigests<'_> {
    fn known(&self, digest: &Digest) -> Option<KnownManifest> {
        self.registry.known_manifest(self.image, digest)
    }

    fn differ(&self, one: &Digest, other: &Digest) -> bool {
        let (known, other_known) = (self.known(one), self.known(other));
        same_image((one, known.as_ref()), (other, other_known.as_ref())) == Some(false)
    }
}

/// Of the digests that pods run under a tag, those of another image than the registry's now. `image` is
/// what is asked for, as nodes resolve the name.
pub(crate) fn drifted(
    registry: &dyn ManifestSource,
    image: &ImageReference,
    mut running: Vec<RunningDigest>,
    now: &Digest,
) -> Vec<RunningDigest> {
    let compared = KnownDigests { registry, image };
    running
        .retain(|one| Digest::parse(&one.digest).is_ok_and(|digest| compared.differ(&digest, now)));
    running
}

/// Whether two pods of one workload run different images under the tag.
pub(crate) fn pods_differ(
    registry: &dyn ManifestSource,
    image: &ImageReference,
    running: &[RunningDigest],
) -> bool {
    let compared = KnownDigests { registry, image };
    let share_a_workload = |one: &RunningDigest, other: &RunningDigest| {
        let name =
            |user: &DigestUser| (user.kind.clone(), user.namespace.clone(), user.name.clone());
        let names: Vec<_> = other.workloads.iter().map(name).collect();
        one.workloads.iter().any(|user| names.contains(&name(user)))
    };
    let parsed = |one: &RunningDigest| Digest::parse(&one.digest).ok();
    let mut rest = running;
    while let [first, others @ ..] = rest {
        let differs = |other: &RunningDigest| {
            let digests = parsed(first).zip(parsed(other));
            share_a_workload(first, other)
                && digests.is_some_and(|(first, other)| compared.differ(&first, &other))
        };
        if others.iter().any(differs) {
            return true;
        }
        rest = others;
    }
    false
}

/// Pods of one namespace that run another image than the registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drift {
    /// What the registry has.
    pub now: Digest,
    /// How many they are.
    pub pods: u32,
}

/// What a look said of drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compared {
    /// The registry gave no digest: what was known before stands.
    Not,
    /// Nothing is known to differ.
    Alike,
    /// These differ.
    Differs(Drift),
}

impl Compared {
    /// Takes in what another use of the same image in the same namespace came to.
    pub(crate) fn add(&mut self, other: Self) {
        let known = match (&*self, &other) {
            (Self::Differs(_), _) | (Self::Alike, Self::Not) => return,
            _ => other,
        };
        *self = known;
    }
}

/// Of one use of an image, what differs from what a look at the registry found.
pub(crate) fn compare_use(sources: Sources<'_>, used: &ImageUse, found: &AuditResult) -> Compared {
    let written = ImageReference::parse(&used.image);
    // What runs is not known now.
    if sources.health.freshness() != Freshness::Current {
        return Compared::Not;
    }
    // A tag that is gone has no digest to differ from.
    if matches!(found.result, ProbeResult::Refused(_)) {
        return Compared::Alike;
    }
    let (Some((asked, now)), Ok(written)) = (found.digest.as_ref(), written) else {
        return Compared::Not;
    };
    let own = Visibility::Namespaces(vec![used.namespace.clone()]);
    let running = sources.health.other_digests(&written, &own, Some(now));
    let pods: u32 = drifted(sources.registry, asked, running, now).iter().map(|one| one.pods).sum();
    if pods == 0 { Compared::Alike } else { Compared::Differs(Drift { now: now.clone(), pods }) }
}
