//! The ruling about one image: what the document wants, inside what the product permits, and what an
//! exception lets through for a while.
//!
//! One chain of gates, each of which can only make a ruling milder. A denial is what has passed
//! all of them.

use jiff::{SignedDuration, Timestamp};

use super::PullgatePolicy;
use super::document::{BreakGlass, Exception, PullgatePolicySpec};
use super::resolve::{BREAK_GLASS_ANNOTATION, LabelUse, PolicyScope};
use super::value::{Action, CannotTell, EnforceOn, Mode, Period};
use crate::history::is_refusal;
use crate::image::ImageReference;
use crate::pull::{Cause, Escape, Verdict, is_about_access};
use crate::user::UserInfo;
use crate::workload::NamespaceFacts;

/// What is judged: one image of one object, and all that a policy may look at.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct DecisionInput<'a> {
    /// What will become of the pull.
    pub verdict: Verdict,
    /// Why.
    pub cause: Option<Cause>,
    /// The escapes that are still open, after what the policy vouches for.
    pub escapes: &'a [Escape],
    /// The image; nothing if it cannot be parsed.
    pub reference: Option<&'a ImageReference>,
    /// The object's namespace.
    pub namespace: &'a str,
    /// What is known of the namespace. `None` means not known (yet), and nothing is denied then,
    /// since its label may say otherwise; who has no cluster to ask gives empty facts.
    pub facts: Option<&'a NamespaceFacts>,
    /// Whether the object is a pod, not a template for pods.
    pub is_pod: bool,
    /// Whether the object makes no pods now.
    pub makes_no_pods: bool,
    /// When the pod's controller (ReplicaSet, Job, ...) was created or, where that is not known,
    /// when a pod of this name and owner was first seen; nothing counts as just now.
    pub wanted_since: Option<Timestamp>,
    /// Whether webhooks of others may put other images into the pods of this template.
    pub pods_rewritten: bool,
    /// Whether what a registry refused was not repeated for long enough, so that it proves nothing yet.
    pub refused_once: bool,
    /// The object's annotations under `pullgate.dev/`.
    pub annotations: &'a [(Box<str>, Box<str>)],
    /// Who asks.
    pub user: &'a UserInfo,
    /// Whether a pull secret that the object names does not exist (yet).
    pub secret_missing: bool,
    /// Whether the registry refused what a pull secret of the object holds, or that cannot be read.
    pub secret_refused: bool,
    /// Whether a credential that nobody tried may be what is lacking.
    pub untried_login: bool,
    /// Whether the registry as a whole is in trouble.
    pub registry_in_trouble: bool,
    /// Whether what others run of this registry may speak for the image, and the user may not see
    /// it. It is the same for all images of the registry.
    pub history_hidden: bool,
    /// Whether the cluster's history may be believed, or there is none at all (command line).
    pub history_current: bool,
    /// The time.
    pub now: Timestamp,
}

/// What becomes of the request, as far as this image is concerned; the worst image decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Let through without a word.
    Allow,
    /// Let through with a warning.
    Warn,
    /// Denied.
    Deny,
}

