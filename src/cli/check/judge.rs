//! One object judged: the shared review, and what the command line adds to it.
//!
//! Added are two cautions of working on files alone: a login that the registry wants may be in a
//! ServiceAccount or Secret that nobody showed us, and the person's own login is not the nodes'.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::credentials::{self, Own};
use super::login::{Login, Logins};
use super::manifest::Found;
use super::source::{AsUser, FileSource};
use super::timed::TimedSource;
use crate::cli::output::{AdviceEntry, ImageEntry, ImageFinding, Place, Position, PullFacts};
use crate::credential::{Credential, CredentialOrigin};
use crate::policy::{Decision, Mode, PullgatePolicy, Reason};
use crate::pull::{Cause, Content, Detail, LookupRequest, Outcome, Purpose, Runtime, Verdict};
use crate::review::{
    ImageReview, ManifestSource, NodeCredentialSource, Review, ReviewRequest, SecretsOrigin,
    Sources, review,
};
use crate::text::clean;
use crate::user::UserInfo;
use crate::workload::ObjectRef;

/// Everything that objects are judged with.
pub(super) struct Judge<'a> {
    pub(super) registry: &'a TimedSource<'a>,
    pub(super) files: &'a FileSource,
    pub(super) nodes: &'a dyn NodeCredentialSource,
    pub(super) logins: &'a Logins,
    pub(super) policy: &'a PullgatePolicy,
    pub(super) as_enforced: bool,
    pub(super) runtime: Option<Runtime>,
    pub(super) timeout: Duration,
    pub(super) explain_credentials: bool,
    pub(super) now: Timestamp,
}

/// What the person's own login came to for one image.
struct OwnLogin {
    credential: Credential,
    outcome: Outcome,
}

