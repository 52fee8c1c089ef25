//! The `PullgatePolicy` document: what a platform team writes, field by field.
//!
//! The doc comments here are what `kubectl explain` shows and what `docs/policy.md` is checked
//! against. A field that is left out has the default of [`PullgatePolicySpec::default`].

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::causes::{CauseActions, CauseWord};
use super::nodes::{Nodes, NodesOverride};
use super::pattern::{HostName, ImagePattern, RegistryHost, RegistryPattern};
use super::selector::NamespaceSelector;
use super::status::PullgatePolicyStatus;
use super::value::{
    AccountName, CannotTell, EnforceOn, Mode, Moment, Mutation, Period, TemplatePath,
};

/// What the platform team vouches for, and what it wants done about images that cannot be pulled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "pullgate.dev",
    version = "v1alpha1",
    kind = "PullgatePolicy",
    root = "PullgatePolicyObject",
    doc = "A PullgatePolicy as the API server stores it.",
    plural = "pullgatepolicies",
    singular = "pullgatepolicy",
    shortname = "pgp",
    status = "PullgatePolicyStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.defaultMode"}"#,
    printcolumn = r#"{"name":"In force","type":"string","jsonPath":".status.conditions[?(@.type==\"InForce\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PullgatePolicySpec {
    /// What the platform team vouches for about the nodes. Only what is vouched for makes a denial
    /// possible: every other way in which a node could still succeed stays open.
    pub nodes: Nodes,
    /// The mode of namespaces that choose none with the label `pullgate.dev/mode`.
    pub default_mode: Mode,
    /// The modes that a namespace may choose with its label; a label with another one is as if it
    /// were not there. The default mode is always possible.
    #[schemars(length(max = 3))]
    pub allowed_modes: Vec<Mode>,
    /// What is done about images of which nothing, or not enough, is known.
    pub cannot_tell: CannotTell,
    /// What is done about images that fail, by cause. What is not named is `deny`, which denies
    /// only what certainly fails, in namespaces that enforce.
    pub causes: CauseActions,
    /// On which objects a denial is made; on the others the same problem is a warning.
    #[schemars(length(min = 1, max = 2))]
    pub enforce_on: Vec<EnforceOn>,
    /// Patience with images that are pushed after they are deployed.
    pub late_push: LatePush,
    /// Exceptions for some namespaces or images. For each setting the first rule counts that
    /// matches and gives it.
    #[schemars(length(max = 256))]
    pub rules: Vec<Rule>,
    /// Known problems that are let through for a while, each with an owner and an end.
    #[schemars(length(max = 256))]
    pub exceptions: Vec<Exception>,
    /// How long before its end the use of an exception becomes a warning.
    pub exception_notice: Period,
    /// Who may get past a denial.
    pub break_glass: BreakGlass,
    /// Registries that are treated apart.
    pub registries: Registries,
    /// How long look-ups may take.
    pub lookups: Lookups,
    /// What the cluster's own history counts for.
    pub history: HistorySettings,
    /// What is suggested.
    pub advice: AdviceSettings,
    /// What may be changed in pods.
    pub mutation: MutationSettings,
    /// Kinds with a pod template that Pullgate is to read beside the built-in ones.
    #[schemars(length(max = 64))]
    pub extra_kinds: Vec<ExtraKind>,
    /// ServiceAccounts, as `namespace/name`, that are shown other namespaces than their object's own as
    /// well, as far as their rights go. Name only accounts whose output nobody else reads.
    #[schemars(length(max = 64))]
    pub trusted_service_accounts: Vec<AccountName>,
}

impl Default for PullgatePolicySpec {
    fn default() -> Self {
        Self {
            nodes: Nodes::default(),
            default_mode: Mode::Warn,
            allowed_modes: Mode::ALL.to_vec(),
            cannot_tell: CannotTell::Allow,
            causes: CauseActions::default(),
            enforce_on: vec![EnforceOn::Pods],
            late_push: LatePush::default(),
            rules: Vec::new(),
            exceptions: Vec::new(),
            exception_notice: Period::from_hours(7 * 24),
            break_glass: BreakGlass::default(),
            registries: Registries::default(),
            lookups: Lookups::default(),
            history: HistorySettings::default(),
            advice: AdviceSettings::default(),
            mutation: MutationSettings::default(),
            extra_kinds: Vec::new(),
            trusted_service_accounts: Vec::new(),
        }
    }
}

/// Patience with images and logins that come after the pods that need them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct LatePush {
    /// How long after its ReplicaSet or Job was created a pod gets a warning, not a denial, for what may
    /// resolve itself: an image or its platform that is pushed later, a refused login or malformed pull
    /// secret that is fixed later, an image that `Never` finds once another pod has pulled it. For other
    /// pods it begins when a pod of that name and owner was first seen with that image.
    pub grace: Period,
}

impl Default for LatePush {
    fn default() -> Self {
        Self { grace: Period::from_secs(120) }
    }
}

/// Settings for some namespaces or images. Without selector and images it matches everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Rule {
    /// A name for it, shown where the rule decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub name: Option<String>,
    /// The namespaces it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// The images it is for, such as `registry.example.com/team/*`; any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<ImagePattern>,
    /// As `spec.defaultMode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// As `spec.allowedModes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub allowed_modes: Option<Vec<Mode>>,
    /// As `spec.cannotTell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot_tell: Option<CannotTell>,
    /// As `spec.causes`.
    #[serde(skip_serializing_if = "CauseActions::is_empty")]
    pub causes: CauseActions,
    /// As `spec.enforceOn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub enforce_on: Option<Vec<EnforceOn>>,
    /// As `spec.latePush.grace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace: Option<Period>,
    /// As `spec.nodes`; what is left out stays as it is there.
    pub nodes: NodesOverride,
}

