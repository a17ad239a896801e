//! What the packets of one client mean: publishes to the log, acknowledgements in order,
//! subscriptions, and messages down. Knows no socket; writes into a buffer.

mod downward;
mod pace;
mod provisioning;
mod received;
mod subscription;
mod upward;

use std::collections::VecDeque;
use std::sync::Arc;

use axle_app::{App, Departure, Publisher, Rights};
use axle_domain::{DeviceId, Will, limit};
use rustls_pki_types::CertificateDer;
use tokio_util::task::TaskTracker;

use crate::journal::Why;
use crate::link::Link;
use crate::metrics::Metrics;
use crate::packet::header::{Header, PacketKind};
use crate::packet::refusal::Refusal;
use crate::packet::{Version, disconnect, publish, write};
use crate::sessions::{Granted, Sessions, Wish};
use crate::settings::Settings;
use crate::takeovers::Takeovers;
use crate::tls::DeviceTls;
use crate::will;

use downward::Downward;
use pace::{BareCount, Effort};
use received::Received;
use subscription::Storing;
use upward::Pending;
pub(crate) use upward::Waiting;

/// Topic aliases that a client may use.
pub(crate) const TOPIC_ALIAS_MAX: u16 = 16;

/// What all connections of a gateway share.
pub(crate) struct Shared {
    pub(crate) app: Arc<App>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) metrics: Metrics,
    pub(crate) settings: Settings,
    pub(crate) tracker: TaskTracker,
    /// What the listener for devices believes; none without one.
    pub(crate) tls: Option<Arc<DeviceTls>>,
    pub(crate) takeovers: Takeovers,
}

impl Shared {
    /// What every device may.
    pub(crate) fn device_rights(&self) -> Rights {
        match self.settings.layouts.is_empty() {
            true => Rights::OwnTree,
            false => Rights::Mapped(Arc::clone(&self.settings.layouts)),
        }
    }

    /// Whether the certificates that a client has shown are good still.
    pub(crate) fn believes(&self, chain: &[CertificateDer<'_>]) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.vouch(chain).is_ok())
    }
}

/// What follows from a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Read on.
    Next,
    /// The packet has to wait; offer it again later.
    Later(Wait),
}

/// What a packet waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For acknowledgements to leave.
    Commit,
    /// For room in the log.
    Room,
    /// For the session to be stored.
    Stored,
    /// For the time at which it may publish again.
    Rate,
    /// For the other connections to have had their go.
    Others,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client said goodbye.
    Goodbye,
    /// The client said goodbye and wants its will sent all the same.
    GoodbyeWithWill,
    /// The socket ended.
    Gone,
    /// The socket failed.
    Broken,
    /// We end it.
    Refused(Refusal),
}

impl End {
    /// Why, for a person.
    pub(crate) fn why(self) -> Why {
        let (code, next_step) = match self {
            Self::Refused(refusal) => return refusal.into(),
            Self::Goodbye | Self::GoodbyeWithWill => ("mqtt.goodbye", ""),
            Self::Gone => (
                "mqtt.hung_up",
                "Nothing, if the device was switched off or lost its network. If this repeats at \
                 once after each connect, look into the log of the client.",
            ),
            Self::Broken => ("mqtt.network", "Check the network between device and server."),
        };
        Why::new(code, self.reason(), next_step)
    }

    /// In words, for the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Goodbye => "the client said goodbye",
            Self::GoodbyeWithWill => "the client said goodbye and wants its will sent",
            Self::Gone => "the client hung up without DISCONNECT",
            Self::Broken => "the network connection was reset or failed",
            Self::Refused(refusal) => refusal.text,
        }
    }
}

