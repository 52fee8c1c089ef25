//! Certificates from PEM, and why they cannot be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// Why a certificate, its key or the client authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no certificate, or one that does not parse.
    #[error("failed to find a certificate in {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// A file has no private key, or one that does not parse.
    #[error("failed to find a private key in {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not spoken.
    #[error("failed to use the certificate in {} with the key in {}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The certificate is not X.509 as we read it.
    #[error("failed to read the validity of the certificate in {}", path.display())]
    Validity {
        /// The file.
        path: PathBuf,
    },
    /// The new certificate has expired already.
    #[error("the certificate in {} expired at {expired}", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        expired: Timestamp,
    },
    /// A client authority cannot be used.
    #[error("failed to use a client authority in {}", path.display())]
    ClientAuthority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The client authorities cannot be used.
    #[error("failed to use the client authorities in {}", path.display())]
    ClientAuthorities {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::client::VerifierBuilderError,
    },
}

/// Knows the client certificates of these authorities. Callers without certificate get as far as a
/// 403: no other answer, but counted.
pub(super) fn client_verifier(
    path: &Path,
    pem: &[u8],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path, pem)? {
        let refused = |source| TlsError::ClientAuthority { path: path.to_owned(), source };
        roots.add(authority).map_err(refused)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|source| TlsError::ClientAuthorities { path: path.to_owned(), source })
}

pub(super) fn certificates(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Certificate { path: path.to_owned(), source };
    let chain =
        CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if chain.is_empty() {
        return Err(wrong(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(chain)
}
