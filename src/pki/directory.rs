//! An authority and a certificate in a directory: for trying Pullgate out, and for tests. In a
//! cluster the certificate comes from a Secret that all replicas share.
//!
//! The user has put the authority into a webhook configuration, so it stays as long as it can sign,
//! and no other is trusted beside it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::pki_types::ServerName;

use super::make::{DAY, Lifetimes, MakeError, Wanted, renew_with_one_authority};
use super::material::PkiSecret;

/// The files and their modes, in the order in which they are written: a certificate is never there
/// before its key.
const FILES: [(&str, u32); 4] =
    [("ca.key", 0o600), ("ca.crt", 0o644), ("tls.key", 0o600), ("tls.crt", 0o644)];

/// Why a self-signed certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignedError {
    /// A file of the directory cannot be read or written.
    #[error("failed to keep certificates in {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A name for the certificate is neither a DNS name nor an IP address.
    #[error("{name} is neither a DNS name nor an IP address that a certificate can carry")]
    Name {
        /// The name.
        name: String,
    },
    /// The certificate could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
}

/// A directory with `ca.crt`, `ca.key`, `tls.crt` and `tls.key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    directory: PathBuf,
}

impl SelfSigned {
    /// Makes sure that the directory has an authority and a certificate of it for these names,
    /// with some months to run. Keeps what is still good.
    pub fn ensure(
        directory: &Path,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, SelfSignedError> {
        let this = Self { directory: directory.to_owned() };
        for name in names {
            ServerName::try_from(name.as_str())
                .map_err(|_| SelfSignedError::Name { name: name.clone() })?;
        }
        std::fs::create_dir_all(directory)
            .map_err(|source| SelfSignedError::File { path: directory.to_owned(), source })?;
        let lifetimes = Lifetimes {
            authority: DAY.saturating_mul(10 * 365),
            certificate: DAY.saturating_mul(365),
            ..Lifetimes::default()
        };
        let wanted = Wanted { hosts: names, lifetimes, published: Duration::ZERO, now };
        let kept = this.read();
        let new = renew_with_one_authority(&PkiSecret::read(&kept), &wanted)?.write();
        for (name, mode) in FILES {
            if let Some(content) = new.get(name).filter(|content| kept.get(name) != Some(content)) {
                this.write(name, &content.0, mode)?;
            }
        }
        Ok(this)
    }

    /// Where the certificate is.
    pub fn certificate(&self) -> PathBuf {
        self.file("tls.crt")
    }

    /// Where its private key is.
    pub fn key(&self) -> PathBuf {
        self.file("tls.key")
    }

    /// What belongs into `clientConfig.caBundle`: the authority as PEM, in base64.
    pub fn ca_bundle(&self) -> Result<String, SelfSignedError> {
        let path = self.file("ca.crt");
        let pem = std::fs::read(&path).map_err(|s| SelfSignedError::File { path, source: s })?;
        Ok(base64::engine::general_purpose::STANDARD.encode(pem))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What is there and can be read.
    fn read(&self) -> BTreeMap<String, ByteString> {
        let read =
            |name: &str| Some((name.to_owned(), ByteString(std::fs::read(self.file(name)).ok()?)));
        FILES.into_iter().filter_map(|(name, _)| read(name)).collect()
    }

    /// Writes beside and renames: nobody ever reads half a file, and a key nobody else.
    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), SelfSignedError> {
        let path = self.file(name);
        let beside = self.file(&format!(".{name}.new"));
        let write = || {
            let _none_there = std::fs::remove_file(&beside);
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&beside)?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)
        };
        write().map_err(|source| SelfSignedError::File { path: path.clone(), source })
    }
}
