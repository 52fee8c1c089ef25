//! The rules that an image name can break, with the words of the library that everybody links.

use super::digest::DigestError;

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