impl End {
    /// Whether it is about what the client sent.
    pub(crate) fn is_clients_fault(self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_clients_fault())
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// One client.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) link: Arc<Link>,
    place: Option<Place>,
    /// In a box: with it the task of a connection would not fit into 512 bytes.
    publisher: Box<Publisher>,
    /// Publishes that are not durable yet, and refusals that wait for their turn among them.
    pending: VecDeque<Pending>,
    /// Publishes at QoS 1 and refusals among them.
    unacknowledged: u16,
    /// Publishes at QoS 2 that the client has not released.
    received: Received,
    down: Downward,
    /// Answers that wait until the session is stored.
    storing: Storing,
    /// What few clients use: in a box, since every idle connection keeps room for it.
    aliases: Option<Box<Aliases>>,
    wants_reasons: bool,
    /// Whether its messages name it: it has asked not to hear itself.
    is_named: bool,
    will: Option<Arc<Will>>,
    /// What it takes of the server, once it publishes.
    effort: Option<Box<Effort>>,
    bare: BareCount,
    /// PUBLISH packets since they were last counted.
    published: u32,
    /// PUBLISH packets that were counted, and those that were sent.
    counts: Counts,
}

/// Topics by alias, from 1; empty ones are not set.
#[derive(Default)]
struct Aliases(Vec<Box<str>>);

/// Messages of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A place among the live connections, given back when it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl Place {
    /// Takes a place; one of the same client id has to leave.
    pub(crate) fn take(
        shared: &Arc<Shared>,
        link: &Arc<Link>,
        wish: Wish,
    ) -> Result<(Self, Granted), Refusal> {
        let granted = shared.sessions.register(link, shared, wish)?;
        shared.metrics.connections.inc();
        Ok((Self { shared: Arc::clone(shared), link: Arc::clone(link) }, granted))
    }
}

