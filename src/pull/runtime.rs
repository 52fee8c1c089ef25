//! Which runtime a node has, as far as runtimes differ about pulling.

use crate::image::{Platform, PlatformRule};
use crate::node_config::{FilesOf, MirrorFiles};
use crate::workload::Node;

/// A container runtime and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// containerd, with major and minor version, and the patch level where it is known.
    Containerd(u32, u32, Option<u32>),
    /// CRI-O.
    CriO,
    /// Anything else, or unknown.
    Other,
}

/// Whether an image of some platform can be taken by a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It cannot.
    No,
    /// It depends on what a node does not report.
    Perhaps,
    /// It can.
    Yes,
}

impl Runtime {
    /// From `status.nodeInfo.containerRuntimeVersion`, such as `containerd://2.1.8`, or from the
    /// bare name of a runtime.
    pub fn parse(version: &str) -> Self {
        let (name, version) = version.split_once("://").unwrap_or((version, ""));
        // Distributions write `1.7.13-0ubuntu1`, `1.7.7~ds1`, `2.0.4+k3s1`.
        let mut numbers = version.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>()
        });
        match (name, numbers.next(), numbers.next(), numbers.next()) {
            ("containerd", Some(Ok(major)), Some(Ok(minor)), patch) => {
                Self::Containerd(major, minor, patch.and_then(Result::ok))
            }
            ("cri-o", ..) => Self::CriO,
            _ => Self::Other,
        }
    }

    /// Whether it reads these mirror files; an unknown one may not.
    pub(super) const fn reads(self, files: MirrorFiles) -> bool {
        match (self, files.of) {
            // `parseHostConfig` in containerd refuses what it does not know.
            (Self::Containerd(0..=1, ..) | Self::Containerd(2, 0..=1, _), FilesOf::Containerd) => {
                !files.since_2_2
            }
            (Self::Containerd(..), FilesOf::Containerd) | (Self::CriO, FilesOf::CriO) => true,
            _ => false,
        }
    }

    /// The rules by which it may choose from an index: the first surely, the others perhaps.
    const fn rules(self) -> &'static [PlatformRule] {
        use PlatformRule::{ContainerdClassic, ContainerdStrict, CriO};
        match self {
            Self::Containerd(0..=1, ..) | Self::Containerd(2, 0, _) => &[ContainerdClassic],
            // The local pull path, which some settings force, still has the classic rule.
            Self::Containerd(..) => &[ContainerdStrict, ContainerdClassic],
            Self::CriO => &[CriO],
            Self::Other => &[ContainerdStrict, ContainerdClassic, CriO],
        }
    }

    /// Whether it still takes Docker schema 1: containerd 1.x and CRI-O do, containerd 2.1 and
    /// later do not, 2.0 only if told to.
    pub(super) const fn takes_schema1(self) -> Fit {
        match self {
            Self::Containerd(0..=1, ..) | Self::CriO => Fit::Yes,
            Self::Containerd(2, 0, _) | Self::Other => Fit::Perhaps,
            Self::Containerd(..) => Fit::No,
        }
    }

    /// Whether it pulls an artifact (a chart, a signature, a wasm module), only to fail at the
    /// start. Layers of other types are taken since containerd 1.7.7 and 1.6.25.
    pub(super) const fn takes_artifact(self) -> Fit {
        match self {
            Self::Containerd(0, ..)
            | Self::Containerd(1, 0..=5, _)
            | Self::Containerd(1, 6, Some(0..=24))
            | Self::Containerd(1, 7, Some(0..=6)) => Fit::No,
            Self::Containerd(1, 6 | 7, None) | Self::CriO | Self::Other => Fit::Perhaps,
            Self::Containerd(..) => Fit::Yes,
        }
    }
}

/// Whether this node takes an entry of an index. Kubernetes reports neither variants nor, on
/// Windows, what its version rule needs: there it is perhaps. So it is where a node does not say
/// what it is, or runs its pods elsewhere.
pub(super) fn fit(node: &Node, entry: Option<&Platform>) -> Fit {
    let Some(entry) = entry else { return Fit::Perhaps };
    if node.is_virtual() || node.platform.os.is_empty() || node.platform.architecture.is_empty() {
        return Fit::Perhaps;
    }
    fit_platform(&node.platform, Runtime::parse(&node.runtime), entry)
}

fn fit_platform(platform: &Platform, runtime: Runtime, entry: &Platform) -> Fit {
    let takes = |rule: PlatformRule| platform.may_match(entry, rule);
    if platform.os == "windows" {
        let same = entry.os == "windows" && entry.architecture == platform.architecture;
        return if same { Fit::Perhaps } else { Fit::No };
    }
    match runtime.rules() {
        [sure, ..] if takes(*sure) => Fit::Yes,
        rules if rules.iter().any(|rule| takes(*rule)) => Fit::Perhaps,
        _ => Fit::No,
    }
}

/// Whether a node of this platform, with whatever runtime, may take one of these entries.
pub(super) fn could_run(platform: &Platform, entries: &[Option<Platform>]) -> bool {
    entries.iter().any(|entry| {
        entry.as_ref().is_none_or(|entry| fit_platform(platform, Runtime::Other, entry) != Fit::No)
    })
}

/// Whether this node surely takes an image of this platform.
pub(crate) fn runs_on(node: &Node, platform: Option<&Platform>) -> bool {
    fit(node, platform) == Fit::Yes
}

/// Whether the kubelet checks again who may use a secret-pulled image that is on the node
/// (KEP-2535, on by default from 1.35). An unknown version is taken to do so.
pub(super) fn verifies_images(node: &Node) -> bool {
    let mut numbers = node.kubelet.trim_start_matches('v').split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(1)), Some(Ok(minor))) => minor >= 35,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("containerd://1.5.18", Fit::No)]
    #[case("containerd://1.6.24", Fit::No)]
    #[case("containerd://1.6.25", Fit::Yes)]
    #[case("containerd://1.7.6", Fit::No)]
    #[case("containerd://1.7.7", Fit::Yes)]
    #[case("containerd://1.7.13-0ubuntu1", Fit::Yes)]
    #[case("containerd://1.7.2~ds1", Fit::No)]
    #[case("containerd://1.7", Fit::Perhaps)]
    #[case("containerd://2.0.4+k3s1", Fit::Yes)]
    #[case("cri-o://1.31.0", Fit::Perhaps)]
    fn artifacts_are_taken_since_a_patch_level(#[case] version: &str, #[case] fit: Fit) {
        assert_eq!(Runtime::parse(version).takes_artifact(), fit);
    }
}
