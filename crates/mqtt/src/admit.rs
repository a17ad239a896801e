//! From a fresh socket to a session, or to a reason why not: handshake, CONNECT, identity.

mod denied;
mod introduction;
mod welcome;
mod who;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::{DeviceId, RefusalStage, Timestamp, limit};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::connection::{Connection, Start, Times};
use crate::first_packet::read_connect;
use crate::goodbye;
use crate::identity::{Identity, fingerprint, identify};
use crate::journal::{Caller, Why, cut};
use crate::link::{Link, LinkOf};
use crate::packet::connect::{self, Connect, ConnectRefused};
use crate::packet::refusal::Refusal;
use crate::packet::write::{self, Welcome};
use crate::proxied;
use crate::session::{Place, Session, SessionOf, Shared, TOPIC_ALIAS_MAX};
use crate::sessions::{Granted, Wish};
use crate::settings::PlainAccess;
use crate::strangers::{NoPlace, StrangersPlace};
use crate::tls::{DeviceTls, Loaded};
use crate::tls_failure;
use crate::tls_socket::TlsSocket;
use crate::trust::Shown;
use crate::turns::{Turns, in_turns};
use crate::websocket;
use crate::will;
use crate::witness::{Seen, observe};

use self::denied::{Denied, Turned};
use self::welcome::{keep_alive, welcomed};
use self::who::{Claim, Who, client_id};

/// What is looked at of a connection before its handshake.
const FIRST_BYTES: usize = 8;
/// The device that a tool's messages name where their topic names none.
pub(crate) const TOOL_NAME: &str = "local";

/// How a listener knows its clients.
#[derive(Clone)]
pub(crate) enum Door {
    /// By client certificate.
    Tls(Arc<DeviceTls>),
    /// The same, and by WebSocket.
    Https(Arc<DeviceTls>),
    /// By what they say.
    Plain(PlainAccess),
}

/// A connection before it is let in.
pub(crate) struct Visitor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: SocketAddr,
    /// A place among those that have not said who they are.
    pub(crate) place: StrangersPlace,
    pub(crate) turns: Arc<Turns>,
    /// By what its certificate was verified.
    pub(crate) believed: Option<Arc<Loaded>>,
}

impl Visitor {
    /// Lets the client in and serves it in a task of its own, or says why not.
    pub(crate) async fn admit(mut self, mut socket: TcpStream, door: Door) {
        let proxies = &self.shared.settings.trusted_proxies;
        if proxies.contains(&self.peer.ip().to_canonical()) {
            match proxied::read_client(&mut socket, self.peer).await {
                Ok(client) => {
                    self.peer = client;
                    if let Err(no_place) = self.enter_again() {
                        self.shared.metrics.count_refused(no_place.label());
                        let why = no_place.why(self.place.room());
                        let caller = Caller::stranger(self.peer);
                        self.record_refused(caller, RefusalStage::Tls, why);
                        return;
                    }
                }
                Err(why) => {
                    self.shared.metrics.count_handshake("failed");
                    self.log_refused("proxy", &why.reason);
                    let caller = Caller::stranger(self.peer);
                    self.record_refused(caller, RefusalStage::Tls, why);
                    return;
                }
            }
        }
        match door {
            Door::Plain(access) => self.admit_plain(socket, access).await,
            Door::Tls(tls) => self.shake_hands(socket, tls.current(), false).await,
            Door::Https(tls) => self.shake_hands(socket, tls.current(), true).await,
        }
    }

    /// Counts for the client of the load balancer from now on, where there is one.
    fn enter_again(&mut self) -> Result<(), NoPlace> {
        let client = self.peer.ip().to_canonical();
        let is_balancer = self.shared.settings.trusted_proxies.contains(&client);
        if is_balancer { Ok(()) } else { self.place.belongs_to(client) }
    }

    /// Lets in a client that only says who it is.
    pub(crate) async fn admit_plain<S>(self, socket: S, access: PlainAccess)
    where
        S: AsyncRead + AsyncWrite + Shown + Unpin + Send + 'static,
    {
        let claim = match access {
            PlainAccess::Device => Claim::Device,
            PlainAccess::All => Claim::Tool,
        };
        let caller = Caller::stranger(self.peer);
        self.greet(socket, claim, caller).await;
    }

