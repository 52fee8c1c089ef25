//! What Pullgate writes into the status of a `PullgatePolicy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the document is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct PullgatePolicyStatus {
    /// The generation of the document that the conditions are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `InForce`: `True`, or `False` with what is wrong; the old document then stays in force.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How Pullgate's verdicts compare with what the nodes then did, per registry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub score: Vec<RegistryScore>,
}

/// How verdicts about one registry's images compare with what the nodes then did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct RegistryScore {
    /// The registry's host, as it stands in image names.
    pub registry: String,
    /// How often which verdict met which outcome.
    #[schemars(length(max = 32))]
    pub verdicts: Vec<VerdictCount>,
    /// How often nodes pulled what a repeated look-up still called missing or forbidden.
    pub disagreements: u64,
    /// Until when nothing of this registry is denied, because nodes pulled what look-ups called
    /// missing or forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escapes_open_until: Option<String>,
}

/// How often a verdict met an outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct VerdictCount {
    /// `works`, `fails` or `cannot_tell`.
    pub verdict: String,
    /// What the nodes did.
    pub outcome: String,
    /// How often.
    pub count: u64,
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

/// The one condition that there is.
const IN_FORCE: &str = "InForce";
/// The longest message of a condition.
const LONGEST: usize = 1024;

impl PullgatePolicyStatus {
    /// What is to be written about a document of this generation: that it is in force, or why it
    /// is not. `before` is what is written now; the time of a condition changes with its status.
    #[must_use]
    pub fn about(
        generation: Option<i64>,
        fault: Option<&str>,
        score: Vec<RegistryScore>,
        before: &Self,
        now: jiff::Timestamp,
    ) -> Self {
        let status = if fault.is_none() { "True" } else { "False" };
        let since = before
            .conditions
            .iter()
            .find(|condition| condition.kind == IN_FORCE && condition.status == status)
            .and_then(|condition| condition.last_transition_time.clone());
        let seconds = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        let message = fault.unwrap_or("this document is in force");
        let condition = Condition {
            kind: IN_FORCE.to_owned(),
            status: status.to_owned(),
            reason: if fault.is_none() { "Accepted" } else { "Invalid" }.to_owned(),
            message: message.chars().take(LONGEST).collect(),
            last_transition_time: since.or_else(|| Some(seconds.to_string())),
            observed_generation: generation,
        };
        Self { observed_generation: generation, conditions: vec![condition], score }
    }
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
        let good = PullgatePolicyStatus::about(Some(1), None, Vec::new(), &none, at(10));
        assert_eq!(good.conditions[0].status, "True");
        assert_eq!(good, PullgatePolicyStatus::about(Some(1), None, Vec::new(), &good, at(20)));
        let bad =
            PullgatePolicyStatus::about(Some(2), Some("spec.x: y"), Vec::new(), &good, at(30));
        assert_eq!(bad.conditions[0].reason, "Invalid");
        assert_eq!(bad.conditions[0].message, "spec.x: y");
        let time =
            |status: &PullgatePolicyStatus| status.conditions[0].last_transition_time.clone();
        assert_eq!(time(&good).as_deref(), Some("1970-01-01T00:00:10Z"));
        assert_eq!(time(&bad).as_deref(), Some("1970-01-01T00:00:30Z"));
        let worse = PullgatePolicyStatus::about(Some(3), Some("z"), Vec::new(), &bad, at(40));
        assert_eq!(time(&worse), time(&bad));
        assert_ne!(worse, bad);
    }
}
