//! Keeping score: what is remembered of verdicts about pods, and the look-up that is repeated when
//! a node pulled what was called missing or forbidden.
//!
//! A repeated look-up goes the same road as the first one: the pod's own pull secrets read by
//! name, then what the nodes have. With other credentials than those of the verdict it would be
//! another question, and is not asked.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use jiff::Timestamp;

use super::{
    FRESH, Review, ReviewContext, ReviewRequest, Reviewer, Sources, gather, gather::Reading,
};
use crate::credential::{CredentialIdentity, IdentitySalt, Keyring};
use crate::history::{PodVerdicts, Recheck, RecordedVerdict, is_refusal};
use crate::image::ImageReference;
use crate::policy::Decision;
use crate::pull::{HistoryFacts, Observation, RepositoryAccess, Verdict, Vouch, Vouches, assess};
use crate::user::UserInfo;
use crate::workload::{Eligible, ImagePullPolicy, ObjectRef, Placement, Workload};

/// What a repeated look-up came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    /// The registry still calls it missing or forbidden.
    StillRefused,
    /// It can be pulled now: it was pushed, or allowed, in between.
    Pullable,
    /// Nothing that could be told: to be tried later.
    Unclear,
    /// The pod's credentials are others now: nobody can tell any more.
    OtherCredentials,
}

/// What is to be remembered of a review of a new pod.
pub(super) fn verdicts<'a>(review: &Review, subject: &ReviewRequest<'a>) -> PodVerdicts<'a> {
    let given = |image: &super::ImageReview| {
        let reference = image.reference.clone().ok()?;
        let credentials = match &review.secrets.keyring {
            Ok(keyring) => identities(keyring, &reference),
            Err(_) => Box::default(),
        };
        let assessment = &image.assessment;
        let (verdict, cause) = (assessment.verdict, assessment.cause);
        Some(RecordedVerdict { reference, verdict, cause, credentials })
    };
    PodVerdicts {
        namespace: subject.namespace,
        uid: &subject.workload.uid,
        secrets: &subject.workload.pull_secrets,
        denied: review.decision == Decision::Deny,
        verdicts: review.images.iter().filter_map(given).collect(),
    }
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
    pub async fn look_again(
        &self,
        recheck: &Recheck,
        now: Timestamp,
        deadline: Instant,
    ) -> ProbeResult {
        let policy = self.policy.load_full();
        let workload = pod_of(recheck);
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
        look_again(self.sources(), subject, recheck).await
    }
}

async fn look_again(
    sources: Sources<'_>,
    subject: ReviewRequest<'_>,
    recheck: &Recheck,
) -> ProbeResult {
    let secrets = gather::secrets(sources, subject, Reading::Kept).await;
    if secrets.unread {
        return ProbeResult::Unclear;
    }
    let same = secrets
        .keyring
        .as_ref()
        .is_ok_and(|keyring| identities(keyring, &recheck.reference) == recheck.credentials);
    if !same {
        return ProbeResult::OtherCredentials;
    }
    let eligible = Eligible::not_asked();
    let more_reviews = AtomicUsize::new(0);
    let bench = ReviewContext {
        sources,
        subject,
        secrets: &secrets,
        eligible: &eligible,
        pods_rewritten: Some(false),
        more_reviews: &more_reviews,
    };
    let gathered = bench.look_up(&[], Some(&recheck.reference), Some(FRESH)).await;
    let assessment = assess(&Observation {
        reference: Ok(&recheck.reference),
        pull_policy: ImagePullPolicy::Always,
        secrets: secrets.state(Some(&recheck.reference)),
        attempts: &gathered.attempts,
        nodes_unclear: gathered.nodes_unclear,
        repository: RepositoryAccess::NotAsked,
        eligible: &eligible,
        runtime: subject.runtime,
        // A node has pulled it: what counts is whether the registry still says the same to the
        // same credentials, whatever else nodes may have.
        vouches: Vouches { credentials: Vouch::None, ..Vouches::default() },
        lived: HistoryFacts::default(),
    });
    match (assessment.verdict, assessment.cause) {
        (Verdict::Fails, Some(cause)) if is_refusal(cause) => ProbeResult::StillRefused,
        (Verdict::Works, _) => ProbeResult::Pullable,
        _ => ProbeResult::Unclear,
    }
}

/// As much of the pod as its pull secrets need.
fn pod_of(recheck: &Recheck) -> Workload {
    Workload {
        object: ObjectRef::default(),
        uid: recheck.uid.clone(),
        is_pod: true,
        is_mirror: false,
        controller: None,
        annotations: Vec::new(),
        images: Vec::new(),
        pull_secrets: recheck.secrets.to_vec(),
        service_account: None,
        placement: Placement::default(),
    }
}
