//! What can go wrong when the client is built or its mirror configuration replaced.
//!
//! What registries answer is never an error here: that is an outcome.

use std::path::PathBuf;

/// Why a registry client cannot be built, or new hosts not be taken.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A certificate or key file cannot be read or holds nothing usable.
    #[error("failed to load {what} from {}", path.display())]
    Pem {
        /// What it was meant to hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate file without a certificate.
    #[error("no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// TLS cannot be set up with these certificates.
    #[error("failed to set up TLS")]
    Tls(#[source] rustls::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The address of a proxy is none.
    #[error("the proxy address is not a URL")]
    Proxy,
    /// The HTTP client cannot be built.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A host's extra header cannot be sent.
    #[error("header {name:?} of {host} cannot be sent")]
    Header {
        /// The endpoint's host.
        host: String,
        /// The header's name.
        name: String,
    },
}
