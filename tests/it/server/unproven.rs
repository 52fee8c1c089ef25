//! Connections of callers that have not proven themselves: a real review beside them is answered.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::*;

/// A connection after its handshake, HTTP/1.1.
async fn shaken(directory: &Path, address: SocketAddr) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(directory.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Posts a review and reads the head of the answer.
async fn review(stream: &mut TlsStream<TcpStream>, token: &str) -> String {
    let length = REVIEW.len();
    let request = format!(
        "POST /validate/{token} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{REVIEW}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

/// Whether the other side has closed it, or does so within this time.
async fn closes(stream: &mut TcpStream, within: Duration) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(within, stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_thousand_unfinished_connections_are_few_and_a_review_beside_them_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let mut unfinished = Vec::new();
    for n in 0..1000 {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // Some say nothing, some begin a handshake: a record of 512 bytes that never come.
        if n % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        unfinished.push(stream);
    }
    let mut known = shaken(directory.path(), served.address).await;
    assert!(review(&mut known, TOKEN).await.starts_with("HTTP/1.1 200"));
    let mut closed = 0;
    for stream in &mut unfinished[..744] {
        closed += usize::from(closes(stream, Duration::from_secs(2)).await);
    }
    assert_eq!(closed, 744);
    // Not even the rest is there for long.
    assert!(closes(&mut unfinished[999], Duration::from_secs(9)).await);
    assert!(review(&mut known, TOKEN).await.starts_with("HTTP/1.1 200"), "it may stay idle");
}

#[tokio::test]
async fn who_shakes_hands_and_has_no_token_is_soon_gone() {
    let directory = tempfile::tempdir().unwrap();
    let served = serve(files(directory.path(), None), false);
    let mut silent = shaken(directory.path(), served.address).await;
    let mut guessing = shaken(directory.path(), served.address).await;
    let mut known = shaken(directory.path(), served.address).await;
    assert!(review(&mut guessing, "0123456789abcdeF").await.starts_with("HTTP/1.1 403"));
    assert!(review(&mut known, TOKEN).await.starts_with("HTTP/1.1 200"));
    for stream in [&mut silent, &mut guessing] {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_secs(9), stream.read(&mut byte)).await;
        assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    }
    assert!(review(&mut known, TOKEN).await.starts_with("HTTP/1.1 200"), "it may stay idle");
}
