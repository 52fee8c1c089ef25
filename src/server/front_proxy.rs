//! The API server's aggregation layer as a caller: the certificate with which it proves itself, and
//! for whom it speaks.
//!
//! What counts is in the `ConfigMap` `kube-system/extension-apiserver-authentication`, which the API
//! server writes: <https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/>.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::http::{HeaderMap, HeaderValue};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::pem::{TlsError, client_verifier};

/// As whom the API server calls webhooks at its own Service: its loopback identity, which no token and
/// no certificate brings. Whoever may impersonate it with its groups may read every Secret anyway.
const API_SERVER: &str = "system:apiserver";
const ITS_GROUPS: [&str; 2] = ["system:authenticated", "system:masters"];

/// What the API server says of its aggregation layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrontProxyTrust {
    /// Who signs the front proxy's certificate, PEM.
    pub authorities: String,
    /// The common names that its certificate may have; any if there are none.
    pub names: Vec<String>,
    /// The headers with the user's name, the first one that is there counts.
    pub user_headers: Vec<String>,
    /// The headers with the user's groups.
    pub group_headers: Vec<String>,
}

struct ActiveTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    trust: FrontProxyTrust,
}

/// Knows the front proxy. Cheap to clone; clones see what is taken later. Nobody is it until then.
#[derive(Clone, Default)]
pub(crate) struct FrontProxy(Arc<ArcSwapOption<ActiveTrust>>);

impl fmt::Debug for FrontProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrontProxy")
            .field(&self.0.load().as_ref().map(|known| &known.trust))
            .finish()
    }
}

impl FrontProxy {
    /// Takes this into force; in case of an error the old stays. Says whether it is news.
    pub(crate) fn take(&self, trust: FrontProxyTrust) -> Result<bool, TlsError> {
        if self.0.load().as_ref().is_some_and(|known| known.trust == trust) {
            return Ok(false);
        }
        let place = Path::new("ConfigMap kube-system/extension-apiserver-authentication");
        let verifier = client_verifier(place, trust.authorities.as_bytes())?;
        self.0.store(Some(Arc::new(ActiveTrust { verifier, trust })));
        Ok(true)
    }

    /// Whether what may be trusted is known.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load().is_some()
    }

    /// Whether this is the front proxy's chain of certificates.
    pub(super) fn is(&self, chain: &[CertificateDer<'_>]) -> bool {
        chain
            .split_first()
            .is_some_and(|(own, more)| self.verify(own, more, UnixTime::now()).is_ok())
    }

    fn verify(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let known = self.0.load();
        let Some(known) = known.as_ref() else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let verified = known.verifier.verify_client_cert(own, more, now)?;
        let names = &known.trust.names;
        if names.is_empty() || common_name(own).is_some_and(|name| names.contains(&name)) {
            Ok(verified)
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    /// Whether the API server itself asks, and nobody who sends a request by way of it.
    pub(super) fn speaks_for_itself(&self, headers: &HeaderMap) -> bool {
        let known = self.0.load();
        let Some(known) = known.as_ref() else { return false };
        let FrontProxyTrust { user_headers, group_headers, .. } = &known.trust;
        values(headers, user_headers).eq([API_SERVER.as_bytes()])
            && values(headers, group_headers).count() == ITS_GROUPS.len()
            && ITS_GROUPS
                .iter()
                .all(|group| values(headers, group_headers).any(|value| value == group.as_bytes()))
    }
}

/// All values of these headers.
fn values<'a>(headers: &'a HeaderMap, names: &'a [String]) -> impl Iterator<Item = &'a [u8]> {
    let all = names.iter().flat_map(|name| headers.get_all(name.as_str()));
    all.map(HeaderValue::as_bytes)
}

fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

/// Takes client certificates of the front proxy, and those of the given authorities if there are
/// any. Whoever has none gets as far as a 403.
#[derive(Debug)]
pub(super) struct EitherVerifier {
    pub(super) given: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) front: FrontProxy,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for EitherVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: the front proxy's authorities may change while connections are made.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match (self.front.verify(own, more, now), &self.given) {
            (Ok(verified), _) => Ok(verified),
            (Err(error), None) => Err(error),
            (Err(_), Some(given)) => given.verify_client_cert(own, more, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
