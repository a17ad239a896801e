//! From a fresh socket to a session, or to a reason why not: handshake, CONNECT, identity.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axle_app::Publisher;
use axle_domain::{DeviceId, Topic, limit};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Start, Times};
use crate::goodbye;
use crate::identity::{Identity, identify};
use crate::link::{Link, LinkOf};
use crate::packet::Version;
use crate::packet::connect::{self, Connect, ConnectRefused};
use crate::packet::header::{self, PacketKind};
use crate::packet::refusal::Refusal;
use crate::packet::write::{self, Welcome};
use crate::session::{Place, Session, SessionOf, Shared, TOPIC_ALIAS_MAX, Will};
use crate::settings::PlainAccess;

/// Longest suffix of a client id, and of one that we assign.
const SUFFIX_BYTES_MAX: usize = 64;
/// Longest client id of a local tool.
const TOOL_ID_BYTES_MAX: usize = 256;

/// The device that a tool's messages name where their topic names none.
const TOOL_NAME: &str = "local";

/// How a listener knows its clients.
#[derive(Clone)]
pub(crate) enum Door {
    /// By client certificate.
    Tls(Arc<ServerConfig>),
    /// By what they say.
    Plain(PlainAccess),
}

/// Who a client may be.
enum Claim {
    /// The device of its certificate.
    Certificate(Identity),
    /// The certificate names nobody, or two.
    Ambiguous,
    /// Any registered device.
    Device,
    /// A local tool.
    Tool,
}

