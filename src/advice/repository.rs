//! Which repository was meant where the one that was written does not exist: those of the same
//! registry that are spelt nearly so, or have the same last part, and are the same team's.
//!
//! Names that a registry lists are untrusted text: only those come out that parse and are near to
//! what the user wrote.

use super::{Advice, AdviceKind};
use crate::image::ImageReference;

/// Candidates that are worth proving.
const MAX_CANDIDATES: usize = 4;
/// Names that are looked at.
const MAX_LOOKED_AT: usize = 10_000;
/// Letters that may differ; fewer in short names.
const MAX_APART: usize = 2;

/// The part of its registries' paths that is a team's: where the image was to stand, and where the
/// images of the object's own namespace stand. What stands elsewhere is another team's business.
#[derive(Debug)]
pub struct TeamPaths<'a> {
    wanted: &'a ImageReference,
    own: Vec<&'a str>,
}

impl<'a> TeamPaths<'a> {
    /// The paths for an image, in a namespace with these repositories.
    pub fn new(wanted: &'a ImageReference, own: impl IntoIterator<Item = &'a str>) -> Self {
        let own = own.into_iter().map(folder).filter(|folder| !folder.is_empty()).collect();
        Self { wanted, own }
    }

    /// Whether a repository shares the team's prefix: it stands beside the wanted one, below what
    /// the team has, or is the wanted one with all of its path behind a mirror's.
    pub fn includes(&self, repository: &str) -> bool {
        let wanted = self.wanted.repository();
        let path = folder(repository);
        let below = |of: &str| path.strip_prefix(of).is_some_and(|rest| is_end(rest, '/'));
        let mirrored = wanted.contains('/')
            && repository.strip_suffix(wanted).is_some_and(|rest| rest.ends_with('/'));
        let beside = folder(wanted);
        path == beside
            || (!beside.is_empty() && below(beside))
            || self.own.iter().any(|own| below(own))
            || mirrored
    }
}

fn is_end(rest: &str, separator: char) -> bool {
    rest.is_empty() || rest.starts_with(separator)
}

/// The path of a repository without its last part.
fn folder(repository: &str) -> &str {
    repository.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn last_part(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or_default()
}

/// The wanted tag or digest in the team's repositories that are spelt nearly as the wanted one, the
/// nearest first.
pub fn misspelt<'n>(
    team: &TeamPaths<'_>,
    repositories: impl IntoIterator<Item = &'n str>,
) -> Vec<ImageReference> {
    let wanted = team.wanted.repository();
    nearest(team, repositories, |name| distance(wanted, name))
}

/// The same in the team's repositories whose last part is that of the wanted one: for names that
/// the user may see, and not for what a registry lists.
pub(crate) fn of_same_name<'n>(
    team: &TeamPaths<'_>,
    repositories: impl IntoIterator<Item = &'n str>,
) -> Vec<ImageReference> {
    let wanted = last_part(team.wanted.repository());
    nearest(team, repositories, |name| (last_part(name) == wanted).then_some(name.len()))
}

fn nearest<'n>(
    team: &TeamPaths<'_>,
    repositories: impl IntoIterator<Item = &'n str>,
    apart: impl Fn(&str) -> Option<usize>,
) -> Vec<ImageReference> {
    let mut near: Vec<(usize, &str)> = repositories
        .into_iter()
        .take(MAX_LOOKED_AT)
        .filter(|name| *name != team.wanted.repository() && team.includes(name))
        .filter_map(|name| Some((apart(name)?, name)))
        .collect();
    near.sort_unstable();
    near.dedup_by(|a, b| a.1 == b.1);
    let moved = near.into_iter().filter_map(|(_, name)| in_repository(team.wanted, name));
    moved.take(MAX_CANDIDATES).collect()
}

/// How many letters differ; nothing if too many.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let most = if wanted.len() <= 4 { 1 } else { MAX_APART };
    let distance = (name.len().abs_diff(wanted.len()) <= most)
        .then(|| strsim::damerau_levenshtein(wanted, name))?;
    (distance <= most).then_some(distance)
}

/// The same tag or digest in another repository of the registry.
fn in_repository(wanted: &ImageReference, repository: &str) -> Option<ImageReference> {
    let tag = wanted.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = wanted.digest().map(|digest| format!("@{digest}")).unwrap_or_default();
    ImageReference::parse(&format!("{}/{repository}{tag}{digest}", wanted.host())).ok()
}

impl Advice {
    /// A repository of the same registry that is spelt nearly so and has the tag.
    pub fn meant_repository(image: &ImageReference) -> Self {
        let message = format!("did you mean {}?", image.repository());
        Self::new(AdviceKind::NearestRepository, image.to_string(), message)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("r.example/shop/ap:1", &["shop/app", "shop/api", "other/x"], &["shop/api", "shop/app"])]
    #[case("r.example/shop/billing:1", &["shop/biling", "shop/billings2024"], &["shop/biling"])]
    #[case("r.example/shop/app:1", &["store/app", "shoq/app", "shop/app", "app"], &[])]
    #[case("r.example/shoq/app:1", &["shop/app", "shoq2/app"], &["shop/app"])]
    #[case("r.example/web:1", &["wab", "wxy", "web"], &["wab"])]
    #[case("r.example/shop/app:1", &["SHOP/app", "shop/app\u{1b}[0m"], &[])]
    fn near_names(#[case] wanted: &str, #[case] listed: &[&str], #[case] expected: &[&str]) {
        let wanted = ImageReference::parse(wanted).unwrap();
        let own = if wanted.repository().starts_with("shoq") { vec!["shop/web"] } else { vec![] };
        let found = misspelt(&TeamPaths::new(&wanted, own), listed.iter().copied());
        let found: Vec<&str> = found.iter().map(ImageReference::repository).collect();
        assert_eq!(found, expected);
    }

    #[rstest]
    #[case::beside("org/pay/app", &[], "org/pay/v2/app", true)]
    #[case::another_team("org/pay/app", &[], "org/shop/app", false)]
    #[case::a_longer_name("org/pay/app", &[], "org/pay2/app", false)]
    #[case::without_a_path("app", &[], "pay/app", false)]
    #[case::the_teams_own("app", &["pay/web"], "pay/app", true)]
    #[case::of_no_path("app", &["web"], "pay/app", false)]
    #[case::through_a_mirror("library/nginx", &[], "hub/library/nginx", true)]
    #[case::only_the_last_part("library/nginx", &[], "evil/nginx", false)]
    fn of_the_same_name(
        #[case] wanted: &str,
        #[case] own: &[&str],
        #[case] other: &str,
        #[case] expected: bool,
    ) {
        let wanted = ImageReference::parse(&format!("r.example/{wanted}:1")).unwrap();
        let team = TeamPaths::new(&wanted, own.iter().copied());
        assert_eq!(!of_same_name(&team, [other]).is_empty(), expected);
    }
}