/// Something broken that is let through until a given moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Exception {
    /// Its name, unique in the document.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Who answers for it.
    #[schemars(length(min = 1, max = 256))]
    pub owner: String,
    /// Why it is there.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// When it ends: a moment, or a day, which lasts until its end in UTC.
    pub expires: Moment,
    /// What it is for. Namespaces or images must be given.
    #[serde(rename = "match")]
    pub matches: ExceptionMatch,
}

/// What an exception is for; all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct ExceptionMatch {
    /// The namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// The images; any of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub images: Vec<ImagePattern>,
    /// The causes; any of them. All, if none is given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub causes: Vec<CauseWord>,
}

/// Who may get past a denial. Each use is a warning, is counted and logged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct BreakGlass {
    /// Users by name, as the API server knows them.
    #[schemars(length(max = 64))]
    pub users: Vec<String>,
    /// Groups, as the API server knows them.
    #[schemars(length(max = 64))]
    pub groups: Vec<String>,
    /// Whether the annotation `pullgate.dev/break-glass` on the object, with a reason as its
    /// value, is enough. Anybody who may create the object may then get past.
    pub annotation: bool,
}

/// Registries that are treated apart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Registries {
    /// Images that are never looked up, and admitted silently.
    #[schemars(length(max = 256))]
    pub skip: Vec<ImagePattern>,
    /// Images that may not be used, whether they can be pulled or not. This is the one denial that
    /// a policy can make by itself, in namespaces that enforce.
    #[schemars(length(max = 256))]
    pub refuse: Vec<ImagePattern>,
    /// Registries inside the cluster, whose private addresses may be contacted.
    #[schemars(length(max = 64))]
    pub in_cluster: Vec<RegistryHost>,
    /// The registry that the runtimes of this cluster take for names without one; `docker.io`
    /// if it is not given. Such a name is looked up there without a login; what is not found is
    /// "cannot tell", because a node may have an alias for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<RegistryHost>,
    /// How much may be asked of a registry; the first that fits counts.
    #[schemars(length(max = 64))]
    pub budgets: Vec<RegistryBudget>,
    /// Token services under another domain that may receive a registry's credentials. The condition
    /// `Sighted` names a pair that is missing.
    #[schemars(length(max = 64))]
    pub token_realms: Vec<TokenRealm>,
}

/// A registry, and the token service that its logins may be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct TokenRealm {
    /// The registry's host, or `*.` and a domain.
    pub registry: HostName,
    /// The token service's host, or `*.` and a domain.
    pub host: HostName,
}

/// How much may be asked of a registry by one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct RegistryBudget {
    /// The registry.
    pub registry: RegistryPattern,
    /// Requests in a minute, on average; after a quiet minute as many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_minute: Option<u32>,
    /// Requests at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrent: Option<u32>,
}

/// How long look-ups may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Lookups {
    /// How long a review waits for one look-up. It goes on in the background for up to 10 s, so that
    /// the next review has the answer.
    pub each: Period,
    /// All look-ups of one review. The API server's own limit counts too, whichever is shorter.
    pub total: Period,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { each: Period::from_millis(1_500), total: Period::from_secs(2) }
    }
}

/// What the cluster's own history counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct HistorySettings {
    /// How long an image is remembered after its last pod is gone.
    pub retention: Period,
    /// For so long, a successful pull in this cluster counts for more than a failed look-up.
    pub window: Period,
}

impl Default for HistorySettings {
    fn default() -> Self {
        Self { retention: Period::from_hours(14 * 24), window: Period::from_hours(1) }
    }
}

/// What is suggested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in a document")]
pub struct AdviceSettings {
    /// Whether anything is suggested.
    pub enabled: bool,
    /// Whether tags are suggested: the last good one, the nearest one.
    pub tags: bool,
    /// Whether pull secrets of the object's own namespace are suggested.
    pub pull_secrets: bool,
    /// Whether pull secrets that nobody names yet are looked for in the object's own namespace, by
    /// listing its Secrets of a pull secret's type, names alone. Pullgate needs the right to list
    /// Secrets for it, which the chart gives where this is set.
    pub list_secrets: bool,
    /// Whether to warn of tags that may mean another image tomorrow, even if they can be pulled:
    /// `latest` with `IfNotPresent`, and tags under which pods run different images at the same time.
    /// If unset, `pullgate check` reports it and admission does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutable_tags: Option<bool>,
    /// Whether to warn when running pods of the same workload or namespace have another digest of a
    /// tag than the registry has now, so that new pods would run something else. Shown to users who may
    /// list these pods. If unset, `pullgate check` reports it and admission does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_drift: Option<bool>,
    /// Whether to warn when a rollout may need more pulls than Docker Hub has left.
    pub pull_quota: bool,
    /// Whether the full text of a warning is also written as an Event on the owning workload.
    pub events: bool,
}

impl Default for AdviceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            tags: true,
            pull_secrets: true,
            list_secrets: false,
            mutable_tags: None,
            digest_drift: None,
            pull_quota: true,
            events: false,
        }
    }
}

/// What may be changed in pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(inline)]
pub struct MutationSettings {
    /// The patches that a namespace or pod may ask for with the annotation `pullgate.dev/mutate`.
    /// With none, which is the default, nothing is ever changed.
    #[schemars(length(max = 2))]
    pub allowed: Vec<Mutation>,
}

/// A kind with a pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ExtraKind {
    /// Its API group.
    #[schemars(length(min = 1, max = 253))]
    pub group: String,
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// The keys that lead to the pod template, such as `spec.template`.
    pub template_path: TemplatePath,
}