/// A connection before it is let in.
pub(crate) struct Visitor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: SocketAddr,
    /// A place among those that have not said who they are.
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Visitor {
    /// Lets the client in and serves it in a task of its own, or says why not.
    pub(crate) async fn admit(self, socket: TcpStream, door: Door) {
        match door {
            Door::Plain(PlainAccess::Device) => self.greet(socket, Claim::Device).await,
            Door::Plain(PlainAccess::All) => self.greet(socket, Claim::Tool).await,
            Door::Tls(config) => {
                let handshake = TlsAcceptor::from(config).accept(socket);
                let metrics = &self.shared.metrics;
                match timeout(limit::HANDSHAKE_TIME_MAX, handshake).await {
                    Ok(Ok(stream)) => {
                        metrics.count_handshake("ok");
                        let (_, tls) = stream.get_ref();
                        let own = tls.peer_certificates().and_then(|chain| chain.first());
                        let claim =
                            own.and_then(identify).map_or(Claim::Ambiguous, Claim::Certificate);
                        self.greet(stream, claim).await;
                    }
                    Ok(Err(error)) => {
                        metrics.count_handshake("failed");
                        self.log_refused("handshake", &error.to_string());
                    }
                    Err(_late) => {
                        metrics.count_handshake("timeout");
                        self.log_refused("handshake", "not done in time");
                    }
                }
            }
        }
    }

    async fn greet<S>(self, mut socket: S, claim: Claim)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connected_at = self.shared.app.ports.clock.now();
        let mut bytes = Vec::new();
        let late = ConnectRefused { refusal: Refusal::CONNECT_LATE, answer_in: None };
        let read = timeout(limit::CONNECT_TIME_MAX, read_connect(&mut socket, &mut bytes)).await;
        let refused = match read.unwrap_or(Err(Some(late))) {
            Err(None) => return,
            Err(Some(refused)) => refused,
            Ok((body_at, length)) => {
                let body = bytes.get(body_at..length).unwrap_or_default();
                match connect::read(body) {
                    Err(refused) => refused,
                    Ok(connect) => match self.settle(&connect, claim, connected_at) {
                        Ok((session, mut start)) => {
                            start.held = bytes.get(length..).unwrap_or_default().to_vec();
                            self.serve(socket, session, start);
                            return;
                        }
                        Err(refusal) => {
                            ConnectRefused { refusal, answer_in: Some(connect.version) }
                        }
                    },
                }
            }
        };
        self.shared.metrics.count_refused(refused.refusal.label);
        self.log_refused(refused.refusal.label, refused.refusal.text);
        let mut answer = Vec::new();
        if let Some(version) = refused.answer_in {
            let Refusal { code, text, .. } = refused.refusal;
            write::put_connack_refusal(&mut answer, version, code, text);
        }
        goodbye::say(&mut socket, &answer).await;
        goodbye::linger(&mut socket).await;
    }

    /// Who the client is, what it may do, and the answer to its CONNECT.
    fn settle(
        &self,
        connect: &Connect<'_>,
        claim: Claim,
        connected_at: axle_domain::Timestamp,
    ) -> Result<(Session, Start), Refusal> {
        let shared = &self.shared;
        let now = connected_at;
        let ends_at = match &claim {
            Claim::Certificate(identity) => {
                let micros = u64::try_from(identity.not_after.micros_since(now)).unwrap_or(0);
                // A resumed handshake does not look at the dates.
                if micros == 0 {
                    return Err(Refusal::CERTIFICATE_ENDED);
                }
                Instant::now().checked_add(Duration::from_micros(micros))
            }
            Claim::Ambiguous | Claim::Device | Claim::Tool => None,
        };
        let device = self.device(connect, &claim)?;
        let client_id = client_id(connect, device.as_ref())?;
        let is_assigned = connect.client_id.is_empty();
        let publisher = Publisher {
            device: match &device {
                Some(device) => device.clone(),
                None => DeviceId::parse(TOOL_NAME).map_err(|_error| Refusal::CLIENT_ID)?,
            },
            connected_at,
            is_unrestricted: device.is_none(),
        };
        let will = will(connect, &publisher)?;
        let link = Link::new(LinkOf {
            id: shared.sessions.next_id(),
            client_id: Arc::clone(&client_id),
            device: device.clone(),
            connected_at,
            version: connect.version,
            packet_bytes_max: usize::try_from(connect.packet_bytes_max).unwrap_or(usize::MAX),
        });
        let place = Place::take(shared, &link)?;
        // Asked again now that a revocation finds the connection: none falls in between.
        if let Some(device) = &device
            && shared.app.registry.check(device).is_err()
        {
            return Err(Refusal::NOT_AUTHORIZED);
        }
        let (silence_max, server_keep_alive) = keep_alive(connect);
        let mut out = Vec::new();
        let welcome = Welcome {
            assigned_client_id: is_assigned.then_some(&*client_id),
            server_keep_alive,
            receive_max: u16::try_from(limit::PENDING_PUBLISHES_MAX).unwrap_or(u16::MAX),
            packet_bytes_max: u32::try_from(limit::PACKET_BYTES_MAX).unwrap_or(u32::MAX),
            topic_alias_max: TOPIC_ALIAS_MAX,
            answers_expiry: connect.asks_expiry,
        };
        write::put_connack_welcome(&mut out, connect.version, &welcome);
        let session = Session::new(SessionOf {
            place,
            publisher,
            receive_max: connect.receive_max,
            wants_reasons: connect.wants_reasons,
            will,
        });
        let times = Times { silence_max, ends_at };
        Ok((session, Start { times, peer: self.peer, held: Vec::new(), out }))
    }

    /// The device that the client speaks for; `None` for a local tool.
    fn device(&self, connect: &Connect<'_>, claim: &Claim) -> Result<Option<DeviceId>, Refusal> {
        let registry = &self.shared.app.registry;
        let not_authorized = |error: axle_domain::Error| {
            self.log_refused(error.code, &error.message);
            Refusal::NOT_AUTHORIZED
        };
        match claim {
            Claim::Tool => Ok(None),
            Claim::Ambiguous => Err(Refusal::NOT_AUTHORIZED),
            Claim::Certificate(identity) => {
                registry.authenticate(&identity.presented).map(Some).map_err(not_authorized)
            }
            Claim::Device => {
                let named = connect.client_id.split('/').next().unwrap_or_default();
                let device = DeviceId::parse(named).map_err(|_error| Refusal::CLIENT_ID)?;
                registry.check(&device).map_err(not_authorized)?;
                Ok(Some(device))
            }
        }
    }

    /// Goes on in a task of its own, which is smaller than the one that did the handshake.
    fn serve<S>(self, socket: S, session: Session, start: Start)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let link = Arc::clone(&session.link);
        tracing::debug!(
            device.id = link.device.as_ref().map(tracing::field::display),
            connection = link.id.0,
            peer = %self.peer,
            "connection opened"
        );
        self.shared.tracker.spawn(Connection::new(socket, session, start).run());
        drop(self.permit);
    }

    fn log_refused(&self, reason: &str, detail: &str) {
        if self.shared.metrics.may_log() {
            tracing::info!(peer = %self.peer, reason, detail, "connection refused");
        }
    }
}

