//! `Platform`: operating system, architecture, variant; and which entries of an image index a
//! node of a platform takes.
//!
//! Normalising and matching follow `containerd/platforms` and, for CRI-O, the platform matcher
//! of its image library. Which nodes exist, and what an index holds, is somebody else's.

use std::fmt;

/// A platform as a node reports it or an index entry names it; kept as written.
///
/// Entries of an index come from outside: matching normalises, and an unknown word merely
/// matches nothing.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Platform {
    /// The operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// The architecture in Go's words, such as `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// The architecture's variant, such as `v7`; empty if none is given.
    #[serde(default)]
    pub variant: String,
    /// The version of the operating system, on Windows such as `10.0.20348.1`; empty if none.
    #[serde(default, rename = "os.version")]
    pub os_version: String,
}

/// Whose matching decides between index entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlatformRule {
    /// containerd up to 2.0, or with `use_local_image_pull`: the node's platform, then what it
    /// can run besides (lower variants; 386 on amd64; 32-bit arm on arm64).
    ContainerdClassic,
    /// The transfer service of containerd 2.1 and later: the node's own platform only.
    ContainerdStrict,
    /// CRI-O: words are compared as written, variants from the node's own downwards.
    CriO,
}

/// Why a platform in words is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Not `os/architecture` or `os/architecture/variant`.
    #[error("{0:?} is not os/architecture[/variant]")]
    Shape(String),
    /// An element with a character other than letters, digits, `_`, `-` and `.`.
    #[error("{part:?} in {platform:?} is not a valid platform component")]
    Part {
        /// The element.
        part: String,
        /// The whole text.
        platform: String,
    },
}

