//! A device with a memory: it keeps what was not acknowledged, across connections and across
//! servers, and executes a command once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use axle_domain::{CommandId, DeviceId, Topic};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::LedgerPlan;
use super::desk::{Badge, Desk};
use crate::client::{Client, Incoming, WRITE_BYTES_SOFT};
use crate::clock::{now_ms, parse_rfc3339_micros};
use crate::connect::Dialer;
use crate::content::Source;
use crate::load::sent::{Bits, Sent};
use crate::packet::Version;
use crate::random::Key;

/// Pause before the next attempt to connect.
const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// A connection that owes an acknowledgement this long is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two PINGREQs.
const PING_PAUSE: Duration = Duration::from_secs(20);
/// A command that comes later than this after its deadline is a violation; less is the way.
const LATE_MS: i64 = 1000;

/// What the device did with a command.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    /// The number that the person gave the command.
    pub(super) nonce: Option<u64>,
    /// `succeeded` or `failed`; `None` for a command that came too late and was not executed.
    pub(super) status: Option<&'static str>,
    /// Whether the final answer was acknowledged.
    pub(super) is_answered: bool,
    /// What was wrong with the command as it came.
    pub(super) complaint: Option<String>,
}

impl Execution {
    fn is_owed(&self) -> bool {
        self.status.is_some() && !self.is_answered
    }
}

/// What a packet carried.
#[derive(Clone, Debug)]
enum Flight {
    Sample(u64),
    Running,
    Answer(String),
}

/// A device of the ledger.
pub(super) struct Device {
    /// Its id.
    pub(super) name: DeviceId,
    /// Its messages.
    pub(super) source: Source,
    /// How often it has connected.
    pub(super) connects: u64,
    /// Samples that the server refused.
    pub(super) refused: u64,
    /// What it did with each command.
    pub(super) executions: BTreeMap<String, Execution>,
    dialer: Dialer,
    is_tls: bool,
    version: Version,
    window: usize,
    pause: Duration,
    key: Key,
    next: u64,
    acked: Bits,
    pending: VecDeque<u64>,
    answers: VecDeque<String>,
}

/// One connection of the device.
struct Session {
    client: Client,
    flights: BTreeMap<u16, Flight>,
    /// How many of `pending` were sent on this connection.
    resent: usize,
    heard: Instant,
    pinged: Instant,
}

