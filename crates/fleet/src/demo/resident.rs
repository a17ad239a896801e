//! A device with a connection: it sends what its life says, keeps what it cannot send, and
//! executes each command once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axle_domain::{CommandId, DeviceId};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::FleetStatus;
use super::life::{Dice, Life, Pace, Saying, Verdict};
use super::meter::PastDays;
use super::plant::Swap;
use super::post::{Letter, Post};
use super::trickle::Trickle;
use crate::client::{Client, Incoming};
use crate::clock::{now_ms, parse_rfc3339_micros};
use crate::connect::Dialer;
use crate::packet::Version;
use crate::random::Key;

/// Messages that wait for their acknowledgement.
const WINDOW: usize = 20;
/// Messages of the past that do, so that the present is not behind them.
const PAST_WINDOW: usize = 4;
/// Commands that are remembered, so that none is executed twice.
const COMMANDS_MAX: usize = 1000;
/// A connection that owes an acknowledgement this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two PINGREQs.
const PING_PAUSE: Duration = Duration::from_secs(20);

/// What a device shares with the others.
#[derive(Clone)]
pub(super) struct Surroundings {
    /// Counters.
    pub(super) status: Arc<FleetStatus>,
    /// How fast life goes.
    pub(super) pace: Pace,
    /// Where workshops report.
    pub(super) workshop: mpsc::Sender<Swap>,
    /// How fast the past may be sent, over all devices.
    pub(super) trickle: Trickle,
    /// The end.
    pub(super) stop: CancellationToken,
}

/// A device.
pub(super) struct Resident {
    name: DeviceId,
    dialer: Dialer,
    life: Box<dyn Life>,
    /// Messages of the past, not sent yet.
    past: Option<PastDays>,
    dice: Dice,
    post: Post,
    around: Surroundings,
    known: VecDeque<String>,
    /// Answers that are due later.
    later: Vec<(Instant, String, Value)>,
}

impl Resident {
    /// A device that is not connected.
    pub(super) fn new(
        (name, key): (DeviceId, Key),
        dialer: Dialer,
        (life, past): (Box<dyn Life>, Option<PastDays>),
        post: Post,
        around: Surroundings,
    ) -> Self {
        let dice = Dice::new(key.named("network"));
        let (known, later) = (VecDeque::new(), vec![]);
        Self { name, dialer, life, past, dice, post, around, known, later }
    }

    /// Lives until the end.
    pub(super) async fn run(mut self) {
        let (pace, stop) = (self.around.pace, self.around.stop.clone());
        // Not all at once: real fleets have no common clock.
        let mut pause = pace.of(self.life.moment().min(FIRST_MAX)).mul_f64(self.dice.share());
        while !stop.is_cancelled() {
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            if self.life.is_blind() {
                self.live_alone();
                pause = pace.of(self.life.moment());
                continue;
            }
            let mut is_counted = false;
            let result = tokio::select! {
                () = stop.cancelled() => Ok(()),
                result = self.session(&mut is_counted) => result,
            };
            if is_counted {
                self.around.status.connected.fetch_sub(1, Ordering::Relaxed);
            }
            if let Err(error) = result {
                tracing::debug!(device = %self.name, %error, "a simulated device is offline");
                FleetStatus::count(&self.around.status.errors);
                self.live_alone();
            }
            pause = pace.of(self.life.moment().min(RETRY_MAX)).mul_f64(self.dice.between(0.5, 1.5));
        }
    }

    /// Lives one moment without a connection.
    fn live_alone(&mut self) {
        for saying in self.live() {
            match saying {
                Saying::Sample(sample) => self.post.store(&sample),
                Saying::Bytes(stream, bytes) => self.post.bytes(stream, bytes),
                Saying::Swapped(component, time_ms) => self.report(component, time_ms),
            }
        }
    }

    /// Lives one moment; says whether the network is lost.
    fn live_connected(&mut self) -> bool {
        for saying in self.live() {
            match saying {
                Saying::Sample(sample) => {
                    if sample.stream == "fault" {
                        FleetStatus::count(&self.around.status.faults);
                    }
                    self.post.sample(&sample);
                }
                Saying::Bytes(stream, bytes) => self.post.bytes(stream, bytes),
                Saying::Swapped(component, time_ms) => self.report(component, time_ms),
            }
        }
        self.life.is_blind()
    }

    fn live(&mut self) -> Vec<Saying> {
        let mut says = Vec::new();
        self.life.live(now_ms(), &mut says);
        says
    }

    fn report(&self, component: &'static str, time_ms: i64) {
        let swap = Swap { device: self.name.clone(), component, time_ms };
        if let Err(error) = self.around.workshop.try_send(swap) {
            tracing::debug!(device = %self.name, %error, "the workshop has too much to do");
        }
    }

