//! TLS settings: whose certificates are trusted, for which endpoint, and who we say we are.
//!
//! Certificate files are looked at again: whether they are still those that were read, and when the
//! client certificates among them end. That blocks while it reads.
//!
//! Roots are the system's (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured), the files named on the
//! command line, and per endpoint those of its `hosts.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::options::RegistryError;
use crate::credential::Expiry;
use crate::node_config::{Client, Endpoint, RegistryHosts, TlsSettings};

/// What every endpoint's settings start from.
pub(super) struct TlsBase {
    provider: Arc<CryptoProvider>,
    roots: RootCertStore,
    plain: ClientConfig,
}

impl TlsBase {
    pub(super) fn load(ca_files: &[PathBuf]) -> Result<Self, RegistryError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "a system certificate could not be read");
        }
        roots.add_parsable_certificates(native.certs);
        add_files(&mut roots, ca_files)?;
        if roots.is_empty() {
            tracing::warn!("no certificate authority is trusted: https will fail everywhere");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let plain = build(&provider, &roots, &TlsSettings::default())?;
        Ok(Self { provider, roots, plain })
    }

    /// The configuration for one endpoint; for most of them nothing is special.
    pub(super) fn config(
        &self,
        settings: Option<&TlsSettings>,
    ) -> Result<ClientConfig, RegistryError> {
        match settings {
            Some(settings) => build(&self.provider, &self.roots, settings),
            None => Ok(self.plain.clone()),
        }
    }
}

fn build(
    provider: &Arc<CryptoProvider>,
    roots: &RootCertStore,
    settings: &TlsSettings,
) -> Result<ClientConfig, RegistryError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(RegistryError::Tls)?;
    let builder = if settings.skip_verify {
        let unseen = Arc::new(AcceptAnyCertificate { provider: Arc::clone(provider) });
        builder.dangerous().with_custom_certificate_verifier(unseen)
    } else {
        let mut roots = roots.clone();
        add_files(&mut roots, &settings.ca_files)?;
        builder.with_root_certificates(roots)
    };
    let mut config = match settings.clients.first() {
        Some(client) => {
            let (chain, key) = load_client(client)?;
            builder.with_client_auth_cert(chain, key).map_err(RegistryError::Tls)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_files(roots: &mut RootCertStore, files: &[PathBuf]) -> Result<(), RegistryError> {
    for path in files {
        for certificate in load_chain(path, "certificate authorities")? {
            roots.add(certificate).map_err(RegistryError::Tls)?;
        }
    }
    Ok(())
}

fn load_chain(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let failed = |source| RegistryError::Pem { what, path: path.to_owned(), source };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if chain.is_empty() {
        return Err(RegistryError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// The end of the certificate in a file; nothing if it cannot be read, which those who use it say.
pub(super) fn end_of(path: &Path) -> Option<Expiry> {
    let chain = load_chain(path, "a client certificate").ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(chain.first()?).ok()?;
    let validity = parsed.validity();
    let time = |at: i64| Timestamp::from_second(at).ok();
    let from = time(validity.not_before.timestamp())?;
    Some(Expiry::of_life(from, time(validity.not_after.timestamp())?))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load_client(client: &Client) -> Result<Identity, RegistryError> {
    let chain = load_chain(&client.certificate, "a client certificate")?;
    let path = client.key.as_ref().unwrap_or(&client.certificate);
    let key = PrivateKeyDer::from_pem_file(path).map_err(|source| RegistryError::Pem {
        what: "a client key",
        path: path.clone(),
        source,
    })?;
    Ok((chain, key))
}

/// `skip_verify`: the nodes do not look at this certificate either.
#[derive(Debug)]
struct AcceptAnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The end of a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEnd {
    /// The host that it is shown to.
    pub host: Box<str>,
    /// When it ends.
    pub end: Expiry,
}

/// What was found where the files lie.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CertificateFiles {
    /// When each was last written, and how long it is; nothing of one that is not there.
    files: BTreeMap<PathBuf, Option<(SystemTime, u64)>>,
    /// The ends of those that are client certificates and can be read.
    ends: BTreeMap<PathBuf, Expiry>,
}

impl CertificateFiles {
    /// Looks at every file that these hosts name.
    pub(super) fn read(hosts: &RegistryHosts) -> Self {
        let mut found = Self::default();
        for settings in hosts.endpoints().filter_map(|endpoint| endpoint.tls.as_ref()) {
            let clients = settings.clients.iter();
            let files = clients.flat_map(|one| one.key.iter().chain([&one.certificate]));
            for path in files.chain(&settings.ca_files) {
                found.files.entry(path.clone()).or_insert_with(|| stamp(path));
            }
        }
        for (_, path) in hosts.clients() {
            if let Some(end) = end_of(path) {
                found.ends.insert(path.to_owned(), end);
            }
        }
        found
    }

    /// The ends of the client certificates, each with the host that it is shown to.
    pub(super) fn ends(&self, hosts: &RegistryHosts) -> Vec<CertificateEnd> {
        let clients = hosts.clients().into_iter();
        let ends = clients.filter_map(|(host, path)| Some((host, *self.ends.get(path)?)));
        ends.map(|(host, end)| CertificateEnd { host, end }).collect()
    }

    /// Whether no host is shown a certificate of which the end is known.
    pub(super) fn has_no_end(&self) -> bool {
        self.ends.is_empty()
    }

    /// The end of the certificate that this endpoint is shown, if it is shown one.
    pub(super) fn end_at(&self, endpoint: &Endpoint) -> Option<Expiry> {
        let client = endpoint.tls.as_ref()?.clients.first()?;
        self.ends.get(&client.certificate).copied()
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