    async fn shake_hands(mut self, socket: TcpStream, tls: Arc<Loaded>, is_web: bool) {
        let mut seen = Seen::default();
        let (mut first, mut length) = ([0; FIRST_BYTES], 0);
        let handshake = async {
            // What is no TLS is only seen here: the handshake takes the bytes away.
            length = socket.peek(&mut first).await.unwrap_or(0);
            let accept = TlsSocket::accept(tls.config(is_web), socket);
            let accept = observe(accept, &mut seen);
            in_turns(&self.turns, self.place.address(), accept).await
        };
        let done = timeout(limit::HANDSHAKE_TIME_MAX, handshake).await;
        let first = first.get(..length).unwrap_or_default();
        let (label, why) = match done {
            Ok(Ok(stream)) => {
                self.shared.metrics.count_handshake("ok");
                let own = stream.shown().first();
                let claim = match (own, own.and_then(identify)) {
                    (_, Some(identity)) => {
                        let introduced = self.introduce(&identity, stream.shown(), &tls).await;
                        introduced.map_or_else(Claim::Unmandated, |()| Claim::Certificate(identity))
                    }
                    (Some(_unreadable), None) => Claim::Ambiguous,
                    (None, None) => Claim::Token,
                };
                let caller = self.caller(own, true);
                self.believed = Some(tls);
                if is_web {
                    return Box::pin(self.upgrade(stream, claim, caller)).await;
                }
                return Box::pin(self.greet(stream, claim, caller)).await;
            }
            Ok(Err(error)) => ("failed", tls_failure::failed(&error, &seen, first)),
            Err(_late) => ("timeout", tls_failure::late(first)),
        };
        self.shared.metrics.count_handshake(label);
        self.log_refused("handshake", &why.reason);
        // Who leaves without a word only wanted to see whether somebody is here.
        if label == "timeout" || !first.is_empty() {
            self.place.count_failure();
            let caller = self.caller(seen.refused.as_ref(), false);
            self.record_refused(caller, RefusalStage::Tls, why);
        }
    }

    /// A client with the certificate that it has shown, whether or not that proves anything.
    fn caller(&self, certificate: Option<&CertificateDer<'_>>, is_proved: bool) -> Caller {
        let mut caller = Caller::stranger(self.peer);
        caller.fingerprint = certificate.map(fingerprint);
        let bound = caller.fingerprint.and_then(|it| self.shared.app.registry.bound(&it));
        let named = || {
            let identity = certificate.and_then(identify)?;
            DeviceId::parse(&identity.presented.names?).ok()
        };
        caller.device = bound.or_else(named);
        caller.is_proved = is_proved && caller.device.is_some();
        caller
    }