impl Decision {
    /// The word in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The namespace is not looked at.
    ModeOff,
    /// The policy skips this image.
    RegistrySkipped,
    /// The image can be pulled.
    Works,
    /// An exception in force is for it.
    Exception,
    /// Nothing, or not enough, is known.
    CannotTell,
    /// The policy has another action than `deny` for this cause.
    CauseAction,
    /// The namespace only warns.
    ModeWarn,
    /// Nothing is known of the namespace yet.
    NamespaceUnknown,
    /// The cluster's history is still learning, or stale.
    Learning,
    /// A node could still succeed.
    OpenEscapes,
    /// The registry as a whole is in trouble.
    RegistryInTrouble,
    /// Namespaces that the user may not see use the registry: what they run tells nothing here.
    HistoryHidden,
    /// The image may still be pushed, or the login for it come.
    Grace,
    /// Somebody else may put another image into the pods of this template.
    Rewritten,
    /// What a registry refused is not confirmed yet: a login that was refused once, and the second
    /// exchange is under way; a tag that a proxy cache may miss for want of its upstream.
    RefusedOnce,
    /// A template for pods names a pull secret that may be created before its pods are.
    SecretToCome,
    /// Somebody who may asked to get past.
    BreakGlass,
    /// It would be denied, but not on this kind of object: its pods will be, or a template was.
    NotEnforcedHere,
    /// The object makes no pods now: it is scaled to zero, suspended, paused, a mere template, waits for
    /// its schedule, or is changed in a way that leaves its pods as they are.
    NoPodsNow,
    /// The policy refuses this image.
    RegistryRefused,
    /// It certainly fails.
    Denied,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::ModeOff,
        Self::RegistrySkipped,
        Self::Works,
        Self::Exception,
        Self::CannotTell,
        Self::CauseAction,
        Self::ModeWarn,
        Self::NamespaceUnknown,
        Self::Learning,
        Self::OpenEscapes,
        Self::RegistryInTrouble,
        Self::HistoryHidden,
        Self::Grace,
        Self::Rewritten,
        Self::RefusedOnce,
        Self::SecretToCome,
        Self::BreakGlass,
        Self::NotEnforcedHere,
        Self::NoPodsNow,
        Self::RegistryRefused,
        Self::Denied,
    ];

    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModeOff => "mode_off",
            Self::RegistrySkipped => "registry_skipped",
            Self::Works => "works",
            Self::Exception => "exception",
            Self::CannotTell => "cannot_tell",
            Self::CauseAction => "cause_action",
            Self::ModeWarn => "mode_warn",
            Self::NamespaceUnknown => "namespace_unknown",
            Self::Learning => "learning",
            Self::OpenEscapes => "open_escapes",
            Self::RegistryInTrouble => "registry_in_trouble",
            Self::HistoryHidden => "history_hidden",
            Self::Grace => "grace",
            Self::Rewritten => "rewritten",
            Self::RefusedOnce => "refused_once",
            Self::SecretToCome => "secret_to_come",
            Self::BreakGlass => "break_glass",
            Self::NotEnforcedHere => "not_enforced_here",
            Self::NoPodsNow => "no_pods_now",
            Self::RegistryRefused => "registry_refused",
            Self::Denied => "denied",
        }
    }
}

/// What is decided about one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// What becomes of it.
    pub decision: Decision,
    /// The mode that counted.
    pub mode: Mode,
    /// What became of the namespace's mode label; what is not allowed or not known is told.
    pub label: LabelUse,
    /// The exception that fits, also where it has ended and so decided nothing.
    pub exception: Option<ExceptionUse>,
    /// What decided.
    pub reason: Reason,
    /// Whether the policy refuses this image. The problem to tell is then that, and not the cause.
    pub refused: bool,
    /// For so long after they were made, the pods of this template are only warned about: what is
    /// missing may still come.
    pub grace: Option<Period>,
}

impl Ruling {
    /// Whether the namespace enforces and yet nothing is denied for want of a word about the
    /// nodes. It is told once in an answer, plainly, whatever the kind of the object.
    pub fn escapes_hold_back(&self) -> bool {
        self.reason == Reason::OpenEscapes
    }

    /// Whether this object passes and its pods will be denied.
    pub fn pods_will_be_denied(&self, is_pod: bool) -> bool {
        !is_pod && self.reason == Reason::NotEnforcedHere
    }
}

/// Whether it may come right by itself: what is missing is pushed, a build pushes one platform after the
/// other, a secret is filled in once it exists, another pod brings the image onto the node.
const fn may_still_come(cause: Cause) -> bool {
    is_refusal(cause)
        || matches!(
            cause,
            Cause::PlatformMismatch | Cause::BrokenPullSecret | Cause::ImageNeverPull
        )
}

