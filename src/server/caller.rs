//! Who is answered: callers that know the path token, that present a client certificate, or that are
//! the API server's aggregation layer.
//!
//! Anybody in a cluster can send a forged review to a Service and would learn from the answer
//! which images and secrets exist. The token stands in the webhook configuration alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::front_proxy::FrontProxy;

/// A token shorter than this can be guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;
/// More lines than this in a token file are a wrong file.
const MOST: usize = 8;

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CallersError {
    /// The file holds no token, or more than a few.
    #[error("{}: expected one path token (or a few, one per line), found {found}", path.display())]
    Count {
        /// The file.
        path: PathBuf,
        /// How many were found.
        found: usize,
    },
    /// A token is too short or too long.
    #[error(
        "{}, line {line}: a path token has {SHORTEST} to {LONGEST} characters, this one has {length}",
        path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// How long it is.
        length: usize,
    },
    /// A token has a character that would need escaping in a URL.
    #[error("{}, line {line}: a path token consists of letters, digits, -, _, . and ~", path.display())]
    Character {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// The token in the path, kept as a hash: equal lengths make the comparison take equal time.
#[derive(Clone)]
pub struct PathToken([u8; 32]);

impl PathToken {
    /// The token of this text.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    fn matches(&self, given: &Self) -> subtle::Choice {
        self.0.ct_eq(&given.0)
    }
}

impl fmt::Debug for PathToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathToken(redacted)")
    }
}

/// Reads tokens from the text of a token file: one per line, so that an old one can stay valid
/// while a new one is rolled out.
fn parse(path: &Path, text: &str) -> Result<Vec<PathToken>, CallersError> {
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        let (path, line) = (|| path.to_owned(), index + 1);
        if token.is_empty() {
            continue;
        }
        if !(SHORTEST..=LONGEST).contains(&token.len()) {
            return Err(CallersError::Length { path: path(), line, length: token.len() });
        }
        if !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)) {
            return Err(CallersError::Character { path: path(), line });
        }
        tokens.push(PathToken::new(token));
    }
    if tokens.is_empty() || tokens.len() > MOST {
        return Err(CallersError::Count { path: path.to_owned(), found: tokens.len() });
    }
    Ok(tokens)
}

/// Who is answered. Cheap to clone; clones see reloads.
#[derive(Debug, Clone)]
pub struct Callers {
    tokens: Arc<ArcSwap<Vec<PathToken>>>,
    certificates: bool,
    front_proxy: Option<FrontProxy>,
    trusts_path: bool,
}

impl Callers {
    /// Callers with one of these tokens, and, if `certificates`, callers whose client certificate
    /// TLS has verified.
    pub fn new(tokens: Vec<PathToken>, certificates: bool) -> Self {
        let tokens = Arc::new(ArcSwap::from_pointee(tokens));
        Self { tokens, certificates, front_proxy: None, trusts_path: false }
    }

    /// The API server's aggregation layer as well.
    #[must_use]
    pub(crate) fn and_front_proxy(self, front_proxy: FrontProxy) -> Self {
        Self { front_proxy: Some(front_proxy), ..self }
    }

    /// The path token counts as much as any proof: for tests and trying out.
    #[must_use]
    pub(crate) fn trusting_path(self) -> Self {
        Self { trusts_path: true, ..self }
    }

    /// Whether the path token is all the proof that is needed.
    pub(super) fn trusts_path(&self) -> bool {
        self.trusts_path
    }

    /// The aggregation layer, if it is answered.
    pub(super) fn front_proxy(&self) -> Option<&FrontProxy> {
        self.front_proxy.as_ref()
    }

    /// Callers with one of the tokens in this text of a file.
    pub fn parse(path: &Path, text: &str, certificates: bool) -> Result<Self, CallersError> {
        Ok(Self::new(parse(path, text)?, certificates))
    }

    /// Takes new tokens into use; in case of an error the old ones stay.
    pub fn replace(&self, path: &Path, text: &str) -> Result<(), CallersError> {
        self.tokens.store(Arc::new(parse(path, text)?));
        Ok(())
    }

    /// Whether the caller has proven itself with this token. Takes the same time for all.
    pub(super) fn knows_token(&self, given: &str) -> bool {
        let given = PathToken::new(given);
        let tokens = self.tokens.load();
        let hits = tokens.iter().map(|token| token.matches(&given));
        bool::from(hits.fold(subtle::Choice::from(0), |any, hit| any | hit))
    }

    /// Whether a client certificate that TLS has verified is proof enough.
    pub(super) fn accepts_certificates(&self) -> bool {
        self.certificates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(text: &str) -> Result<Vec<PathToken>, String> {
        parse(Path::new("token"), text).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::empty("", "token: expected one path token (or a few, one per line), found 0")]
    #[case::blank(" \n\n", "token: expected one path token (or a few, one per line), found 0")]
    #[case::short(
        "\nabc\n",
        "token, line 2: a path token has 16 to 512 characters, this one has 3"
    )]
    #[case::slash(
        "0123456789abcde/f",
        "token, line 1: a path token consists of letters, digits, -, _, . and ~"
    )]
    fn unusable_files_are_named(#[case] text: &str, #[case] message: &str) {
        assert_eq!(read(text).unwrap_err(), message);
    }

    #[test]
    fn surrounding_space_does_not_count_and_several_tokens_do() {
        let callers =
            Callers::new(read("  0123456789abcdef \r\n\nfedcba9876543210\n").unwrap(), false);
        assert!(callers.knows_token("0123456789abcdef"));
        assert!(callers.knows_token("fedcba9876543210"));
        for wrong in ["", "0123456789abcde", "0123456789abcdeF", " 0123456789abcdef"] {
            assert!(!callers.knows_token(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_bad_new_file_leaves_the_old_tokens() {
        let callers = Callers::new(read("0123456789abcdef").unwrap(), false);
        assert!(callers.replace(Path::new("token"), "short").is_err());
        assert!(callers.knows_token("0123456789abcdef"));
        callers.clone().replace(Path::new("token"), "fedcba9876543210").unwrap();
        assert!(callers.knows_token("fedcba9876543210"));
        assert!(!callers.knows_token("0123456789abcdef"));
    }

    #[test]
    fn no_token_at_all_admits_nobody_and_debug_shows_none() {
        let callers = Callers::new(Vec::new(), true);
        assert!(!callers.knows_token(""));
        let debug =
            format!("{:?}", Callers::new(vec![PathToken::new("secret-secret-secret")], false));
        assert!(debug.contains("redacted") && !debug.contains("secret-secret"), "{debug}");
    }
}
