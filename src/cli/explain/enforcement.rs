//! What enforcement would do: what would have been denied, how much of it nodes pulled after all,
//! and what holds it back, as the status of the `PullgatePolicy` objects says it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use anyhow::bail;
use serde::Serialize;

use super::published::{self, PublishedPolicy};
use super::score::status_text;
use crate::cluster::Connection;
use crate::history::{TRIAL_DAYS, WouldDeny};
use crate::policy::{API_VERSION, Mode, PullgatePolicySpec};
use crate::pull::Escape;

/// The answer for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnforcementReport {
    api_version: &'static str,
    kind: &'static str,
    days: u32,
    policies: Vec<PolicyTrial>,
}

/// What one policy would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PolicyTrial {
    name: String,
    default_mode: Mode,
    /// Sums over all registries.
    would_deny: u64,
    failed: u64,
    pulled_after_all: u64,
    late_pushes: u64,
    registries: Vec<RegistryTrial>,
    not_vouched_for: Vec<OpenVouch>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistryTrial {
    registry: String,
    causes: Vec<WouldDeny>,
}

/// A field of the policy that says nothing, and what that holds back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenVouch {
    field: &'static str,
    /// What would close the escape.
    say: &'static str,
    escape: &'static str,
    /// Would-be denials that this escape held back.
    holds_back: u64,
}

/// Reads the policies of a cluster.
pub(super) async fn read(
    connection: &Connection,
    deadline: Instant,
) -> anyhow::Result<EnforcementReport> {
    let report = EnforcementReport::of(published::read(connection, deadline).await?);
    if report.policies.is_empty() {
        bail!(
            "there is no PullgatePolicy object here: what would have been denied is published in its \
             status (policyFrom.kind: PullgatePolicy in the chart), and as the metric \
             pullgate_would_deny_total"
        );
    }
    Ok(report)
}

impl EnforcementReport {
    fn of(policies: Vec<PublishedPolicy>) -> Self {
        let policies = policies.into_iter().map(PolicyTrial::of).collect();
        Self { api_version: API_VERSION, kind: "EnforcementReport", days: TRIAL_DAYS, policies }
    }

    /// The answer for people.
    pub(super) fn page(&self) -> String {
        let pages: Vec<String> = self.policies.iter().map(PolicyTrial::page).collect();
        pages.join("\n")
    }
}

impl PolicyTrial {
    fn of(policy: PublishedPolicy) -> Self {
        let PublishedPolicy { metadata, spec, status } = policy;
        let mut held: BTreeMap<String, u64> = BTreeMap::new();
        for (escape, count) in status.score.iter().flat_map(|score| &score.held_by) {
            *held.entry(escape.clone()).or_default() += count;
        }
        let all = || status.score.iter().flat_map(|score| &score.would_deny);
        Self {
            name: metadata.name,
            default_mode: spec.default_mode,
            would_deny: all().map(|one| one.count).sum(),
            failed: all().map(|one| one.failed).sum(),
            pulled_after_all: all().map(|one| one.pulled).sum(),
            late_pushes: status.score.iter().map(|score| score.late_pushes).sum(),
            registries: status
                .score
                .iter()
                .filter(|score| !score.would_deny.is_empty())
                .map(|score| RegistryTrial {
                    registry: score.registry.clone(),
                    causes: score.would_deny.clone(),
                })
                .collect(),
            not_vouched_for: open_vouches(&spec, &held),
        }
    }

    fn page(&self) -> String {
        let Self { name, would_deny, failed, pulled_after_all, late_pushes, .. } = self;
        let mut text =
            format!("PullgatePolicy {}, mode {}\n", status_text(name), self.default_mode);
        let _ = writeln!(
            text,
            "In the last {TRIAL_DAYS} days {would_deny} images of pods would have been denied. Nodes could not \
             get {failed} of them\neither, and pulled {pulled_after_all} after all (of all that were pulled after \
             all, {late_pushes} had been pushed in between)."
        );
        for RegistryTrial { registry, causes } in &self.registries {
            let _ = writeln!(text, "  {}", status_text(registry));
            for WouldDeny { cause, count, failed, pulled } in causes {
                let cause = status_text(cause).replace('_', " ");
                let _ =
                    writeln!(text, "    {cause}: {count} (nodes failed {failed}, pulled {pulled})");
            }
        }
        if self.not_vouched_for.is_empty() {
            text.push_str("The policy vouches for everything.\n");
        } else {
            text.push_str("Not vouched for:\n");
        }
        for OpenVouch { field, say, holds_back, .. } in &self.not_vouched_for {
            let _ = writeln!(text, "  {field}: holds back {holds_back}; {say}, if that is true");
        }
        text.push_str(match self.default_mode {
            Mode::Enforce => "",
            Mode::Off | Mode::Warn => {
                "Only namespaces with the label pullgate.dev/mode=enforce enforce; defaultMode: enforce is for all.\n"
            }
        });
        text
    }
}

fn open_vouches(spec: &PullgatePolicySpec, held: &BTreeMap<String, u64>) -> Vec<OpenVouch> {
    use crate::policy::{Vouch, VouchNetwork, VouchPreloaded};
    let nodes = &spec.nodes;
    let row = |unknown: bool, field, say, escape: Escape| {
        let escape = escape.as_str();
        let holds_back = held.get(escape).copied().unwrap_or_default();
        unknown.then_some(OpenVouch { field, say, escape, holds_back })
    };
    let files = "set it to none, or to listed and give the files";
    let mirrors = nodes.mirrors == Vouch::Unknown;
    let credentials = nodes.credentials == Vouch::Unknown;
    let preloaded = nodes.preloaded_images == VouchPreloaded::Unknown;
    let network = nodes.network == VouchNetwork::Unknown;
    let platforms = nodes.platforms.is_empty();
    let all = "name all that nodes can ever have";
    [
        row(mirrors, "spec.nodes.mirrors", files, Escape::NodeMirror),
        row(credentials, "spec.nodes.credentials", files, Escape::NodeCredentials),
        row(preloaded, "spec.nodes.preloadedImages", "set it to none", Escape::ImageOnNode),
        row(network, "spec.nodes.network", "set it to same", Escape::NodeNetwork),
        row(platforms, "spec.nodes.platforms", all, Escape::NodePlatform),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"items": [{"metadata": {"name": "default"},
        "spec": {"defaultMode": "warn", "nodes": {"mirrors": "none", "network": "same", "platforms": ["linux/amd64"]}},
        "status": {"score": [
            {"registry": "r.example", "verdicts": [], "latePushes": 1,
             "wouldDeny": [{"cause": "tag_not_found", "count": 12, "failed": 11, "pulled": 1}],
             "heldBy": {"node_credentials": 12, "image_on_node": 3}},
            {"registry": "q.example", "verdicts": []}]}}]}"#;

    #[test]
    fn what_would_have_been_denied_and_what_holds_it_back() {
        let report = EnforcementReport::of(published::parse(LIST).unwrap());
        let shown = report.page();
        assert!(shown.contains("12 images of pods would have been denied"), "{shown}");
        assert!(shown.contains("tag not found: 12 (nodes failed 11, pulled 1)"), "{shown}");
        assert!(shown.contains("spec.nodes.credentials: holds back 12"), "{shown}");
        assert!(!shown.contains("mirrors") && !shown.contains("q.example"), "{shown}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["policies"][0]["notVouchedFor"][1]["holdsBack"], 3);
        assert_eq!(json["policies"][0]["registries"][0]["causes"][0]["pulled"], 1);
    }
}
