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
        (Content::Config(platform), _) => {
            let unfit = nodes.iter().filter(|node| fit(node, Some(platform)) == Fit::No);
            pulled_but_unfit(unfit.map(|node| node.name.clone()).collect())
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
        (Content::Unread, MediaKind::Manifest | MediaKind::Index) => {
            Assessment::of(Verdict::Works, None)
        }
    };
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
    let fits: Vec<(Fit, &Node)> = nodes.iter().map(|node| (fits(node), *node)).collect();
    match fits.iter().map(|(fit, _)| *fit).max() {
        Some(Fit::Yes) => pulled_but_unfit(
            fits.iter()
                .filter(|(fit, _)| *fit == Fit::No)
                .map(|(_, node)| node.name.clone())
                .collect(),
        ),
        Some(Fit::Perhaps) => Assessment::of(Verdict::CannotTell, Some(Cause::PlatformMismatch)),
        Some(Fit::No) | None => Assessment::of(Verdict::Fails, Some(Cause::PlatformMismatch)),
    }
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