impl Judge<'_> {
    /// Judges one object. `deadline` counts for all its images together.
    pub(super) async fn object(&self, index: usize, found: &Found) -> Vec<ImageEntry> {
        let deadline = start() + self.timeout;
        let namespace = &*found.namespace;
        let policy = self.policy_for(namespace);
        let user = UserInfo::default();
        let subject = ReviewRequest {
            workload: &found.workload,
            namespace,
            user: &user,
            policy: &policy,
            runtime: self.runtime,
            // Nothing of what was read has passed admission yet.
            account_applied: false,
            patient: true,
            rollout: None,
            now: self.now,
            deadline,
        };
        let alone = found.is_alone();
        let mut review = review(self.sources(self.registry), subject).await;
        let mut entries = Vec::new();
        for at in 0..review.images.len() {
            let mut own = None;
            let mut own_note = None;
            if wants_login(&review.images[at]) {
                (own, own_note) = self.own_login(&review.images[at], deadline).await;
            }
            let by_own_login = match &own {
                Some(own) if alone && names_no_secret(&review) => {
                    let registry =
                        AsUser { registry: self.registry, login: own.credential.clone() };
                    let again = crate::review::review(self.sources(&registry), subject).await;
                    take_over(&mut review, again, at, &own.credential)
                }
                _ => false,
            };
            let finding = self.finding(&mut review, at, namespace, own, own_note, by_own_login);
            place(&mut entries, index, found, &review.images[at], finding);
        }
        entries.sort_by_key(|(order, _)| *order);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn sources<'s>(&'s self, registry: &'s dyn ManifestSource) -> Sources<'s> {
        Sources {
            registry,
            cluster: self.files,
            nodes: self.nodes,
            health: self.files,
            access: self.files,
        }
    }

    /// Whoever checks files wants to know, also where the policy is off.
    fn policy_for(&self, namespace: &str) -> PullgatePolicy {
        use crate::review::ClusterSource as _;
        if self.as_enforced {
            return self.policy.in_mode(Mode::Enforce);
        }
        let facts = self.files.namespace(namespace);
        match self.policy.mode(namespace, facts.as_ref()).mode {
            Mode::Off => self.policy.in_mode(Mode::Warn),
            Mode::Warn | Mode::Enforce => self.policy.clone(),
        }
    }

    /// What the person's own login gets, or why it could not be tried.
    async fn own_login(
        &self,
        image: &ImageReview,
        deadline: Instant,
    ) -> (Option<OwnLogin>, Option<String>) {
        let Ok(reference) = &image.reference else { return (None, None) };
        let credential = match self.logins.of(reference.host()).await {
            Login::Found(credential) => credential,
            Login::None => return (None, None),
            Login::Failed(why) => {
                return (None, Some(format!("your own login was not tried: {why}")));
            }
        };
        let request = LookupRequest {
            reference: reference.clone(),
            credential: Some(credential.clone()),
            detail: Detail::Presence,
            max_age: None,
            purpose: Purpose::Verdict,
            namespace: Box::default(),
        };
        let outcome = self.registry.look_up(request, deadline).await.outcome;
        (Some(OwnLogin { credential, outcome }), None)
    }

    fn finding(
        &self,
        review: &mut Review,
        at: usize,
        namespace: &str,
        own: Option<OwnLogin>,
        own_note: Option<String>,
        by_own_login: bool,
    ) -> ImageFinding {
        let mut tails = Vec::new();
        let doubt = self.doubt(review, at, namespace);
        if let Some(doubt) = doubt.filter(|_| !by_own_login) {
            tails.push(doubt);
        }
        let image = &review.images[at];
        let mut advice: Vec<AdviceEntry> = image
            .advice
            .iter()
            .map(|advice| AdviceEntry {
                kind: advice.kind.as_str(),
                value: advice.value.to_string(),
                message: advice.message.clone(),
                command: advice.command.clone(),
            })
            .collect();
        let works_for_own =
            own.as_ref().is_some_and(|own| matches!(own.outcome, Outcome::Exists(_)));
        if works_for_own {
            let message = if by_own_login {
                "only your own login was used: nodes need a pull secret for it"
            } else {
                "your own login can pull it, so it exists: nodes need a pull secret for it"
            };
            tails.push(message.to_owned());
            advice.push(AdviceEntry {
                kind: "own_login",
                value: String::new(),
                message: message.to_owned(),
                command: None,
            });
        }
        tails.extend(own_note);
        let skipped = match image.ruling.because {
            Reason::RegistrySkipped => Some("not looked up: the policy skips it"),
            Reason::ModeOff => Some("not looked up: the policy is off for it"),
            _ => None,
        };
        let message = match skipped {
            Some(words) => words.to_owned(),
            None => words(review, image, &tails),
        };
        let pods_denied = image.ruling.pods_will_be_denied(false);
        ImageFinding {
            reference: image.reference.as_ref().ok().map(crate::image::ImageReference::canonical),
            verdict: image.assessment.verdict,
            cause: image.assessment.cause.filter(|_| skipped.is_none()),
            escapes: image.assessment.escapes.clone(),
            message,
            advice,
            decision: if pods_denied { Decision::Deny } else { image.ruling.decision },
            skipped: skipped.is_some(),
            pull: self.pull_facts(image),
            credentials: self.explain_credentials.then(|| {
                let own = own.map(|own| Own { outcome: own.outcome, decided: by_own_login });
                credentials::explain(self.files, namespace, &review.secrets, image, own)
            }),
        }
    }

    /// What the look-ups brought of the image itself.
    fn pull_facts(&self, image: &ImageReview) -> PullFacts {
        let Ok(reference) = &image.reference else { return PullFacts::default() };
        let mut facts = PullFacts { took: self.registry.took(reference), ..PullFacts::default() };
        let decisive = image.assessment.decisive.and_then(|index| image.attempts.get(index));
        let found = decisive.or(image.attempts.last());
        if let Some((attempt, Outcome::Exists(found))) =
            found.map(|attempt| (attempt, &attempt.lookup.outcome))
        {
            facts.digest.clone_from(&found.digest);
            facts.platforms = match &found.content {
                Content::Platforms(platforms) => platforms.iter().flatten().cloned().collect(),
                Content::Config(platform) => vec![platform.clone()],
                Content::Unread | Content::Artifact => Vec::new(),
            };
            facts.pulled_with = Some(match &attempt.source {
                Some(source) => source.origin.to_string(),
                None if attempt.lookup.node_login => CredentialOrigin::NodeRuntime.to_string(),
                None => "anonymous".to_owned(),
            });
        }
        facts
    }

    /// What was not to be seen and may yet bring the login that the registry wants.
    fn doubt(&self, review: &Review, at: usize, namespace: &str) -> Option<String> {
        if !wants_login(&review.images[at]) {
            return None;
        }
        let absent: Vec<_> = review
            .secrets
            .names
            .iter()
            .filter(|name| self.files.is_absent(namespace, name))
            .map(|name| format!("`{}`", clean(name)))
            .collect();
        if !absent.is_empty() {
            let (noun, verb) =
                if absent.len() == 1 { ("secret", "is") } else { ("secrets", "are") };
            return Some(format!("pull {noun} {} {verb} not in these files", absent.join(", ")));
        }
        match &review.secrets.origin {
            SecretsOrigin::ServiceAccount(account) if self.files.is_assumed(namespace, account) => {
                let account = clean(account);
                Some(format!(
                    "ServiceAccount `{account}` is not in these files and may bring a pull secret"
                ))
            }
            SecretsOrigin::NotYetKnown => {
                Some("which account and pull secrets it gets is decided when it runs".to_owned())
            }
            _ => None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the command line is where the clock is read")]
fn start() -> Instant {
    Instant::now()
}

/// Whether the registry refuses those who ask, so that a login might help.
fn wants_login(image: &ImageReview) -> bool {
    image.assessment.verdict != Verdict::Works
        && matches!(
            image.assessment.cause,
            Some(Cause::Unauthorized | Cause::Forbidden | Cause::AccessDeniedOrMissing)
        )
}

fn names_no_secret(review: &Review) -> bool {
    review.secrets.names.is_empty()
}

/// Puts what the person's own login found in the place of what nobody's found.
fn take_over(review: &mut Review, again: Review, at: usize, login: &Credential) -> bool {
    let Some(mut image) = again.images.into_iter().nth(at) else { return false };
    for attempt in &mut image.attempts {
        attempt.source = Some(login.source().clone());
    }
    review.images[at] = image;
    true
}

/// The words about an image, without its name, which stands beside them.
fn words(review: &Review, image: &ImageReview, tails: &[String]) -> String {
    let plain = image.assessment.cause.is_none()
        && image.assessment.unfit_nodes.is_empty()
        && !image.ruling.refused;
    let mut words = if plain && image.assessment.verdict == Verdict::Works && !image.is_noted() {
        "can be pulled".to_owned()
    } else {
        review.finding(image).words()
    };
    for tail in tails {
        words.push_str("; ");
        words.push_str(tail);
    }
    words
}

/// One entry for each place of an image, with its place in the order of the spec.
fn place(
    entries: &mut Vec<(usize, ImageEntry)>,
    index: usize,
    found: &Found,
    image: &ImageReview,
    finding: ImageFinding,
) {
    let finding = Arc::new(finding);
    let all = &found.workload.images;
    for (order, place) in all.iter().enumerate().filter(|(_, one)| image.places.contains(one)) {
        let at = found.places.get(order).copied().unwrap_or(Position::UNKNOWN);
        let alone = found.is_alone();
        entries.push((
            order,
            ImageEntry {
                object: ObjectRef {
                    namespace: found.namespace.clone(),
                    ..found.workload.object.clone()
                },
                object_index: index,
                place: found.file.clone().map(|file| Place { file, at }),
                path: if alone { Box::default() } else { place.pointer.clone() },
                container: place.container.clone(),
                kind: place.kind,
                image: place.image.clone(),
                finding: finding.clone(),
            },
        ));
    }
}