/// Reads until the first packet is whole: where its body begins and it ends. `Err(None)`: the
/// client went away without a word.
async fn read_connect<S: AsyncRead + Unpin>(
    socket: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<(usize, usize), Option<ConnectRefused>> {
    let silent = |refusal| Some(ConnectRefused { refusal, answer_in: None });
    loop {
        match header::peek(bytes, limit::PACKET_BYTES_BEFORE_CONNECT_MAX) {
            Ok(Some(header)) if header.kind != PacketKind::Connect => {
                return Err(silent(Refusal::NOT_CONNECT));
            }
            Ok(Some(header)) if header.length <= bytes.len() => {
                return Ok((header.body_at, header.length));
            }
            Ok(_) => {}
            Err(Refusal::TOO_LARGE) => return Err(Some(too_large(bytes))),
            Err(Refusal::LENGTH) => return Err(silent(Refusal::LENGTH)),
            Err(_) => return Err(silent(Refusal::NOT_MQTT)),
        }
        match socket.read_buf(bytes).await {
            Ok(count) if count > 0 => {}
            _ if bytes.is_empty() => return Err(None),
            _ => return Err(silent(Refusal::TRAILING)),
        }
    }
}

/// A CONNECT that is too large is answered where it has said its version already.
fn too_large(bytes: &[u8]) -> ConnectRefused {
    let start = bytes.get(..16).unwrap_or(bytes);
    let is_v5 = bytes.first() == Some(&0x10) && start.windows(5).any(|name| name == b"MQTT\x05");
    ConnectRefused { refusal: Refusal::TOO_LARGE, answer_in: is_v5.then_some(Version::V5) }
}

/// Checks the client id, or makes one up.
fn client_id(connect: &Connect<'_>, device: Option<&DeviceId>) -> Result<Arc<str>, Refusal> {
    if connect.client_id.is_empty() {
        // 3.1.1 [MQTT-3.1.3-8]
        if connect.version == Version::V3 && !connect.is_clean {
            return Err(Refusal::CLIENT_ID_EMPTY);
        }
        let mut random = [0_u8; 10];
        getrandom::fill(&mut random).map_err(|_error| Refusal::UNAVAILABLE)?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = device.map_or(TOOL_NAME, DeviceId::as_str);
        return Ok(Arc::from(format!("{prefix}/{random}")));
    }
    let id = connect.client_id;
    let is_good = match device {
        None => id.len() <= TOOL_ID_BYTES_MAX,
        Some(device) => match id.strip_prefix(device.as_str()) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('/').is_some_and(|suffix| {
                (1..=SUFFIX_BYTES_MAX).contains(&suffix.len())
                    && !suffix.chars().any(|c| c.is_control() || matches!(c, '+' | '#'))
            }),
            None => false,
        },
    };
    if is_good { Ok(Arc::from(id)) } else { Err(Refusal::CLIENT_ID) }
}

/// Checks the will against what the client may publish: at once, not when it is too late.
fn will(connect: &Connect<'_>, publisher: &Publisher) -> Result<Option<Box<Will>>, Refusal> {
    let Some(will) = &connect.will else { return Ok(None) };
    if connect.version == Version::V5 {
        // [MQTT-3.2.2-12], [MQTT-3.2.2-13]
        if will.qos == 2 {
            return Err(Refusal::QOS);
        }
        if will.is_retained {
            return Err(Refusal::RETAIN);
        }
    }
    let may =
        publisher.is_unrestricted || Topic::may_publish(publisher.device.as_str(), will.topic);
    if !may {
        return Err(Refusal::WILL_DENIED);
    }
    Ok(Some(Box::new(Will {
        topic: Box::from(will.topic),
        content_type: Box::from(will.content_type),
        payload: Box::from(will.payload),
    })))
}

/// How long the client may be silent, and what to tell it where that is not what it asked for.
/// 3.1.1 cannot be told, so it has what it asked for.
fn keep_alive(connect: &Connect<'_>) -> (Option<Duration>, Option<u16>) {
    let most = u16::try_from(limit::KEEP_ALIVE_MAX.as_secs()).unwrap_or(u16::MAX);
    let (seconds, told) = match (connect.version, connect.keep_alive) {
        (Version::V5, 0) => (most, Some(most)),
        (Version::V5, asked) if asked > most => (most, Some(most)),
        (_, asked) => (asked, None),
    };
    let silence = Duration::from_millis(1500 * u64::from(seconds));
    ((seconds > 0).then_some(silence), told)
}
