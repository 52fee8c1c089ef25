//! Tags read as versions: numbers, pre-release, variant.
//!
//! Tags are free text; what is here follows the habits of published images (`1.27.3-alpine3.20`,
//! `v2.0.0-rc.1`, `2024-01-15`, `1.2.3-4-gabc1234`), with semantic versioning's order where it
//! applies (<https://semver.org/#spec-item-11>). A tag that is none is `None`, never a guess.

use std::cmp::Ordering;

/// Words in front of a version that say nothing.
const PREFIXES: &[&str] = &["release-v", "release-", "version-", "rel-", "v", ""];
/// Pre-release words, least ripe first.
const RIPENESS: &[&[&str]] = &[
    &["dev", "snapshot", "nightly", "canary"],
    &["alpha", "a"],
    &["beta", "b"],
    &["milestone", "m"],
    &["pre", "preview"],
    &["rc", "cr"],
];
/// More numbers than this are no version.
const MAX_NUMBERS: usize = 6;

/// A tag, read as a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagVersion {
    /// `1.2.3`, or year, month and day.
    pub(super) numbers: Vec<u64>,
    /// How ripe a pre-release is, and its numbers; nothing for a release.
    pub(super) pre: Option<(usize, Vec<u64>)>,
    /// Numbers behind the version: builds, times.
    build: Vec<u64>,
    /// The words behind the version without their own versions: `alpine` of `-alpine3.20`.
    pub(super) variant: String,
    /// Whether the numbers are a date.
    pub(super) dated: bool,
}

impl TagVersion {
    /// Reads a tag.
    pub(super) fn parse(tag: &str) -> Option<Self> {
        let tag = tag.to_ascii_lowercase();
        let body = PREFIXES.iter().find_map(|prefix| {
            let rest = tag.strip_prefix(prefix)?;
            rest.starts_with(|c: char| c.is_ascii_digit()).then_some(rest)
        })?;
        let end = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
        let (numbers, rest) = body.split_at(end);
        let mut numbers = numbers_of(numbers.trim_end_matches('.'))?;
        if numbers.len() > MAX_NUMBERS {
            return None;
        }
        let mut segments: Vec<&str> =
            rest.split(['-', '_', '+']).filter(|segment| !segment.is_empty()).collect();
        let dated = date(&mut numbers, &mut segments);
        let mut version =
            Self { numbers, pre: None, build: Vec::new(), variant: String::new(), dated };
        for segment in segments {
            version.take(segment.trim_matches('.'));
        }
        Some(version)
    }

    /// What one segment behind the numbers says.
    fn take(&mut self, segment: &str) {
        if let Some(numbers) = numbers_of(segment) {
            match &mut self.pre {
                // `rc-1` is `rc1`.
                Some((_, own)) if own.is_empty() && self.variant.is_empty() => *own = numbers,
                _ => self.build.extend(numbers),
            }
        } else if let Some(pre) = pre_release(segment).filter(|_| self.pre.is_none()) {
            self.pre = Some(pre);
        } else if !is_hash(segment) {
            let word = segment.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
            if !self.variant.is_empty() {
                self.variant.push('-');
            }
            self.variant.push_str(if word.is_empty() { segment } else { word });
        }
    }

    /// The first number.
    pub(super) fn major(&self) -> u64 {
        self.numbers.first().copied().unwrap_or_default()
    }

    /// Whether the other one is a version of the same kind of image.
    pub(super) fn same_line(&self, other: &Self) -> bool {
        self.variant == other.variant && self.dated == other.dated
    }

    /// Older or newer, whatever the variant.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let release = |version: &Self| version.pre.is_none();
        padded(&self.numbers, &other.numbers)
            .then_with(|| release(self).cmp(&release(other)))
            .then_with(|| self.pre.cmp(&other.pre))
            .then_with(|| self.build.cmp(&other.build))
    }

    /// How many of the leading numbers are equal.
    pub(super) fn shared(&self, other: &Self) -> usize {
        self.numbers.iter().zip(&other.numbers).take_while(|(one, two)| one == two).count()
    }
}

