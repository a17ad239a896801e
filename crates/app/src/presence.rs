//! Who came, went, or fell silent: told on the log, where programs, rules and people find it like
//! any other message.
//!
//! A device is there as long as any of its connections is. What is told is told at least once:
//! after a crash the next start says of every device that was there, and is not any more, that it
//! went; and silence is told until the log has it. A repeat has the same values.

mod silence;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axle_domain::port::{Clock, DeviceRegistry, EventLog, ReportedState};
use axle_domain::{
    DeviceId, Envelope, Error, FieldKey, Kind, Message, OwnedValue, Source, Timestamp, Topic, limit,
};
use serde_json::json;
use tracing::warn;

use crate::app::Ports;
use crate::project::Applied;
use crate::time_text::format_time;

use silence::Silence;
pub use silence::SilentAfter;

/// How often is tried what could not be told, and looked for silence at most.
const TICK: Duration = Duration::from_secs(1);
/// Devices that are looked at together.
const PAGE: usize = 1000;

/// Why a device went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure<'a> {
    /// A stable code such as `mqtt.keep_alive`.
    pub code: &'a str,
    /// The same in words.
    pub reason: &'a str,
    /// The client id of its last connection.
    pub client_id: &'a str,
}

/// One record to be written.
struct Change {
    device: DeviceId,
    payload: String,
    at: Timestamp,
}

#[derive(Default)]
struct State {
    /// Whether anything is told yet.
    is_awake: bool,
    /// Devices that came or went in this run, until those of the run before are settled.
    changed: Option<HashSet<DeviceId>>,
    /// What the log had no room for, in order.
    waiting: VecDeque<Change>,
}

/// The teller.
pub struct Presence {
    log: Arc<dyn EventLog>,
    clock: Arc<dyn Clock>,
    devices: Arc<dyn DeviceRegistry>,
    reported: Arc<dyn ReportedState>,
    applied: Applied,
    state: Mutex<State>,
}

impl Presence {
    pub(crate) fn new(ports: &Ports, applied: Applied) -> Self {
        let Ports { log, clock, devices, reported, .. } = ports.clone();
        Self { log, clock, devices, reported, applied, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is told who comes and goes. Before the first connection, so that none is
    /// missed.
    pub fn begin(&self) {
        let mut state = self.state();
        state.is_awake = true;
        state.changed = Some(HashSet::new());
    }

    /// A device is there that was not: its client id and protocol, and since when.
    pub fn arrive(&self, device: &DeviceId, (client_id, protocol): (&str, &str), at: Timestamp) {
        // Empty texts, so that the latest values do not keep why it went the time before.
        let payload = json!({
            "time": format_time(at), "event": "connected", "code": "", "reason": "",
            "client_id": client_id, "protocol": protocol,
        });
        self.tell(Change { device: device.clone(), payload: payload.to_string(), at });
    }

    /// The last connection of a device has ended.
    pub fn depart(&self, device: &DeviceId, departure: &Departure<'_>, at: Timestamp) {
        self.tell(departed(device, departure, at));
    }

    fn tell(&self, change: Change) {
        let mut state = self.state();
        if !state.is_awake {
            return;
        }
        if let Some(changed) = &mut state.changed {
            changed.insert(change.device.clone());
        }
        self.write(&mut state, change);
    }

    /// Writes one, behind those that wait already.
    fn write(&self, state: &mut State, change: Change) {
        if state.waiting.is_empty() && self.append(&change) {
            return;
        }
        if state.waiting.len() >= limit::PRESENCE_CHANGES_WAITING_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back(change);
    }

    /// Says whether it need not be tried again: a log that has failed takes nothing until the
    /// next start, which settles everything.
    fn append(&self, change: &Change) -> bool {
        let appended = self.log.append(&Message {
            source: Source::Presence,
            device: change.device.as_str(),
            topic: &Topic::presence(&change.device),
            content_type: "application/json",
            payload: change.payload.as_bytes(),
            received_at: change.at,
            connected_at: change.at,
            sent_at: None,
            replayed_at: None,
            origin: "",
            envelope: Envelope { qos: 1, ..Envelope::default() },
        });
        !matches!(appended, Err(error) if error.kind == Kind::Busy)
    }

    /// Tells of those whose end the run before could not tell, then of silence, for ever.
    pub async fn run(&self, silent_after: &[SilentAfter]) {
        let mut silence = Silence::new(silent_after, self.clock.now());
        let (mut is_settled, mut is_failing) = (false, false);
        loop {
            let done = async {
                self.write_waiting();
                if !is_settled {
                    self.settle().await?;
                    is_settled = true;
                }
                self.look_for_silence(&mut silence).await
            };
            match done.await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    warn!(error = %error.chain(), "presence cannot be told, trying again");
                }
                Err(_again) => {}
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn write_waiting(&self) {
        let mut state = self.state();
        while let Some(change) = state.waiting.front() {
            if !self.append(change) {
                return;
            }
            state.waiting.pop_front();
        }
    }

    /// Says of those who were there when the server ended, and did not come back, that they went.
    async fn settle(&self) -> Result<(), Error> {
        self.catch_up().await;
        let field = [FieldKey("presence.event".to_owned())];
        let mut after = None;
        loop {
            let (latest, last) = self.reported.latest_of(&field, after.as_ref(), PAGE).await?;
            for value in latest {
                if value.value == OwnedValue::Text("connected".to_owned()) {
                    self.settle_one(&value.device);
                }
            }
            let Some(last) = last else { break };
            after = Some(last);
        }
        self.state().changed = None;
        Ok(())
    }

    fn settle_one(&self, device: &DeviceId) {
        let departure = Departure {
            code: "server.ended",
            reason: "the server ended before the connection did",
            client_id: "",
        };
        let mut state = self.state();
        let is_settled = state.changed.as_mut().is_none_or(|it| !it.insert(device.clone()));
        if !is_settled {
            let change = departed(device, &departure, self.clock.now());
            self.write(&mut state, change);
        }
    }

    /// Waits until the state knows what the log has now.
    async fn catch_up(&self) {
        self.applied.wait_state(self.log.bounds().durable).await;
    }
}

fn departed(device: &DeviceId, departure: &Departure<'_>, at: Timestamp) -> Change {
    let Departure { code, reason, client_id } = departure;
    let payload = json!({
        "time": format_time(at), "event": "disconnected", "code": code, "reason": reason,
        "client_id": client_id,
    });
    Change { device: device.clone(), payload: payload.to_string(), at }
}
