//! Accepts connections: TLS within ten seconds, and whether a client certificate was presented.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower::Layer;

use crate::telemetry::Metrics;

/// What TLS knows of the caller on this connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Peer {
    /// Whether it presented a certificate that the client authorities signed.
    pub(super) certificate: bool,
}

/// TLS (rustls, 10 s for the handshake: the default of the crate), then tells each request of
/// the connection who its peer is.
#[derive(Debug, Clone)]
pub(super) struct ProvenAcceptor {
    tls: RustlsAcceptor<NoDelayAcceptor>,
    metrics: Arc<Metrics>,
}

impl ProvenAcceptor {
    pub(super) fn new(config: RustlsConfig, metrics: Arc<Metrics>) -> Self {
        Self { tls: RustlsAcceptor::new(config).acceptor(NoDelayAcceptor::new()), metrics }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for ProvenAcceptor {
    type Stream = TlsStream<TcpStream>;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (handshake, metrics) = (self.tls.accept(stream, service), Arc::clone(&self.metrics));
        Box::pin(async move {
            let (stream, service) = handshake.await.inspect_err(|_| metrics.handshake_failed())?;
            // Present only if the verifier has accepted it.
            let presented = stream.get_ref().1.peer_certificates();
            let peer = Peer { certificate: presented.is_some_and(|chain| !chain.is_empty()) };
            Ok((stream, Extension(peer).layer(service)))
        })
    }
}
