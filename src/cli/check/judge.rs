//! One object judged: the shared review, and what the command line adds to it.
//!
//! Added are two cautions of working on files alone: a login that the registry wants may be in a
//! ServiceAccount or Secret that nobody showed us, and the person's own login is not the nodes'.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::credentials::{self, OwnLoginResult};
use super::flags::LoginUse;
use super::given::{Login, Logins};
use super::manifest::Found;
use super::runner::{TimedSource, WithLogin, without_secrets};
use super::source::FileSource;
use crate::advice::AdviceKind;
use crate::credential::CredentialOrigin;
use crate::policy::{Decision, Mode, PullgatePolicy, Reason};
use crate::pull::{
    Cause, Content, Detail, LookupRequest, Outcome, Purpose, Runtime, Verdict, is_about_access,
    lists,
};
use crate::report::{
    AdviceEntry, CERTIFICATE_ENDS, DIGEST_DRIFT, Forecast, ImageEntry, ImageFinding, LOGIN_ENDS,
    MUTABLE_TAG, NODES_FAIL, PULL_QUOTA, PullFacts,
};
use crate::review::{
    ClusterSource, FixedAccess, HealthSource as _, ImageReview, ManifestSource as _,
    NodeCredentialSource, Review, ReviewRequest, SecretsOrigin, Sources, WithoutSecrets, review,
};
use crate::telemetry::instant;
use crate::text::clean;
use crate::user::UserInfo;
use crate::workload::{Node, ObjectRef, Workload};
use crate::yaml::{Place, Position};

/// Everything that objects are judged with.
pub(super) struct Judge<'a> {
    pub(super) registry: &'a TimedSource<'a>,
    pub(super) files: &'a FileSource,
    pub(super) nodes: &'a dyn NodeCredentialSource,
    pub(super) logins: &'a Logins,
    pub(super) login: LoginUse,
    pub(super) policy: &'a PullgatePolicy,
    pub(super) as_enforced: bool,
    pub(super) runtime: Option<Runtime>,
    pub(super) explain_credentials: bool,
    pub(super) now: Timestamp,
}

/// Until when an object is waited for: longer than anything takes that it waits for.
const NO_HURRY: Duration = Duration::from_secs(24 * 3600);

/// What the person's own login came to for one image.
#[derive(Default)]
struct OwnLogin {
    /// What it got, if there is one.
    outcome: Option<Outcome>,
    /// Why it was not tried, if there may be one.
    note: Option<String>,
    /// Whether the verdict is what it found.
    decided: bool,
}

