//! Names that no runtime parses, and what was most likely meant.

use crate::image::ImageReference;

/// Schemes that people copy along.
const SCHEMES: &[&str] = &["https://", "http://", "docker://", "oci://"];

/// The name as it was most likely meant, best first; to be proven before it is said. Made of
/// nothing but what was written.
pub(crate) fn corrections(written: &str) -> Vec<ImageReference> {
    let trimmed = written.trim().trim_end_matches(['/', ':']);
    let plain = SCHEMES.iter().find_map(|scheme| trimmed.strip_prefix(scheme)).unwrap_or(trimmed);
    let mut candidates = vec![plain.to_owned(), lower_repository(plain), plus_in_tag(plain, '_')];
    candidates.push(plus_in_tag(&lower_repository(plain), '-'));
    let mut found: Vec<ImageReference> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| **candidate != written) {
        if let Ok(reference) = ImageReference::parse(candidate)
            && !found.contains(&reference)
        {
            found.push(reference);
        }
    }
    found
}

/// Where tag or digest begin.
fn name_end(image: &str) -> usize {
    let after = image.rfind('/').map_or(0, |slash| slash + 1);
    image[after..].find([':', '@']).map_or(image.len(), |at| after + at)
}

/// Host and repository in lower case, the tag as it is.
fn lower_repository(image: &str) -> String {
    let (name, rest) = image.split_at(name_end(image));
    format!("{}{rest}", name.to_ascii_lowercase())
}

/// Versions with build metadata (`1.2.3+4`) are pushed under another character.
fn plus_in_tag(image: &str, instead: char) -> String {
    let (name, rest) = image.split_at(name_end(image));
    format!("{name}{}", rest.replace('+', &instead.to_string()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("reg.example.com/App:1", &["reg.example.com/app:1"])]
    #[case("https://reg.example.com/app:1", &["reg.example.com/app:1"])]
    #[case("reg.example.com/app:1.2.3+4", &["reg.example.com/app:1.2.3_4", "reg.example.com/app:1.2.3-4"])]
    #[case(" reg.example.com/app:1 ", &["reg.example.com/app:1"])]
    #[case("reg.example.com/app:", &["reg.example.com/app:latest"])]
    #[case("reg.example.com/a b", &[])]
    fn what_was_meant(#[case] written: &str, #[case] meant: &[&str]) {
        let got: Vec<String> = corrections(written).iter().map(ToString::to_string).collect();
        assert_eq!(got, meant);
    }
}
