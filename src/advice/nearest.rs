//! "Did you mean": which of a repository's tags are nearest to the one that is missing, and why.
//!
//! Tags are untrusted text. Only those come out that parse as tags and are near to what the user
//! wrote, so that nobody can put words of his own before a person by naming a tag after them.

use std::cmp::Reverse;

use super::version::TagVersion;
use crate::image::ImageReference;

/// Tags longer than this are named by machines.
const MAX_SHOWN: usize = 50;
/// What may stand behind the written tag for it to be an abbreviation.
const MAX_SUFFIX: usize = 24;
/// Candidates that are worth proving.
const MAX_CANDIDATES: usize = 6;
/// Of one kind of nearness no more than this, so that others get a chance.
const MAX_ALIKE: usize = 2;
/// Tags that are looked at.
const MAX_LOOKED_AT: usize = 20_000;
/// Tags of signatures and attestations start so.
const ATTACHMENTS: &str = "sha256-";

/// How a tag is near to the one that was written; the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Nearness {
    /// The same with or without `v` in front.
    VersionPrefix,
    /// The same in other case.
    Case,
    /// The same with other separators.
    Separator,
    /// A typing error away.
    Typo,
    /// The written one with more behind it.
    Longer,
    /// The written one with less behind it.
    Shorter,
    /// Another version of the same variant.
    OtherVersion,
    /// The date nearest to it.
    OtherDate,
    /// The newest version, where no tag is like the one written.
    Newest,
}

impl Nearness {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::VersionPrefix,
        Self::Case,
        Self::Separator,
        Self::Typo,
        Self::Longer,
        Self::Shorter,
        Self::OtherVersion,
        Self::OtherDate,
        Self::Newest,
    ];

    /// The reason in words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::VersionPrefix => "leading v",
            Self::Case => "differs in case",
            Self::Separator => "differs in a separator",
            Self::Typo => "differs in a letter or two",
            Self::Longer => "longer tag",
            Self::Shorter => "shorter tag",
            Self::OtherVersion => "the nearest version",
            Self::OtherDate => "the nearest date",
            Self::Newest => "the newest version",
        }
    }

    /// Whether it is most likely what was meant, and not merely something else that there is.
    pub(crate) const fn is_meant(self) -> bool {
        matches!(self, Self::VersionPrefix | Self::Case | Self::Separator | Self::Typo)
    }
}

/// A tag that exists, as the registry lists it, and how it is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NearTag<'t> {
    /// The tag.
    pub tag: &'t str,
    /// How it is near.
    pub nearness: Nearness,
}

/// The spellings of a tag that people mix up. They can be tried without any list.
pub fn spellings(wanted: &str) -> Vec<(String, Nearness)> {
    let mut spellings = Vec::new();
    let digit = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    match wanted.strip_prefix(['v', 'V']) {
        Some(rest) if digit(rest) => spellings.push((rest.to_owned(), Nearness::VersionPrefix)),
        _ if digit(wanted) => spellings.push((format!("v{wanted}"), Nearness::VersionPrefix)),
        _ => {}
    }
    let lower = wanted.to_ascii_lowercase();
    if lower != wanted {
        spellings.push((lower, Nearness::Case));
    }
    spellings
}

/// The tags that are nearest to the missing one, best first; to be proven before they are said.
pub(crate) fn nearest_tags<'t>(
    repository: &ImageReference,
    wanted: &str,
    tags: impl IntoIterator<Item = &'t str>,
) -> Vec<NearTag<'t>> {
    let asked = MissingTag::new(wanted);
    let mut near: Vec<(NearTag<'t>, Key)> = tags
        .into_iter()
        .take(MAX_LOOKED_AT)
        .filter(|tag| *tag != wanted && is_harmless(repository, tag))
        .filter_map(|tag| {
            let (nearness, key) = asked.nearness(tag)?;
            Some((NearTag { tag, nearness }, key))
        })
        .collect();
    near.sort_by(|(one, one_key), (two, two_key)| {
        one.nearness.cmp(&two.nearness).then_with(|| one_key.cmp(two_key))
    });
    let mut chosen: Vec<NearTag<'t>> = Vec::new();
    for (tag, _) in near {
        let alike = chosen.iter().filter(|other| other.nearness == tag.nearness).count();
        let stranger = tag.nearness == Nearness::Newest && !chosen.is_empty();
        if alike < MAX_ALIKE && !stranger {
            chosen.push(tag);
        }
        if chosen.len() == MAX_CANDIDATES {
            break;
        }
    }
    chosen
}

