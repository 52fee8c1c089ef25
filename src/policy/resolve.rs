//! Which setting counts for an image in a namespace: the first rule that matches and gives it,
//! else the document's own.

use super::PullgatePolicy;
use super::document::{PullgatePolicySpec, RegistryBudget, Rule};
use super::selector::NamespaceLabels;
use super::value::{Action, CannotTell, EnforceOn, Mode, Period};
use crate::image::ImageReference;
use crate::pull::Cause;
use crate::user::UserInfo;
use crate::workload::{NamespaceFacts, PodPath, PodPlace, TektonKind};

/// The label with which a namespace chooses its mode.
const MODE_LABEL: &str = "pullgate.dev/mode";
/// The annotation with which an object asks to get past a denial; its value is the reason.
pub(crate) const BREAK_GLASS_ANNOTATION: &str = "pullgate.dev/break-glass";

/// A mode, and what became of the namespace's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChosenMode {
    /// The mode that counts.
    pub mode: Mode,
    /// What became of the label.
    pub label: LabelUse,
}

/// What became of a namespace's label `pullgate.dev/mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LabelUse {
    /// There is none.
    Absent,
    /// It chose the mode.
    Chosen,
    /// It asks for a mode that the policy does not let this namespace choose.
    NotAllowed,
    /// Its value is no mode.
    Unknown,
}

/// A kind that makes pods, and where in its objects they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodKind<'a> {
    /// The API group.
    pub group: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Where the pod (template) is.
    pub place: PodPlace,
}

/// Kinds that are no part of Kubernetes, known without a word in the policy.
const FOREIGN_KINDS: &[(&str, &str)] = &[
    ("argoproj.io", "Rollout"),
    ("serving.knative.dev", "Service"),
    ("serving.knative.dev", "Configuration"),
    ("apps.openshift.io", "DeploymentConfig"),
];

/// An image in a namespace: what the rules are matched against.
#[derive(Debug, Clone, Copy)]
pub(super) struct PolicyScope<'a> {
    pub(super) reference: Option<&'a ImageReference>,
    pub(super) namespace: NamespaceLabels<'a>,
}

impl<'a> PolicyScope<'a> {
    pub(super) fn new(
        reference: Option<&'a ImageReference>,
        namespace: &'a str,
        facts: Option<&'a NamespaceFacts>,
    ) -> Self {
        let labels = facts.map_or(&[][..], |facts| &facts.labels);
        Self { reference, namespace: NamespaceLabels { name: namespace, labels } }
    }
}

impl Rule {
    fn matches(&self, subject: PolicyScope<'_>) -> bool {
        let namespace_fits = self
            .namespace_selector
            .as_ref()
            .is_none_or(|selector| selector.matches(subject.namespace));
        let image_fits = self.images.is_empty()
            || subject
                .reference
                .is_some_and(|reference| self.images.iter().any(|one| one.matches(reference)));
        namespace_fits && image_fits
    }
}

impl PullgatePolicySpec {
    /// The first value that a matching rule gives.
    pub(super) fn ruled<T>(
        &self,
        subject: PolicyScope<'_>,
        give: impl Fn(&Rule) -> Option<T>,
    ) -> Option<T> {
        self.rules
            .iter()
            .filter_map(|rule| give(rule).map(|value| (rule, value)))
            .find(|(rule, _)| rule.matches(subject))
            .map(|(_, value)| value)
    }

    pub(super) fn mode_of(&self, subject: PolicyScope<'_>) -> ChosenMode {
        let default = self.ruled(subject, |rule| rule.mode).unwrap_or(self.default_mode);
        let Some(label) = subject.namespace.get(MODE_LABEL) else {
            return ChosenMode { mode: default, label: LabelUse::Absent };
        };
        let Some(wanted) = Mode::from_word(label) else {
            return ChosenMode { mode: default, label: LabelUse::Unknown };
        };
        let ruled = self.ruled(subject, |rule| rule.allowed_modes.clone());
        let allowed = ruled.as_ref().unwrap_or(&self.allowed_modes);
        if wanted == default || allowed.contains(&wanted) {
            ChosenMode { mode: wanted, label: LabelUse::Chosen }
        } else {
            ChosenMode { mode: default, label: LabelUse::NotAllowed }
        }
    }

    /// The action that is given for this cause, if one is.
    pub(super) fn action_for(&self, subject: PolicyScope<'_>, cause: Cause) -> Option<Action> {
        self.ruled(subject, |rule| rule.causes.get(cause)).or_else(|| self.causes.get(cause))
    }

