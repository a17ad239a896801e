//! Listeners: sockets come in here, a bounded number at a time, and all leave together.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axle_app::App;
use axle_domain::{Error, Kind, RefusalStage, limit};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admit::{Door, Visitor};
use crate::follow;
use crate::inlet::Inlet;
use crate::journal::Caller;
use crate::metrics::Metrics;
use crate::router::Router;
use crate::session::Shared;
use crate::sessions::Sessions;
use crate::settings::{PlainAccess, Settings};
use crate::strangers::{NoPlace, Room, Strangers};
use crate::takeovers::Takeovers;
use crate::tls::DeviceTls;
use crate::turns::Turns;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;
/// The setting of the listener for WebSocket.
const HTTPS: &str = "device_https.listen";
/// How long the connections have to end when the gateway stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// After so long without a word the kernel asks whether the other side is still there; it is the
/// only one to notice where a 3.1.1 client has no keep alive.
const PROBE_AFTER: Duration = Duration::from_secs(900);

/// What a gateway is made of.
pub struct GatewayParts {
    /// What the operator has set.
    pub settings: Settings,
    /// The use cases.
    pub app: Arc<App>,
    /// The live connections; the same that `app` reaches devices through.
    pub sessions: Arc<Sessions>,
    /// TLS of `settings.listen`.
    pub tls: Option<Arc<DeviceTls>>,
    /// Where metrics are registered.
    pub metrics: prometheus::Registry,
    /// Ends [`Gateway::run`].
    pub stop: CancellationToken,
}

/// The device gateway with its sockets open.
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Vec<(TcpListener, Door)>,
    tls_address: Option<SocketAddr>,
    plain_address: Option<SocketAddr>,
    https_address: Option<SocketAddr>,
    router: Router,
    stop: CancellationToken,
}

impl Gateway {
    /// Opens the listeners. Connections wait in the kernel until [`Gateway::run`].
    ///
    /// # Errors
    /// `Invalid` for an address that is none, or a plain listener that others could reach;
    /// `Unavailable` for one that cannot be opened. As the state for the sessions that were kept.
    pub async fn bind(parts: GatewayParts) -> Result<Self, Error> {
        let GatewayParts { settings, app, sessions, tls, metrics, stop } = parts;
        let (mut listeners, mut tls_address, mut plain_address) = (Vec::new(), None, None);
        let address = resolve("mqtt.listen", &settings.listen).await?;
        if let (Some(address), Some(tls)) = (address, &tls) {
            let listener = listen("mqtt.listen", address)?;
            tls_address = listener.local_addr().ok();
            listeners.push((listener, Door::Tls(Arc::clone(tls))));
        }
        let mut https_address = None;
        let address = resolve(HTTPS, &settings.device_https_listen).await?;
        if let (Some(address), Some(tls)) = (address, &tls) {
            let is_default = settings.device_https_listen == Settings::DEVICE_HTTPS_LISTEN;
            match listen(HTTPS, address) {
                // Nobody has asked for this port.
                Err(error) if is_default => {
                    tracing::warn!(error = %error.chain(), "no MQTT over WebSocket");
                }
                Err(error) => return Err(error),
                Ok(listener) => {
                    https_address = listener.local_addr().ok();
                    listeners.push((listener, Door::Https(Arc::clone(tls))));
                }
            }
        }
        if let Some(address) = resolve("mqtt.plain_listen", &settings.plain_listen).await? {
            check_plain(&settings, address)?;
            let listener = listen("mqtt.plain_listen", address)?;
            plain_address = listener.local_addr().ok();
            listeners.push((listener, Door::Plain(settings.plain_access)));
        }
        let metrics = Metrics::new(&metrics)?;
        let tracker = TaskTracker::new();
        let takeovers = Takeovers::new(settings.takeovers_per_minute_max);
        let _first = sessions.layouts.set(Arc::clone(&settings.layouts)).is_ok();
        let shared = Arc::new(Shared { app, sessions, metrics, settings, tracker, tls, takeovers });
        let router = Router::open(&shared).await?;
        Ok(Self { shared, listeners, tls_address, plain_address, https_address, router, stop })
    }

    /// Where devices connect, once it is known.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where devices connect by MQTT over WebSocket.
    #[must_use]
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Where local tools connect, if they may.
    #[must_use]
    pub fn plain_address(&self) -> Option<SocketAddr> {
        self.plain_address
    }

    /// A way in for clients within the process.
    #[must_use]
    pub fn inlet(&self, access: PlainAccess) -> Inlet {
        Inlet::new(Arc::clone(&self.shared), access, self.stop.clone())
    }

    /// Serves until told to stop; then every connection acknowledges what is durable, hears why
    /// it ends, and is closed. Returns when all tasks have ended.
    pub async fn run(self) {
        let settings = &self.shared.settings;
        let strangers = Strangers::new(Room {
            most: settings.unauthenticated_max,
            most_of_address: settings.unauthenticated_per_address_max,
            failures_per_minute: settings.failures_per_address_per_minute,
        });
        let turns = Turns::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
        let stop_router = CancellationToken::new();
        let router = tokio::spawn(self.router.run(stop_router.clone()));
        for (listener, door) in self.listeners {
            let accept = Accept {
                shared: Arc::clone(&self.shared),
                strangers: Arc::clone(&strangers),
                turns: Arc::clone(&turns),
                stop: self.stop.clone(),
                door,
            };
            self.shared.tracker.spawn(accept.run(listener));
        }
        let followed = follow::follow(Arc::clone(&self.shared), self.stop.clone());
        self.shared.tracker.spawn(followed);
        self.stop.cancelled().await;
        self.shared.sessions.close_all();
        self.shared.tracker.close();
        if tokio::time::timeout(DRAIN_TIME_MAX, self.shared.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.shared.tracker.len(), "connections were slow to end");
        }
        // After the last of them, so that what they have changed is written down.
        stop_router.cancel();
        if router.await.is_err() {
            tracing::error!("the router of messages had ended with a panic");
        }
    }
}

