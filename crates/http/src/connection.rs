//! Accepting connections and speaking HTTP/1.1 on them, within bounds of count and time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axle_domain::Error;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::call::Peer;

/// Time for a request's head to arrive, and for a connection to stay open without one.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest head: request line and headers.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most headers.
const HEADERS_MAX: usize = 100;
/// A client that takes nothing of its answer for so long is dropped.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Time for requests in flight when the server stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

/// One listening socket and what it serves.
pub(crate) struct Listener {
    /// The socket.
    pub(crate) socket: TcpListener,
    /// What it serves.
    pub(crate) router: Router,
    /// Most connections at one time.
    pub(crate) connections_max: usize,
    /// Counts open connections.
    pub(crate) gauge: IntGauge,
}

impl Listener {
    /// Binds a socket, or none for `"off"`.
    ///
    /// # Errors
    /// `Invalid` for an address beyond loopback without `allow_insecure`; `Unavailable` when the
    /// address cannot be bound.
    pub(crate) async fn bind(
        section: &str,
        listen: &str,
        allow_insecure: bool,
    ) -> Result<Option<(TcpListener, SocketAddr)>, Error> {
        if listen == "off" {
            return Ok(None);
        }
        let failed = |error: io::Error| {
            let message = format!("`{section}.listen` cannot be bound to {listen}: {error}");
            Error::unavailable("http.listen_failed", message).with_source(error)
        };
        let socket = TcpListener::bind(listen).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() && !allow_insecure {
            return Err(Error::invalid(
                "http.listen_insecure",
                format!(
                    "`{section}.listen` {listen} would serve plain HTTP beyond this machine: put \
                     it behind TLS, or set `{section}.allow_insecure`"
                ),
            ));
        }
        Ok(Some((socket, address)))
    }

    /// Serves until the stop, then lets requests in flight end.
    pub(crate) async fn serve(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.connections_max.max(1)));
        let tasks = TaskTracker::new();
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: connections must end first.
                    warn!(%error, "connection not accepted");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (router, stop, gauge) = (self.router.clone(), stop.clone(), self.gauge.clone());
            tasks.spawn(async move {
                gauge.inc();
                // An answer is written whole; waiting for more to fill a packet only delays it.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "no TCP_NODELAY");
                }
                serve_connection(stream, peer.ip(), router, stop).await;
                gauge.dec();
                drop(permit);
            });
        }
        drop(self.socket);
        tasks.close();
        if timeout(DRAIN_TIME_MAX, tasks.wait()).await.is_err() {
            warn!(connections = tasks.len(), "connections cut at the end of the drain");
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: IpAddr,
    router: Router,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.to_canonical()));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(Timed::new(stream)), service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(DRAIN_TIME_MAX, connection).await {
                Ok(result) => result,
                Err(_elapsed) => return,
            }
        }
    };
    if let Err(error) = result {
        debug!(%error, "connection ended");
    }
}

/// A stream whose writes must make progress.
struct Timed {
    stream: TcpStream,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: None }
    }

    fn watch<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.deadline = None;
            return polled;
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + WRITE_TIME_MAX)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(polled, context)
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
