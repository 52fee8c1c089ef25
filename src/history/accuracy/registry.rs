//! The score of one registry, and when its escapes are open again because nodes contradicted it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdicts::{NodeOutcome, Trial, WouldDeny};
use crate::pull::Verdict;

/// How long escapes are open again after a first disagreement, in seconds: a week.
const FIRST_REOPENING: u32 = 7 * 24 * 3600;
/// So long apart two contradictions in one namespace are independent, in seconds.
const HOURS_LATER: u32 = 3 * 3600;
/// How long a contradiction in one namespace waits for another one, in seconds.
const CONTRADICTIONS_COUNT: u32 = 7 * 24 * 3600;
/// Namespaces of one registry whose contradictions are remembered.
const MAX_CONTRADICTED: usize = 100;
/// After so long without one, the next disagreement is a first one again: eight weeks.
const FORGIVEN_AFTER: u32 = 56 * 24 * 3600;

/// The score of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryScore {
    /// How often each verdict met each outcome.
    #[serde(with = "pairs")]
    pub judged: BTreeMap<(Verdict, NodeOutcome), u64>,
    /// Nodes pulled what a repeated look-up still called missing or forbidden.
    pub disagreements: u64,
    /// Suspicions that a repeated look-up took back: pushed in between.
    pub late_pushes: u64,
    /// When the last disagreement was, in seconds since 1970.
    last: u32,
    /// Disagreements that make the next reopening longer.
    repeated: u32,
    /// Until when escapes are open again.
    open_until: u32,
    /// What would have been denied.
    #[serde(default)]
    pub(super) trial: Trial,
    /// When it was last contradicted in which namespace. A snapshot names no namespaces.
    #[serde(skip)]
    contradicted: BTreeMap<Box<str>, u32>,
}

impl RegistryScore {
    /// Whether nodes have shown anything of it.
    pub(super) fn has_evidence(&self) -> bool {
        let pulled = |(_, outcome): &(Verdict, NodeOutcome)| *outcome == NodeOutcome::PulledFreshly;
        self.disagreements > 0 || self.late_pushes > 0 || self.judged.keys().any(pulled)
    }

    /// Until when the escapes of this registry are open again, if they are.
    pub(in crate::history) fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        (i64::from(self.open_until) > now.as_second())
            .then(|| crate::history::index::timestamp(self.open_until))
    }

    pub(super) fn summary(&self, host: &str, now: Timestamp) -> RegistryScoreSummary {
        let count = |(&(verdict, outcome), &count): (&(Verdict, NodeOutcome), &u64)| VerdictCount {
            verdict: verdict.as_str().to_owned(),
            outcome: outcome.as_str().to_owned(),
            count,
        };
        RegistryScoreSummary {
            registry: host.to_owned(),
            verdicts: self.judged.iter().map(count).collect(),
            disagreements: self.disagreements,
            escapes_open_until: self.open_until(now),
            late_pushes: self.late_pushes,
            would_deny: self.trial.would_deny(crate::history::index::seconds(now)),
            held_by: self
                .trial
                .held_by(crate::history::index::seconds(now))
                .into_iter()
                .map(|(escape, count)| (escape.as_str().to_owned(), count))
                .collect(),
        }
    }

    /// Whether escapes are open again for one namespace: it was contradicted there.
    pub(super) fn is_open_for(&self, namespace: &str, now: Timestamp) -> bool {
        let at = self.contradicted.get(namespace);
        at.is_some_and(|at| {
            at.saturating_add(FIRST_REOPENING) > crate::history::index::seconds(now)
        })
    }

    /// Nodes pulled for this namespace what a repeated look-up still refused. Whether that is
    /// evidence that no single tenant can make up.
    pub(super) fn contradict(&mut self, namespace: &str, now: u32) -> bool {
        self.contradicted.retain(|_, at| at.saturating_add(CONTRADICTIONS_COUNT) > now);
        let elsewhere = self.contradicted.keys().any(|other| **other != *namespace);
        let before = self.contradicted.get(namespace);
        let later = before.is_some_and(|at| at.saturating_add(HOURS_LATER) <= now);
        if self.contradicted.len() < MAX_CONTRADICTED || before.is_some() {
            // The first one stays, so that two of them can be hours apart.
            let first = before.copied().filter(|_| !later).unwrap_or(now);
            self.contradicted.insert(namespace.into(), first);
        }
        elsewhere || later
    }

    /// Adds what an earlier process has counted.
    pub(super) fn add(&mut self, earlier: &Self) {
        for (pair, count) in &earlier.judged {
            let known = self.judged.entry(*pair).or_default();
            *known = known.saturating_add(*count);
        }
        self.disagreements = self.disagreements.saturating_add(earlier.disagreements);
        self.late_pushes = self.late_pushes.saturating_add(earlier.late_pushes);
        self.last = self.last.max(earlier.last);
        self.repeated = self.repeated.max(earlier.repeated);
        self.open_until = self.open_until.max(earlier.open_until);
        self.trial.add(&earlier.trial);
    }

    pub(super) fn disagree(&mut self, now: u32) {
        if now > self.last.saturating_add(FORGIVEN_AFTER) {
            self.repeated = 0;
        }
        self.disagreements += 1;
        self.last = now;
        let reopening = FIRST_REOPENING.saturating_mul(1 << self.repeated.min(2));
        self.open_until = self.open_until.max(now.saturating_add(reopening));
        self.repeated = self.repeated.saturating_add(1);
    }
}

/// How verdicts about one registry's images compare with what the nodes then did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline)]
pub struct RegistryScoreSummary {
    /// Its host, as it stands in image names.
    pub registry: String,
    /// How often each verdict met each outcome.
    #[schemars(length(max = 32))]
    pub verdicts: Vec<VerdictCount>,
    /// How often nodes pulled what a repeated look-up still called missing or forbidden.
    pub disagreements: u64,
    /// Until when nothing of this registry is denied, because nodes pulled what look-ups called
    /// missing or forbidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub escapes_open_until: Option<Timestamp>,
    /// How often what nodes pulled after all had been pushed in between.
    #[serde(skip_serializing_if = "is_zero")]
    pub late_pushes: u64,
    /// What would have been denied in the last 30 days if everything were vouched for and every
    /// namespace enforced, and what nodes did with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub would_deny: Vec<WouldDeny>,
    /// How many of them each escape held back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub held_by: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How often one verdict met one outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct VerdictCount {
    /// `works`, `fails` or `cannot_tell`.
    pub verdict: String,
    /// What the nodes did, `pulled_freshly`, `ran_from_cache`, `failed`, `gone` or `denied`.
    pub outcome: String,
    /// How often.
    pub count: u64,
}

/// Keys of two words are no JSON keys: a list of triples instead.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::history::accuracy::verdicts::NodeOutcome;
    use crate::pull::Verdict;

    pub(super) fn serialize<S: Serializer>(
        judged: &BTreeMap<(Verdict, NodeOutcome), u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let list: Vec<(&str, NodeOutcome, u64)> =
            judged.iter().map(|((verdict, outcome), n)| (verdict.as_str(), *outcome, *n)).collect();
        list.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(Verdict, NodeOutcome), u64>, D::Error> {
        let list = Vec::<(String, NodeOutcome, u64)>::deserialize(deserializer)?;
        let verdicts = [Verdict::Works, Verdict::CannotTell, Verdict::Fails];
        Ok(list
            .into_iter()
            .filter_map(|(word, outcome, count)| {
                let verdict = verdicts.into_iter().find(|verdict| verdict.as_str() == word)?;
                Some(((verdict, outcome), count))
            })
            .collect())
    }
}
