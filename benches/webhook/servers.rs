//! The two servers that are compared.

#![allow(dead_code, reason = "several benchmarks share it")]

use std::borrow::Cow;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::around::Around;

/// A server in a process of its own.
pub struct Server {
    child: Child,
    pub port: u16,
    /// Who signed its certificate, PEM.
    pub authority: String,
    /// A client's certificate and key, PEM.
    pub client: (String, String),
}

impl Server {
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A child that is this program, and the first line that it says.
pub fn this_program(what: &str, folder: &Path) -> (Child, String) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg(what)
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    let output = child.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut line).expect("its address");
    (child, line.trim().to_owned())
}

/// An authority, and a client's certificate under it.
fn identities(folder: &Path) -> (CertifiedIssuer<'static, KeyPair>, (String, String)) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    std::fs::write(folder.join("ca.crt"), authority.pem()).expect("a file");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let client = params.signed_by(&key, &authority).expect("a certificate");
    (authority, (client.pem(), key.serialize_pem()))
}

/// The least that a webhook can be.
pub fn allow_all(folder: &Path) -> Server {
    let (authority, client) = identities(folder);
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let own = params.signed_by(&key, &authority).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), own.pem()).expect("a file");
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).expect("a file");
    let (child, port) = this_program("allow-all", folder);
    Server { child, port: port.parse().expect("a port"), authority: authority.pem(), client }
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "decoded, and no more")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    operation: Cow<'a, str>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Allowed<'a>,
}

#[derive(Serialize)]
struct Allowed<'a> {
    uid: &'a str,
    allowed: bool,
}

async fn allow(body: Bytes) -> Response {
    let Ok(asked) = serde_json::from_slice::<Asked<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let said = Said {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Allowed { uid: &asked.request.uid, allowed: true },
    };
    let body = serde_json::to_vec(&said).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Serves it until it is killed; says at which port.
pub fn serve_allow_all(folder: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let file = |name: &str| std::fs::read(Path::new(folder).join(name)).expect("a file");
        let config = RustlsConfig::from_pem(file("tls.crt"), file("tls.key")).await;
        let config = config.expect("a TLS configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        println!("{}", listener.local_addr().expect("its address").port());
        let routes = axum::Router::new().fallback(allow).layer(DefaultBodyLimit::disable());
        let acceptor = RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new());
        let server = axum_server::from_tcp(listener).expect("a server").acceptor(acceptor);
        server.serve(routes.into_make_service()).await.expect("a server that runs");
    });
}

/// Two that nobody else has just now.
fn free_ports() -> [u16; 2] {
    let listeners = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

/// `pullgate serve` as it is deployed, with the policy that is in force without one.
pub fn pullgate(folder: &Path, around: &Around) -> Server {
    let (_, client) = identities(folder);
    let [port, admin] = free_ports();
    let tls = folder.join("tls");
    let program = std::env::var_os("PULLGATE_BENCH_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pullgate")), PathBuf::from);
    let log = std::fs::File::create(folder.join("pullgate.log")).expect("a file");
    let child = Command::new(program)
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
        .args(["--tls-san", "127.0.0.1", "--allow-address", "127.0.0.0/8"])
        .arg("--self-signed")
        .arg(&tls)
        .arg("--client-ca-file")
        .arg(folder.join("ca.crt"))
        .arg("--kubeconfig")
        .arg(&around.kubeconfig)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("pullgate");
    let until = Instant::now() + Duration::from_secs(60);
    while !is_ready(admin) {
        let log = folder.join("pullgate.log");
        assert!(Instant::now() < until, "{}", std::fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(50));
    }
    let authority = std::fs::read_to_string(tls.join("ca.crt")).expect("its authority");
    Server { child, port, authority, client }
}

fn is_ready(admin: u16) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect(("127.0.0.1", admin)).and_then(|mut socket| {
        socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        socket.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200")
}
