//! The policy that counts: that of a file, else the one that the cluster works by, else the default.

use std::time::Instant;

use anyhow::{Context as _, bail};

use super::SubjectFlags;
use super::wiring;
use crate::cli::print_message;
use crate::cluster::{Connection, ListedPolicy, list_policies};
use crate::history::RegistryScoreSummary;
use crate::policy::{PullgatePolicy, listed_words};
use crate::text::clean;

const NONE_THERE: &str = "there is no PullgatePolicy in the cluster: the default policy counts";
const NOT_LISTED: &str = "you may not list the cluster's PullgatePolicy objects: the default policy \
                          counts; --policy gives another";
/// The object that counts where several are there and none is followed.
const CUSTOMARY: &str = "default";

/// The policy, and what the cluster has published beside it.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) policy: PullgatePolicy,
    /// How verdicts about registries compared with what nodes did, as a running Pullgate says.
    pub(super) score: Vec<RegistryScoreSummary>,
}

/// Reads it, and says what of it does not count.
pub(super) async fn read(
    flags: &SubjectFlags,
    cluster: Option<&Connection>,
    deadline: Instant,
) -> anyhow::Result<Chosen> {
    let of_file = flags.policy.as_ref().map(|path| {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| origin.clone())?;
        Ok::<_, anyhow::Error>(PullgatePolicy::parse(&text, &origin)?)
    });
    let of_file = of_file.transpose()?;
    let of_cluster = match cluster {
        Some(connection) => {
            let named = flags.policy_from_cluster.as_deref();
            of_cluster(connection, named, of_file.is_some(), deadline).await?
        }
        None => None,
    };
    let score = of_cluster.as_ref().map(|chosen| chosen.score.clone()).unwrap_or_default();
    let policy = of_file.or(of_cluster.map(|chosen| chosen.policy)).unwrap_or_default();
    let (policy, without_files) = policy.for_files().without_files(wiring::given_files(flags));
    if !without_files.is_empty() {
        print_message(listed_words(&without_files));
    }
    Ok(Chosen { policy, score })
}

/// That of the cluster. Beside a policy of a file only what it has published is of interest, and
/// nothing of it is missed.
async fn of_cluster(
    connection: &Connection,
    named: Option<&str>,
    has_file: bool,
    deadline: Instant,
) -> anyhow::Result<Option<Chosen>> {
    let listed = list_policies(connection, deadline).await;
    if has_file {
        let listed = listed.ok().flatten().unwrap_or_default();
        let score = listed.into_iter().flat_map(|one| one.status.score).collect();
        return Ok(Some(Chosen { score, ..Chosen::default() }));
    }
    let listed = match listed {
        Ok(listed) => listed.unwrap_or_default(),
        Err(error) if error.is_forbidden() && named.is_none() => {
            print_message(NOT_LISTED);
            return Ok(None);
        }
        Err(error) => return Err(error).context("failed to read the cluster's PullgatePolicy"),
    };
    let score = listed.iter().flat_map(|one| one.status.score.iter().cloned()).collect();
    let Some(chosen) = choose(listed, named)? else {
        print_message(NONE_THERE);
        return Ok(None);
    };
    let policy = chosen.read.context("the cluster's PullgatePolicy cannot be used")?;
    Ok(Some(Chosen { policy, score }))
}

/// The one that counts: the one that was named, else the one that a running Pullgate follows, else
/// the only one, else the one with the customary name.
fn choose(
    mut listed: Vec<ListedPolicy>,
    named: Option<&str>,
) -> anyhow::Result<Option<ListedPolicy>> {
    if let Some(named) = named {
        let found = listed.into_iter().find(|policy| &*policy.name == named);
        return found
            .map(Some)
            .with_context(|| format!("there is no PullgatePolicy {}", clean(named)));
    }
    if listed.len() > 1 {
        let followed = listed.iter().filter(|policy| policy.status.is_followed()).count();
        match followed {
            0 if listed.iter().any(|policy| &*policy.name == CUSTOMARY) => {
                listed.retain(|policy| &*policy.name == CUSTOMARY);
            }
            1 => listed.retain(|policy| policy.status.is_followed()),
            _ => {
                let all: Vec<String> = listed.iter().map(|policy| clean(&policy.name)).collect();
                bail!(
                    "the cluster has the PullgatePolicies {}: name one with --policy-from-cluster",
                    all.join(", ")
                );
            }
        }
    }
    Ok(listed.pop())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::policy::{Condition, PullgatePolicyStatus};

    fn listed(name: &str, followed: bool) -> ListedPolicy {
        let in_force = Condition { kind: "InForce".to_owned(), ..Condition::default() };
        let conditions = if followed { vec![in_force] } else { Vec::new() };
        let status = PullgatePolicyStatus { conditions, ..PullgatePolicyStatus::default() };
        ListedPolicy { name: name.into(), read: Ok(PullgatePolicy::default()), status }
    }

    #[rstest]
    #[case::none(&[], None, "nothing")]
    #[case::only_one(&[("a", false)], None, "a")]
    #[case::customary(&[("a", false), ("default", false)], None, "default")]
    #[case::followed(&[("a", true), ("default", false)], None, "a")]
    #[case::named(&[("a", true), ("b", false)], Some("b"), "b")]
    #[case::not_there(&[("a", true)], Some("b"), "no PullgatePolicy b")]
    #[case::several(&[("a", false), ("b", false)], None, "a, b: name one")]
    #[case::both_followed(&[("a", true), ("default", true)], None, "name one")]
    fn the_one_that_counts(
        #[case] all: &[(&str, bool)],
        #[case] named: Option<&str>,
        #[case] expected: &str,
    ) {
        let all = all.iter().map(|(name, followed)| listed(name, *followed)).collect();
        let said = match choose(all, named) {
            Ok(chosen) => chosen.map_or("nothing".to_owned(), |policy| policy.name.into()),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(expected), "{said}");
    }
}
