//! The long form of a warning, for an Event on the owning workload.
//!
//! Events are read by whoever may read them in that namespace, so a concern is reviewed again as
//! somebody who may hear of that namespace alone, in its own time: no answer waits for it.

use std::time::Instant;

use jiff::Timestamp;

use super::reviewer::EventRequest;
use super::{FixedAccess, ReviewRequest, Reviewer, Sources, review};
use crate::history::Visibility;
use crate::message::sentence;
use crate::policy::{Decision, Mode};
use crate::pull::{Cause, Verdict};
use crate::text::{clean, shorten};
use crate::user::UserInfo;
use crate::workload::ObjectRef;

/// Characters of a message; events.k8s.io/v1 takes no more in a note.
const MAX_MESSAGE: usize = 1024;
/// As in the webhook: nothing is said of a cluster's own parts.
const NEVER_JUDGED: &str = "kube-system";
/// A ServiceAccount that nobody can trust by name: it has none.
const NOBODY: &str = "system:serviceaccount:";

/// What is to be written as an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEvent {
    /// What it is about: the controller of the object, or the object itself.
    pub about: ObjectRef,
    /// The uid of what it is about.
    pub uid: Box<str>,
    /// `ImagePullDenied`, `ImagePullWarning` or `ImagePullFailing`.
    pub reason: &'static str,
    /// The words.
    pub message: String,
}

impl Reviewer {
    /// What an Event about this concern says; nothing if there is nothing to say, or if the policy
    /// does not want Events any more.
    pub async fn event(
        &self,
        event_request: &EventRequest,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<WorkloadEvent> {
        let (about, uid) = event_request.about()?;
        let (decision, words) = self.words_for_readers(event_request, now, deadline).await?;
        let reason = match decision {
            Decision::Allow => return None,
            Decision::Warn => "ImagePullWarning",
            Decision::Deny => "ImagePullDenied",
        };
        let message = shorten(&words.join(" | "), MAX_MESSAGE);
        Some(WorkloadEvent { about, uid, reason, message })
    }

    /// What an Event says of pods that fail to pull on the nodes; nothing if the policy does not
    /// want Events. `event_request` is one of these pods, `cause` what the nodes say.
    pub(crate) async fn failing_event(
        &self,
        event_request: &EventRequest,
        (about, uid): (ObjectRef, Box<str>),
        cause: Cause,
        (now, deadline): (Timestamp, Instant),
    ) -> Option<WorkloadEvent> {
        let facts = self.cluster.namespace(&event_request.namespace);
        let mode = self.policy.load().mode(&event_request.namespace, facts.as_deref()).mode;
        if mode == Mode::Off || &*event_request.namespace == NEVER_JUDGED {
            return None;
        }
        let (_, words) = self.words_for_readers(event_request, now, deadline).await?;
        let nodes = sentence(cause, Verdict::Fails);
        let message = if words.is_empty() {
            let images = event_request.workload.images.iter().map(|image| clean(&image.image));
            let images: Vec<String> = images.collect();
            format!("nodes fail to pull {}: {nodes}", images.join(", "))
        } else {
            format!("nodes fail to pull ({nodes}): {}", words.join(" | "))
        };
        let message = shorten(&message, MAX_MESSAGE);
        Some(WorkloadEvent { about, uid, reason: "ImagePullFailing", message })
    }

    /// What a review of it says to whoever may read the Events of its namespace; nothing if the
    /// policy does not want Events.
    async fn words_for_readers(
        &self,
        event_request: &EventRequest,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<(Decision, Vec<String>)> {
        let policy = self.policy.load_full();
        if !policy.spec().advice.events {
            return None;
        }
        let user = UserInfo { username: NOBODY.into(), ..UserInfo::default() };
        let subject = ReviewRequest {
            workload: &event_request.workload,
            namespace: &event_request.namespace,
            user: &user,
            policy: &policy,
            runtime: self.runtime,
            account_applied: event_request.workload.is_pod,
            patient: false,
            rollout: None,
            now,
            deadline,
        };
        // Of it alone, and of no secret that no pod names.
        let pods = Visibility::Namespaces(vec![event_request.namespace.clone()]);
        let readers = FixedAccess { pods, secrets: false };
        let sources = Sources { access: &readers, ..self.sources() };
        let review = review(sources, subject).await;
        let told = review.images.iter().filter(|image| image.ruling.decision != Decision::Allow);
        let words: Vec<String> = told
            .map(|image| {
                let finding = review.finding(image);
                format!("image {}: {}", clean(finding.image), finding.message())
            })
            .collect();
        Some((review.decision, words))
    }
}