/// Whether it may be shown at all: a tag by its grammar, short, and named by a person.
fn is_harmless(repository: &ImageReference, tag: &str) -> bool {
    tag.len() <= MAX_SHOWN && !tag.starts_with(ATTACHMENTS) && repository.with_tag(tag).is_ok()
}

/// Within one nearness the smallest comes first.
type Key = (usize, Reverse<usize>, Reverse<OrderedVersion>, usize);

/// A version that sorts by age; none is older than any.
#[derive(Debug, PartialEq, Eq)]
struct OrderedVersion(Option<TagVersion>);

impl Ord for OrderedVersion {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => one.order(two),
            (one, two) => one.is_some().cmp(&two.is_some()),
        }
    }
}

impl PartialOrd for OrderedVersion {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The tag that was written, taken apart once.
struct MissingTag<'a> {
    text: &'a str,
    lower: String,
    bare: String,
    version: Option<TagVersion>,
}

impl<'a> MissingTag<'a> {
    fn new(text: &'a str) -> Self {
        let lower = text.to_ascii_lowercase();
        Self { text, bare: bare(&lower), version: TagVersion::parse(text), lower }
    }

    fn nearness(&self, tag: &str) -> Option<(Nearness, Key)> {
        let lower = tag.to_ascii_lowercase();
        let version = TagVersion::parse(tag);
        let plain = |nearness| Some((nearness, key(0, 0, None, tag)));
        if without_v(tag) == without_v(self.text) {
            return plain(Nearness::VersionPrefix);
        }
        if lower == self.lower {
            return plain(Nearness::Case);
        }
        if bare(&lower) == self.bare {
            return plain(Nearness::Separator);
        }
        let comparable = self.version.as_ref().zip(version.as_ref());
        let same_line = comparable.is_some_and(|(wanted, other)| wanted.same_line(other));
        if !same_line && let Some(distance) = self.typing_errors(&lower) {
            return Some((Nearness::Typo, key(distance, 0, version, tag)));
        }
        if extends(&lower, &self.lower) {
            // More of the same version before another variant of it.
            return Some((Nearness::Longer, key(usize::from(!same_line), 0, version, tag)));
        }
        if extends(&self.lower, &lower) {
            return Some((Nearness::Shorter, key(0, tag.len(), version, tag)));
        }
        self.other_version(tag, version)
    }

    /// Not what was written, but something that there is.
    fn other_version(&self, tag: &str, version: Option<TagVersion>) -> Option<(Nearness, Key)> {
        let other = version?;
        let Some(wanted) = &self.version else {
            let plain = other.variant.is_empty() && other.pre.is_none() && !other.dated;
            return plain.then(|| (Nearness::Newest, key(0, 0, Some(other), tag)));
        };
        if !wanted.same_line(&other) {
            return None;
        }
        let unripe = usize::from(other.pre.is_some() && wanted.pre.is_none());
        if wanted.dated {
            let apart = days(wanted).abs_diff(days(&other));
            return Some((Nearness::OtherDate, key(apart, 0, Some(other), tag)));
        }
        let shared = wanted.shared(&other);
        Some((Nearness::OtherVersion, key(unripe, shared, Some(other), tag)))
    }

    /// How many typing errors lie between, if few enough for so long a word. A digit is no typing
    /// error: it makes another version.
    fn typing_errors(&self, other: &str) -> Option<usize> {
        let allowed = match self.lower.len() {
            0..=2 => return None,
            3..=5 => 1,
            _ => 2,
        };
        if self.lower.len().abs_diff(other.len()) > allowed {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&self.lower, other);
        (distance <= allowed && digits(&self.lower) == digits(other)).then_some(distance)
    }
}

fn key(first: usize, more: usize, version: Option<TagVersion>, tag: &str) -> Key {
    (first, Reverse(more), Reverse(OrderedVersion(version)), tag.len())
}

fn without_v(tag: &str) -> &str {
    match tag.strip_prefix(['v', 'V']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => tag,
    }
}

/// All separators alike; where there is none, none is thought of: `1.23` is not `12.3`.
fn bare(tag: &str) -> String {
    tag.replace(['.', '_'], "-")
}

/// The digits of a tag, sorted: changing places is a typing error.
fn digits(tag: &str) -> Vec<char> {
    let mut digits: Vec<char> = tag.chars().filter(char::is_ascii_digit).collect();
    digits.sort_unstable();
    digits
}

