//! Content digests: `sha256:…`, `sha384:…`, `sha512:…`, as `opencontainers/go-digest` checks them.
//!
//! A `Digest` that exists is valid. Comparing content with it is here too; fetching content is not.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The hash functions that the kubelet links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: what nearly every image uses.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hex digits a digest of this algorithm has.
    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|a| a.as_str() == name)
    }
}

/// Why a digest is refused; the texts are those of `go-digest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DigestError {
    /// No `algorithm:hex`, or the hex digits are not lower case.
    #[error("invalid checksum digest format")]
    Format,
    /// The number of hex digits is not the algorithm's.
    #[error("invalid checksum digest length")]
    Length,
    /// Not one of the three algorithms.
    #[error("unsupported digest algorithm")]
    Unsupported,
}

/// A valid digest. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: Arc<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Parses `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        if name.is_empty() || hex.is_empty() {
            return Err(DigestError::Format);
        }
        let Some(algorithm) = Algorithm::from_name(name) else {
            return Err(if is_well_formed(name, hex) {
                DigestError::Unsupported
            } else {
                DigestError::Format
            });
        };
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::Length);
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        Ok(Self { text: text.into(), algorithm })
    }

    /// The SHA-256 digest of some content.
    pub fn of_sha256(content: &[u8]) -> Self {
        Self { text: render(Algorithm::Sha256, content), algorithm: Algorithm::Sha256 }
    }

    /// Whether the content has this digest.
    pub fn verify(&self, content: &[u8]) -> bool {
        render(self.algorithm, content) == self.text
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hex digits behind the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.as_str().len() + 1..]
    }

    /// `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

/// The looser form that `go-digest` asks of an unknown algorithm before it calls it unsupported.
fn is_well_formed(name: &str, rest: &str) -> bool {
    name.split(['.', '+', '_', '-']).all(|part| {
        !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'))
    }) && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

fn render(algorithm: Algorithm, content: &[u8]) -> Arc<str> {
    let mut text = String::with_capacity(algorithm.hex_len() + 7);
    text.push_str(algorithm.as_str());
    text.push(':');
    match algorithm {
        Algorithm::Sha256 => push_hex(&mut text, &Sha256::digest(content)),
        Algorithm::Sha384 => push_hex(&mut text, &Sha384::digest(content)),
        Algorithm::Sha512 => push_hex(&mut text, &Sha512::digest(content)),
    }
    text.into()
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", DigestError::Format)]
    #[case("sha256", DigestError::Format)]
    #[case(":abc", DigestError::Format)]
    #[case("sha256:", DigestError::Format)]
    #[case("sha256:abc", DigestError::Length)]
    #[case("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Unsupported)]
    #[case("SHA256:abc", DigestError::Format)]
    #[case("a..b:abc", DigestError::Format)]
    #[case("multihash+base58:QmRZx_=-", DigestError::Unsupported)]
    fn refuses(#[case] text: &str, #[case] error: DigestError) {
        assert_eq!(Digest::parse(text), Err(error));
    }

    #[test]
    fn refuses_upper_case_hex() {
        let text = format!("sha256:{}", "A".repeat(64));
        assert_eq!(Digest::parse(&text), Err(DigestError::Format));
    }

    #[test]
    fn knows_its_content() {
        let digest = Digest::of_sha256(b"");
        assert_eq!(
            digest.as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.hex().len(), 64);
        assert!(digest.verify(b""));
        assert!(!digest.verify(b"x"));
        let longer = Digest::parse(&render(Algorithm::Sha512, b"x")).unwrap();
        assert_eq!(longer.algorithm(), Algorithm::Sha512);
        assert!(longer.verify(b"x"));
        assert!(Digest::parse(&render(Algorithm::Sha384, b"x")).unwrap().verify(b"x"));
    }
}
