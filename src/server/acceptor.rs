//! Accepts connections: TLS within a few seconds, few at a time that have not proven themselves, and
//! whether a client certificate was presented.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::{Accept, NoDelayAcceptor};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tower::Layer;

use super::front_proxy::FrontProxy;
use super::unproven::{CallerState, Guarded, PendingConnections};
use crate::telemetry::Metrics;

/// How long a client may take for the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);

/// What is known of the caller on this connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Whether it presented a certificate that the client authorities signed.
    pub(super) certificate: bool,
    /// Whether it is the API server's aggregation layer.
    pub(super) front_proxy: bool,
    standing: Arc<CallerState>,
}

impl Peer {
    /// A request has shown that it is answered.
    pub(super) fn prove(&self) {
        self.standing.prove();
    }
}

/// TLS by rustls, then tells each request of the connection who its peer is.
#[derive(Clone)]
pub(super) struct ProvenAcceptor {
    tls: RustlsAcceptor<NoDelayAcceptor>,
    front_proxy: Option<FrontProxy>,
    unproven: Arc<PendingConnections>,
    metrics: Arc<Metrics>,
}

impl ProvenAcceptor {
    pub(super) fn new(
        config: RustlsConfig,
        front_proxy: Option<FrontProxy>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let tls = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIME);
        let tls = tls.acceptor(NoDelayAcceptor::new());
        Self { tls, front_proxy, unproven: Arc::default(), metrics }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for ProvenAcceptor {
    type Stream = Guarded<TlsStream<TcpStream>>;
    type Service = AddExtension<S, Peer>;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let standing = self.unproven.admit(stream.peer_addr().ok().map(|address| address.ip()));
        let (handshake, metrics) = (self.tls.accept(stream, service), Arc::clone(&self.metrics));
        let front_proxy = self.front_proxy.clone();
        Box::pin(async move {
            let shaken = tokio::select! {
                shaken = handshake => shaken,
                () = standing.dropped() => Err(io::ErrorKind::ConnectionAborted.into()),
            };
            let (stream, service) = shaken.inspect_err(|_| metrics.handshake_failed())?;
            // Present only if the verifier has accepted it.
            let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let front_proxy = front_proxy.is_some_and(|known| known.is(presented));
            let certificate = !presented.is_empty() && !front_proxy;
            if certificate || front_proxy {
                standing.prove();
            }
            let peer = Peer { certificate, front_proxy, standing: Arc::clone(&standing) };
            Ok((Guarded::new(stream, standing), Extension(peer).layer(service)))
        })
    }
}
