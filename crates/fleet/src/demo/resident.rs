//! A device of the demonstration and its connection: store and forward, commands, coming back.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axle_domain::{CommandId, DeviceId};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::FleetStatus;
use super::life::{Dice, Life, Pace, Saying, Verdict};
use crate::client::{Client, Incoming};
use crate::clock::{now_ms, parse_rfc3339_micros, rfc3339};
use crate::connect::Dialer;
use crate::packet::Version;
use crate::random::Key;

/// Messages that wait for their acknowledgement.
const WINDOW: usize = 20;
/// Samples that are kept while there is no connection; the oldest go first.
const STORED_MAX: usize = 20_000;
/// Samples of one envelope.
const ENVELOPE_SAMPLES: usize = 100;
/// Commands that are remembered, so that none is executed twice.
const COMMANDS_MAX: usize = 1000;
/// A connection that owes an acknowledgement this long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two PINGREQs.
const PING_PAUSE: Duration = Duration::from_secs(20);

/// A message on its way.
#[derive(Clone, Debug)]
struct Letter {
    topic: String,
    payload: Vec<u8>,
}

/// A device.
pub(super) struct Resident {
    name: DeviceId,
    dialer: Dialer,
    life: Box<dyn Life>,
    dice: Dice,
    pace: Pace,
    /// What waits to be sent or acknowledged.
    outbox: VecDeque<Letter>,
    /// Samples from the time without a connection, by stream.
    stored: BTreeMap<&'static str, VecDeque<Value>>,
    known: VecDeque<String>,
    /// Answers that are due later.
    later: Vec<(Instant, Letter)>,
}

impl Resident {
    /// A device that is not connected.
    pub(super) fn new(
        name: DeviceId,
        dialer: Dialer,
        life: Box<dyn Life>,
        (key, pace): (Key, Pace),
    ) -> Self {
        Self {
            name,
            dialer,
            life,
            dice: Dice::new(key.named("network")),
            pace,
            outbox: VecDeque::new(),
            stored: BTreeMap::new(),
            known: VecDeque::new(),
            later: vec![],
        }
    }

