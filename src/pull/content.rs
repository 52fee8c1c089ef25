//! What was found, compared with the nodes: can they use it?

use super::runtime::{Fit, Runtime, fit};
use super::{Assessment, Cause, Content, Found, MediaKind, Observation, Verdict};
use crate::image::Platform;
use crate::workload::Node;

/// It is there: can the nodes use it?
pub(super) fn usable(seen: &Observation<'_>, found: &Found) -> Assessment {
    let nodes = &seen.eligible.nodes;
    let runtimes = || -> Vec<Runtime> {
        if nodes.is_empty() {
            vec![seen.runtime.unwrap_or(Runtime::Other)]
        } else {
            nodes.iter().map(|node| Runtime::parse(&node.runtime)).collect()
        }
    };
    let mut assessment = match (&found.content, found.media) {
        (Content::Platforms(entries), _) => on_platforms(seen, |node| best_fit(node, entries)),
        // A lone manifest is never compared: it is pulled, and dies with an exec format error.
        (Content::Config(platform, _), _) => {
            pulled_but_unfit(unfit(&each_fit(nodes, |node| fit(node, Some(platform)))))
        }
        (Content::Artifact, _) => by_runtime(&runtimes(), Runtime::takes_artifact, true),
        (Content::Unread, MediaKind::Schema1) => {
            by_runtime(&runtimes(), Runtime::takes_schema1, false)
        }
        (Content::Unread, MediaKind::Other) => {
            Assessment::of(Verdict::CannotTell, Some(Cause::UnsupportedManifest))
        }
        // It is there, but whether for these nodes could not be read.
        (Content::Unread, MediaKind::Index) if !nodes.is_empty() => {
            Assessment::of(Verdict::CannotTell, Some(Cause::PlatformMismatch))
        }
        (Content::NoPlatform, _) | (Content::Unread, MediaKind::Manifest | MediaKind::Index) => {
            Assessment::of(Verdict::Works, None)
        }
    };
    let asks_by_head = || {
        let all = seen.eligible.where_it_may_run().map(|node| Runtime::parse(&node.runtime));
        let runtimes: Vec<Runtime> = all.collect();
        if runtimes.is_empty() {
            seen.runtime != Some(Runtime::CriO)
        } else {
            runtimes.iter().any(|runtime| *runtime != Runtime::CriO)
        }
    };
    if found.head_refused && assessment.verdict == Verdict::Works && asks_by_head() {
        assessment = Assessment::of(Verdict::CannotTell, Some(Cause::MalformedAnswer));
    }
    assessment.digest.clone_from(&found.digest);
    assessment
}

/// It works, but not on these nodes.
fn pulled_but_unfit(unfit_nodes: Vec<Box<str>>) -> Assessment {
    let cause = (!unfit_nodes.is_empty()).then_some(Cause::PlatformMismatch);
    Assessment { unfit_nodes, ..Assessment::of(Verdict::Works, cause) }
}

/// Denied only if no node that the pod may land on can take it, and at least one is known.
fn on_platforms(seen: &Observation<'_>, fits: impl Fn(&Node) -> Fit) -> Assessment {
    let nodes = &seen.eligible.nodes;
    if nodes.is_empty() {
        return if seen.eligible.asked {
            Assessment::of(Verdict::CannotTell, Some(Cause::UnknownNodes))
        } else {
            Assessment::of(Verdict::Works, None)
        };
    }
    let fits = each_fit(nodes, fits);
    match fits.iter().map(|(fit, _)| *fit).max() {
        Some(Fit::Yes) => pulled_but_unfit(unfit(&fits)),
        Some(Fit::Perhaps) => Assessment::of(Verdict::CannotTell, Some(Cause::PlatformMismatch)),
        Some(Fit::No) | None => {
            let mut node_platforms: Vec<Option<Platform>> = Vec::new();
            for node in nodes {
                let platform = Some(node.platform.clone());
                if !node_platforms.contains(&platform) {
                    node_platforms.push(platform);
                }
            }
            let fails = Assessment::of(Verdict::Fails, Some(Cause::PlatformMismatch));
            Assessment { node_platforms, ..fails }
        }
    }
}

/// Makes of nodes that are told apart; a cluster has a few.
const MAX_MAKES: usize = 16;

/// What each node takes. Nodes of one make take the same, so that thousands are compared with an index
/// as often as there are makes.
fn each_fit<'n>(nodes: &[&'n Node], fits: impl Fn(&Node) -> Fit) -> Vec<(Fit, &'n Node)> {
    let mut makes: Vec<(Fit, &'n Node)> = Vec::new();
    let fit_of = |node: &&'n Node| {
        let alike = |(_, other): &&(Fit, &'n Node)| {
            node.platform == other.platform
                && node.runtime == other.runtime
                && node.is_virtual() == other.is_virtual()
        };
        let known = makes.iter().find(alike).map(|(fit, _)| *fit);
        let fit = known.unwrap_or_else(|| fits(node));
        if known.is_none() && makes.len() < MAX_MAKES {
            makes.push((fit, *node));
        }
        (fit, *node)
    };
    nodes.iter().map(fit_of).collect()
}

/// The names of those that cannot run it.
fn unfit(fits: &[(Fit, &Node)]) -> Vec<Box<str>> {
    fits.iter().filter(|(fit, _)| *fit == Fit::No).map(|(_, node)| node.name.clone()).collect()
}

/// A manifest that some runtimes refuse. `useless` says that who takes it cannot start it.
fn by_runtime(runtimes: &[Runtime], takes: fn(Runtime) -> Fit, useless: bool) -> Assessment {
    let cause = Some(Cause::UnsupportedManifest);
    if runtimes.iter().all(|runtime| takes(*runtime) == Fit::Yes) {
        Assessment::of(Verdict::Works, cause.filter(|_| useless))
    } else if runtimes.iter().all(|runtime| takes(*runtime) == Fit::No) {
        Assessment::of(Verdict::Fails, cause)
    } else {
        Assessment::of(Verdict::CannotTell, cause)
    }
}

fn best_fit(node: &Node, entries: &[Option<Platform>]) -> Fit {
    entries.iter().map(|entry| fit(node, entry.as_ref())).max().unwrap_or(Fit::No)
}

/// Whether a node may take one of these entries of an index.
pub(super) fn could_take(node: &Node, entries: &[Option<Platform>]) -> bool {
    best_fit(node, entries) != Fit::No
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn node(name: &str, architecture: &str, runtime: &str) -> Node {
        let platform = Platform::new("linux", architecture);
        Node { runtime: runtime.into(), ..Node::new(name, platform) }
    }

    #[test]
    fn nodes_of_one_make_are_compared_once() {
        let nodes: Vec<Node> = (0..1000)
            .map(|n| node(&n.to_string(), ["amd64", "arm64"][n % 2], "containerd://2.1.4"))
            .chain([node("other", "amd64", "cri-o://1.34.0")])
            .collect();
        let nodes: Vec<&Node> = nodes.iter().collect();
        let compared = Cell::new(0);
        let entries = [Some(Platform::new("linux", "amd64"))];
        let fits = each_fit(&nodes, |node| {
            compared.set(compared.get() + 1);
            best_fit(node, &entries)
        });
        assert_eq!(compared.get(), 3);
        assert!(fits.iter().all(|(fit, node)| *fit == best_fit(node, &entries)));
        assert_eq!(unfit(&fits).len(), 500);
    }
}