    /// Goes on by WebSocket.
    async fn upgrade<S>(self, stream: S, claim: Claim, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Shown + Unpin + Send + 'static,
    {
        let late = || Why::from(Refusal::CONNECT_LATE);
        let accepted = timeout(limit::CONNECT_TIME_MAX, websocket::accept(stream)).await;
        match accepted.unwrap_or_else(|_late| Err(late())) {
            Ok(socket) => Box::pin(self.greet(socket, claim, caller)).await,
            Err(why) => {
                self.place.count_failure();
                self.shared.metrics.count_refused("websocket");
                self.log_refused("websocket", &why.reason);
                self.record_refused(caller, RefusalStage::Connect, why);
            }
        }
    }

    async fn greet<S>(self, mut socket: S, claim: Claim, mut caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Shown + Unpin + Send + 'static,
    {
        let connected_at = self.shared.app.ports.clock.now();
        let mut bytes = Vec::new();
        let late = ConnectRefused { refusal: Refusal::CONNECT_LATE, answer_in: None };
        let read = timeout(limit::CONNECT_TIME_MAX, read_connect(&mut socket, &mut bytes)).await;
        let refused = match read.unwrap_or(Err(Some(late))) {
            Err(None) => return,
            Err(Some(refused)) => Turned::unread(refused, &bytes),
            Ok((body_at, length)) => {
                let body = bytes.get(body_at..length).unwrap_or_default();
                match connect::read(body) {
                    Err(refused) => {
                        caller.protocol = refused.answer_in;
                        Turned::unread(refused, &bytes)
                    }
                    Ok(connect) => {
                        caller.protocol = Some(connect.version);
                        caller.client_id = cut(connect.client_id);
                        self.calm_down(&connect, &claim).await;
                        match self.settle(&connect, claim, &mut caller, connected_at) {
                            Ok((session, mut start)) => {
                                start.held = bytes.get(length..).unwrap_or_default().to_vec();
                                // In a box: every handshake would keep room for it otherwise.
                                Box::pin(self.serve_stored(socket, session, start, caller)).await;
                                return;
                            }
                            Err(denied) => {
                                let most = connect.packet_bytes_max;
                                let most = usize::try_from(most).unwrap_or(usize::MAX);
                                Turned::denied(denied, connect.version, most)
                            }
                        }
                    }
                }
            }
        };
        // Not where it is we who cannot take it.
        if !matches!(refused.refusal.code, 0x89 | 0x8b | 0x97) {
            self.place.count_failure();
        }
        Box::pin(self.turn_away(socket, caller, refused)).await;
    }

    async fn turn_away<S>(self, mut socket: S, caller: Caller, refused: Turned)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.shared.metrics.count_refused(refused.refusal.label);
        self.log_refused(refused.refusal.label, &refused.why.reason);
        let mut answer = Vec::new();
        if let Some(version) = refused.answer_in {
            let Refusal { code, text, .. } = refused.refusal;
            // [MQTT-3.2.2-19]
            let text = write::reason_for(refused.packet_bytes_max, text);
            write::put_connack_refusal(&mut answer, version, code, text);
        }
        // [MQTT-3.1.2-24]
        if answer.len() > refused.packet_bytes_max {
            answer.clear();
        }
        self.record_refused(caller, refused.stage, refused.why);
        goodbye::say(&mut socket, &answer).await;
        goodbye::linger(&mut socket).await;
    }

    /// Lets a client wait whose id is taken over again and again. Local tools are left alone.
    async fn calm_down(&self, connect: &Connect<'_>, claim: &Claim) {
        if matches!(claim, Claim::Tool) {
            return;
        }
        let wait = self.shared.takeovers.wait(connect.client_id, Instant::now());
        if !wait.is_zero() {
            self.shared.metrics.count_slowed("takeovers");
            tokio::time::sleep(wait).await;
        }
    }

    fn record_refused(&self, caller: Caller, stage: RefusalStage, why: Why) {
        let ports = &self.shared.app.ports;
        ports.connections.record(caller.refused(ports.clock.now(), stage, why));
    }

    /// Who the client is, what it may do, and the answer to its CONNECT.
    fn settle(
        &self,
        connect: &Connect<'_>,
        claim: Claim,
        caller: &mut Caller,
        connected_at: Timestamp,
    ) -> Result<(Session, Start), Denied> {
        let shared = &self.shared;
        let now = connected_at;
        let ends_at = match &claim {
            Claim::Certificate(identity) => {
                let micros = u64::try_from(identity.not_after.micros_since(now)).unwrap_or(0);
                // A resumed handshake does not look at the dates.
                if micros == 0 {
                    return Err(Refusal::CERTIFICATE_ENDED.into());
                }
                Instant::now().checked_add(Duration::from_micros(micros))
            }
            Claim::Token
            | Claim::Ambiguous
            | Claim::Unmandated(_)
            | Claim::Device
            | Claim::Tool => None,
        };
        let who = self.identify(connect, &claim, caller)?;
        let client_id =
            client_id(connect, who.name()).map_err(|refusal| self.foreign(refusal, caller))?;
        let is_assigned = connect.client_id.is_empty();
        let publisher = who.publisher(shared, connected_at)?;
        let will = will::settle(connect, &publisher, &shared.sessions)?;
        let link = Link::new(LinkOf {
            id: shared.sessions.next_id(),
            client_id: Arc::clone(&client_id),
            device: who.device().cloned(),
            application: who.application(),
            fingerprint: caller.fingerprint,
            connected_at,
            version: connect.version,
            packet_bytes_max: usize::try_from(connect.packet_bytes_max).unwrap_or(usize::MAX),
        });
        let most = u32::try_from(limit::SESSION_EXPIRY_MAX.as_secs()).unwrap_or(u32::MAX);
        let expiry_seconds = connect.session_expiry.min(most);
        let wish = Wish { is_clean: connect.is_clean, expiry_seconds, will: will.clone() };
        let (silence_max, server_keep_alive) = keep_alive(connect);
        let mut welcome = Welcome {
            assigned_client_id: is_assigned.then_some(&*client_id),
            server_keep_alive,
            receive_max: u16::try_from(limit::PENDING_PUBLISHES_MAX).unwrap_or(u16::MAX),
            packet_bytes_max: u32::try_from(limit::PACKET_BYTES_MAX).unwrap_or(u32::MAX),
            topic_alias_max: TOPIC_ALIAS_MAX,
            is_present: false,
            session_expiry: (expiry_seconds != connect.session_expiry).then_some(expiry_seconds),
        };
        // Before anything is taken over.
        welcomed(connect.version, &welcome, &link)?;
        let (place, granted) = Place::take(shared, &link, wish)?;
        // Asked again now that a revocation finds the connection: none falls in between.
        self.check(&who)?;
        if self.is_belief_old() {
            link.question();
        }
        welcome.is_present = granted.is_present;
        welcome.session_expiry =
            (granted.expiry_seconds != connect.session_expiry).then_some(granted.expiry_seconds);
        let out = welcomed(connect.version, &welcome, &link)?;
        let session = Session::new(SessionOf {
            place,
            publisher,
            receive_max: connect.receive_max,
            alias_max: connect.topic_alias_max,
            wants_reasons: connect.wants_reasons,
            will,
        });
        // Its subscriptions are there already: what waits for it need not wait for new ones.
        session.begin_dispatch(granted.is_present);
        let times = Times::new(silence_max, ends_at);
        let Granted { stored, .. } = granted;
        Ok((session, Start { times, peer: self.peer, held: Vec::new(), out, stored }))
    }

    /// Whether the client may be here still.
    fn check(&self, who: &Who) -> Result<(), Denied> {
        let registry = &self.shared.app.registry;
        match who {
            Who::Device(device) => registry.check(device).map_err(Denied::by_registry),
            Who::Application(application) => {
                match registry.find_application(application.name.as_str()) {
                    Some(now) if now.created_at == application.created_at => Ok(()),
                    _ => Err(Refusal::APPLICATION.into()),
                }
            }
            Who::Tool => Ok(()),
        }
    }

    /// Whom the client speaks for.
    fn identify(
        &self,
        connect: &Connect<'_>,
        claim: &Claim,
        caller: &mut Caller,
    ) -> Result<Who, Denied> {
        let registry = &self.shared.app.registry;
        match claim {
            Claim::Tool => Ok(Who::Tool),
            Claim::Ambiguous => Err(Denied::ambiguous()),
            Claim::Unmandated(why) => Err(Denied::unmandated(why)),
            Claim::Token => {
                let secret = connect.password.ok_or(Refusal::CREDENTIALS)?;
                let application = registry.authenticate_token(secret);
                application.map(Who::Application).map_err(Denied::by_token)
            }
            Claim::Certificate(Identity { presented, application: Some(name), .. }) => {
                let found = registry.authenticate_application(name, &presented.fingerprint);
                found.map(Who::Application).map_err(Denied::by_registry)
            }
            Claim::Certificate(identity) => registry
                .authenticate(&identity.presented, self.shared.app.ports.clock.now())
                .map(Who::Device)
                .map_err(Denied::by_registry),
            Claim::Device => {
                let named = connect.client_id.split('/').next().unwrap_or_default();
                let device = DeviceId::parse(named).map_err(|_error| Refusal::CLIENT_ID)?;
                caller.device = Some(device.clone());
                registry.check(&device).map_err(Denied::by_registry)?;
                caller.is_proved = true;
                Ok(Who::Device(device))
            }
        }
    }

    /// Says whose client id it was that is not the client's.
    fn foreign(&self, refusal: Refusal, caller: &Caller) -> Denied {
        let mut denied = Denied::from(refusal);
        let named = caller.client_id.split('/').next().unwrap_or_default();
        let Some(device) = &caller.device else { return denied };
        if refusal != Refusal::CLIENT_ID || named == device.as_str() {
            return denied;
        }
        let shown = &caller.client_id;
        denied.why = match self.shared.app.registry.knows(named) {
            true => Why::new(
                "mqtt.client_id_of_another",
                format!(
                    "the client id `{shown}` is of device `{named}`, and the certificate of \
                         `{device}`"
                ),
                "Put the right certificate on the device: two of them may have been swapped.",
            ),
            false => Why::new(
                denied.why.code,
                format!(
                    "the client id `{shown}` is not `{device}` and does not begin with \
                         `{device}/`"
                ),
                denied.why.next_step,
            ),
        };
        denied
    }

    /// Serves the client once its session is stored, where that is a new one: what it is told of
    /// its session must outlive us.
    async fn serve_stored<S>(self, socket: S, session: Session, mut start: Start, caller: Caller)
    where
        S: AsyncRead + AsyncWrite + Shown + Unpin + Send + 'static,
    {
        let is_stored = match start.stored.take() {
            None => true,
            Some(stored) => timeout(limit::CONNECT_TIME_MAX, stored).await.is_ok(),
        };
        if is_stored {
            return self.serve(socket, session, start);
        }
        let most = session.link.packet_bytes_max;
        let turned = Turned::denied(Refusal::UNAVAILABLE.into(), session.version(), most);
        drop(session);
        self.turn_away(socket, caller, turned).await;
    }

    /// Goes on in a task of its own, which is smaller than the one that did the handshake.
    fn serve<S>(self, socket: S, session: Session, start: Start)
    where
        S: AsyncRead + AsyncWrite + Shown + Unpin + Send + 'static,
    {
        let link = Arc::clone(&session.link);
        tracing::debug!(
            device.id = link.device.as_ref().map(tracing::field::display),
            connection = link.id.0,
            peer = %self.peer,
            "connection opened"
        );
        let ports = &self.shared.app.ports;
        ports.connections.record(Caller::of_link(&link, self.peer).connected(link.connected_at));
        self.shared.tracker.spawn(Connection::new(socket, session, start).run());
        drop(self.place);
    }

    fn log_refused(&self, reason: &str, detail: &str) {
        if self.shared.metrics.may_log() {
            tracing::info!(peer = %self.peer, reason, detail, "connection refused");
        }
    }
}
