//! What a platform team wants done: its document, and the decision about one image.
//!
//! Pure: documents, facts and the time come in, a ruling goes out. What the product must never do
//! cannot be configured here: whatever a document says, only an image that certainly fails, with
//! no escape open and a current history, is denied, and images of a registry that the team refuses.

mod causes;
mod crd;
mod document;
mod decide;
mod nodes;
mod parse;
mod pattern;
mod plausible;
mod resolve;
mod selector;
mod status;
mod value;
mod vouches;

pub use causes::{CauseActions, CauseWord};
pub use crd::{custom_resource_definition, spec_schema};
pub use decide::{Decision, DecisionInput, ExceptionUse, Reason, Ruling};
pub use document::{
    AdviceSettings, BreakGlass, Exception, ExceptionMatch, ExtraKind, HistorySettings, LatePush,
    Lookups, MutationSettings, PullgatePolicyObject, PullgatePolicySpec, Registries,
    RegistryBudget, Rule, TokenRealm,
};
pub use nodes::{NodePool, Nodes, NodesOverride, VouchNetwork, VouchPreloaded};
pub(crate) use parse::API_VERSION;
pub use parse::{KIND, PolicyError, PolicyProblem, Position};
pub use pattern::{HostName, ImagePattern, RegistryHost, RegistryPattern};
pub(crate) use plausible::{IMAGE_SHARING, contradictions};
pub use resolve::{ChosenMode, LabelUse, PodKind};
pub use selector::{LabelOperator, LabelRequirement, NamespaceLabels, NamespaceSelector};
pub(crate) use status::listed_words;
pub use status::{Condition, PullgatePolicyStatus, StatusFacts};
pub use value::{
    AccountName, Action, CannotTell, EnforceOn, Mode, Moment, Mutation, NodePlatform, Period,
    TemplatePath,
};
pub use vouches::GivenFiles;

pub use crate::pull::Vouch;

/// A policy that can be in force: a document that was checked. The default is that of a document
/// without a `spec`.
#[derive(Debug, Clone, PartialEq)]
pub struct PullgatePolicy {
    name: Box<str>,
    spec: PullgatePolicySpec,
}

impl Default for PullgatePolicy {
    fn default() -> Self {
        Self { name: "default".into(), spec: PullgatePolicySpec::default() }
    }
}

impl PullgatePolicy {
    /// Reads a document in YAML or JSON. `origin` is the file's name for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, PolicyError> {
        parse::parse(text, origin)
    }

    /// The document's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with one mode for everything, whatever labels and rules say.
    #[must_use]
    pub(crate) fn in_mode(&self, mode: Mode) -> Self {
        let mut policy = self.clone();
        policy.spec.default_mode = mode;
        policy.spec.allowed_modes.clear();
        for rule in &mut policy.spec.rules {
            (rule.mode, rule.allowed_modes) = (None, None);
        }
        policy
    }

    /// The same as it counts for files, where nobody is in a hurry: what it leaves open is noted.
    #[must_use]
    pub(crate) fn for_files(mut self) -> Self {
        self.spec.advice.mutable_tags.get_or_insert(true);
        self.spec.advice.digest_drift.get_or_insert(true);
        self
    }

    /// The document's settings.
    pub fn spec(&self) -> &PullgatePolicySpec {
        &self.spec
    }
}
