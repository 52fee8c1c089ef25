//! Certificates: whose are trusted, which faults are kept apart, and who we say we are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pullgate::credential::Expiry;
use pullgate::image::ImageReference;
use pullgate::node_config::{Client, TlsSettings};
use pullgate::pull::{Outcome, TlsFault};
use pullgate::registry::{CertificateEnd, RegistryClient, RegistryOptions};
use pullgate::review::ManifestSource as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::scripted::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, PEM.
fn issue(authority: &Authority, name: &str, expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn serve(certificate: &(String, String), clients: Option<&Authority>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificate.1.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let router = axum::Router::new().fallback(async || envelope(404, "MANIFEST_UNKNOWN"));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(server.serve(router.into_make_service()));
    address
}

fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

async fn ask(address: SocketAddr, tls: Option<TlsSettings>, ca_files: Vec<PathBuf>) -> Outcome {
    let host = format!("localhost:{}", address.port());
    let mut options =
        RegistryOptions { contact_loopback: true, ca_files, ..RegistryOptions::default() };
    let mut endpoint = endpoint(&host);
    endpoint.url.set_scheme("https").unwrap();
    endpoint.tls = tls.map(Arc::new);
    options.hosts.insert(host.clone(), vec![endpoint]);
    let client = RegistryClient::new(options).unwrap();
    let reference = ImageReference::parse(&format!("{host}/a/b:v1")).unwrap();
    look(&client, &reference, None).await.outcome
}

fn is_answer(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::TagMissing { code: Some(_) })
}

#[tokio::test]
async fn faults_are_kept_apart() {
    let authority = authority();
    let directory = tempfile::tempdir().unwrap();
    let ca = file(&directory, "ca.pem", &authority.pem());
    let good = serve(&issue(&authority, "localhost", false), None);
    let unknown = ask(good, None, Vec::new()).await;
    assert_eq!(unknown, Outcome::Tls(TlsFault::UnknownAuthority));
    let other = serve(&issue(&authority, "other.example", false), None);
    let name = ask(other, None, vec![ca.clone()]).await;
    assert_eq!(name, Outcome::Tls(TlsFault::WrongName));
    let old = serve(&issue(&authority, "localhost", true), None);
    assert_eq!(ask(old, None, vec![ca]).await, Outcome::Tls(TlsFault::Expired));
}

#[tokio::test]
async fn an_authority_is_trusted_everywhere_or_for_one_endpoint() {
    let authority = authority();
    let directory = tempfile::tempdir().unwrap();
    let ca = file(&directory, "ca.pem", &authority.pem());
    let address = serve(&issue(&authority, "localhost", false), None);
    let everywhere = ask(address, None, vec![ca.clone()]).await;
    assert!(is_answer(&everywhere), "{everywhere:?}");
    let settings = TlsSettings { ca_files: vec![ca], ..TlsSettings::default() };
    let here = ask(address, Some(settings), Vec::new()).await;
    assert!(is_answer(&here), "{here:?}");
    let unseen = TlsSettings { skip_verify: true, ..TlsSettings::default() };
    let unverified = ask(address, Some(unseen), Vec::new()).await;
    assert!(is_answer(&unverified), "{unverified:?}");
}

#[test]
fn the_end_of_a_client_certificate_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = issue(&authority(), "nodes", true);
    let client = Client {
        certificate: file(&directory, "client.pem", &certificate),
        key: Some(file(&directory, "client.key", &key)),
    };
    let both = certificate.clone() + &key;
    let gone = Client { certificate: file(&directory, "gone.pem", &both), key: None };
    let mut options = RegistryOptions::default();
    for (host, client) in [("a.example:5000", client), ("b.example", gone)] {
        let mut shown = endpoint(host);
        shown.tls = Some(Arc::new(TlsSettings { clients: vec![client], ..TlsSettings::default() }));
        options.hosts.insert(host, vec![shown]);
    }
    let client = RegistryClient::new(options).unwrap();
    std::fs::remove_file(directory.path().join("gone.pem")).unwrap();
    let ends = client.client_certificates();
    let end = Expiry { at: "2020-01-01T00:00:00Z".parse().unwrap(), short_lived: false };
    let expected = |host: &str| CertificateEnd { host: host.into(), end };
    assert_eq!(ends, [expected("a.example:5000"), expected("b.example")]);
    // Once it is looked at again, the one that is gone is not told of any more.
    assert!(client.take_certificates() && !client.take_certificates());
    assert_eq!(client.client_certificates(), [expected("a.example:5000")]);
    let of = |image: &str| client.certificate_end(&ImageReference::parse(image).unwrap());
    assert_eq!(of("a.example:5000/app:1"), Some(end));
    assert_eq!((of("b.example/app:1"), of("c.example/app:1")), (None, None));
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_listed() {
    let authority = authority();
    let directory = tempfile::tempdir().unwrap();
    let ca = file(&directory, "ca.pem", &authority.pem());
    let address = serve(&issue(&authority, "localhost", false), Some(&authority));
    let without = ask(address, None, vec![ca.clone()]).await;
    assert!(
        matches!(without, Outcome::Tls(TlsFault::Handshake) | Outcome::Network(_)),
        "{without:?}"
    );
    let (certificate, key) = issue(&authority, "pullgate", false);
    let both = file(&directory, "both.pem", &format!("{certificate}{key}"));
    let pair = Client {
        certificate: file(&directory, "client.pem", &certificate),
        key: Some(file(&directory, "client.key", &key)),
    };
    for client in [pair, Client { certificate: both, key: None }] {
        let settings = TlsSettings {
            ca_files: vec![ca.clone()],
            clients: vec![client],
            ..TlsSettings::default()
        };
        let outcome = ask(address, Some(settings), Vec::new()).await;
        assert!(is_answer(&outcome), "{outcome:?}");
    }
}