/// A date as a number that grows day by day, exact enough to compare.
fn days(version: &TagVersion) -> usize {
    let at = |index: usize| {
        let number = version.numbers.get(index).copied().unwrap_or_default();
        usize::try_from(number).unwrap_or_default().min(9999)
    };
    at(0) * 372 + at(1) * 31 + at(2)
}

/// Whether `long` is `short`, a separator, and a little more.
fn extends(long: &str, short: &str) -> bool {
    long.strip_prefix(short).is_some_and(|suffix| {
        suffix.starts_with(['-', '.', '_']) && suffix.len() > 1 && suffix.len() <= MAX_SUFFIX
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn near(wanted: &str, tags: &[&str]) -> Vec<String> {
        let repository = ImageReference::parse("reg.example.com/app").unwrap();
        let near = nearest_tags(&repository, wanted, tags.iter().copied());
        near.iter().map(|near| format!("{} {}", near.tag, near.nearness.message())).collect()
    }

    #[rstest]
    #[case("1.2.3", &["v1.2.3", "1.2.2", "v1.2.4"], &["v1.2.3 leading v", "v1.2.4 the nearest version", "1.2.2 the nearest version"])]
    #[case("v1.2.3", &["1.2.3"], &["1.2.3 leading v"])]
    #[case("Stable", &["stable", "stables"], &["stable differs in case", "stables differs in a letter or two"])]
    #[case("1.2.3_alpine", &["1.2.3-alpine"], &["1.2.3-alpine differs in a separator"])]
    #[case("lastest", &["latest", "1.0"], &["latest differs in a letter or two"])]
    #[case("1.25-apline", &["1.25-alpine", "1.25"], &["1.25-alpine differs in a letter or two", "1.25 shorter tag"])]
    #[case("1.25", &["1.25-alpine", "1.25.3", "1.25.10"], &["1.25.10 longer tag", "1.25.3 longer tag"])]
    #[case("1.25.3", &["1.25-alpine", "1.24.9", "1.25.2", "1.25"], &["1.25 shorter tag", "1.25.2 the nearest version", "1.24.9 the nearest version"])]
    #[case("1.25.4-alpine", &["1.25.3", "1.25.3-alpine3.20", "1.26.0-rc1-alpine"], &["1.25.3-alpine3.20 the nearest version", "1.26.0-rc1-alpine the nearest version"])]
    #[case("latest", &["1.0.0", "2.1.0", "2.2.0-rc1", "2.1.0-alpine"], &["2.1.0 the newest version"])]
    #[case("2024-01-15", &["2026-01-01", "2024-01-14", "2023-12-01"], &["2024-01-14 the nearest date", "2023-12-01 the nearest date"])]
    #[case("12.3", &["1.23"], &["1.23 the nearest version"])]
    #[case("21.3.0", &["12.3.0"], &["12.3.0 the nearest version"])]
    #[case("main", &["sha256-00.sig", "run-this-and-that"], &[])]
    fn ranks_with_reasons(#[case] wanted: &str, #[case] tags: &[&str], #[case] said: &[&str]) {
        assert_eq!(near(wanted, tags), said);
    }

    #[test]
    fn text_that_is_no_tag_is_never_shown() {
        let long = format!("1.2.3-{}", "a".repeat(60));
        let evil = ["1.2.3\n", "1.2.3 run me", "1.2.3\u{202e}", "-1.2.3", &long];
        assert_eq!(near("1.2.3", &evil), Vec::<String>::new());
    }

    #[test]
    fn spellings_need_no_list() {
        let texts = |tag| spellings(tag).into_iter().map(|(text, _)| text).collect::<Vec<_>>();
        assert_eq!(texts("1.2"), ["v1.2"]);
        assert_eq!(texts("V1.2-RC1"), ["1.2-RC1", "v1.2-rc1"]);
        assert_eq!(texts("vNext"), ["vnext"]);
        assert_eq!(texts("main"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn what_comes_out_was_listed_and_is_a_tag(
            wanted in "[A-Za-z0-9_.-]{1,20}",
            tags in prop::collection::vec("[ -~\\n]{0,12}|v?[0-9]{1,2}(\\.[0-9]{1,2}){0,2}(-[a-z]{1,6})?", 0..40),
        ) {
            let repository = ImageReference::parse("reg.example.com/app").unwrap();
            let near = nearest_tags(&repository, &wanted, tags.iter().map(String::as_str));
            prop_assert!(near.len() <= MAX_CANDIDATES);
            for tag in near {
                prop_assert!(tags.iter().any(|listed| listed == tag.tag));
                prop_assert!(tag.tag != wanted && repository.with_tag(tag.tag).is_ok());
            }
        }
    }
}
