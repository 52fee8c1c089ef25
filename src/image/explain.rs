//! The rules that an image name can break, with the words of the library that everybody links, and in
//! plain words which part of a name is wrong.
//!
//! The library's texts are often no more than `invalid reference format`; a person needs the
//! part. The words repeat only what the user wrote, escaped and cut to a bounded length.

use super::digest::DigestError;
use super::grammar;
use crate::text::quoted;

/// The rules of the library, each with its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceErrorKind {
    /// The whole name is 64 hex digits, which looks like an image ID.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    BareHex(Box<str>),
    /// The repository, up to its first colon, is not lower case.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCaseRepository(Box<str>),
    /// It would be legal in lower case.
    #[error("repository name must be lowercase")]
    UpperCase,
    /// It does not match the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository is longer than 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    NameTooLong,
    /// The digest is not one of a known algorithm.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// The most characters of the user's text that are repeated.
const QUOTE_LIMIT: usize = 60;

/// The offending part of an image name that was refused for this reason.
pub(super) fn offending(kind: &ReferenceErrorKind, image: &str) -> String {
    match kind {
        ReferenceErrorKind::BareHex(_) => {
            "64 hex digits are an image ID, not a repository".to_owned()
        }
        _ if placeholder(image).is_some() => {
            format!("unfilled placeholder {}", quote(placeholder(image).unwrap_or_default()))
        }
        ReferenceErrorKind::UpperCaseRepository(remote) => upper_case(remote),
        ReferenceErrorKind::UpperCase => upper_case(image),
        ReferenceErrorKind::NameTooLong => {
            format!("repository is longer than {} characters", grammar::MAX_PATH)
        }
        ReferenceErrorKind::Digest(error) => {
            let digest = image.split_once('@').map_or(image, |(_, digest)| digest);
            format!("{error} in {}", quote(digest))
        }
        ReferenceErrorKind::Format => format_fault(image),
    }
}

fn upper_case(part: &str) -> String {
    match part.split_once('@') {
        Some((repository, algorithm)) if !grammar::has_upper(repository) => {
            format!("uppercase letter in digest algorithm {}", quote(algorithm))
        }
        _ => {
            format!("uppercase letter in {}", quote(part.strip_prefix("library/").unwrap_or(part)))
        }
    }
}

/// A template or shell placeholder that nobody filled in.
fn placeholder(image: &str) -> Option<&str> {
    for (open, close) in [("${", "}"), ("{{", "}}"), ("$(", ")"), ("<", ">")] {
        if let Some(start) = image.find(open) {
            let end = image[start..].find(close).map_or(image.len(), |at| start + at + close.len());
            return Some(&image[start..end]);
        }
    }
    None
}

/// The first element, from the left, that the grammar does not know.
fn format_fault(image: &str) -> String {
    if image.is_empty() {
        return "the name is empty".to_owned();
    }
    if let Some((scheme, _)) = image.split_once("://") {
        return format!(
            "scheme {} does not belong in an image name",
            quote(&format!("{scheme}://"))
        );
    }
    if image.contains(char::is_whitespace) {
        return format!("white space in {}", quote(image));
    }
    if let Some(odd) = image.chars().find(|c| !c.is_ascii_graphic()) {
        return format!("character {} in {}", quote(&odd.to_string()), quote(image));
    }
    if let Some((first, rest)) = image.split_once('/')
        && first.contains(['.', ':'])
    {
        if grammar::is_domain(first) {
            return rest_fault(rest);
        }
        if first.contains(':') || !grammar::is_path_component(first) {
            return format!("registry host {} is not valid", quote(first));
        }
    }
    rest_fault(image)
}

/// The fault in `path[:tag][@digest]`.
fn rest_fault(rest: &str) -> String {
    let end = rest.find([':', '@']).unwrap_or(rest.len());
    let (path, suffix) = rest.split_at(end);
    if path.is_empty() {
        return "the repository is empty".to_owned();
    }
    if path.split('/').any(str::is_empty) {
        return format!("empty part in repository {}", quote(path));
    }
    if let Some(part) = path.split('/').find(|part| !grammar::is_path_component(part)) {
        return format!("repository part {} is not valid", quote(part));
    }
    let (tag, digest) = match suffix.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (suffix, None),
    };
    if let Some(tag) = tag.strip_prefix(':')
        && !grammar::is_tag(tag)
    {
        return match tag.len() {
            0 => "the tag is empty".to_owned(),
            n if n > grammar::MAX_TAG => {
                format!("tag is longer than {} characters", grammar::MAX_TAG)
            }
            _ => format!("tag {} is not valid", quote(tag)),
        };
    }
    match digest {
        Some("") => "the digest is empty".to_owned(),
        Some(digest) => format!("digest {} is not valid", quote(digest)),
        None => format!("{} is not valid", quote(rest)),
    }
}

fn quote(text: &str) -> String {
    quoted(text, '"', QUOTE_LIMIT)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::image::ImageReference;

    #[rstest]
    #[case("ghcr.io/Org/app:v1", "uppercase letter in \"Org/app\"")]
    #[case("Nginx", "uppercase letter in \"Nginx\"")]
    #[case("Foo_bar.com/app", "uppercase letter in \"Foo_bar.com/app\"")]
    #[case("nginx@SHA256:00", "uppercase letter in digest algorithm \"SHA256\"")]
    #[case("nginx:${TAG}", "unfilled placeholder \"${TAG}\"")]
    #[case("{{ .Values.image }}", "unfilled placeholder \"{{ .Values.image }}\"")]
    #[case("<image>", "unfilled placeholder \"<image>\"")]
    #[case("", "the name is empty")]
    #[case("https://ghcr.io/a", "scheme \"https://\" does not belong in an image name")]
    #[case("nginx\n", "white space in \"nginx\\n\"")]
    #[case("nginx\u{7}", "character \"\\u{7}\" in \"nginx\\u{7}\"")]
    #[case("ünï/app", "character \"ü\" in \"ünï/app\"")]
    #[case("exa..mple.com/app", "registry host \"exa..mple.com\" is not valid")]
    #[case("example.com:http/app", "registry host \"example.com:http\" is not valid")]
    #[case("ghcr.io/a//b", "empty part in repository \"a//b\"")]
    #[case("ghcr.io/a/_b:1", "repository part \"_b\" is not valid")]
    #[case("nginx:", "the tag is empty")]
    #[case("nginx:-x", "tag \"-x\" is not valid")]
    #[case("nginx:a/b", "registry host \"nginx:a\" is not valid")]
    #[case("ghcr.io/nginx:a/b", "tag \"a/b\" is not valid")]
    #[case("nginx@", "the digest is empty")]
    #[case("nginx@latest", "digest \"latest\" is not valid")]
    #[case(":tag", "the repository is empty")]
    #[case(
        "nginx:1@md5:0123456789abcdef0123456789abcdef",
        "unsupported digest algorithm in \"md5:0123456789abcdef0123456789abcdef\""
    )]
    fn names_the_part(#[case] image: &str, #[case] words: &str) {
        assert_eq!(ImageReference::parse(image).unwrap_err().offending(), words);
    }

    #[test]
    fn is_bounded_and_on_one_line() {
        for image in ["A\n".repeat(10_000), "ä".repeat(10_000), "\u{202e}a b".repeat(1000)] {
            let error = ImageReference::parse(&image).unwrap_err();
            assert!(error.offending().chars().count() < 1000, "{}", error.offending());
            assert!(!error.offending().contains(|c: char| c.is_control() || c == '\u{202e}'));
        }
    }
}
