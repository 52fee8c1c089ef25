//! What Pullgate writes into the status of a `PullgatePolicy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::RegistryScoreSummary;

/// Whether the document is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct PullgatePolicyStatus {
    /// The generation of the document that the conditions are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `InForce`: `True`, or `False` with what is wrong; the old document then stays in force.
    /// `FilesGiven`: `False` where the document says `listed` of files that Pullgate was not given.
    /// `Plausible`: `False` where the cluster shows otherwise than the document says of its nodes.
    /// `Sighted`: `False` where Pullgate cannot reach a registry that nodes use, with the reason.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How Pullgate's verdicts compare with what the nodes then did, per registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub score: Vec<RegistryScoreSummary>,
}

/// A condition in the form that Kubernetes gives to conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, as one word.
    #[serde(default)]
    pub reason: String,
    /// Why, as a sentence.
    #[serde(default)]
    pub message: String,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// The generation of the document that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The conditions that there are.
const IN_FORCE: &str = "InForce";
const FILES_GIVEN: &str = "FilesGiven";
const PLAUSIBLE: &str = "Plausible";
const SIGHTED: &str = "Sighted";
/// The longest message of a condition.
const LONGEST: usize = 1024;

/// What is to be said about a document in its status.
#[derive(Debug, Clone, Default)]
pub struct StatusFacts {
    /// The generation of the document.
    pub generation: Option<i64>,
    /// Why it is not in force, if it is not.
    pub fault: Option<String>,
    /// The fields that say `listed` of files that were not given.
    pub listed_without_files: Vec<String>,
    /// What speaks against the document's words about nodes.
    pub contradictions: Vec<String>,
    /// Registries that nodes use and Pullgate cannot reach, with the reason and what changes it.
    pub blind: Vec<String>,
    /// How verdicts compare with what the nodes then did.
    pub score: Vec<RegistryScoreSummary>,
}

impl PullgatePolicyStatus {
    /// Whether a running Pullgate follows the document, whether or not it could be put in force.
    pub(crate) fn is_followed(&self) -> bool {
        self.conditions.iter().any(|condition| condition.kind == IN_FORCE)
    }

    /// What is to be written about a document. `before` is what is written now; the time of a
    /// condition changes with its status.
    #[must_use]
    pub fn about(facts: StatusFacts, before: &Self, now: jiff::Timestamp) -> Self {
        let StatusFacts { generation, fault, listed_without_files, contradictions, blind, score } =
            facts;
        let seconds = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        let condition = |kind: &str, reason: [&str; 2], problem: Option<String>, fine: &str| {
            let status = if problem.is_none() { "True" } else { "False" };
            let mut known = before.conditions.iter();
            let same = known.find(|one| one.kind == kind && one.status == status);
            let since = same.and_then(|condition| condition.last_transition_time.clone());
            let message = problem.as_deref().unwrap_or(fine);
            Condition {
                kind: kind.to_owned(),
                status: status.to_owned(),
                reason: reason[usize::from(problem.is_some())].to_owned(),
                message: message.chars().take(LONGEST).collect(),
                last_transition_time: since.or_else(|| Some(seconds.to_string())),
                observed_generation: generation,
            }
        };
        let missing =
            (!listed_without_files.is_empty()).then(|| listed_words(&listed_without_files));
        let in_force =
            condition(IN_FORCE, ["Accepted", "Invalid"], fault, "this document is in force");
        let given = condition(
            FILES_GIVEN,
            ["Given", "ListedWithoutFiles"],
            missing,
            "Pullgate was given every file that the document relies on",
        );
        let plausible = condition(
            PLAUSIBLE,
            ["NothingAgainstIt", "Contradicted"],
            (!contradictions.is_empty()).then(|| contradictions.join("; ")),
            "nothing that the cluster shows speaks against what is said of its nodes",
        );
        let sighted = condition(
            SIGHTED,
            ["EveryRegistry", "CannotLook"],
            (!blind.is_empty()).then(|| blind.join("; ")),
            "Pullgate can reach every registry that nodes use",
        );
        Self {
            observed_generation: generation,
            conditions: vec![in_force, given, plausible, sighted],
            score,
        }
    }
}

/// What is said where a document relies on files that were not given.
pub(crate) fn listed_words(fields: &[String]) -> String {
    format!(
        "{}: \"listed\" counts as \"unknown\", because Pullgate was not given the nodes' files (mirrors: \
         --registry-hosts-dir, --k3s-registries or --crio-registries; credentials: \
         --image-credential-provider-config or --node-docker-config)",
        fields.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_alone() {
        let none = PullgatePolicyStatus::default();
        let about = |generation, fault: Option<&str>, before: &_, now| {
            let fault = fault.map(str::to_owned);
            let facts =
                StatusFacts { generation: Some(generation), fault, ..StatusFacts::default() };
            PullgatePolicyStatus::about(facts, before, at(now))
        };
        let good = about(1, None, &none, 10);
        assert_eq!(good.conditions[0].status, "True");
        assert_eq!(good, about(1, None, &good, 20));
        let bad = about(2, Some("spec.x: y"), &good, 30);
        assert_eq!(bad.conditions[0].reason, "Invalid");
        assert_eq!(bad.conditions[0].message, "spec.x: y");
        let time =
            |status: &PullgatePolicyStatus| status.conditions[0].last_transition_time.clone();
        assert_eq!(time(&good).as_deref(), Some("1970-01-01T00:00:10Z"));
        assert_eq!(time(&bad).as_deref(), Some("1970-01-01T00:00:30Z"));
        let worse = about(3, Some("z"), &bad, 40);
        assert_eq!(time(&worse), time(&bad));
        assert_ne!(worse, bad);
    }
    #[test]
    fn what_is_listed_without_a_file_is_a_condition_of_its_own() {
        let facts = StatusFacts {
            listed_without_files: vec!["spec.nodes.mirrors".to_owned()],
            ..StatusFacts::default()
        };
        let status = PullgatePolicyStatus::about(facts, &PullgatePolicyStatus::default(), at(1));
        let [in_force, given, ..] = &*status.conditions else { panic!("{status:?}") };
        assert_eq!((&*in_force.kind, &*in_force.status), ("InForce", "True"));
        assert_eq!((&*given.kind, &*given.status), ("FilesGiven", "False"));
        assert!(given.message.starts_with("spec.nodes.mirrors: \"listed\" counts as \"unknown\""));
    }
}
