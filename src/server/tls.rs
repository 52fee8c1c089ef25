//! The serving certificate: loaded, checked, and swapped when the files' content changes.
//!
//! A pair that cannot be used, or has expired while the one in use has not, leaves the one in use
//! and says so. Running connections keep theirs; the next handshake takes the new one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::front_proxy::{EitherVerifier, FrontProxy};
use super::pem::{TlsError, certificates, client_verifier};
use super::watchfile::WatchedFiles;
use crate::telemetry::Metrics;

/// Where the certificate, its key and the client authorities are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Who may sign client certificates, PEM; none if client certificates prove nothing here.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.certificate.clone(), self.key.clone()];
        paths.extend(self.client_authorities.clone());
        paths
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let read =
            |path: PathBuf| std::fs::read(&path).map_err(|s| TlsError::Read { path, source: s });
        self.paths().into_iter().map(read).collect()
    }
}

/// A usable configuration and when its certificate expires.
struct Usable {
    config: Arc<ServerConfig>,
    expires: Timestamp,
}

/// The TLS configuration in use.
#[derive(Debug)]
pub struct ServingTls {
    files: TlsFiles,
    seen: Vec<Vec<u8>>,
    in_use: RustlsConfig,
    expires: Timestamp,
    front_proxy: Option<FrontProxy>,
    metrics: Arc<Metrics>,
}

impl ServingTls {
    /// Loads the files. An expired certificate is taken (there is nothing better) and told of.
    pub fn load(files: TlsFiles, now: Timestamp, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let seen = files.read()?;
        Self::with(files, seen, now, metrics)
    }

    /// Takes client certificates of the API server's aggregation layer as well.
    pub(crate) fn trusting(mut self, front_proxy: FrontProxy) -> Result<Self, TlsError> {
        let usable = parse(&self.files, &self.seen, Some(&front_proxy))?;
        self.in_use.reload_from_config(usable.config);
        self.front_proxy = Some(front_proxy);
        Ok(self)
    }

    pub(super) fn front_proxy(&self) -> Option<FrontProxy> {
        self.front_proxy.clone()
    }

    /// A certificate that is in no file: `files` only says where it is from, and `contents` are
    /// certificate, key and, if `files` names them, client authorities.
    pub fn with(
        files: TlsFiles,
        contents: Vec<Vec<u8>>,
        now: Timestamp,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let usable = parse(&files, &contents, None)?;
        if usable.expires <= now {
            tracing::error!(expired = %usable.expires, "the serving certificate has expired: API servers will refuse it");
        }
        metrics.certificate_expires(usable.expires.as_second());
        let in_use = RustlsConfig::from_config(usable.config);
        let expires = usable.expires;
        Ok(Self { files, seen: contents, in_use, expires, front_proxy: None, metrics })
    }

    /// The handle that handshakes read from.
    pub(super) fn rustls(&self) -> RustlsConfig {
        self.in_use.clone()
    }

    /// When the certificate in use expires.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The configuration that the next handshake takes.
    pub fn in_use(&self) -> Arc<ServerConfig> {
        self.in_use.get_inner()
    }

    /// Takes new certificates into use.
    pub fn taker(&self) -> CertificateTaker {
        CertificateTaker {
            files: self.files.clone(),
            in_use: self.in_use.clone(),
            expires: self.expires,
            front_proxy: self.front_proxy.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// A task that looks at the files at this interval and takes new content into use. Never ends.
    pub fn keep_fresh(&self, every: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut watched = WatchedFiles::new(self.files.paths(), self.seen.clone());
        let mut taker = self.taker();
        async move {
            loop {
                let contents = watched.changed(every).await;
                #[expect(clippy::disallowed_methods, reason = "an edge reads the clock")]
                let now = Timestamp::now();
                taker.take(contents, now);
            }
        }
    }
}

/// Takes new certificates into use; one that cannot be used leaves the old one and is told of.
#[derive(Debug)]
pub struct CertificateTaker {
    files: TlsFiles,
    in_use: RustlsConfig,
    expires: Timestamp,
    front_proxy: Option<FrontProxy>,
    metrics: Arc<Metrics>,
}

impl CertificateTaker {
    /// Takes certificate, key and, if the files name them, client authorities into use for the
    /// next handshake.
    pub fn take(&mut self, contents: &[Vec<u8>], now: Timestamp) {
        let new = parse(&self.files, contents, self.front_proxy.as_ref())
            .and_then(|new| not_worse(new, &self.files, self.expires, now));
        match new {
            Ok(new) => {
                self.expires = new.expires;
                self.in_use.reload_from_config(new.config);
                self.metrics.certificate_expires(new.expires.as_second());
                self.metrics.reloaded("certificate", true);
                tracing::info!(expires = %new.expires, "took a new serving certificate into use");
            }
            Err(error) => {
                self.metrics.reloaded("certificate", false);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the new serving certificate cannot be used, the old one stays"
                );
            }
        }
    }
}

fn not_worse(
    new: Usable,
    files: &TlsFiles,
    old_expires: Timestamp,
    now: Timestamp,
) -> Result<Usable, TlsError> {
    if new.expires <= now && old_expires > now {
        return Err(TlsError::Expired { path: files.certificate.clone(), expired: new.expires });
    }
    Ok(new)
}

fn parse(
    files: &TlsFiles,
    contents: &[Vec<u8>],
    front_proxy: Option<&FrontProxy>,
) -> Result<Usable, TlsError> {
    let content = |index: usize| contents.get(index).map(Vec::as_slice).unwrap_or_default();
    let chain = certificates(&files.certificate, content(0))?;
    let expires = chain
        .first()
        .and_then(expiry)
        .ok_or_else(|| TlsError::Validity { path: files.certificate.clone() })?;
    let key = PrivateKeyDer::from_pem_slice(content(1))
        .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
    let pair = |source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // TLS 1.2 and 1.3: the default of rustls, which has nothing older.
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let given = files.client_authorities.as_deref();
    let given = given.map(|path| client_verifier(path, content(2))).transpose()?;
    let builder = match (given, front_proxy) {
        (None, None) => builder.with_no_client_auth(),
        (Some(given), None) => builder.with_client_cert_verifier(given),
        (given, Some(front)) => {
            let front = front.clone();
            builder.with_client_cert_verifier(Arc::new(EitherVerifier { given, front, provider }))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Usable { config: Arc::new(config), expires })
}

/// When a certificate expires.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}
