//! Opt-in changes of pods that are created: a pull secret that works, a tag pinned to its digest.
//!
//! Never templates, never pods of controllers that are not Kubernetes' own (they may compare and
//! fight), nothing that nobody asked for, nothing that was not seen to work just now.

use futures::future::join_all;
use serde_json::value::RawValue;

use super::{FRESH, ImageReview, ObjectQuery, Review, ReviewRequest, Sources};
use crate::admission::{Patch, Pin, PodChanges, patch_pod};
use crate::advice::AdviceKind;
use crate::credential::{Credential, CredentialOrigin, CredentialSource};
use crate::image::{Digest, ImageReference};
use crate::policy::{Mutation, PullgatePolicy};
use crate::pull::{
    Detail, LookupRequest, Outcome, Purpose, Verdict, Vouch, Vouches, has_other_mirrors,
    on_every_node,
};
use crate::workload::{
    ContainerImage, ContainerKind, Eligible, ImagePullPolicy, NamespaceFacts, Workload,
    built_in_kinds,
};

/// What a namespace or a pod asks for: a list with commas. The pod's word counts before its
/// namespace's.
const MUTATE_ANNOTATION: &str = "pullgate.dev/mutate";

/// The changes that are asked for, allowed, and possible for this object.
pub(super) fn asked(
    policy: &PullgatePolicy,
    workload: &Workload,
    namespace: Option<&NamespaceFacts>,
) -> Vec<Mutation> {
    let allowed = &policy.spec().mutation.allowed;
    if allowed.is_empty() || !workload.is_pod || !owned_by_built_in(workload) {
        return Vec::new();
    }
    let of_namespace = || {
        let annotations = &namespace?.annotations;
        let (_, value) = annotations.iter().find(|(key, _)| &**key == MUTATE_ANNOTATION)?;
        Some(&**value)
    };
    // A bare pod is what somebody keeps in Git: what its namespace says would make it differ.
    let of_namespace = || of_namespace().filter(|_| workload.controller.is_some());
    let words = workload.annotation(MUTATE_ANNOTATION).or_else(of_namespace).unwrap_or_default();
    words
        .split(',')
        .filter_map(|word| match word.trim() {
            "pull-secret" => Some(Mutation::PullSecret),
            "digest" => Some(Mutation::Digest),
            _ => None,
        })
        .filter(|mutation| allowed.contains(mutation))
        .collect()
}

/// Whether the pod has no controller, or one of a kind of Kubernetes itself.
fn owned_by_built_in(workload: &Workload) -> bool {
    workload.controller.as_ref().is_none_or(|owner| {
        let group = owner.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        built_in_kinds().iter().any(|kind| kind.group == group && *kind.kind == *owner.kind)
    })
}

/// The patch, if there is something to change.
pub(super) async fn patch(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    pod: &RawValue,
    review: &Review,
    asked: &[Mutation],
) -> Option<Patch> {
    let mut changes = PodChanges::default();
    let mut becomes = None;
    if asked.contains(&Mutation::PullSecret) {
        let names = pull_secrets(sources, subject, review).await;
        becomes = with_secrets(sources, subject, review, &names).await;
        changes.pull_secrets = if becomes.is_some() { names } else { Vec::new() };
    }
    if asked.contains(&Mutation::Digest) {
        // Of the pod as it will be, so that a second call finds nothing more to do.
        let (workload, review) = match &becomes {
            Some((workload, review)) => (workload, review),
            None => (subject.workload, review),
        };
        let subject = ReviewRequest { workload, ..subject };
        changes.pins = all_pins(sources, subject, review).await;
    }
    patch_pod(pod, &changes)
}

/// The secrets that were proven, unless the account keeps its pods to its own: the API server
/// would refuse the pod.
async fn pull_secrets(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    review: &Review,
) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for advice in review.images.iter().flat_map(|image| &image.advice) {
        if advice.kind == AdviceKind::PullSecret && !names.contains(&advice.value) {
            names.push(advice.value.clone());
        }
    }
    if names.is_empty() {
        return names;
    }
    let Some(account) = &subject.workload.service_account else { return Vec::new() };
    let (namespace, deadline) = (subject.namespace, subject.deadline);
    let cluster = sources.cluster;
    let facts = cluster.service_account(ObjectQuery::kept(namespace, account), deadline).await;
    let Some(facts) = facts.found() else { return Vec::new() };
    names.retain(|name| !facts.enforce_mountable_secrets || facts.pull_secrets.contains(name));
    names
}

