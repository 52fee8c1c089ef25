//! Of which namespaces the user may be shown, found out once for all images of an answer.
//!
//! The cluster as a whole if they may list its pods; else namespace by namespace, those in which
//! there is anything to tell, with a bound to the access reviews of one answer. A ServiceAccount
//! is told of the object's own namespace alone, since others read what it is told.

use std::time::Instant;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, join_all, ready};

use super::{AccessSource, ReviewRequest, Sources};
use crate::history::Visibility;
use crate::image::ImageReference;
use crate::user::UserInfo;

/// Access reviews for one answer: two that are always made, one for the name of a secret, those
/// for the namespaces of registries' Services, and those for other namespaces.
const MAX_REVIEWS: usize = 20;
/// Those for the namespaces of registries' Services.
pub(super) const FOR_SERVICES: usize = 2;
const OTHER_NAMESPACES: usize = MAX_REVIEWS - 3 - FOR_SERVICES;

/// Who may see what where that is known beforehand: the same for everybody, and nobody is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FixedAccess {
    /// Of which namespaces pods may be listed.
    pub pods: Visibility,
    /// Whether Secrets may be read.
    pub secrets: bool,
}

impl AccessSource for FixedAccess {
    fn may_list_pods<'a>(
        &'a self,
        _: &'a UserInfo,
        namespace: Option<&'a str>,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        let may = match namespace {
            None => self.pods == Visibility::Cluster,
            Some(namespace) => self.pods.includes(namespace),
        };
        ready(may).boxed()
    }

    fn may_read_secret<'a>(
        &'a self,
        _: &'a UserInfo,
        _: &'a str,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, bool> {
        ready(self.secrets).boxed()
    }
}

/// What the images of one answer share. Nothing is asked before one of them wants to know.
pub(super) type SharedVisibility<'a> = Shared<BoxFuture<'a, Visibility>>;

/// Of which namespaces may be shown, for an answer about these images; they are named when somebody
/// wants to know.
pub(super) fn shown<'a>(
    sources: Sources<'a>,
    subject: ReviewRequest<'a>,
    images: impl FnOnce() -> Vec<ImageReference> + Send + 'a,
) -> SharedVisibility<'a> {
    find_out(sources, subject, images).boxed().shared()
}

async fn find_out(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    images: impl FnOnce() -> Vec<ImageReference> + Send,
) -> Visibility {
    let ReviewRequest { user, namespace, deadline, policy, .. } = subject;
    let may_list = |namespace| sources.access.may_list_pods(user, namespace, deadline);
    let trusted = policy.trusts(user);
    if trusted && may_list(None).await {
        return Visibility::Cluster;
    }
    let mut asked: Vec<Box<str>> = vec![namespace.into()];
    if trusted {
        let images = images();
        let cluster = sources.cluster;
        let builds = images.iter().flat_map(|image| {
            let of_other_tags = cluster.builds_of_other_tags(image).into_iter().map(|(job, _)| job);
            cluster.build_jobs(image).into_iter().chain(of_other_tags)
        });
        let others = sources.health.namespaces_of(&images, OTHER_NAMESPACES + 1);
        for other in builds.map(|job| job.namespace).chain(others) {
            if !asked.contains(&other) {
                asked.push(other);
            }
        }
        asked.truncate(OTHER_NAMESPACES + 1);
    }
    let answers = join_all(asked.iter().map(|name| may_list(Some(&**name)))).await;
    let told = asked.iter().zip(answers).filter(|(_, may)| *may).map(|(name, _)| name.clone());
    Visibility::Namespaces(told.collect())
}
