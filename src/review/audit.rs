//! Images in use, looked at again: could a node that needs one now still pull it?
//!
//! One HEAD for each image and credential. Nothing is judged, nothing is suggested and the
//! cluster's history does not count: what is wanted is the registry's word of today.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::gather::{self, Gathered, Reading};
use super::{ResolvedName, ReviewContext, ReviewRequest, Sources};
use crate::image::ImageReference;
use crate::policy::PullgatePolicy;
use crate::pull::{Cause, HistoryFacts, Observation, Runtime, Verdict, assess, is_about_access};
use crate::user::UserInfo;
use crate::workload::{
    ContainerImage, ContainerKind, Eligible, ImagePullPolicy, ObjectRef, Placement, Workload,
};

/// What is kept of the same question is no older: several pods share one request, and a tag that
/// was deleted is noticed.
const FRESH: Duration = Duration::from_secs(10);

/// An image as pods use it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image as it is written.
    pub image: Box<str>,
    /// The pods' namespace.
    pub namespace: Box<str>,
    /// The pull secrets that the pods name.
    pub pull_secrets: Vec<Box<str>>,
}

impl ImageUse {
    /// The registry that is asked for it; nothing if the name does not parse or the policy leaves
    /// the image alone.
    pub fn registry(&self, policy: &PullgatePolicy) -> Option<Box<str>> {
        let written = ImageReference::parse(&self.image).ok()?;
        let elsewhere = policy.completed(&self.image, &written);
        let asked = elsewhere.as_ref().unwrap_or(&written);
        (!policy.skips(asked)).then(|| asked.host().into())
    }

    /// The pod that would be created now.
    fn pod(&self) -> Workload {
        Workload {
            object: ObjectRef::default(),
            uid: Box::default(),
            is_pod: true,
            is_mirror: false,
            controller: None,
            annotations: Vec::new(),
            images: vec![ContainerImage {
                kind: ContainerKind::Regular,
                container: Box::default(),
                image: self.image.clone(),
                pull_policy: ImagePullPolicy::Always,
                pointer: Box::default(),
            }],
            pull_secrets: self.pull_secrets.clone(),
            service_account: None,
            placement: Placement::default(),
        }
    }
}

/// What a second look at an image in use came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StillThere {
    /// It can be pulled.
    Yes,
    /// It could not be found out.
    Unclear(Cause),
    /// It cannot be pulled any more.
    No(Cause),
}

impl StillThere {
    /// Why it cannot be pulled, or why that could not be found out.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Yes => None,
            Self::Unclear(cause) | Self::No(cause) => Some(cause),
        }
    }
}

/// Looks once; nothing if the policy leaves the image alone.
pub async fn still_there(
    sources: Sources<'_>,
    policy: &PullgatePolicy,
    runtime: Option<Runtime>,
    used: &ImageUse,
    now: Timestamp,
    deadline: Instant,
) -> Option<StillThere> {
    let (pod, nobody, eligible) = (used.pod(), UserInfo::default(), Eligible::not_asked());
    let subject = ReviewRequest {
        workload: &pod,
        namespace: &used.namespace,
        user: &nobody,
        policy,
        runtime,
        patient: false,
        rollout: None,
        account_applied: true,
        now,
        deadline,
    };
    let secrets = gather::secrets(sources, subject, Reading::Kept).await;
    let more_reviews = AtomicUsize::new(0);
    let bench = ReviewContext {
        sources,
        subject,
        secrets: &secrets,
        eligible: &eligible,
        pods_rewritten: Some(false),
        more_reviews: &more_reviews,
    };
    let parsed = ImageReference::parse(&used.image);
    let written = parsed.as_ref().ok();
    let elsewhere = written.and_then(|short| bench.elsewhere(&used.image, short));
    let name = ResolvedName { written: &parsed, elsewhere: elsewhere.as_ref() };
    let meant = name.meant().ok().map(|reference| bench.as_asked(reference));
    let meant = meant.as_deref();
    if meant.is_some_and(|reference| bench.is_off(reference)) {
        return None;
    }
    let Gathered { attempts, nodes_unclear, repository, .. } =
        bench.ask(&pod.images, name, Some(FRESH)).await;
    let facts = sources.cluster.namespace(&used.namespace);
    let assessment = assess(&Observation {
        reference: name.meant().map(|reference| meant.unwrap_or(reference)),
        pull_policy: ImagePullPolicy::Always,
        secrets: secrets.state(written),
        attempts: &attempts,
        nodes_unclear,
        repository,
        eligible: &eligible,
        runtime,
        vouches: policy.vouches(meant, &used.namespace, facts.as_ref()),
        lived: HistoryFacts::default(),
    });
    let cause = assessment.cause.unwrap_or(Cause::UnknownNodes);
    Some(match assessment.verdict {
        Verdict::Works => StillThere::Yes,
        // Nobody but the nodes has a login for it, and they were not asked.
        Verdict::CannotTell if is_about_access(Some(cause)) => {
            StillThere::Unclear(Cause::UnknownNodes)
        }
        Verdict::CannotTell => StillThere::Unclear(cause),
        Verdict::Fails => StillThere::No(cause),
    })
}

/// How long to wait between two images of one registry, so that all of them are looked at within
/// `pass`, or later where the policy's budget asks for it: no more than a quarter of it is used.
pub fn audit_pace(images: usize, pass: Duration, per_minute: Option<u32>) -> Duration {
    /// Nobody is asked more often, however many images there are.
    const SHORTEST: Duration = Duration::from_millis(100);
    let images = u32::try_from(images.max(1)).unwrap_or(u32::MAX);
    let budget = per_minute.map_or(SHORTEST, |n| Duration::from_secs(4 * 60) / n.max(1));
    (pass / images).max(budget).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::few(4, 3600, None, 900_000)]
    #[case::many(3_600, 3600, None, 1_000)]
    #[case::too_many(1_000_000, 3600, None, 100)]
    #[case::a_budget_is_not_used_up(3_600, 3600, Some(60), 4_000)]
    #[case::a_budget_does_not_hasten(4, 3600, Some(60), 900_000)]
    #[case::none(0, 10, None, 10_000)]
    fn the_pace(
        #[case] images: usize,
        #[case] pass: u64,
        #[case] budget: Option<u32>,
        #[case] milliseconds: u64,
    ) {
        let pace = audit_pace(images, Duration::from_secs(pass), budget);
        assert_eq!(pace.as_millis(), u128::from(milliseconds));
    }
}
