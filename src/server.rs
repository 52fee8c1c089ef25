//! The webhook's front door and the admin port.
//!
//! Owns TLS, who is answered at all, the size and time limits of a request, and that a readable
//! request always gets a well-formed answer with its own uid. What the answer says is decided
//! behind [`Admit`]; nothing here knows about images.

mod acceptor;
mod admin;
mod aggregated;
mod admission;
mod answer;
mod caller;
mod deadline;
mod front_proxy;
mod pem;
mod record;
mod shares;
mod tls;
mod unproven;
mod watchfile;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

pub use admin::{Readiness, WatchState, admin_router};
pub use admission::{AdmissionRoutes, Admit, Arrival, BODY_LIMIT, Limits};
pub use caller::{Callers, CallersError, PathToken};
pub(crate) use front_proxy::{FrontProxy, FrontProxyTrust};
pub use pem::TlsError;
pub use tls::{CertificateTaker, ServingTls, TlsFiles};
pub(crate) use watchfile::WatchedFiles;

/// How long a client may take for the head of a request. A connection on which nothing is asked
/// waits for a head, too: it must be the API server that closes it (after 90 s), or a review that
/// sets out at that moment is lost.
const HEAD_TIME: Duration = Duration::from_secs(120);
/// Connections that the kernel holds until they are accepted; it caps them at `somaxconn`. A crowd must
/// not fill them (the usual 128 are full within milliseconds): the API server's own connection would be
/// dropped, and tried again a second later.
const BACKLOG: u32 = 4096;
/// Reviews on one HTTP/2 connection at a time.
const STREAMS: u32 = 250;

/// A bound, not yet running server.
#[derive(Debug)]
pub struct Bound {
    listener: std::net::TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds the address, within a runtime; port 0 takes any free port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves reviews over TLS until `stop`, then stops accepting and drains for at most `drain`.
    pub async fn serve_reviews(
        self,
        routes: axum::Router,
        tls: &ServingTls,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
        drain: Duration,
    ) -> io::Result<()> {
        let acceptor = acceptor::ProvenAcceptor::new(tls.rustls(), tls.front_proxy(), metrics);
        let handle = Handle::new();
        let mut server =
            axum_server::from_tcp(self.listener)?.acceptor(acceptor).handle(handle.clone());
        bound_http(server.http_builder());
        run_until(server.serve(routes.into_make_service()), &handle, stop, drain).await
    }

    /// Serves the admin port, without TLS, until `stop`.
    pub(crate) async fn serve_admin(
        self,
        routes: axum::Router,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(self.listener)?.handle(handle.clone());
        bound_http(server.http_builder());
        let drain = Duration::from_secs(1);
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        run_until(server.serve(routes), &handle, stop, drain).await
    }
}

fn bound_http(
    builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>,
) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));
}

async fn run_until(
    serving: impl Future<Output = io::Result<()>>,
    handle: &Handle<SocketAddr>,
    stop: CancellationToken,
    drain: Duration,
) -> io::Result<()> {
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop.cancelled() => handle.graceful_shutdown(Some(drain)),
    }
    serving.await
}