/// The loop of one listener.
#[derive(Clone)]
struct Accept {
    shared: Arc<Shared>,
    strangers: Arc<Strangers>,
    turns: Arc<Turns>,
    stop: CancellationToken,
    door: Door,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        let mut pause = Pause::default();
        while let Some(accepted) = self.stop.run_until_cancelled(self.accept(&listener)).await {
            match accepted {
                Ok((socket, peer)) => {
                    pause = Pause::default();
                    self.welcome(socket, peer);
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(error) => {
                    // Out of descriptors or memory: trying again at once would only burn time.
                    let wait = pause.next();
                    tracing::warn!(%error, wait_ms = wait.as_millis(), "accept failed");
                    let sleep = tokio::time::sleep(wait);
                    if self.stop.run_until_cancelled(sleep).await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    /// The next connection. While too many handshakes wait for their turn, connections wait in
    /// the kernel: that is no refusal, and costs us nothing.
    async fn accept(&self, listener: &TcpListener) -> std::io::Result<(TcpStream, SocketAddr)> {
        if matches!(self.door, Door::Tls(_) | Door::Https(_)) {
            self.turns.wait_for_fewer_than(limit::HANDSHAKES_WAITING_MAX).await;
        }
        listener.accept().await
    }

    fn count_strangers(&self) {
        let metrics = &self.shared.metrics;
        metrics.strangers.set(i64::try_from(self.strangers.count()).unwrap_or(i64::MAX));
        metrics.handshakes_waiting.set(i64::try_from(self.turns.waiting()).unwrap_or(i64::MAX));
    }

    fn refuse(&self, peer: SocketAddr, no_place: NoPlace) {
        self.shared.metrics.count_refused(no_place.label());
        let ports = &self.shared.app.ports;
        let why = no_place.why(self.strangers.room);
        let event = Caller::stranger(peer).refused(ports.clock.now(), RefusalStage::Tls, why);
        ports.connections.record(event);
    }

    fn welcome(&self, socket: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let is_balancer = self.shared.settings.trusted_proxies.contains(&address);
        let place = match self.strangers.enter(address, is_balancer, Instant::now()) {
            Ok(place) => place,
            Err(no_place) => return self.refuse(peer, no_place),
        };
        // A socket that is gone already shows at its first read.
        drop(socket.set_nodelay(true));
        let probe = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER / 10);
        drop(SockRef::from(&socket).set_tcp_keepalive(&probe));
        let lost = place.lost();
        let (shared, turns) = (Arc::clone(&self.shared), Arc::clone(&self.turns));
        let visitor = Visitor { shared, turns, peer, place, believed: None };
        let (accept, door) = (self.clone(), self.door.clone());
        self.shared.tracker.spawn(async move {
            let admitted = accept.stop.run_until_cancelled(visitor.admit(socket, door));
            tokio::select! {
                _admitted = admitted => {}
                () = lost => accept.refuse(peer, NoPlace::GaveWay),
            }
            accept.count_strangers();
        });
        self.count_strangers();
    }
}

/// Growing pauses between failed accepts.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(25))
    }
}

impl Pause {
    fn next(&mut self) -> Duration {
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
        self.0
    }
}

fn is_of_one_client(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

async fn resolve(setting: &str, text: &str) -> Result<Option<SocketAddr>, Error> {
    if text == "off" {
        return Ok(None);
    }
    let invalid = |reason: &str| {
        Error::invalid(
            "mqtt.listen_invalid",
            format!("{setting} = `{}`: {reason}: use host:port or off", text.escape_debug()),
        )
    };
    let mut addresses = lookup_host(text).await.map_err(|error| invalid(&error.to_string()))?;
    addresses.next().map(Some).ok_or_else(|| invalid("no such host"))
}

fn check_plain(settings: &Settings, address: SocketAddr) -> Result<(), Error> {
    let is_allowed = address.ip().is_loopback()
        || (settings.is_insecure_allowed && settings.plain_access == PlainAccess::Device);
    if is_allowed {
        return Ok(());
    }
    let message = format!(
        "mqtt.plain_listen = {address}: without TLS only loopback addresses are allowed; with \
         plain_access = \"device\" others are with --allow-insecure"
    );
    Err(Error::new(Kind::Invalid, "mqtt.plain_listen_exposed", message))
}

fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() && address.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    let opened = match open(address) {
        // A machine without IPv6 still has the other half of `[::]`.
        Err(error)
            if address.ip().is_unspecified()
                && address.is_ipv6()
                && error.kind() != ErrorKind::AddrInUse =>
        {
            open(SocketAddr::from(([0, 0, 0, 0], address.port())))
        }
        opened => opened,
    };
    opened.map_err(|error| {
        let message = format!("cannot listen on {address} ({setting}): {error}");
        Error::unavailable("mqtt.listen_failed", message).with_source(error)
    })
}
