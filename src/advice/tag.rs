//! Which of the images that run here to propose.

use std::cmp::{Ordering, Reverse};

use super::version::TagVersion;
use crate::history::KnownTag;
use crate::image::ImageReference;

/// Tags that run here in place of `wanted`, best first: the same variant before others, the same
/// major version, releases before pre-releases, and the newest of those. Where versions do not
/// decide: in its own namespace before others, then the one started last.
pub(crate) fn rank_known_tags<'t>(
    wanted: &ImageReference,
    known: &'t [KnownTag],
) -> Vec<&'t KnownTag> {
    let version = wanted.tag().and_then(TagVersion::parse);
    let mut ranked: Vec<(Option<TagVersion>, &KnownTag)> = known
        .iter()
        .filter(|tag| !tag.names(wanted) && tag.pods > 0 && tag.reference.tag().is_some())
        .filter(|tag| tag.reference.digest().is_none())
        .map(|tag| (tag.reference.tag().and_then(TagVersion::parse), tag))
        .collect();
    ranked.sort_by(|(one_version, one), (two_version, two)| {
        compare(version.as_ref(), one_version.as_ref(), two_version.as_ref())
            .then_with(|| by_life(one, two))
    });
    ranked.into_iter().map(|(_, tag)| tag).collect()
}

/// Images of the same name that run here under another repository or registry, best first.
pub(crate) fn rank_namesakes<'t>(
    wanted: &ImageReference,
    known: &'t [KnownTag],
) -> Vec<&'t KnownTag> {
    let mut ranked: Vec<&KnownTag> = known
        .iter()
        .filter(|other| other.reference.name() != wanted.name() && other.pods > 0)
        .collect();
    ranked.sort_by(|one, two| {
        let same_tag = |known: &KnownTag| known.reference.tag() == wanted.tag();
        let same_host = |known: &KnownTag| known.reference.host() == wanted.host();
        same_tag(two)
            .cmp(&same_tag(one))
            .then_with(|| same_host(two).cmp(&same_host(one)))
            .then_with(|| by_life(one, two))
    });
    ranked
}

fn by_life(one: &KnownTag, two: &KnownTag) -> Ordering {
    let key = |known: &KnownTag| (!known.in_namespace, Reverse(known.last_started));
    key(one).cmp(&key(two))
}

/// `Less` if the first one is the better stand-in.
fn compare(
    wanted: Option<&TagVersion>,
    one: Option<&TagVersion>,
    two: Option<&TagVersion>,
) -> Ordering {
    let Some(wanted) = wanted else { return Ordering::Equal };
    let (one, two) = match (one, two) {
        (Some(one), Some(two)) => (one, two),
        // A version stands in for a version.
        (one, two) => return one.is_none().cmp(&two.is_none()),
    };
    let key = |version: &TagVersion| {
        (
            !version.same_line(wanted),
            version.major() != wanted.major(),
            version.pre.is_some() && wanted.pre.is_none(),
        )
    };
    key(one).cmp(&key(two)).then_with(|| two.order(one))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rstest::rstest;

    use super::*;

    fn known(list: &[&str]) -> Vec<KnownTag> {
        let numbered = list.iter().enumerate();
        numbered
            .map(|(n, image)| KnownTag {
                reference: ImageReference::parse(image).unwrap(),
                pods: 1,
                in_namespace: !image.contains("elsewhere"),
                last_started: Timestamp::from_second(i64::try_from(n).unwrap()).unwrap(),
                digest: None,
            })
            .collect()
    }

    #[rstest]
    #[case("r.io/a:1.4.9", &["1.4.1", "1.4.8", "1.10.0", "2.0.0", "1.4.8-alpine"], &["1.10.0", "1.4.8", "1.4.1", "2.0.0", "1.4.8-alpine"])]
    #[case("r.io/a:1.4.9-alpine3.20", &["1.4.1", "1.3.0-alpine3.19", "2.0-alpine"], &["1.3.0-alpine3.19", "2.0-alpine", "1.4.1"])]
    #[case("r.io/a:2.0.0", &["2.0.0-rc.1", "1.9.0", "main"], &["2.0.0-rc.1", "1.9.0", "main"])]
    #[case("r.io/a:2.1.0", &["2.0.0-rc.1", "2.0.0-beta", "1.9.0"], &["2.0.0-rc.1", "2.0.0-beta", "1.9.0"])]
    #[case("r.io/a:main", &["1", "2", "elsewhere"], &["2", "1", "elsewhere"])]
    #[case("r.io/a:1", &["1"], &[])]
    fn best_first(#[case] wanted: &str, #[case] tags: &[&str], #[case] ranked: &[&str]) {
        let images: Vec<String> = tags.iter().map(|tag| format!("r.io/a:{tag}")).collect();
        let known = known(&images.iter().map(String::as_str).collect::<Vec<_>>());
        let wanted = ImageReference::parse(wanted).unwrap();
        let got: Vec<_> =
            rank_known_tags(&wanted, &known).iter().map(|k| k.reference.tag().unwrap()).collect();
        assert_eq!(got, ranked);
    }

    #[test]
    fn namesakes_with_the_same_tag_come_first() {
        let known = known(&["r.io/b/app:2", "q.io/b/app:1", "r.io/c/app:1", "r.io/x/app:9"]);
        let wanted = ImageReference::parse("r.io/x/app:1").unwrap();
        let got: Vec<_> =
            rank_namesakes(&wanted, &known).iter().map(|k| k.reference.canonical()).collect();
        assert_eq!(got, ["r.io/c/app:1", "q.io/b/app:1", "r.io/b/app:2"]);
    }
}