    pub(super) fn cannot_tell_for(&self, subject: PolicyScope<'_>) -> CannotTell {
        self.ruled(subject, |rule| rule.cannot_tell).unwrap_or(self.cannot_tell)
    }

    pub(super) fn enforces_on(&self, subject: PolicyScope<'_>, on: EnforceOn) -> bool {
        self.ruled(subject, |rule| rule.enforce_on.clone())
            .as_ref()
            .unwrap_or(&self.enforce_on)
            .contains(&on)
    }

    pub(super) fn grace_for(&self, subject: PolicyScope<'_>) -> Period {
        self.ruled(subject, |rule| rule.grace).unwrap_or(self.late_push.grace)
    }
}

impl PullgatePolicy {
    /// The mode of a namespace at large; rules for some images do not count here.
    pub fn mode(&self, namespace: &str, facts: Option<&NamespaceFacts>) -> ChosenMode {
        self.spec.mode_of(PolicyScope::new(None, namespace, facts))
    }

    /// What the runtimes of this cluster pull for a name without a registry, where that is not
    /// Docker Hub's: the name as it was written, in the registry that the policy names.
    pub fn completed(&self, written: &str, parsed: &ImageReference) -> Option<ImageReference> {
        let registry = self.spec.registries.default.as_ref().filter(|_| parsed.is_short())?;
        ImageReference::parse(&format!("{registry}/{written}")).ok()
    }

    /// Whether the document itself wants nothing said of this cause.
    pub(crate) fn silences(
        &self,
        reference: &ImageReference,
        namespace: &str,
        facts: Option<&NamespaceFacts>,
        cause: Cause,
    ) -> bool {
        let scope = PolicyScope::new(Some(reference), namespace, facts);
        self.spec.action_for(scope, cause) == Some(Action::Allow)
    }

    /// Whether tags that move are noted.
    pub(crate) fn notes_mutable_tags(&self) -> bool {
        let advice = &self.spec.advice;
        advice.enabled && advice.mutable_tags.unwrap_or(false)
    }

    /// Whether is noted that pods run another digest of a tag than the registry has.
    pub(crate) fn notes_drift(&self) -> bool {
        let advice = &self.spec.advice;
        advice.enabled && advice.digest_drift.unwrap_or(false)
    }

    /// Whether is noted that a rollout may need more pulls than Docker Hub has left.
    pub(crate) fn notes_quota(&self) -> bool {
        let advice = &self.spec.advice;
        advice.enabled && advice.pull_quota
    }

    /// Whether this image is never looked up.
    pub fn skips(&self, reference: &ImageReference) -> bool {
        self.spec.registries.skip.iter().any(|pattern| pattern.matches(reference))
    }

    /// Whether this image may not be used, pullable or not.
    pub fn refuses(&self, reference: &ImageReference) -> bool {
        self.spec.registries.refuse.iter().any(|pattern| pattern.matches(reference))
    }

    /// The budget of a registry, if it has one.
    pub(crate) fn budget(&self, host: &str) -> Option<&RegistryBudget> {
        self.spec.registries.budgets.iter().find(|budget| budget.registry.matches(host))
    }

    /// Whether this account may be shown other namespaces than its object's own. Users who are
    /// no ServiceAccounts always may, as far as their rights go.
    pub fn trusts(&self, user: &UserInfo) -> bool {
        !user.is_service_account()
            || self
                .spec
                .trusted_service_accounts
                .iter()
                .any(|account| account.is_user(&user.username))
    }

    /// The kinds that make pods beside those of Kubernetes itself: those that the document
    /// names first, so that it may correct the ones known without it.
    pub fn extra_kinds(&self) -> impl Iterator<Item = PodKind<'_>> {
        let named = self.spec.extra_kinds.iter().map(|extra| PodKind {
            group: &extra.group,
            kind: &extra.kind,
            place: PodPlace::Template(PodPath::new(extra.template_path.keys())),
        });
        let known = FOREIGN_KINDS.iter().map(|(group, kind)| PodKind {
            group,
            kind,
            place: PodPlace::Template(PodPath::new(["spec", "template"])),
        });
        let tekton = TektonKind::ALL.into_iter().map(|kind| PodKind {
            group: TektonKind::GROUP,
            kind: kind.as_str(),
            place: PodPlace::Tekton(kind),
        });
        named.chain(known).chain(tekton)
    }
}
