//! Images in use, looked at again: could a node that needs one now still pull it?
//!
//! One HEAD for each image and credential. Nothing is judged, nothing is suggested and the
//! cluster's history does not count: what is wanted is the registry's word of today.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::gather::hides_nothing;
use super::probe::{AskedWith, ProbeContext, ProbeResult, bare_pod};
use super::{ManifestSource, ResolvedName, ReviewRequest, Sources};
use crate::image::{Digest, ImageReference};
use crate::policy::PullgatePolicy;
use crate::pull::{
    Cause, Detail, ListRequest, Listing, LookupRequest, Outcome, Purpose, Runtime, is_about_access,
};
use crate::user::UserInfo;
use crate::workload::{ContainerImage, ContainerKind, ImagePullPolicy, Node, Placement, Workload};

/// What is kept of the same question is no older: several pods share one request, and a tag that
/// was deleted is noticed.
const FRESH: Duration = Duration::from_secs(10);

/// An image as pods use it now, or as a template will have its pods use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The image as it is written.
    pub image: Box<str>,
    /// The pods' namespace.
    pub namespace: Box<str>,
    /// The pull secrets that the pods name.
    pub pull_secrets: Vec<Box<str>>,
    /// Of a template that names none: the ServiceAccount whose pull secrets its pods will be given.
    pub service_account: Option<Box<str>>,
    /// Where pods with it may land, as far as that is known.
    pub placement: Placement,
    /// Whether no node says that it got it from a registry.
    pub loaded: bool,
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
        let image = ContainerImage {
            kind: ContainerKind::Regular,
            container: Box::default(),
            image: self.image.clone(),
            pull_policy: ImagePullPolicy::Always,
            pointer: Box::default(),
        };
        let pod = bare_pod("", vec![image], &self.pull_secrets);
        Workload {
            is_pod: self.service_account.is_none(),
            service_account: self.service_account.clone(),
            placement: self.placement.clone(),
            ..pod
        }
    }
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditResult {
    /// Whether it could be pulled.
    pub result: ProbeResult,
    /// Whether what would be pulled could not run on some node.
    pub unfit: bool,
    /// The digest that would be pulled, and what the name that was asked for means to nodes; of a tag
    /// that can be pulled.
    pub digest: Option<(ImageReference, Digest)>,
}

/// Looks once; nothing if the policy leaves the image alone.
pub(crate) async fn check_in_use(
    sources: Sources<'_>,
    policy: &PullgatePolicy,
    runtime: Option<Runtime>,
    used: &ImageUse,
    now: Timestamp,
    deadline: Instant,
) -> Option<AuditResult> {
    let nodes = sources.cluster.nodes();
    let nodes = nodes.as_deref().map(Vec::as_slice);
    recheck(sources, policy, runtime, used, nodes, now, deadline).await
}

/// The same among these nodes.
pub async fn recheck(
    sources: Sources<'_>,
    policy: &PullgatePolicy,
    runtime: Option<Runtime>,
    used: &ImageUse,
    nodes: Option<&[Node]>,
    now: Timestamp,
    deadline: Instant,
) -> Option<AuditResult> {
    let (pod, nobody) = (used.pod(), UserInfo::default());
    let request = ReviewRequest {
        workload: &pod,
        namespace: &used.namespace,
        user: &nobody,
        policy,
        runtime,
        patient: false,
        rollout: None,
        account_applied: pod.is_pod,
        now,
        deadline,
    };
    let probe_context = ProbeContext::among(nodes, sources, request).await;
    let context = probe_context.context(&sources, &request);
    let written = ImageReference::parse(&used.image);
    let short = written.as_ref().ok();
    let elsewhere = short.and_then(|short| context.elsewhere(&used.image, short));
    let name = ResolvedName { written: &written, elsewhere: elsewhere.as_ref() };
    let meant = name.effective().ok().map(|reference| context.resolved(reference));
    if meant.as_ref().is_some_and(|reference| context.is_off(reference)) {
        return None;
    }
    let facts = sources.cluster.namespace(&used.namespace);
    let vouches = policy.vouches(meant.as_deref(), &used.namespace, facts.as_deref(), None);
    let probed = context.probe(name, AskedWith::Kubelet, vouches, Some(FRESH)).await;
    let unfit = !probed.assessment.unfit_nodes.is_empty();
    let result = match probed.result() {
        // Nobody but the nodes has a login for it, and they were not asked.
        ProbeResult::Unclear(cause) if is_about_access(Some(cause)) => {
            ProbeResult::Unclear(Cause::UnknownNodes)
        }
        result => result,
    };
    let asked = meant.filter(|asked| result == ProbeResult::Pullable && asked.digest().is_none());
    let digest = asked.zip(probed.assessment.digest);
    // What a short name means elsewhere a node may know otherwise.
    let digest = digest.filter(|_| elsewhere.is_none());
    let digest = digest.map(|(asked, digest)| (asked.into_owned(), digest));
    Some(AuditResult { result, unfit, digest })
}

/// How long to wait between two images of one registry, so that all of them are looked at within
/// `pass`, or later where the policy's budget asks for it: no more than a quarter of it is used.
pub(crate) fn audit_pace(images: usize, pass: Duration, per_minute: Option<u32>) -> Duration {
    /// Nobody is asked more often, however many images there are.
    const SHORTEST: Duration = Duration::from_millis(100);
    let images = u32::try_from(images.max(1)).unwrap_or(u32::MAX);
    let budget = per_minute.map_or(SHORTEST, |n| Duration::from_secs(4 * 60) / n.max(1));
    (pass / images).max(budget).max(SHORTEST)
}

/// Whether this image is refused to who does not log in; nothing while nobody can tell, or if the
/// policy leaves it alone.
pub async fn is_refused_to_anybody(
    registry: &dyn ManifestSource,
    policy: &PullgatePolicy,
    reference: &ImageReference,
    deadline: Instant,
) -> Option<bool> {
    if policy.skips(reference) {
        return None;
    }
    let request = LookupRequest {
        reference: reference.clone(),
        credential: None,
        detail: Detail::Presence,
        max_age: None,
        purpose: Purpose::Advice,
        namespace: Arc::default(),
    };
    match registry.look_up(request, deadline).await.outcome {
        Outcome::Exists(_) => Some(false),
        Outcome::Unauthorized | Outcome::Forbidden | Outcome::MissingOrDenied => Some(true),
        // Gone since: then the repository itself has to tell, which may be hidden as well.
        Outcome::TagMissing { code: Some(_) } | Outcome::RepositoryMissing { code: Some(_) } => {
            let request = ListRequest {
                reference: reference.clone(),
                listing: Listing::Tags,
                credential: None,
                namespace: Arc::default(),
            };
            let readable =
                hides_nothing(reference.host()) || registry.list(request, deadline).await.is_ok();
            Some(!readable)
        }
        _ => None,
    }
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