impl Judge<'_> {
    /// Judges one object. Every question to the outside has a limit of its own, which does not
    /// count while it waits for its turn.
    pub(super) async fn object(&self, index: usize, found: &Found) -> Vec<ImageEntry> {
        let deadline = instant() + NO_HURRY;
        let namespace = &*found.namespace;
        let policy = self.policy_for(namespace);
        let user = UserInfo::default();
        let by_login = self.login == LoginUse::Runner;
        let workload = if by_login {
            Cow::Owned(without_secrets(&found.workload))
        } else {
            Cow::Borrowed(&found.workload)
        };
        let (no_secrets, access) = (WithoutSecrets::of(self.files), self.files.access());
        let cluster: &dyn ClusterSource = if by_login { &no_secrets } else { self.files };
        let subject = ReviewRequest {
            workload: &workload,
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
        let mut review = review(self.sources(cluster, self.nodes, &access), subject).await;
        let alone = by_login || (found.is_alone() && review.secrets.names.is_empty());
        let with_login = WithLogin { nodes: self.nodes, logins: self.logins };
        let mut again: Option<Review> = None;
        let mut entries = Vec::new();
        for at in 0..review.images.len() {
            let mut own = OwnLogin::default();
            if self.login != LoginUse::Secrets && lacks_login(&review.images[at]) {
                own = self.own_login(&review.images[at], deadline).await;
            }
            if own.outcome.as_ref().is_some_and(|outcome| alone || is_missing(outcome)) {
                if again.is_none() {
                    let sources = self.sources(cluster, &with_login, &access);
                    again = Some(crate::review::review(sources, subject).await);
                }
                let again = again.as_mut().and_then(|again| again.images.get_mut(at));
                if let Some(again) = again.filter(|again| alone || is_proven_missing(again)) {
                    std::mem::swap(&mut review.images[at], again);
                    own.decided = true;
                }
            }
            let mut finding = self.finding(&mut review, at, namespace, own);
            finding.pull.forecast = self.forecast(&found.workload, &review.images[at]);
            place(&mut entries, index, found, &review.images[at], finding);
        }
        entries.sort_by_key(|(order, _)| *order);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn sources<'s>(
        &'s self,
        cluster: &'s dyn ClusterSource,
        nodes: &'s dyn NodeCredentialSource,
        access: &'s FixedAccess,
    ) -> Sources<'s> {
        Sources { registry: self.registry, cluster, nodes, health: self.files, access }
    }

    /// Whoever checks files wants to know, also where the policy is off.
    fn policy_for(&self, namespace: &str) -> PullgatePolicy {
        if self.as_enforced {
            return self.policy.in_mode(Mode::Enforce);
        }
        let facts = self.files.namespace(namespace);
        match self.policy.mode(namespace, facts.as_deref()).mode {
            Mode::Off => self.policy.in_mode(Mode::Warn),
            Mode::Warn | Mode::Enforce => self.policy.clone(),
        }
    }

    /// What the person's own login gets, or why it could not be tried.
    async fn own_login(&self, image: &ImageReview, deadline: Instant) -> OwnLogin {
        let mut own = OwnLogin::default();
        let Ok(reference) = &image.reference else { return own };
        let credential = match self.logins.of(reference.host()).await {
            Login::Found(credential) => credential,
            Login::None => return own,
            Login::Failed(why) => {
                own.note = Some(format!("your own login was not tried: {why}"));
                return own;
            }
        };
        let request = LookupRequest {
            reference: reference.clone(),
            credential: Some(credential),
            detail: Detail::Presence,
            max_age: None,
            purpose: Purpose::Verdict,
            namespace: Arc::default(),
        };
        own.outcome = Some(self.registry.look_up(request, deadline).await.outcome);
        own
    }

    fn finding(
        &self,
        review: &mut Review,
        at: usize,
        namespace: &str,
        own: OwnLogin,
    ) -> ImageFinding {
        let mut tails = Vec::new();
        let by_own_login = own.decided;
        let doubt = self.doubt(review, at, namespace, &own);
        if let Some(doubt) = doubt.filter(|_| !by_own_login) {
            tails.push(doubt);
        }
        let image = &review.images[at];
        let mut advice: Vec<AdviceEntry> = image.advice.iter().map(AdviceEntry::from).collect();
        if let Some(message) = self.secret_wanted(&own) {
            tails.push(message.to_owned());
            advice.push(AdviceEntry {
                kind: "own_login",
                value: String::new(),
                message: message.to_owned(),
                command: None,
            });
        }
        tails.extend(own.note);
        let skipped = match image.ruling.reason {
            Reason::RegistrySkipped => Some("not looked up: the policy skips it"),
            Reason::ModeOff => Some("not looked up: the policy is off for it"),
            _ => None,
        };
        let message = match skipped {
            Some(words) => words.to_owned(),
            None => finding_message(review, image, &tails),
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
            noted: noted(image),
            excepted: image.ruling.reason == Reason::Exception,
            pull: self.pull_facts(image),
            credentials: self.explain_credentials.then(|| {
                let own =
                    own.outcome.map(|outcome| OwnLoginResult { outcome, decided: by_own_login });
                credentials::explain(self.files, namespace, &review.secrets, image, own)
            }),
        }
    }

    /// That nodes need a secret for what the person's own login can pull.
    fn secret_wanted(&self, own: &OwnLogin) -> Option<&'static str> {
        if !matches!(own.outcome, Some(Outcome::Exists(_))) {
            return None;
        }
        match (own.decided, self.login) {
            (true, LoginUse::Runner) => None,
            (true, _) => Some("only your own login was used: nodes need a pull secret for it"),
            (false, _) => {
                Some("your own login can pull it, so it exists: nodes need a pull secret for it")
            }
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
                Content::Config(platform, _) => vec![platform.clone()],
                Content::Unread | Content::NoPlatform | Content::Artifact => Vec::new(),
            };
            facts.pulled_with = Some(match &attempt.source {
                Some(source) => source.origin.to_string(),
                None if attempt.lookup.node_login => CredentialOrigin::NodeRuntime.to_string(),
                None => "anonymous".to_owned(),
            });
        }
        facts
    }

    /// How long the nodes will pull that may get it and lack it, by what is seen in the cluster.
    fn forecast(&self, workload: &Workload, image: &ImageReview) -> Option<Forecast> {
        let (Ok(reference), Verdict::Works) = (&image.reference, image.assessment.verdict) else {
            return None;
        };
        let decisive = image.assessment.decisive.and_then(|index| image.attempts.get(index))?;
        let Outcome::Exists(read) = &decisive.lookup.outcome else { return None };
        let bytes = match &read.content {
            Content::Config(_, bytes) => *bytes,
            _ => None,
        };
        let by_digest = read.digest.clone().map(|digest| reference.with_digest(digest));
        let has = |node: &Node| {
            lists(node, reference) || by_digest.as_ref().is_some_and(|same| lists(node, same))
        };
        let nodes = self.files.nodes()?;
        let eligible = workload.placement.eligible(&nodes);
        let unfit = &image.assessment.unfit_nodes;
        let lacking =
            eligible.nodes.iter().filter(|node| !has(node) && !unfit.contains(&node.name));
        let nodes = lacking.count();
        let expected = (nodes > 0).then(|| self.files.pull_forecast(reference, bytes)).flatten()?;
        Some(Forecast { nodes, expected })
    }

    /// What was not to be seen and may yet bring the login that the registry wants, and how to give
    /// it.
    fn doubt(&self, review: &Review, at: usize, namespace: &str, own: &OwnLogin) -> Option<String> {
        if !lacks_login(&review.images[at]) {
            return None;
        }
        if self.login == LoginUse::Runner {
            let words = match &own.outcome {
                Some(_) => "your own login cannot see it either",
                None => "you have no login for this registry",
            };
            return Some(words.to_owned());
        }
        let absent: Vec<_> = review
            .secrets
            .names
            .iter()
            .filter(|name| self.files.is_absent(namespace, name))
            .map(|name| clean(name))
            .collect();
        if let Some(first) = absent.first() {
            let (noun, verb) =
                if absent.len() == 1 { ("secret", "is") } else { ("secrets", "are") };
            return Some(format!(
                "pull {noun} {} {verb} not in these files: give it with --pull-secret-file \
                 {first}=FILE, or the cluster with --kubeconfig",
                absent.join(", ")
            ));
        }
        match &review.secrets.origin {
            SecretsOrigin::ServiceAccount(account) if self.files.is_assumed(namespace, account) => {
                let account = clean(account);
                Some(format!(
                    "ServiceAccount {account} is not in these files and may bring a pull secret: \
                     give it with --pull-secret-file FILE, or the cluster with --kubeconfig"
                ))
            }
            SecretsOrigin::NotYetKnown if is_about_access(review.images[at].assessment.cause) => {
                Some("which account and pull secrets it gets is decided when it runs".to_owned())
            }
            _ => None,
        }
    }
}