    /// Lives until the end.
    pub(super) async fn run(mut self, status: Arc<FleetStatus>, stop: CancellationToken) {
        // Not all at once: real fleets have no common clock.
        let first = self.pace.of(self.life.moment()).mul_f64(self.dice.share());
        let mut pause = first;
        while !stop.is_cancelled() {
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return;
            }
            if self.life.is_blind() {
                self.live_alone();
                pause = self.pace.of(self.life.moment());
                continue;
            }
            let mut is_counted = false;
            let result = tokio::select! {
                () = stop.cancelled() => Ok(()),
                result = self.session(&status, &mut is_counted) => result,
            };
            if is_counted {
                status.connected.fetch_sub(1, Ordering::Relaxed);
            }
            if let Err(error) = result {
                tracing::debug!(device = %self.name, %error, "the demonstration's device is offline");
                FleetStatus::count(&status.errors);
                self.live_alone();
            }
            pause = self.pace.of(self.life.moment()).mul_f64(self.dice.between(0.5, 1.5));
        }
    }

    /// Lives one moment without a connection.
    fn live_alone(&mut self) {
        let mut says = Vec::new();
        self.life.live(now_ms(), &mut says);
        for saying in says {
            match saying {
                Saying::Sample(stream, sample) => {
                    let stored = self.stored.entry(stream).or_default();
                    if stored.len() >= STORED_MAX {
                        stored.pop_front();
                    }
                    stored.push_back(sample);
                }
                Saying::Bytes(stream, payload) => self.post(stream, payload),
            }
        }
    }

    fn post(&mut self, stream: &str, payload: Vec<u8>) {
        if self.outbox.len() >= STORED_MAX {
            self.outbox.pop_front();
        }
        self.outbox.push_back(Letter { topic: format!("v1/d/{}/t/{stream}", self.name), payload });
    }

    /// Makes envelopes of what was stored; `sent_at` lets the server correct our clock.
    fn forward(&mut self) {
        for (stream, mut stored) in std::mem::take(&mut self.stored) {
            while !stored.is_empty() {
                let count = stored.len().min(ENVELOPE_SAMPLES);
                let samples: Vec<Value> = stored.drain(..count).collect();
                let envelope = json!({ "sent_at": rfc3339(now_ms()), "samples": samples });
                self.post(stream, envelope.to_string().into_bytes());
            }
        }
    }

    async fn session(&mut self, status: &FleetStatus, is_counted: &mut bool) -> io::Result<()> {
        let mut client = Client::connect(&self.dialer, Version::V5, self.name.as_str()).await?;
        FleetStatus::count(&status.connected);
        *is_counted = true;
        client.subscribe(&format!("v1/d/{}/c/#", self.name));
        self.forward();
        let mut flights: BTreeMap<u16, Letter> = BTreeMap::new();
        let mut moments = tokio::time::interval(self.pace.of(self.life.moment()));
        moments.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut heard, mut pinged) = (Instant::now(), Instant::now());
        let result = loop {
            while flights.len() < WINDOW
                && let Some(letter) = self.outbox.pop_front()
            {
                let id = client.publish(&letter.topic, &letter.payload);
                flights.insert(id, letter);
            }
            if let Err(error) = client.flush().await {
                break Err(error);
            }
            let answer_due = self.later.iter().map(|(due, _)| *due).min();
            tokio::select! {
                incoming = client.next() => {
                    heard = Instant::now();
                    match incoming {
                        Ok(incoming) => self.take(incoming, &mut client, (&mut flights, status)),
                        Err(error) => break Err(error),
                    }
                }
                () = sleep_until(answer_due) => self.answer_due(),
                now = moments.tick() => {
                    if flights.is_empty() {
                        heard = now;
                    } else if now.duration_since(heard) > PATIENCE {
                        break Err(io::ErrorKind::TimedOut.into());
                    }
                    if now.duration_since(pinged) > PING_PAUSE {
                        pinged = now;
                        client.ping();
                    }
                    if self.live_connected() {
                        break Ok(());
                    }
                }
            }
        };
        // What was not acknowledged is sent again, before everything else.
        flights.into_values().rev().for_each(|letter| self.outbox.push_front(letter));
        if result.is_ok() {
            client.close().await;
        }
        result
    }

    /// Lives one moment; says whether the network is lost.
    fn live_connected(&mut self) -> bool {
        let mut says = Vec::new();
        self.life.live(now_ms(), &mut says);
        for saying in says {
            match saying {
                Saying::Sample(stream, sample) => {
                    self.post(stream, sample.to_string().into_bytes())
                }
                Saying::Bytes(stream, payload) => self.post(stream, payload),
            }
        }
        self.life.is_blind()
    }

    fn take(
        &mut self,
        incoming: Incoming,
        client: &mut Client,
        (flights, status): (&mut BTreeMap<u16, Letter>, &FleetStatus),
    ) {
        match incoming {
            Incoming::Acked(id, _code) => {
                if flights.remove(&id).is_some() {
                    FleetStatus::count(&status.acked);
                }
            }
            Incoming::Message { payload, id, .. } => {
                self.execute(&payload, status);
                client.acknowledge(id);
            }
            Incoming::Subscribed(_) | Incoming::Other => {}
        }
    }

    fn execute(&mut self, payload: &[u8], status: &FleetStatus) {
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
        let letter = |answer: &Value| Letter {
            topic: topic.clone(),
            payload: answer.to_string().into_bytes(),
        };
        // Answers go before telemetry: someone is waiting for them.
        if time.is_zero() {
            self.outbox.push_front(letter(&answer));
        } else {
            self.outbox.push_front(letter(&json!({ "status": "running" })));
            self.later.push((Instant::now() + time, letter(&answer)));
        }
        FleetStatus::count(&status.commands);
    }

    fn answer_due(&mut self) {
        let now = Instant::now();
        let due = self.later.extract_if(.., |(due, _)| *due <= now);
        due.for_each(|(_, letter)| self.outbox.push_front(letter));
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