/// The pod with more secrets and its review; nothing if there are none, or if an image of it may lose.
async fn with_secrets(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    review: &Review,
    names: &[Box<str>],
) -> Option<(Workload, Review)> {
    if names.is_empty() {
        return None;
    }
    let mut workload = subject.workload.clone();
    workload.pull_secrets.extend_from_slice(names);
    let subject = ReviewRequest { workload: &workload, ..subject };
    let after = Box::pin(super::review(sources, subject)).await;
    let mut images = review.images.iter().zip(&after.images);
    let loses = images.any(|(before, after)| may_lose(before, after, names));
    (!loses).then_some((workload, after))
}

/// Whether a node may get this image without these secrets and not with them: once a login is there for
/// its registry, the kubelet makes no attempt without one.
fn may_lose(before: &ImageReview, after: &ImageReview, names: &[Box<str>]) -> bool {
    let is_new = |source: &CredentialSource| match &source.origin {
        CredentialOrigin::Secret(secret) => names.iter().any(|name| **name == **secret),
        _ => false,
    };
    let tried = || after.attempts.iter().filter_map(|one| one.source.as_ref()).any(is_new);
    after.assessment.verdict != Verdict::Works
        && match before.assessment.verdict {
            Verdict::Works => true,
            Verdict::CannotTell => tried(),
            Verdict::Fails => false,
        }
}

/// The pins of the images that nodes get by their digest if they get them at all. None where somebody else
/// may put another registry's name in front of the digest: a pull-through cache that has not seen it need not
/// have it (aws/containers-roadmap#2837).
async fn all_pins(sources: Sources<'_>, subject: ReviewRequest<'_>, review: &Review) -> Vec<Pin> {
    if sources.cluster.pods_are_rewritten(subject.deadline).await != Some(false) {
        return Vec::new();
    }
    let nodes = sources.cluster.nodes();
    let eligible = nodes
        .as_deref()
        .map_or_else(Eligible::not_asked, |nodes| subject.workload.placement.eligible(nodes));
    let facts = sources.cluster.namespace(subject.namespace);
    let facts = facts.as_deref();
    let starts = |image: &&ImageReview| starts_by_digest(sources, subject, &eligible, facts, image);
    let images = review.images.iter().filter(starts);
    join_all(images.map(|image| pins(sources, subject, review, image))).await.concat()
}

/// Whether what Pullgate sees of the digest is what nodes will meet with, by what the team vouches for: a
/// mirror may have its tags of other digests, and be all that a node reaches; what was put onto a node's
/// disk is there under its tag alone. Or every node has the digest already.
fn starts_by_digest(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    eligible: &Eligible<'_>,
    facts: Option<&NamespaceFacts>,
    image: &ImageReview,
) -> bool {
    let (Ok(reference), Some(digest)) = (&image.reference, &image.assessment.digest) else {
        return false;
    };
    let asks = image.places.first().is_some_and(|one| one.pull_policy == ImagePullPolicy::Always);
    if !asks && on_every_node(eligible, &reference.with_digest(digest.clone())) {
        return true;
    }
    let placement = Some(&subject.workload.placement);
    let vouched = subject.policy.vouches(Some(reference), subject.namespace, facts, placement);
    let files = sources.registry.mirror_files(reference);
    let same_mirrors = match vouched.mirrors {
        Vouch::Unknown => false,
        Vouch::None => true,
        Vouch::Listed => !has_other_mirrors(files, eligible, subject.runtime),
    };
    same_mirrors
        && vouched.same_network
        && !image.history.registry.escapes_reopened
        && (asks || is_pulled_alike(&vouched, image))
}