impl PullgatePolicy {
    /// The ruling about one image.
    pub fn judge(&self, input: &DecisionInput<'_>) -> Ruling {
        let subject = PolicyScope::new(input.reference, input.namespace, input.facts);
        let chosen = self.spec.mode_of(subject);
        let skipped = input.reference.is_some_and(|reference| self.skips(reference));
        let refused = input.reference.is_some_and(|reference| self.refuses(reference));
        let concerns = chosen.mode != Mode::Off && (refused || (!skipped && !works(input)));
        let exception =
            concerns.then(|| self.spec.exception_for(subject, input.cause, input.now)).flatten();
        let (decision, reason) = if chosen.mode == Mode::Off {
            (Decision::Allow, Reason::ModeOff)
        } else if let Some(exception) = exception.as_ref().filter(|exception| !exception.expired) {
            let soon = exception.expiring_soon;
            (if soon { Decision::Warn } else { Decision::Allow }, Reason::Exception)
        } else if refused {
            self.apply_exemptions(input, subject, chosen.mode, Reason::RegistryRefused)
        } else if skipped {
            (Decision::Allow, Reason::RegistrySkipped)
        } else {
            self.by_verdict(input, subject, chosen.mode)
        };
        let may_come = input.cause.is_some_and(may_still_come);
        let grace = Some(self.spec.grace_for(subject));
        Ruling {
            decision,
            mode: chosen.mode,
            label: chosen.label,
            exception,
            reason,
            refused,
            grace: grace.filter(|grace| may_come && !refused && !grace.get().is_zero()),
        }
    }

    /// Whether it would be denied if its namespace enforced, on whatever object. Everything else
    /// that spares it counts; what is not vouched for is left out of the input.
    pub fn would_deny(&self, input: &DecisionInput<'_>) -> bool {
        let scope = PolicyScope::new(input.reference, input.namespace, input.facts);
        let skipped = input.reference.is_some_and(|reference| self.skips(reference));
        let exception = self.spec.exception_for(scope, input.cause, input.now);
        let (decision, reason) = self.by_verdict(input, scope, Mode::Enforce);
        !skipped
            && exception.is_none_or(|exception| exception.expired)
            && (decision == Decision::Deny
                || matches!(
                    reason,
                    Reason::NotEnforcedHere | Reason::NoPodsNow | Reason::NamespaceUnknown
                ))
    }

    fn by_verdict(
        &self,
        input: &DecisionInput<'_>,
        subject: PolicyScope<'_>,
        mode: Mode,
    ) -> (Decision, Reason) {
        let action = input.cause.and_then(|cause| self.spec.action_for(subject, cause));
        match (input.verdict, input.cause) {
            (Verdict::Works, None) => (Decision::Allow, Reason::Works),
            // It is pulled, and then does not run, or not everywhere: worth a word, never a denial.
            (Verdict::Works, Some(_)) => match action {
                Some(Action::Allow) => (Decision::Allow, Reason::CauseAction),
                _ => (Decision::Warn, Reason::Works),
            },
            // A failure without a cause, or for one that passes by itself, is none that a registry
            // has confirmed; it would be a fault of ours, and is not made anybody else's.
            (Verdict::Fails, Some(cause)) if !cause.is_transient() => {
                match action.unwrap_or(Action::Deny) {
                    Action::Allow => (Decision::Allow, Reason::CauseAction),
                    Action::Warn => (Decision::Warn, Reason::CauseAction),
                    Action::Deny => self.apply_exemptions(input, subject, mode, Reason::Denied),
                }
            }
            (Verdict::CannotTell | Verdict::Fails, _) => {
                let silent = match action {
                    Some(action) => action == Action::Allow,
                    None => {
                        self.spec.cannot_tell_for(subject) == CannotTell::Allow
                            && !input.registry_in_trouble
                            && !secret_may_come(input)
                            && !input.untried_login
                    }
                };
                let warns = input.verdict == Verdict::Fails || !silent;
                (if warns { Decision::Warn } else { Decision::Allow }, Reason::CannotTell)
            }
        }
    }

    /// Denies, unless one of the gates spares it; then it is a warning.
    fn apply_exemptions(
        &self,
        input: &DecisionInput<'_>,
        subject: PolicyScope<'_>,
        mode: Mode,
        denied: Reason,
    ) -> (Decision, Reason) {
        let refused = denied == Reason::RegistryRefused;
        let on = if input.is_pod { EnforceOn::Pods } else { EnforceOn::Workloads };
        let gates = [
            (mode != Mode::Enforce, Reason::ModeWarn),
            (input.facts.is_none(), Reason::NamespaceUnknown),
            (!input.history_current, Reason::Learning),
            (!refused && !input.escapes.is_empty(), Reason::OpenEscapes),
            (!refused && input.registry_in_trouble, Reason::RegistryInTrouble),
            (!refused && input.history_hidden, Reason::HistoryHidden),
            (!refused && self.in_grace(input, subject), Reason::Grace),
            (!refused && input.refused_once, Reason::RefusedOnce),
            (self.spec.break_glass.opens(input.user, input.annotations), Reason::BreakGlass),
            (!input.is_pod && input.pods_rewritten, Reason::Rewritten),
            (!self.spec.enforces_on(subject, on), Reason::NotEnforcedHere),
            (!refused && input.makes_no_pods, Reason::NoPodsNow),
            (!refused && awaits_secret(input), Reason::SecretToCome),
        ];
        gates
            .into_iter()
            .find(|(spared, _)| *spared)
            .map_or((Decision::Deny, denied), |(_, reason)| (Decision::Warn, reason))
    }

