//! Connections whose caller has not proven itself: few, and not for long. Anybody in the cluster
//! can open them, and each costs memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Connections at a time that have not proven themselves.
const MOST: usize = 256;
/// From the handshake to the head of the first request of a caller who is known.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// The connections that have not proven themselves yet.
#[derive(Default)]
pub(super) struct PendingConnections {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By age.
    connections: BTreeMap<u64, (Option<IpAddr>, CancellationToken)>,
}

impl Waiting {
    /// The oldest connection of the address that has most of them: the API server has few.
    fn most_dispensable(&self) -> Option<u64> {
        let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for (address, _) in self.connections.values() {
            *counts.entry(*address).or_default() += 1;
        }
        let (crowd, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        self.connections.iter().find(|(_, (address, _))| *address == crowd).map(|(id, _)| *id)
    }
}

/// Whether the caller on one connection is known.
pub(super) struct CallerState {
    id: u64,
    proven: AtomicBool,
    dropped: CancellationToken,
    among: Arc<PendingConnections>,
}

impl PendingConnections {
    /// Takes a connection in; too many push out the oldest of whoever has most.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Arc<CallerState> {
        let mut waiting = self.waiting();
        if waiting.connections.len() >= MOST
            && let Some(id) = waiting.most_dispensable()
            && let Some((_, dropped)) = waiting.connections.remove(&id)
        {
            dropped.cancel();
        }
        let id = waiting.next;
        waiting.next += 1;
        let dropped = CancellationToken::new();
        waiting.connections.insert(id, (address, dropped.clone()));
        drop(waiting);
        Arc::new(CallerState {
            id,
            proven: AtomicBool::new(false),
            dropped,
            among: Arc::clone(self),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallerState {
    /// The caller is known: the connection may stay.
    pub(super) fn prove(&self) {
        if !self.proven.swap(true, Ordering::Relaxed) {
            self.leave();
        }
    }

    /// Ends when the connection has to make room for others.
    pub(super) async fn dropped(&self) {
        self.dropped.cancelled().await;
    }

    fn leave(&self) {
        self.among.waiting().connections.remove(&self.id);
    }
}

impl Drop for CallerState {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for CallerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("proven", &self.proven).finish_non_exhaustive()
    }
}

/// A connection that breaks off unless its caller becomes known in time.
pub(super) struct Guarded<S> {
    stream: S,
    standing: Arc<CallerState>,
    /// Ends when it is too late; nothing once the caller is known.
    too_late: Option<BoxFuture<'static, ()>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S, standing: Arc<CallerState>) -> Self {
        let waits = Arc::clone(&standing);
        let too_late = async move {
            let _ = tokio::time::timeout(HEAD_TIME, waits.dropped()).await;
        };
        Self { stream, standing, too_late: Some(too_late.boxed()) }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(too_late) = &mut self.too_late else { return Ok(()) };
        if self.standing.proven.load(Ordering::Relaxed) {
            self.too_late = None;
            return Ok(());
        }
        match too_late.poll_unpin(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn a_crowd_makes_room_from_its_own_midst() {
        let unproven = Arc::new(PendingConnections::default());
        let server = unproven.admit(Some(address(1)));
        let crowd: Vec<_> = (0..2 * MOST).map(|_| unproven.admit(Some(address(2)))).collect();
        assert!(!server.dropped.is_cancelled());
        let left = crowd.iter().filter(|one| !one.dropped.is_cancelled()).count();
        assert_eq!(left, MOST - 1);
        assert!(!crowd[2 * MOST - 1].dropped.is_cancelled(), "the youngest may go on");
        drop(crowd);
        server.prove();
        assert!(unproven.waiting().connections.is_empty());
    }
}
