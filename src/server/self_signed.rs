//! Makes a certificate authority and a serving certificate in a directory: for trying Pullgate
//! out, and for tests. In a cluster the certificate comes from a Secret that all replicas share.
//!
//! What is there and still good is kept, so that the `caBundle` in the webhook configuration
//! stays right.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::tls::{TlsFiles, expiry};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_LIFE: u32 = 10 * 365;
const CERTIFICATE_LIFE: u32 = 365;
/// A certificate with less than this left is made anew.
const RENEW_BEFORE: u32 = 60;

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
    #[error("failed to make a certificate")]
    Make(#[from] rcgen::Error),
}

/// A directory with `ca.crt`, `ca.key`, `tls.crt` and `tls.key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfSigned {
    directory: PathBuf,
}

impl SelfSigned {
    /// Makes sure that the directory has an authority and a certificate of it for these names,
    /// with some weeks to run. Keeps what is still good.
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
        if this.is_good(names, now) {
            return Ok(this);
        }
        let (authority, key) = match this.authority(now) {
            Some(kept) => kept,
            None => this.make_authority(now)?,
        };
        this.make_certificate(&Issuer::from_ca_cert_pem(&authority, key)?, names, now)?;
        Ok(this)
    }

    /// The certificate and key to serve with.
    pub fn files(&self, client_authorities: Option<PathBuf>) -> TlsFiles {
        TlsFiles {
            certificate: self.file("tls.crt"),
            key: self.file("tls.key"),
            client_authorities,
        }
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

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.file(name)).ok()
    }

    /// Whether the certificate is of this authority, for all names, with its key, and has some
    /// weeks to run.
    fn is_good(&self, names: &[String], now: Timestamp) -> bool {
        let check = || {
            let (authority, _) = self.authority(now)?;
            let authority = CertificateDer::from_pem_slice(authority.as_bytes()).ok()?;
            let leaf = CertificateDer::from_pem_slice(&self.read("tls.crt")?).ok()?;
            let key = PrivateKeyDer::from_pem_slice(&self.read("tls.key")?).ok()?;
            let mut roots = RootCertStore::empty();
            roots.add(authority).ok()?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            rustls::sign::CertifiedKey::from_der(vec![leaf.clone()], key, &provider).ok()?;
            let verifier =
                WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().ok()?;
            let then = u64::try_from(now.as_second()).ok()? + (DAY * RENEW_BEFORE).as_secs();
            let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
            for name in names {
                let name = ServerName::try_from(name.as_str()).ok()?;
                verifier.verify_server_cert(&leaf, &[], &name, &[], then).ok()?;
            }
            Some(())
        };
        check().is_some()
    }

    /// The authority that is there, if it can sign certificates that outlive their renewal.
    fn authority(&self, now: Timestamp) -> Option<(String, KeyPair)> {
        let pem = String::from_utf8(self.read("ca.crt")?).ok()?;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let needed = now.checked_add(DAY * (CERTIFICATE_LIFE + RENEW_BEFORE)).ok()?;
        let key = KeyPair::from_pem(&String::from_utf8(self.read("ca.key")?).ok()?).ok()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        let of_this_key = parsed.public_key().raw == key.subject_public_key_info();
        (of_this_key && expiry(&certificate)? > needed).then_some((pem, key))
    }

    fn make_authority(&self, now: Timestamp) -> Result<(String, KeyPair), SelfSignedError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "Pullgate self-signed authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        valid(&mut params, now, AUTHORITY_LIFE);
        let pem = params.self_signed(&key)?.pem();
        self.write("ca.key", &key.serialize_pem(), 0o600)?;
        self.write("ca.crt", &pem, 0o644)?;
        Ok((pem, key))
    }

    fn make_certificate(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        names: &[String],
        now: Timestamp,
    ) -> Result<(), SelfSignedError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "Pullgate");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        valid(&mut params, now, CERTIFICATE_LIFE);
        let pem = params.signed_by(&key, issuer)?.pem();
        self.write("tls.key", &key.serialize_pem(), 0o600)?;
        self.write("tls.crt", &pem, 0o644)
    }

    /// Writes beside and renames: nobody ever reads half a file.
    fn write(&self, name: &str, content: &str, mode: u32) -> Result<(), SelfSignedError> {
        let path = self.file(name);
        let beside = self.file(&format!(".{name}.new"));
        let write = || {
            let _none_there = std::fs::remove_file(&beside);
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&beside)?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)
        };
        write().map_err(|source| SelfSignedError::File { path: path.clone(), source })
    }
}

/// Valid from yesterday (clocks differ) for so many days from now.
fn valid(params: &mut CertificateParams, now: Timestamp, days: u32) {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = now - DAY;
    params.not_after = now + DAY * days;
}