/// Whether a node that has the tag on its disk, and so would ask nobody, pulled it, and pulls the digest
/// as Pullgate can: a login of its own may be one that is refused.
fn is_pulled_alike(vouched: &Vouches, image: &ImageReview) -> bool {
    let decisive = image.assessment.decisive.and_then(|index| image.attempts.get(index));
    let logs_in = decisive.is_some_and(|attempt| attempt.source.is_some());
    vouched.preloaded_images != Vouch::Unknown && (logs_in || vouched.credentials != Vouch::Unknown)
}

/// The places of an image that works, pinned to the digest that its tag has now. What nodes ask for
/// then is the digest, and not every mirror that serves tags serves those: that, too, is seen first.
async fn pins(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    review: &Review,
    image: &ImageReview,
) -> Vec<Pin> {
    let pinnable = image.assessment.verdict == Verdict::Works && image.assessment.cause.is_none();
    let Ok(reference) = &image.reference else { return Vec::new() };
    if !pinnable || reference.digest().is_some() {
        return Vec::new();
    }
    let Some(attempt) = image.assessment.decisive.and_then(|index| image.attempts.get(index))
    else {
        return Vec::new();
    };
    let credential = match &attempt.source {
        // The runtime's own login is found where it is asked with.
        None => None,
        Some(source) if *source == CredentialSource::node_runtime() => None,
        Some(source) => match credential_of(sources, subject, review, reference, source).await {
            Some(credential) => Some(credential),
            None => return Vec::new(),
        },
    };
    let digest = image.assessment.digest.as_ref();
    let Some(digest) = digest else { return Vec::new() };
    let by_digest = reference.with_digest(digest.clone());
    let mut asked = vec![&by_digest];
    // Another digest than the one that was assessed was not assessed.
    if attempt.lookup.age > FRESH {
        asked.push(reference);
    }
    let has_it =
        asked.into_iter().map(|name| has(sources, subject, name, credential.as_ref(), digest));
    if !join_all(has_it).await.into_iter().all(|has_it| has_it) {
        return Vec::new();
    }
    image.places.iter().filter_map(|place| pin(place, reference, digest)).collect()
}

/// Whether the registry has this digest under this name, from an answer of just now.
async fn has(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    reference: &ImageReference,
    credential: Option<&Credential>,
    digest: &Digest,
) -> bool {
    let request = LookupRequest {
        reference: reference.clone(),
        credential: credential.cloned(),
        detail: Detail::Presence,
        max_age: Some(FRESH),
        purpose: Purpose::Verdict,
        namespace: subject.namespace.into(),
    };
    let lookup = sources.registry.look_up(request, subject.deadline).await;
    matches!(&lookup.outcome, Outcome::Exists(found) if found.digest.as_ref() == Some(digest))
}

/// The credential that got the answer.
async fn credential_of(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    review: &Review,
    reference: &ImageReference,
    source: &CredentialSource,
) -> Option<Credential> {
    let is_it = |credential: &Credential| credential.source() == source;
    let own = review.secrets.keyring.as_ref().ok()?.lookup(reference);
    if let Some(own) = own.into_iter().find(is_it) {
        return Some(own);
    }
    let nodes = sources.nodes.node_credentials(reference, subject.deadline).await;
    let runtime = sources.nodes.runtime_login(reference);
    nodes.credentials.iter().chain(runtime.login()).find(|one| is_it(one)).cloned()
}

/// The name as written, its tag replaced by the digest: not every runtime takes both.
fn pin(place: &ContainerImage, reference: &ImageReference, digest: &Digest) -> Option<Pin> {
    let written = &*place.image;
    let name = match written.rsplit_once(':') {
        Some((name, tag)) if Some(tag) == reference.tag() => name,
        _ => written,
    };
    let pinned = format!("{name}@{digest}");
    let same = ImageReference::parse(&pinned).is_ok_and(|one| one.name() == reference.name());
    same.then(|| Pin {
        pointer: place.pointer.clone(),
        place: match place.kind {
            ContainerKind::ImageVolume => format!("volumes/{}", place.container).into(),
            _ => place.container.clone(),
        },
        original: place.image.clone(),
        pinned: pinned.into(),
    })
}
