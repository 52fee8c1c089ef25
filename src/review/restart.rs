//! A template that changes without that anything is pulled otherwise, as with `kubectl rollout restart`:
//! its pods are made anew, and may run another digest of the same tag. Nothing is judged: a note is all
//! that comes of it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::restricted::Unmetered;
use super::{Review, ReviewRequest, Sources};
use crate::admission::{AdmissionRequest, Object, Operation};
use crate::advice::AdviceKind;
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::message::lines;
use crate::workload::ImagePullPolicy;

#[derive(Deserialize)]
struct Templated<'a> {
    #[serde(borrow)]
    spec: TemplatedSpec<'a>,
}

#[derive(Deserialize)]
struct TemplatedSpec<'a> {
    #[serde(borrow)]
    template: &'a RawValue,
}

/// Whether a controller makes its pods anew because of this change.
pub(super) fn is_restart(request: &AdmissionRequest<'_>) -> bool {
    let anew = matches!(request.kind.as_ref(), "Deployment" | "StatefulSet" | "DaemonSet");
    if !anew || request.operation != Operation::Update {
        return false;
    }
    let object = request.object.as_ref().and_then(Object::written);
    let (old, new) = (template(request.old_object), template(object));
    old.is_some() && new.is_some() && old != new
}

/// The template of an object, as it is written.
fn template(object: Option<&RawValue>) -> Option<&str> {
    let read: Templated<'_> = serde_json::from_str(object?.get()).ok()?;
    Some(read.spec.template.get())
}

/// What pods to come run otherwise than those that they replace. Only tags that pods of the namespace
/// run are asked for, and nothing that a registry counts is used up.
pub(super) async fn notes(sources: Sources<'_>, subject: ReviewRequest<'_>) -> Vec<String> {
    let own = Visibility::Namespaces(vec![subject.namespace.into()]);
    let mut workload = subject.workload.clone();
    workload.images.retain(|image| {
        let tag = ImageReference::parse(&image.image).ok().filter(|one| one.digest().is_none());
        let runs = |tag: &ImageReference| !sources.health.other_digests(tag, &own, None).is_empty();
        image.pull_policy != ImagePullPolicy::Never && tag.as_ref().is_some_and(runs)
    });
    if workload.images.is_empty() {
        return Vec::new();
    }
    let unmetered = Unmetered(sources.registry);
    let sources = Sources { registry: &unmetered, ..sources };
    let subject = ReviewRequest { workload: &workload, ..subject };
    let mut review: Review = super::review(sources, subject).await;
    // Nodes have what runs: what a restart pulls is not known.
    for image in &mut review.images {
        image.quota = None;
        image.advice.retain(|advice| advice.kind != AdviceKind::PullQuota);
    }
    let drifted = review.images.iter().filter(|image| image.drift.is_some());
    lines(&drifted.map(|image| review.finding(image)).collect::<Vec<_>>())
}
