//! Which repository was meant where the one that was written does not exist: those of the same
//! registry that are spelt nearly so.
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

/// The wanted tag or digest in the repositories that are spelt nearly as the wanted one, the nearest
/// first.
pub fn misspelt<'n>(
    wanted: &ImageReference,
    repositories: impl IntoIterator<Item = &'n str>,
) -> Vec<ImageReference> {
    let mut near: Vec<(usize, &str)> = repositories
        .into_iter()
        .take(MAX_LOOKED_AT)
        .filter(|name| *name != wanted.repository())
        .filter_map(|name| Some((apart(wanted.repository(), name)?, name)))
        .collect();
    near.sort_unstable();
    near.dedup_by(|a, b| a.1 == b.1);
    let moved = near.into_iter().filter_map(|(_, name)| in_repository(wanted, name));
    moved.take(MAX_CANDIDATES).collect()
}

/// How far apart two names are; nothing if they are not alike. The same last part in another
/// project counts as near.
fn apart(wanted: &str, name: &str) -> Option<usize> {
    let most = if wanted.len() <= 4 { 1 } else { MAX_APART };
    if name.len().abs_diff(wanted.len()) <= most {
        let distance = strsim::damerau_levenshtein(wanted, name);
        if distance <= most {
            return Some(distance);
        }
    }
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    (last(wanted) == last(name)).then_some(MAX_APART + 1)
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
        let message = format!("did you mean `{image}`? it can be pulled");
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
    #[case("r.example/shop/app:1", &["store/app", "shop/app"], &["store/app"])]
    #[case("r.example/web:1", &["wab", "wxy", "web"], &["wab"])]
    #[case("r.example/shop/app:1", &["SHOP/app", "shop/app\u{1b}[0m"], &[])]
    fn near_names(#[case] wanted: &str, #[case] listed: &[&str], #[case] expected: &[&str]) {
        let wanted = ImageReference::parse(wanted).unwrap();
        let found = misspelt(&wanted, listed.iter().copied());
        let found: Vec<&str> = found.iter().map(ImageReference::repository).collect();
        assert_eq!(found, expected);
    }
}