/// The rule of what is worth knowing of an image that works.
fn noted(image: &ImageReview) -> Option<&'static str> {
    if image.assessment.verdict != Verdict::Works || !image.is_noted() {
        return None;
    }
    let has = |kind| image.advice.iter().any(|advice| advice.kind == kind);
    if image.nodes_failing.is_some() {
        Some(NODES_FAIL)
    } else if image.quota.is_some() {
        Some(PULL_QUOTA)
    } else if image.drift.is_some() {
        Some(DIGEST_DRIFT)
    } else if has(AdviceKind::MutableTag) {
        Some(MUTABLE_TAG)
    } else if has(AdviceKind::SecretExpires) {
        Some(LOGIN_ENDS)
    } else {
        has(AdviceKind::CertificateExpires).then_some(CERTIFICATE_ENDS)
    }
}

/// Whether the registry said to somebody who may see the repository that it is not there.
fn is_proven_missing(image: &ImageReview) -> bool {
    image.assessment.verdict == Verdict::Fails && is_about_absence(image.assessment.cause)
}

/// Whether a login that was not tried might tell more: the registry refuses those who ask, or says
/// that it is not there to those who may not see it.
fn lacks_login(image: &ImageReview) -> bool {
    let cause = image.assessment.cause;
    match image.assessment.verdict {
        Verdict::Works => false,
        Verdict::Fails => is_about_access(cause),
        Verdict::CannotTell => is_about_access(cause) || is_about_absence(cause),
    }
}

const fn is_about_absence(cause: Option<Cause>) -> bool {
    matches!(cause, Some(Cause::TagNotFound | Cause::RepositoryNotFound))
}

const fn is_missing(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::TagMissing { .. } | Outcome::RepositoryMissing { .. })
}

/// The words about an image, without its name, which stands beside them.
fn finding_message(review: &Review, image: &ImageReview, tails: &[String]) -> String {
    let plain = image.assessment.cause.is_none()
        && image.assessment.unfit_nodes.is_empty()
        && !image.ruling.refused;
    let mut words = if plain && image.assessment.verdict == Verdict::Works && !image.is_noted() {
        "can be pulled".to_owned()
    } else {
        let finding = review.finding(image);
        let realm = finding.realm_to_list().map(|pair| format!("; {pair}"));
        finding.message() + &realm.unwrap_or_default()
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
                known: false,
                lock: None,
            },
        ));
    }
}