fn padded(one: &[u64], two: &[u64]) -> Ordering {
    let at = |numbers: &[u64], index: usize| numbers.get(index).copied().unwrap_or_default();
    (0..one.len().max(two.len()))
        .map(|index| at(one, index).cmp(&at(two, index)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// `1.2.3`: nothing but numbers and single dots.
fn numbers_of(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok()).collect()
}

/// Makes a date of the numbers, with segments taken from behind them: `2024-01-15`, `20240115`.
fn date(numbers: &mut Vec<u64>, segments: &mut Vec<&str>) -> bool {
    let year = |number: u64| (1990..=2100).contains(&number);
    match *numbers.as_slice() {
        [joined, ..] if year(joined / 10_000) && joined > 9_999_999 => {
            numbers.splice(0..1, [joined / 10_000, joined / 100 % 100, joined % 100]);
            true
        }
        [first] if year(first) => {
            let two = |segment: &&str| segment.len() == 2 && segment.parse::<u64>().is_ok();
            if segments.len() < 2 || !segments.iter().take(2).all(two) {
                return false;
            }
            numbers.extend(segments.drain(..2).filter_map(|segment| segment.parse::<u64>().ok()));
            true
        }
        [first, ..] => year(first),
        [] => false,
    }
}

/// `rc1`, `beta.2`, `alpha`.
fn pre_release(segment: &str) -> Option<(usize, Vec<u64>)> {
    let end = segment.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(segment.len());
    let (word, rest) = segment.split_at(end);
    let ripeness = RIPENESS.iter().position(|words| words.contains(&word))?;
    let rest = rest.trim_start_matches('.');
    let numbers = if rest.is_empty() { Vec::new() } else { numbers_of(rest)? };
    Some((ripeness, numbers))
}

/// A commit, as `git describe` and build systems write it.
fn is_hash(segment: &str) -> bool {
    let hex = segment.strip_prefix('g').unwrap_or(segment);
    hex.len() >= 7
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
        && hex.bytes().any(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1.2.3", "", false)]
    #[case("v1.2.3-alpine", "alpine", false)]
    #[case("1.27.3-alpine3.20", "alpine", false)]
    #[case("3.12-slim-bookworm", "slim-bookworm", false)]
    #[case("1.2.3-rc.1-alpine", "alpine", false)]
    #[case("1.2.3-4-gabc1234", "", false)]
    #[case("8.0.1.Final", "final", false)]
    #[case("2024-01-15", "", true)]
    #[case("20240115.2-debian", "debian", true)]
    #[case("2024.01.15", "", true)]
    fn reads_versions(#[case] tag: &str, #[case] variant: &str, #[case] dated: bool) {
        let version = TagVersion::parse(tag).unwrap();
        assert_eq!((&*version.variant, version.dated), (variant, dated), "{version:?}");
    }

    #[rstest]
    #[case("latest")]
    #[case("alpine")]
    #[case("main-abc1234")]
    #[case("1..2")]
    #[case("v")]
    #[case("99999999999999999999.1")]
    fn leaves_other_tags_alone(#[case] tag: &str) {
        assert_eq!(TagVersion::parse(tag), None);
    }

    #[rstest]
    #[case("1.9.0", "1.10.0")]
    #[case("1.2", "1.2.1")]
    #[case("1.2.3-rc.1", "1.2.3")]
    #[case("1.2.3-alpha", "1.2.3-beta1")]
    #[case("1.2.3-rc2", "1.2.3-rc.10")]
    #[case("1.2.3-rc-2", "1.2.3-rc-10")]
    #[case("1.2.3", "1.2.3-2")]
    #[case("v1.2.3", "1.3.0-alpine")]
    #[case("2024-01-15", "20240116")]
    fn older_before_newer(#[case] older: &str, #[case] newer: &str) {
        let [older, newer] = [older, newer].map(|tag| TagVersion::parse(tag).unwrap());
        assert_eq!(older.order(&newer), Ordering::Less);
        assert_eq!(newer.order(&older), Ordering::Greater);
    }
}
