//! Keeping score: what is remembered of verdicts about pods, and the look-up that is repeated when
//! a node pulled what was called missing or forbidden.
//!
//! A repeated look-up goes the same road as the first one: the pod's own pull secrets read by
//! name, then what the nodes have. With other credentials than those of the verdict it would be
//! another question, and is not asked.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

use super::probe::{AskedWith, ProbeContext, ProbeResult, bare_pod};
use super::{FRESH, ResolvedName, Review, ReviewRequest, Reviewer, Sources};
use crate::credential::{CredentialIdentity, IdentitySalt, Keyring};
use crate::history::{Recheck, RecordedVerdict, is_refusal};
use crate::image::ImageReference;
use crate::pull::{Cause, Vouch, Vouches};
use crate::user::UserInfo;

/// What is to be remembered of each image of a new pod.
pub(super) fn verdicts(review: &Review) -> Vec<RecordedVerdict> {
    let given = |image: &super::ImageReview| {
        let reference = image.reference.clone().ok()?;
        let credentials = match &review.secrets.keyring {
            Ok(keyring) => identities(keyring, &reference),
            Err(_) => Box::default(),
        };
        let all_read = review.secrets.keyring.is_ok()
            && review.secrets.missing.is_empty()
            && !review.secrets.unread;
        let secretless = all_read && credentials.is_empty();
        let assessment = &image.assessment;
        let (verdict, cause) = (assessment.verdict, assessment.cause);
        let (would_deny, escapes) = (image.would_deny, assessment.escapes.clone());
        Some(RecordedVerdict {
            reference,
            verdict,
            cause,
            credentials,
            secretless,
            would_deny,
            escapes,
        })
    };
    review.images.iter().filter_map(given).collect()
}

/// The pod's own credentials for an image, as marks that tell them apart and nothing more.
fn identities(keyring: &Keyring, image: &ImageReference) -> Box<[CredentialIdentity]> {
    keyring.lookup(image).iter().map(|credential| credential.identity(salt())).collect()
}

/// Of this process alone: the marks never leave it.
fn salt() -> &'static IdentitySalt {
    static SALT: OnceLock<IdentitySalt> = OnceLock::new();
    SALT.get_or_init(|| {
        // A keyed hash, its key from the operating system's randomness.
        let keyed = RandomState::new();
        let mut random = [0; 32];
        for (nth, part) in random.chunks_mut(8).enumerate() {
            part.copy_from_slice(&keyed.hash_one(nth).to_le_bytes());
        }
        IdentitySalt::new(random)
    })
}

impl Reviewer {
    /// Looks an image up again that a node pulled although it was called missing or forbidden.
    /// Nothing if the pod's credentials are others now: nobody can tell any more.
    pub async fn recheck(
        &self,
        recheck: &Recheck,
        now: Timestamp,
        deadline: Instant,
    ) -> Option<ProbeResult> {
        let policy = self.policy.load_full();
        let workload = bare_pod(&recheck.uid, Vec::new(), &recheck.secrets);
        let user = UserInfo::default();
        let subject = ReviewRequest {
            workload: &workload,
            namespace: &recheck.namespace,
            user: &user,
            policy: &policy,
            runtime: self.runtime,
            account_applied: true,
            patient: false,
            rollout: None,
            now,
            deadline,
        };
        probe_again(self.sources(), subject, recheck).await
    }
}

async fn probe_again(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    recheck: &Recheck,
) -> Option<ProbeResult> {
    let probe_context = ProbeContext::new(sources, subject).await;
    if probe_context.secrets.unread {
        return Some(ProbeResult::Unclear(Cause::UnknownNodes));
    }
    let keyring = probe_context.secrets.keyring.as_ref().ok()?;
    if identities(keyring, &recheck.reference) != recheck.credentials {
        return None;
    }
    let written = Ok(recheck.reference.clone());
    let name = ResolvedName { written: &written, elsewhere: None };
    // A node has pulled it: what counts is whether the registry still says the same to the same
    // credentials, whatever else nodes may have.
    let vouches = Vouches { credentials: Vouch::None, ..Vouches::default() };
    let context = probe_context.context(&sources, &subject);
    let probed = context.probe(name, AskedWith::Kubelet, vouches, Some(FRESH)).await;
    Some(match probed.result() {
        ProbeResult::Refused(cause) if !is_refusal(cause) => ProbeResult::Unclear(cause),
        result => result,
    })
}
