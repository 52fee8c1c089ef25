//! One question about one image, for whoever needs the registry's word of today and no review:
//! the score of verdicts, the audit of images in use, the proof of advice.
//!
//! Nothing is decided, nothing is suggested, and the cluster's history does not count.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::gather::{self, Gathered};
use super::{PodSecrets, Reading, ResolvedName, ReviewContext, ReviewRequest, Sources};
use crate::credential::Credential;
use crate::image::ImageReference;
use crate::pull::{
    Assessment, Attempt, Cause, HistoryFacts, Observation, Outcome, Purpose, RepositoryAccess,
    Verdict, Vouch, Vouches, assess,
};
use crate::workload::{
    ContainerImage, Eligible, ImagePullPolicy, NamespaceFacts, Node, ObjectRef, Placement,
    PodCount, Workload,
};

/// What a question came to, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeResult {
    /// It can be pulled.
    Pullable,
    /// It could not be found out.
    Unclear(Cause),
    /// It cannot be pulled.
    Refused(Cause),
}

impl ProbeResult {
    /// Why it cannot be pulled, or why that could not be found out.
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Pullable => None,
            Self::Unclear(cause) | Self::Refused(cause) => Some(cause),
        }
    }
}

/// With whose credentials is asked.
#[derive(Debug, Clone)]
pub(super) enum AskedWith {
    /// Those that the kubelet would use: the pod's, then the nodes'.
    Kubelet,
    /// The pod's only.
    Pod,
    /// This one.
    Only(Credential),
}

/// What a question came to, with what led to it.
pub(super) struct Probed {
    pub(super) assessment: Assessment,
    pub(super) attempts: Vec<Attempt>,
}

impl Probed {
    pub(super) fn result(&self) -> ProbeResult {
        let cause = self.assessment.cause.unwrap_or(Cause::UnknownNodes);
        match self.assessment.verdict {
            Verdict::Works => ProbeResult::Pullable,
            Verdict::CannotTell => ProbeResult::Unclear(cause),
            Verdict::Fails => ProbeResult::Refused(cause),
        }
    }
}

impl ReviewContext<'_> {
    /// Asks for an image, and weighs the answers as if its pods were made now.
    pub(super) async fn probe(
        self,
        name: ResolvedName<'_>,
        asked_with: AskedWith,
        vouches: Vouches,
        max_age: Option<Duration>,
    ) -> Probed {
        let gathered = match (asked_with, name.effective()) {
            (AskedWith::Kubelet, _) => self.look_up_where_runtimes_do(&[], name, max_age).await,
            (AskedWith::Pod, Ok(image)) => {
                self.try_in_turn(image, self.own_credentials(image), max_age).await
            }
            (AskedWith::Only(credential), Ok(image)) => {
                self.try_in_turn(image, vec![Some(credential)], max_age).await
            }
            (_, Err(_)) => Gathered::default(),
        };
        let meant = name.effective().map(|image| self.resolved(image));
        let all_tried = vouches.credentials == Vouch::None;
        let assessment = assess(&Observation {
            reference: meant.as_ref().map(|image| &**image).map_err(|error| *error),
            pull_policy: ImagePullPolicy::Always,
            secrets: self.secrets.state(name.written.as_ref().ok()),
            attempts: &gathered.attempts,
            nodes_unclear: gathered.nodes_unclear,
            refused_login: gathered.refused_login,
            repository: if all_tried { RepositoryAccess::NotAsked } else { gathered.repository },
            eligible: self.eligible,
            images_of_nodes: true,
            runtime: self.subject.runtime,
            mirror_files: meant
                .as_ref()
                .ok()
                .and_then(|image| self.sources.registry.mirror_files(image)),
            own_loopback: false,
            vouches: &|| vouches.clone(),
            history: HistoryFacts::default(),
        });
        Probed { assessment, attempts: gathered.attempts }
    }

    /// Tries credentials until one works, as the kubelet does.
    async fn try_in_turn(
        self,
        image: &ImageReference,
        credentials: Vec<Option<Credential>>,
        max_age: Option<Duration>,
    ) -> Gathered {
        let mut gathered = Gathered::default();
        if self.is_off(image) {
            return gathered;
        }
        for credential in credentials {
            let attempt = self.attempt(image, credential, max_age).await;
            let exists = matches!(attempt.lookup.outcome, Outcome::Exists(_));
            gathered.attempts.push(attempt);
            if exists {
                break;
            }
        }
        gathered
    }
}

/// What a question outside of a review needs to be asked: the pull secrets of the pod that it is
/// about, and the nodes that it may land on.
pub(super) struct ProbeContext<'n> {
    pub secrets: PodSecrets,
    eligible: Eligible<'n>,
    facts: Option<Arc<NamespaceFacts>>,
    more_reviews: AtomicUsize,
}

impl<'n> ProbeContext<'n> {
    /// Without any nodes.
    pub(super) async fn new(sources: Sources<'_>, subject: ReviewRequest<'_>) -> Self {
        Self::among(None, sources, subject).await
    }

    /// Among these nodes, if they are known.
    pub(super) async fn among(
        nodes: Option<&'n [Node]>,
        sources: Sources<'_>,
        subject: ReviewRequest<'_>,
    ) -> Self {
        let placement = &subject.workload.placement;
        Self {
            secrets: gather::secrets(sources, subject, Reading::Kept).await,
            eligible: nodes.map_or_else(Eligible::not_asked, |nodes| placement.eligible(nodes)),
            facts: sources.cluster.namespace(subject.namespace),
            more_reviews: AtomicUsize::new(0),
        }
    }

    pub(super) fn context<'a>(
        &'a self,
        sources: &'a Sources<'a>,
        subject: &'a ReviewRequest<'a>,
    ) -> ReviewContext<'a> {
        ReviewContext {
            sources,
            subject,
            secrets: &self.secrets,
            eligible: &self.eligible,
            facts: self.facts.as_deref(),
            pods_rewritten: Some(false),
            more_reviews: &self.more_reviews,
            purpose: Purpose::Verdict,
        }
    }
}

/// As much of a pod as its pulls need.
pub(super) fn bare_pod(
    uid: &str,
    images: Vec<ContainerImage>,
    pull_secrets: &[Box<str>],
) -> Workload {
    Workload {
        object: ObjectRef::default(),
        uid: uid.into(),
        is_pod: true,
        is_mirror: false,
        controller: None,
        annotations: Vec::new(),
        images,
        pull_secrets: pull_secrets.to_vec(),
        service_account: None,
        placement: Placement::default(),
        pods: PodCount::default(),
    }
}