impl Platform {
    /// A platform from a node's `status.nodeInfo`, which knows neither variant nor OS version.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: String::new(),
            os_version: String::new(),
        }
    }

    /// The same with a variant.
    #[must_use]
    pub fn with_variant(self, variant: impl Into<String>) -> Self {
        Self { variant: variant.into(), ..self }
    }

    /// Parses `os[(version)]/architecture[/variant]` and normalises it. The forms of one word,
    /// which containerd completes from the machine it runs on, are refused.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err(PlatformError::Shape(text.to_owned())),
        };
        let (os, os_version) = match os.strip_suffix(')').and_then(|os| os.split_once('(')) {
            Some((os, version)) => (os, version),
            None => (os, ""),
        };
        let is_part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        for (index, part) in [os, architecture, variant, os_version].into_iter().enumerate() {
            let may_be_empty = index == 3 || (index == 2 && parts.len() == 2);
            let legal = is_part(part) || (part.is_empty() && may_be_empty);
            if !legal || (index == 0 && part.contains('.')) {
                return Err(PlatformError::Part {
                    part: part.to_owned(),
                    platform: text.to_owned(),
                });
            }
        }
        let raw = Self {
            os_version: os_version.to_owned(),
            ..Self::new(os, architecture).with_variant(variant)
        };
        Ok(raw.normalized())
    }

    /// Whether both have the same operating system and architecture, which is all that a node
    /// reports of itself.
    pub(crate) fn is_same_machine(&self, other: &Self) -> bool {
        let (one, other) = (self.normalized(), other.normalized());
        one.os == other.os && one.architecture == other.architecture
    }

    /// The same platform in containerd's canonical words: lower case, `x86_64` is `amd64`,
    /// `aarch64` is `arm64`, default variants dropped (arm: filled in).
    #[must_use]
    pub(crate) fn normalized(&self) -> Self {
        let os = match self.os.to_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, variant) = normalize_architecture(&self.architecture, &self.variant);
        Self { os, architecture, variant, os_version: self.os_version.clone() }
    }

    /// Whether a node of this platform takes an index entry of the `offered` platform.
    pub fn matches(&self, offered: &Self, rule: PlatformRule) -> bool {
        // Most nodes, and most entries, are plain: every rule takes what is written alike.
        if self.is_plain() && self == offered {
            return true;
        }
        match rule {
            PlatformRule::CriO => self.matches_crio(offered),
            PlatformRule::ContainerdStrict => {
                let node = self.normalized();
                self.takes(&node.architecture, &node.variant, offered)
            }
            PlatformRule::ContainerdClassic => {
                let node = self.normalized();
                runnable(&node.architecture, &node.variant)
                    .iter()
                    .any(|(architecture, variant)| self.takes(architecture, variant, offered))
            }
        }
    }

    /// Whether it names neither a variant nor a version.
    fn is_plain(&self) -> bool {
        self.variant.is_empty() && self.os_version.is_empty()
    }

    /// As `matches`, for a node whose variant Kubernetes does not report: an arm node without a
    /// variant may be any of v5 to v8, so whatever one of them takes may be taken.
    pub(crate) fn may_match(&self, offered: &Self, rule: PlatformRule) -> bool {
        self.matches(offered, rule)
            || (self.variant.is_empty()
                && self.normalized().architecture == "arm"
                && ["v5", "v6", "v7", "v8"]
                    .iter()
                    .any(|variant| self.clone().with_variant(*variant).matches(offered, rule)))
    }

    /// One candidate of containerd's list against an entry, both in canonical words.
    fn takes(&self, architecture: &str, variant: &str, offered: &Self) -> bool {
        let node_os = self.normalized().os;
        // Candidates are normalised again before the comparison (amd64 v1, arm64 v8).
        let (architecture, variant) = normalize_architecture(architecture, variant);
        let entry = offered.normalized();
        // An entry without an OS is read as one of the node's own.
        (entry.os.is_empty() || entry.os == node_os)
            && entry.architecture == architecture
            && entry.variant == variant
            && (self.os != "windows" || windows_runs(&self.os_version, &offered.os_version))
    }

    fn matches_crio(&self, offered: &Self) -> bool {
        if self.os != offered.os || self.architecture != offered.architecture {
            return false;
        }
        let order: &[&str] = match self.architecture.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"],
            "arm64" => &["v8"],
            _ => &[],
        };
        let downwards = if self.variant.is_empty() {
            order
        } else {
            let start = order.iter().position(|variant| *variant == self.variant);
            start.map_or(&[][..], |start| &order[start..])
        };
        offered.variant.is_empty()
            || offered.variant == self.variant
            || downwards.contains(&offered.variant.as_str())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if !self.os_version.is_empty() {
            write!(f, "({})", self.os_version)?;
        }
        write!(f, "/{}", self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// Canonical words for an architecture and its variant.
fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let architecture = architecture.to_lowercase();
    let variant = variant.to_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

/// What a node of this (normalised) architecture and variant runs, best first.
fn runnable(architecture: &str, variant: &str) -> Vec<(String, String)> {
    let own = (architecture.to_owned(), variant.to_owned());
    let number = variant.strip_prefix('v').unwrap_or(variant).parse::<u8>().unwrap_or(0);
    let below =
        |lowest: u8| (lowest..number).rev().map(|v| (architecture.to_owned(), format!("v{v}")));
    match architecture {
        "amd64" => std::iter::once(own)
            .chain(below(1))
            .chain([("386".to_owned(), String::new())])
            .collect(),
        "arm" => std::iter::once(own).chain(below(5)).collect(),
        "arm64" => {
            let mut list = runnable_arm64(variant);
            if list.is_empty() {
                // An unknown variant runs nothing, not even itself.
                return list;
            }
            let arm =
                if variant.is_empty() || variant.starts_with("v8") || variant.starts_with("v9") {
                    "v8"
                } else {
                    variant
                };
            list.extend(runnable("arm", arm));
            list
        }
        _ => vec![own],
    }
}

/// The 64-bit part of an arm64 node's list: v8.x runs v8.0 to v8.x; v9.x also v8.0 to v8.(x+5).
fn runnable_arm64(variant: &str) -> Vec<(String, String)> {
    let (major, minor) = match variant {
        "" | "v8" => (8, 0),
        "v9" => (9, 0),
        _ => match variant.split_once('.') {
            Some(("v8", minor)) => (8, minor.parse::<u8>().unwrap_or(u8::MAX)),
            Some(("v9", minor)) => (9, minor.parse::<u8>().unwrap_or(u8::MAX)),
            _ => return Vec::new(),
        },
    };
    let steps: Vec<(u8, u8)> = match (major, minor) {
        (8, 0..=9) => vec![(8, minor)],
        (9, 0..=7) => vec![(9, minor), (8, (minor + 5).min(9))],
        _ => return Vec::new(),
    };
    let name = |major: u8, minor: u8| match minor {
        0 => format!("v{major}"),
        _ => format!("v{major}.{minor}"),
    };
    steps
        .into_iter()
        .flat_map(|(major, top)| (0..=top).rev().map(move |minor| name(major, minor)))
        .map(|variant| ("arm64".to_owned(), variant))
        .collect()
}

/// Whether a Windows host of one version runs a container of another (build numbers).
fn windows_runs(host: &str, container: &str) -> bool {
    /// Windows Server 2022: from here on older containers run too.
    const LTSC_2022: u16 = 20348;
    /// Windows Server 2025.
    const LTSC_2025: u16 = 26100;
    let host = windows_version(host);
    if host == (0, 0, 0) || container.is_empty() {
        return true;
    }
    let container = windows_version(container);
    if (host.0, host.1) != (container.0, container.1) {
        return false;
    }
    if host.2 < LTSC_2022 {
        return host.2 == container.2;
    }
    // Down to the newest long-term release before the host's own.
    let oldest = if host.2 > LTSC_2025 { LTSC_2025 } else { LTSC_2022 };
    (oldest..=host.2).contains(&container.2)
}

/// Major, minor, build; zeros if the text is no version.
fn windows_version(text: &str) -> (u8, u8, u16) {
    let mut parts = text.split('.');
    let mut next = || parts.next().unwrap_or_default();
    match (next().parse(), next().parse(), next().parse()) {
        (Ok(major), Ok(minor), Ok(build)) => (major, minor, build),
        _ => (0, 0, 0),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("linux/x86_64", "linux/amd64")]
    #[case("linux/x86-64/v1", "linux/amd64")]
    #[case("Linux/AMD64/v3", "linux/amd64/v3")]
    #[case("linux/aarch64", "linux/arm64")]
    #[case("linux/arm64/v8", "linux/arm64")]
    #[case("linux/arm64/8", "linux/arm64")]
    #[case("linux/arm64/9.0", "linux/arm64/v9")]
    #[case("linux/arm", "linux/arm/v7")]
    #[case("linux/armhf", "linux/arm/v7")]
    #[case("linux/armel", "linux/arm/v6")]
    #[case("linux/arm/6", "linux/arm/v6")]
    #[case("linux/i386", "linux/386")]
    #[case("macos/arm64", "darwin/arm64")]
    #[case("windows(10.0.20348.1)/amd64", "windows(10.0.20348.1)/amd64")]
    fn normalises(#[case] text: &str, #[case] canonical: &str) {
        assert_eq!(Platform::parse(text).unwrap().to_string(), canonical);
    }

    #[rstest]
    #[case("")]
    #[case("linux")]
    #[case("linux/")]
    #[case("linux/arm/")]
    #[case("/amd64")]
    #[case("linux/*")]
    #[case("li.nux/amd64")]
    #[case("a/b/c/d")]
    fn refuses(#[case] text: &str) {
        assert!(Platform::parse(text).is_err());
    }

    #[rstest]
    // node, entry, classic, strict, CRI-O
    #[case("linux/amd64", "linux/amd64", true, true, true)]
    #[case("linux/amd64", "linux/amd64/v1", true, true, false)]
    #[case("linux/amd64", "linux/amd64/v2", false, false, false)]
    #[case("linux/amd64/v3", "linux/amd64/v2", true, false, false)]
    #[case("linux/amd64/v3", "linux/amd64", true, false, true)]
    #[case("linux/amd64", "linux/386", true, false, false)]
    #[case("linux/amd64", "linux/arm64", false, false, false)]
    #[case("linux/amd64", "windows/amd64", false, false, false)]
    #[case("linux/amd64", "unknown/unknown", false, false, false)]
    #[case("linux/arm64", "linux/arm64", true, true, true)]
    #[case("linux/arm64", "linux/arm64/v8", true, true, true)]
    #[case("linux/arm64", "linux/arm64/v9", false, false, false)]
    #[case("linux/arm64", "linux/arm/v7", true, false, false)]
    #[case("linux/arm64", "linux/arm/v5", true, false, false)]
    #[case("linux/arm64/v9.1", "linux/arm64/v8.6", true, false, false)]
    #[case("linux/arm64/v9.1", "linux/arm64/v8.7", false, false, false)]
    #[case("linux/arm64/x", "linux/arm/v7", false, false, false)]
    #[case("linux/arm/v7", "linux/arm", true, true, true)]
    #[case("linux/arm/v7", "linux/arm/v6", true, false, true)]
    #[case("linux/arm/v6", "linux/arm/v7", false, false, false)]
    #[case("linux/arm/v6", "linux/arm", false, false, true)]
    #[case("linux/s390x", "linux/s390x", true, true, true)]
    fn matches_as_the_runtime_does(
        #[case] node: &str,
        #[case] entry: &str,
        #[case] classic: bool,
        #[case] strict: bool,
        #[case] crio: bool,
    ) {
        let raw = |text: &str| {
            let mut parts = text.split('/').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            Platform::new(next(), next()).with_variant(next())
        };
        let (node, entry) = (raw(node), raw(entry));
        let got =
            [PlatformRule::ContainerdClassic, PlatformRule::ContainerdStrict, PlatformRule::CriO]
                .map(|rule| node.matches(&entry, rule));
        assert_eq!(got, [classic, strict, crio]);
    }

    #[test]
    fn an_arm_node_may_be_of_any_variant() {
        let node = Platform::new("linux", "arm");
        let v8 = Platform::new("linux", "arm").with_variant("v8");
        assert!(!node.matches(&v8, PlatformRule::ContainerdStrict));
        assert!(node.may_match(&v8, PlatformRule::ContainerdStrict));
        assert!(!node.may_match(&Platform::new("linux", "arm64"), PlatformRule::ContainerdStrict));
    }

    #[rstest]
    #[case("10.0.17763.1", "10.0.17763.9", true)]
    #[case("10.0.17763.1", "10.0.20348.1", false)]
    #[case("10.0.26100.1", "10.0.20348.1", true)]
    #[case("10.0.26100.1", "10.0.17763.1", false)]
    #[case("10.0.27000.1", "10.0.20348.1", false)]
    #[case("10.0.27000.1", "10.0.26100.1", true)]
    #[case("10.0.20348.1", "10.0.26100.1", false)]
    #[case("", "10.0.17763.1", true)]
    #[case("10.0.20348.1", "", true)]
    fn windows_builds(#[case] host: &str, #[case] entry: &str, #[case] runs: bool) {
        let node = Platform { os_version: host.to_owned(), ..Platform::new("windows", "amd64") };
        let entry = Platform { os_version: entry.to_owned(), ..Platform::new("windows", "amd64") };
        assert_eq!(node.matches(&entry, PlatformRule::ContainerdStrict), runs);
    }
}
