//! How verdicts about a registry compare with what nodes did, as the status of the `PullgatePolicy`
//! objects in the cluster says it: that part of the server's memory is published there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use jiff::Timestamp;

use super::published::{self, PublishedPolicy};
use crate::cluster::Connection;
use crate::history::{RegistryScoreSummary, VerdictCount};
use crate::text::clean;

/// Words of a status are shown to so many characters.
const MAX_WORD: usize = 32;

/// What is published of registries that Pullgate cannot reach, if this one is among them.
pub(super) async fn blind(
    connection: &Connection,
    host: &str,
    deadline: Instant,
) -> Option<String> {
    let policies = published::read(connection, deadline).await.ok()?;
    let mut conditions = policies.into_iter().flat_map(|policy| policy.status.conditions);
    let found = conditions.find(|one| one.kind == "Sighted" && one.status == "False")?;
    let own = |part: &&str| part.starts_with(&format!("{host}: "));
    let part = found.message.split("; ").find(own)?.to_owned();
    Some(format!("Pullgate cannot reach {}", clean(&part)))
}

/// The published score of a registry; nothing if there is none, or the person may not read it.
pub(super) async fn read(
    connection: &Connection,
    host: &str,
    deadline: Instant,
) -> Option<RegistryScoreSummary> {
    of_registry(published::read(connection, deadline).await.ok()?, host)
}

fn of_registry(policies: Vec<PublishedPolicy>, host: &str) -> Option<RegistryScoreSummary> {
    let scores = policies.into_iter().flat_map(|policy| policy.status.score);
    let scores = scores.filter(|score| score.registry == host);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut all: Option<RegistryScoreSummary> = None;
    for score in scores {
        for VerdictCount { verdict, outcome, count } in score.verdicts {
            let known = counts.entry((verdict, outcome)).or_default();
            *known = known.saturating_add(count);
        }
        let sum = all.get_or_insert_with(RegistryScoreSummary::default);
        sum.disagreements = sum.disagreements.saturating_add(score.disagreements);
        sum.escapes_open_until = sum.escapes_open_until.max(score.escapes_open_until);
    }
    let count = |((verdict, outcome), count)| VerdictCount { verdict, outcome, count };
    all.map(|sum| RegistryScoreSummary {
        registry: host.to_owned(),
        verdicts: counts.into_iter().map(count).collect(),
        ..sum
    })
}

/// The score as lines below a page.
pub(super) fn page(score: &RegistryScoreSummary, now: Timestamp) -> String {
    let mut text =
        String::from("\nScore       What nodes did with images that Pullgate had judged:\n");
    for VerdictCount { verdict, outcome, count } in &score.verdicts {
        let _ = writeln!(
            text,
            "            {}: {} {count}",
            status_text(verdict),
            status_text(outcome)
        );
    }
    if score.verdicts.is_empty() {
        text.push_str("            nothing yet\n");
    }
    if let Some(until) = score.escapes_open_until.filter(|until| *until > now) {
        let day = until.strftime("%Y-%m-%d");
        let _ = writeln!(
            text,
            "            Nodes pulled what look-ups still refused: nothing is denied until {day}."
        );
    }
    text
}

/// A word of a status, fit to be shown.
pub(super) fn status_text(text: &str) -> String {
    clean(text).replace('_', " ").chars().take(MAX_WORD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"kind": "PullgatePolicyList", "items": [
        {"metadata": {"name": "a"}, "status": {"score": [
            {"registry": "r.example", "verdicts": [
                {"verdict": "fails", "outcome": "failed", "count": 12},
                {"verdict": "fails", "outcome": "pulled_freshly", "count": 1}],
             "escapesOpenUntil": "2026-12-01T00:00:00Z"},
            {"registry": "q.example", "verdicts": []}]}},
        {"metadata": {"name": "b"}},
        {"status": {"score": [{"registry": "r.example", "verdicts": [
            {"verdict": "fails", "outcome": "failed", "count": 3}]}]}}]}"#;

    #[test]
    fn what_is_published_is_added_up_and_shown() {
        let score = of_registry(published::parse(LIST).unwrap(), "r.example").unwrap();
        let shown = page(&score, "2026-11-20T00:00:00Z".parse().unwrap());
        assert_eq!(
            shown,
            "\nScore       What nodes did with images that Pullgate had judged:\n\
             \x20           fails: failed 15\n\
             \x20           fails: pulled freshly 1\n\
             \x20           Nodes pulled what look-ups still refused: nothing is denied until 2026-12-01.\n"
        );
        assert!(!page(&score, "2026-12-02T00:00:00Z".parse().unwrap()).contains("until"));
        let empty = of_registry(published::parse(LIST).unwrap(), "q.example").unwrap();
        assert!(page(&empty, Timestamp::UNIX_EPOCH).contains("nothing yet"));
        assert_eq!(of_registry(published::parse(LIST).unwrap(), "z.example"), None);
        assert!(published::parse("not json").is_err());
    }
}