    /// Whether the image may still be pushed, or its login come: the pod is wanted only since recently.
    fn in_grace(&self, input: &DecisionInput<'_>, subject: PolicyScope<'_>) -> bool {
        let may_come = input.cause.is_some_and(may_still_come);
        let grace = self.spec.grace_for(subject).get();
        if !may_come || !input.is_pod || grace.is_zero() {
            return false;
        }
        let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
        input.wanted_since.is_none_or(|since| input.now.duration_since(since) < grace)
    }
}

/// Whether a secret that is named and not there yet is what a look-up failed for: nobody can tell,
/// and whoever forgot the secret has to hear of it.
fn secret_may_come(input: &DecisionInput<'_>) -> bool {
    input.secret_missing && input.cause.is_some_and(is_refusal)
}

/// Whether its pods may have a pull secret that nobody has seen yet: manifests come in any order, and the one
/// that is there may be about to be replaced.
fn awaits_secret(input: &DecisionInput<'_>) -> bool {
    let may_change = input.secret_refused
        && (is_about_access(input.cause) || input.cause == Some(Cause::BrokenPullSecret));
    !input.is_pod
        && (may_change || (input.secret_missing && input.cause != Some(Cause::InvalidReference)))
}

fn works(input: &DecisionInput<'_>) -> bool {
    input.verdict == Verdict::Works && input.cause.is_none()
}

/// An exception that fits what is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionUse {
    /// Its name.
    pub name: Box<str>,
    /// Who answers for it.
    pub owner: Box<str>,
    /// When it ends.
    pub expires: Timestamp,
    /// Whether that is soon: then its use is a warning.
    pub expiring_soon: bool,
    /// Whether it has ended: then it lets nothing through any more.
    pub expired: bool,
}

impl PullgatePolicySpec {
    /// The exception that fits: one in force before one that has ended, the longest first.
    fn exception_for(
        &self,
        subject: PolicyScope<'_>,
        cause: Option<Cause>,
        now: Timestamp,
    ) -> Option<ExceptionUse> {
        let notice = SignedDuration::try_from(self.exception_notice.get()).unwrap_or_default();
        self.exceptions
            .iter()
            .filter(|exception| exception.matches_subject(subject, cause))
            .max_by_key(|exception| exception.expires)
            .map(|exception| {
                let expires = exception.expires.get();
                let left = expires.duration_since(now);
                ExceptionUse {
                    name: exception.name.as_str().into(),
                    owner: exception.owner.as_str().into(),
                    expires,
                    expired: expires <= now,
                    expiring_soon: expires > now && left <= notice,
                }
            })
    }
}

impl Exception {
    fn matches_subject(&self, subject: PolicyScope<'_>, cause: Option<Cause>) -> bool {
        let wanted = &self.matches;
        let namespace_fits = wanted
            .namespace_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(subject.namespace));
        let image_fits = wanted.images.is_empty()
            || subject
                .reference
                .is_some_and(|reference| wanted.images.iter().any(|one| one.matches(reference)));
        let cause_fits = wanted.causes.is_empty()
            || cause.is_some_and(|cause| wanted.causes.iter().any(|one| one.0 == cause));
        namespace_fits && image_fits && cause_fits
    }
}

impl BreakGlass {
    /// Whether this user, or this object by its annotation, gets past a denial.
    pub(super) fn opens(&self, user: &UserInfo, annotations: &[(Box<str>, Box<str>)]) -> bool {
        self.users.iter().any(|listed| **listed == *user.username)
            || self.groups.iter().any(|group| user.groups.iter().any(|has| **has == **group))
            || (self.annotation
                && annotations.iter().any(|(key, reason)| {
                    **key == *BREAK_GLASS_ANNOTATION && !reason.trim().is_empty()
                }))
    }
}