    async fn session(&mut self, is_counted: &mut bool) -> io::Result<()> {
        let mut client = Client::connect(&self.dialer, Version::V5, self.name.as_str()).await?;
        FleetStatus::count(&self.around.status.connected);
        *is_counted = true;
        client.subscribe(&format!("v1/d/{}/c/#", self.name));
        self.post.forward();
        let mut flights: BTreeMap<u16, Letter> = BTreeMap::new();
        let mut moments = tokio::time::interval(self.around.pace.of(self.life.moment()));
        moments.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let trickle = self.around.trickle.clone();
        let (mut heard, mut pinged) = (Instant::now(), Instant::now());
        let mut pings = tokio::time::interval(PING_PAUSE / 4);
        let result = loop {
            while flights.len() < WINDOW
                && let Some(letter) = self.post.next()
            {
                let id = client.publish(&letter.topic, &self.post.payload(&letter));
                flights.insert(id, letter);
            }
            if let Err(error) = client.flush().await {
                break Err(error);
            }
            let answer_due = self.later.iter().map(|(due, ..)| *due).min();
            tokio::select! {
                incoming = client.next() => {
                    heard = Instant::now();
                    match incoming {
                        Ok(incoming) => self.take(incoming, &mut client, &mut flights),
                        Err(error) => break Err(error),
                    }
                }
                () = sleep_until(answer_due) => self.answer_due(),
                () = trickle.turn(), if self.past.is_some() && flights.len() < PAST_WINDOW => {
                    self.remember();
                }
                now = pings.tick() => {
                    if flights.is_empty() {
                        heard = now;
                    } else if now.duration_since(heard) > PATIENCE {
                        break Err(io::ErrorKind::TimedOut.into());
                    }
                    if now.duration_since(pinged) > PING_PAUSE {
                        pinged = now;
                        client.ping();
                    }
                }
                _moment = moments.tick() => {
                    if self.live_connected() {
                        break Ok(());
                    }
                }
            }
        };
        // What was not acknowledged is sent again, before everything else.
        flights.into_values().rev().for_each(|letter| self.post.put_back(letter));
        if result.is_ok() {
            client.close().await;
        }
        result
    }

    /// Sends a message of the past.
    fn remember(&mut self) {
        match self.past.as_mut().and_then(Iterator::next) {
            Some(bytes) => self.post.bytes("energy", bytes),
            None => self.past = None,
        }
    }

    fn take(
        &mut self,
        incoming: Incoming,
        client: &mut Client,
        flights: &mut BTreeMap<u16, Letter>,
    ) {
        match incoming {
            Incoming::Acked(id, _code) => {
                if flights.remove(&id).is_some_and(|letter| letter.is_telemetry()) {
                    FleetStatus::count(&self.around.status.acked);
                }
            }
            Incoming::Message { payload, id, .. } => {
                self.execute(&payload);
                client.acknowledge(id);
            }
            Incoming::Subscribed(_) | Incoming::Other => {}
        }
    }

    /// Executes a command, unless it was here before.
    fn execute(&mut self, payload: &[u8]) {
        let command: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |name: &str| command.get(name).and_then(Value::as_str).unwrap_or_default();
        let Ok(id) = CommandId::parse(text("id")) else { return };
        if self.known.iter().any(|known| known == id.as_str()) {
            return;
        }
        if self.known.len() >= COMMANDS_MAX {
            self.known.pop_front();
        }
        self.known.push_back(id.as_str().to_owned());
        let is_late = parse_rfc3339_micros(text("deadline"))
            .is_none_or(|deadline| deadline / 1000 < now_ms());
        let is_dry_run = command.get("dry_run").and_then(Value::as_bool).unwrap_or(false);
        let (time, verdict) = if is_late {
            (Duration::ZERO, Verdict::Rejected("came after its deadline"))
        } else if is_dry_run {
            (Duration::ZERO, Verdict::Succeeded(json!({ "would": text("name") })))
        } else {
            self.life.execute(text("name"))
        };
        let mut answer = match verdict {
            Verdict::Succeeded(result) => json!({ "status": "succeeded", "result": result }),
            Verdict::Failed(reason) => json!({ "status": "failed", "reason": reason }),
            Verdict::Rejected(reason) => json!({ "status": "rejected", "reason": reason }),
        };
        if let (true, Some(answer)) = (is_dry_run, answer.as_object_mut()) {
            answer.insert("dry_run".to_owned(), Value::Bool(true));
        }
        let topic = format!("v1/d/{}/c/{id}/r", self.name);
        if time.is_zero() {
            self.post.answer(topic, &answer);
        } else {
            self.post.answer(topic.clone(), &json!({ "status": "running" }));
            self.later.push((Instant::now() + time, topic, answer));
        }
        FleetStatus::count(&self.around.status.commands);
    }

    fn answer_due(&mut self) {
        let now = Instant::now();
        for (_, topic, answer) in self.later.extract_if(.., |(due, ..)| *due <= now) {
            self.post.answer(topic, &answer);
        }
    }
}

/// Longest wait before the first connection, and before one that broke is made again.
const FIRST_MAX: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(5);

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
