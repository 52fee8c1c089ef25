//! Certificates for the servers of a test: one authority, server certificates under it, all P-256.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key, PKCS#8.
    pub key: String,
}

/// The authority of the aggregation layers of all control planes of this process, so that a test can
/// play one.
pub fn front_proxies() -> &'static Authority {
    static FRONT_PROXIES: std::sync::LazyLock<Authority> =
        std::sync::LazyLock::new(|| Authority::new("pullgate-test-front-proxy"));
    &FRONT_PROXIES
}

/// The common name of their certificates.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new authority; nobody trusts it yet.
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a P-256 key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate of the authority"))
    }

    /// The authority's own certificate, PEM: what a client has to trust.
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server that is reached as one of `names` (host names or addresses).
    pub fn server(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = names[0].clone();
        let mut params = CertificateParams::new(names).expect("names of a server");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    /// A certificate with which a client proves to be `user`.
    pub fn client(&self, user: &str) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// The same, good from one moment to another, in Unix seconds.
    pub fn client_for(&self, user: &str, life: std::ops::Range<u64>) -> Identity {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (at(life.start), at(life.end));
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a P-256 key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
