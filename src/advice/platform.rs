//! Platforms: what an image is built for, and which nodes could run it.
//!
//! An index is text of a registry's: only words of the closed lists below are ever repeated.

use super::{Advice, AdviceKind};
use crate::image::{ImageReference, Platform};
use crate::pull::{on_every_node, runs_on};
use crate::workload::{Eligible, ImagePullPolicy, Node, Placement};

/// Operating systems that are named.
const SYSTEMS: &[&str] = &["linux", "windows"];
/// Architectures that are named.
const ARCHITECTURES: &[&str] =
    &["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"];
/// More than these are counted.
const MAX_NAMED: usize = 3;

/// What an image is built for, in words, each platform once.
pub fn built_for(platforms: &[Option<Platform>]) -> Option<String> {
    let mut words: Vec<String> = Vec::new();
    for platform in platforms.iter().flatten().map(Platform::normalized) {
        let known =
            SYSTEMS.contains(&&*platform.os) && ARCHITECTURES.contains(&&*platform.architecture);
        let word = format!("{}/{}", platform.os, platform.architecture);
        if known && !words.contains(&word) {
            words.push(word);
        }
    }
    match words.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        few if few.len() <= MAX_NAMED => {
            let (last, most) = few.split_last()?;
            Some(format!("{} and {last}", most.join(", ")))
        }
        many => {
            Some(format!("{} and {} more", many[..MAX_NAMED].join(", "), many.len() - MAX_NAMED))
        }
    }
}

/// The node selector under which every node that the pods may land on can run the image, if there
/// are such nodes; else what the image is built for.
pub fn fitting_nodes(
    platforms: &[Option<Platform>],
    placement: &Placement,
    nodes: &[Node],
) -> Option<Advice> {
    let built = built_for(platforms)?;
    let selector = selectors(platforms)
        .into_iter()
        .filter_map(|(key, value)| {
            let narrowed = placement.with_selector(key, value);
            let eligible = narrowed.eligible(nodes).nodes;
            let all = eligible
                .iter()
                .all(|node| platforms.iter().any(|platform| runs_on(node, platform.as_ref())));
            (all && !eligible.is_empty()).then_some((eligible.len(), key, value))
        })
        .max_by_key(|(count, ..)| *count);
    Some(match selector {
        Some((count, key, value)) => {
            let fit = if count == 1 { "1 node fits" } else { &format!("{count} nodes fit") };
            Advice::new(
                AdviceKind::Platform,
                format!("{key}={value}"),
                format!("built for {built}: set nodeSelector {key}: {value} ({fit})"),
            )
        }
        None => Advice::new(AdviceKind::Platform, &*built, format!("built for {built}")),
    })
}

/// Labels that every node has, with the values of the platforms.
fn selectors(platforms: &[Option<Platform>]) -> Vec<(&'static str, &'static str)> {
    let mut selectors = Vec::new();
    for platform in platforms.iter().flatten().map(Platform::normalized) {
        let find = |list: &'static [&'static str], word: &str| {
            list.iter().copied().find(|known| *known == word)
        };
        let arch = find(ARCHITECTURES, &platform.architecture);
        let os = find(SYSTEMS, &platform.os);
        if let (Some(arch), Some(os)) = (arch, os) {
            for selector in [("kubernetes.io/arch", arch), ("kubernetes.io/os", os)] {
                if !selectors.contains(&selector) {
                    selectors.push(selector);
                }
            }
        }
    }
    selectors
}

/// Said where every node that the pods may land on lists the image and would start it without
/// asking the registry, if only the pull policy let it.
pub fn already_on_nodes(
    wanted: &ImageReference,
    policy: ImagePullPolicy,
    eligible: &Eligible<'_>,
) -> Option<Advice> {
    if policy != ImagePullPolicy::Always || !on_every_node(eligible, wanted) {
        return None;
    }
    Some(Advice::already_on_nodes(eligible.nodes.len()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["linux/arm64"], Some("linux/arm64"))]
    #[case(&["linux/amd64", "linux/arm/v6", "linux/arm/v7"], Some("linux/amd64 and linux/arm"))]
    #[case(&["linux/386", "linux/amd64", "linux/arm64", "linux/s390x"], Some("linux/386, linux/amd64, linux/arm64 and 1 more"))]
    #[case(&["linux/evil-word", "please/run"], None)]
    fn only_known_words(#[case] platforms: &[&str], #[case] words: Option<&str>) {
        let platforms: Vec<_> =
            platforms.iter().map(|word| Some(Platform::parse(word).unwrap())).collect();
        assert_eq!(built_for(&platforms).as_deref(), words);
    }
}