impl Device {
    /// A device that has sent nothing. Every second one speaks MQTT 5.
    pub(super) fn new(name: DeviceId, source: Source, dialer: Dialer, plan: &LedgerPlan) -> Self {
        let key = Key::new(plan.seed).named(name.as_str());
        let version = if key.below(0, 2) == 0 { Version::V3 } else { Version::V5 };
        Self {
            name,
            source,
            connects: 0,
            refused: 0,
            executions: BTreeMap::new(),
            dialer,
            is_tls: plan.is_tls,
            version,
            window: plan.window.clamp(1, 200),
            pause: plan.publish_pause.max(Duration::from_micros(100)),
            key,
            next: 0,
            acked: Bits::default(),
            pending: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Messages begun.
    pub(super) fn published(&self) -> u64 {
        self.next
    }

    /// Messages acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked.len()
    }

    /// Commands executed.
    pub(super) fn executed(&self) -> u64 {
        self.executions.values().filter(|execution| execution.status.is_some()).count() as u64
    }

    /// What it has sent.
    pub(super) fn sent(&self) -> Sent {
        Sent::alone(self.source, self.next, self.acked.clone())
    }

    /// The greatest message, if it was acknowledged like all before.
    pub(super) fn last_acked(&self) -> Option<u64> {
        self.next.checked_sub(1).filter(|_| self.acked.len() == self.next)
    }

    /// Connects again and again until the end of the drive.
    pub(super) async fn run(&mut self, desk: &Desk) {
        let mut badge = desk.badge();
        let address = if self.is_tls { &desk.doors.mqtts } else { &desk.doors.mqtt };
        let Some(address) = address else { return };
        self.dialer = self.dialer.moved(address);
        while !desk.stop.is_cancelled() {
            let session = tokio::select! {
                () = desk.stop.cancelled() => return,
                session = self.session(desk, &mut badge) => session,
            };
            if let Err(error) = session {
                tracing::debug!(device = %self.name, %error, "connection over");
                badge.set(!self.is_idle());
                desk.pause(RETRY_PAUSE).await;
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty() && !self.executions.values().any(Execution::is_owed)
    }

    async fn session(&mut self, desk: &Desk, badge: &mut Badge<'_>) -> io::Result<()> {
        let client = Client::connect(&self.dialer, self.version, self.name.as_str()).await?;
        self.connects += 1;
        let now = Instant::now();
        let mut session =
            Session { client, flights: BTreeMap::new(), resent: 0, heard: now, pinged: now };
        session.client.subscribe(&format!("v1/d/{}/c/#", self.name));
        let owed = self.executions.iter().filter(|(_, done)| done.is_owed());
        self.answers = owed.map(|(command, _)| command.clone()).collect();
        let mut ticks = tokio::time::interval(self.pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            self.fill(&mut session);
            session.client.flush().await?;
            badge.set(!session.flights.is_empty() || !self.is_idle());
            self.step(&mut session, &mut ticks, desk).await?;
        }
    }

    /// Waits for the server or the clock, whichever comes first.
    async fn step(
        &mut self,
        session: &mut Session,
        ticks: &mut Interval,
        desk: &Desk,
    ) -> io::Result<()> {
        tokio::select! {
            incoming = session.client.next() => {
                session.heard = Instant::now();
                self.take(incoming?, session, desk);
            }
            now = ticks.tick() => {
                if session.flights.is_empty() {
                    session.heard = session.heard.max(now - PATIENCE / 2);
                } else if now.duration_since(session.heard) > PATIENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                if now.duration_since(session.pinged) > PING_PAUSE {
                    session.pinged = now;
                    session.client.ping();
                }
                if !desk.is_settling && self.pending.len() < self.window * 4 {
                    self.pending.push_back(self.next);
                    self.next += 1;
                }
            }
        }
        Ok(())
    }

    /// Queues what the window allows: answers first, then samples in their order.
    fn fill(&mut self, session: &mut Session) {
        while session.flights.len() < self.window
            && session.client.unsent_bytes() < WRITE_BYTES_SOFT
        {
            if let Some(command) = self.answers.pop_front() {
                self.send_answer(session, command);
                continue;
            }
            let Some(seq) = self.pending.get(session.resent).copied() else { return };
            session.resent += 1;
            let mut payload = Vec::with_capacity(256);
            self.source.write_payload(seq, &mut payload);
            let topic = format!("v1/d/{}/t/{}", self.name, self.source.profile().stream());
            let id = session.client.publish(&topic, &payload);
            session.flights.insert(id, Flight::Sample(seq));
        }
    }

    fn send_answer(&self, session: &mut Session, command: String) {
        let execution = self.executions.get(&command);
        let Some(status) = execution.and_then(|execution| execution.status) else { return };
        let nonce = execution.and_then(|execution| execution.nonce);
        let topic = format!("v1/d/{}/c/{command}/r", self.name);
        if self.key.named(&command).below(1, 4) == 0 {
            let running = json!({ "status": "running" }).to_string();
            let id = session.client.publish(&topic, running.as_bytes());
            session.flights.insert(id, Flight::Running);
        }
        let answer = json!({ "status": status, "result": { "nonce": nonce } }).to_string();
        let id = session.client.publish(&topic, answer.as_bytes());
        session.flights.insert(id, Flight::Answer(command));
    }

    fn take(&mut self, incoming: Incoming, session: &mut Session, desk: &Desk) {
        match incoming {
            Incoming::Acked(id, code) => {
                desk.note_ack();
                match session.flights.remove(&id) {
                    Some(Flight::Sample(seq)) => self.take_ack(seq, code, session),
                    Some(Flight::Answer(command)) => {
                        if let Some(execution) = self.executions.get_mut(&command) {
                            execution.is_answered = true;
                        }
                    }
                    Some(Flight::Running) | None => {}
                }
            }
            Incoming::Message { topic, payload, id } => {
                self.execute(&topic, &payload);
                session.client.acknowledge(id);
            }
            Incoming::Subscribed(code) if code >= 0x80 => self.refused += 1,
            Incoming::Subscribed(_) | Incoming::Other => {}
        }
    }

    fn take_ack(&mut self, seq: u64, code: u8, session: &mut Session) {
        if let Some(place) = self.pending.iter().position(|pending| *pending == seq) {
            self.pending.remove(place);
            session.resent = session.resent.saturating_sub(1);
        }
        if code < 0x80 {
            self.acked.insert(seq);
        } else {
            self.refused += 1;
        }
    }

    /// Executes a command unless it was executed already, and has the answer sent (again).
    fn execute(&mut self, topic: &str, payload: &[u8]) {
        let command: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| command.get(name).and_then(Value::as_str);
        let id = text("id").unwrap_or_default();
        let wanted = CommandId::parse(id).ok();
        let wanted =
            wanted.map(|id| Topic::command(&self.name, &id, text("name").unwrap_or_default()));
        if !self.executions.contains_key(id) {
            let deadline_ms = text("deadline").and_then(parse_rfc3339_micros).map(|t| t / 1000);
            let late_ms = deadline_ms.map(|deadline| now_ms() - deadline);
            let complaint = if wanted.as_deref() != Some(topic) {
                Some(format!("topic {topic} does not fit the payload"))
            } else if late_ms.is_none_or(|late| late > LATE_MS) {
                Some(format!("came {late_ms:?} ms after its deadline"))
            } else {
                None
            };
            let is_timely = late_ms.is_some_and(|late| late <= 0);
            let is_good = self.key.named(id).below(0, 8) != 0;
            let status = if is_good { "succeeded" } else { "failed" };
            let execution = Execution {
                nonce: command.pointer("/payload/nonce").and_then(Value::as_u64),
                status: is_timely.then_some(status),
                is_answered: false,
                complaint,
            };
            self.executions.insert(id.to_owned(), execution);
        }
        if !self.answers.iter().any(|answer| answer == id) {
            self.answers.push_back(id.to_owned());
        }
    }
}