impl Place {
    fn leave(&self, departure: &Departure<'_>) {
        let app = &self.shared.app;
        self.shared.sessions.deregister(
            &self.link,
            &app.presence,
            departure,
            app.ports.clock.now(),
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
        // One that has ended in order has left already.
        let departure = Departure { code: "", reason: "", client_id: &self.link.client_id };
        self.leave(&departure);
    }
}

/// Who a session is for.
pub(crate) struct SessionOf {
    pub(crate) place: Place,
    pub(crate) publisher: Publisher,
    pub(crate) receive_max: u16,
    /// Topic aliases that the client takes.
    pub(crate) alias_max: u16,
    pub(crate) wants_reasons: bool,
    pub(crate) will: Option<Arc<Will>>,
}

impl Session {
    pub(crate) fn new(of: SessionOf) -> Self {
        let kept = of.place.link.inbox.get().map(|inbox| inbox.subscriptions());
        let is_named = kept.is_some_and(|kept| kept.iter().any(|it| it.is_no_local));
        Self {
            shared: Arc::clone(&of.place.shared),
            link: Arc::clone(&of.place.link),
            place: Some(of.place),
            publisher: Box::new(of.publisher),
            pending: VecDeque::new(),
            unacknowledged: 0,
            received: Received::default(),
            down: Downward::new(of.receive_max, of.alias_max),
            storing: Storing::default(),
            aliases: None,
            wants_reasons: of.wants_reasons,
            is_named,
            will: of.will,
            effort: None,
            bare: BareCount::default(),
            published: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.link.version
    }

    /// The device; `None` for a local tool.
    pub(crate) fn device(&self) -> Option<&DeviceId> {
        self.link.device.as_ref()
    }

    /// Takes one whole packet.
    pub(crate) fn handle(
        &mut self,
        header: Header,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Flow, End> {
        let version = self.version();
        if matches!(
            header.kind,
            PacketKind::PingReq | PacketKind::Subscribe | PacketKind::Unsubscribe
        ) {
            self.bare.count()?;
        }
        match header.kind {
            PacketKind::Publish => {
                return self.handle_publish(header, body, out).inspect_err(|end| {
                    // The use case has counted what it denied.
                    if *end != End::Refused(Refusal::TOPIC_DENIED) && end.is_clients_fault() {
                        self.count_rejected();
                    }
                });
            }
            PacketKind::PubAck => {
                let (packet_id, code) = publish::read_ack(body, version)?;
                self.handle_puback(packet_id, code)?;
            }
            PacketKind::PingReq if body.is_empty() => write::put_pingresp(out),
            PacketKind::PingReq => return Err(Refusal::TRAILING.into()),
            PacketKind::Subscribe => return Ok(self.handle_subscribe(body, out)?),
            PacketKind::Unsubscribe => return Ok(self.handle_unsubscribe(body, out)?),
            PacketKind::Disconnect => {
                let disconnect = disconnect::read(body, version)?;
                self.change_expiry(disconnect.session_expiry)?;
                let sends_will = disconnect.sends_will;
                return Err(if sends_will { End::GoodbyeWithWill } else { End::Goodbye });
            }
            PacketKind::PubRel => self.handle_pubrel(body, out)?,
            PacketKind::PubRec => {
                let (packet_id, code) = publish::read_ack(body, version)?;
                self.handle_pubrec(packet_id, code, out)?;
            }
            PacketKind::PubComp => {
                let (packet_id, _) = publish::read_completion(body, version)?;
                self.handle_pubcomp(packet_id)?;
            }
            // [MQTT-3.1.0-2]
            PacketKind::Connect => return Err(Refusal::SECOND_CONNECT.into()),
            // [MQTT-4.12.0-6]
            PacketKind::Auth => return Err(Refusal::PROTOCOL.into()),
        }
        Ok(Flow::Next)
    }

    /// What the client says of its session at the end.
    fn change_expiry(&self, seconds: Option<u32>) -> Result<(), Refusal> {
        let (Some(seconds), Some(inbox)) = (seconds, self.link.inbox.get()) else { return Ok(()) };
        if seconds > 0 && !inbox.is_kept() {
            return Err(Refusal::EXPIRY_RAISED);
        }
        let most = u32::try_from(limit::SESSION_EXPIRY_MAX.as_secs()).unwrap_or(u32::MAX);
        inbox.put_expiry(seconds.min(most));
        Ok(())
    }

    /// Gives the place among the live connections back, and sends the will or leaves it to wait
    /// [MQTT-3.1.2-8], [MQTT-3.1.2-10].
    pub(crate) fn leave(&mut self, end: End, why: &Why) {
        let inbox = self.link.inbox.get().cloned();
        let will = self.will.take();
        if let (Some(inbox), Some(will), End::Goodbye) = (&inbox, &will, end) {
            inbox.forget_will(will.connected_at);
        }
        let is_wanted = end != End::Goodbye;
        // While the session still has it: else the router might send it too.
        let is_sent = match (&inbox, &will) {
            (Some(inbox), Some(will)) if is_wanted && will.delay_seconds == 0 => {
                will::send(&self.shared, inbox, will).is_ok()
            }
            _ => false,
        };
        if let Some(place) = self.place.take() {
            let (code, reason) = (why.code.as_str(), why.reason.as_str());
            place.leave(&Departure { code, reason, client_id: &self.link.client_id });
        }
        self.orphan_shared();
        let (Some(inbox), Some(will)) = (inbox, will) else { return };
        // What the session has waits with it: it is sent when the delay is over or the session
        // ends, and not at all when the client comes back before.
        let is_lost = will.delay_seconds == 0 && !inbox.holds_will(will.connected_at);
        let is_due = inbox.is_ended() || !inbox.is_kept() || is_lost;
        if is_wanted && is_due && !is_sent && will::send(&self.shared, &inbox, &will).is_err() {
            self.shared.sessions.ledger.send(inbox, will);
        }
    }

    /// Counts a publish that is refused here, for the law of the door.
    pub(crate) fn count_rejected(&self) {
        // The connection ends over it: nobody waits for the record.
        let _record = self.shared.app.ingest.count_rejected(1);
    }

    /// Adds what was counted since the last time to the metrics.
    pub(crate) fn flush_counts(&mut self) {
        if self.published > 0 {
            let published = u64::from(self.published);
            self.shared.metrics.publishes.inc_by(published);
            self.counts.received += published;
            self.published = 0;
        }
    }

    /// Messages since the connection began.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// Most entries that wait for a commit, those of QoS 0 that somebody has subscribed to included.
const PENDING_ENTRIES_MAX: usize = 4 * limit::PENDING_PUBLISHES_MAX;
