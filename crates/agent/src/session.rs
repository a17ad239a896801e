//! One connection: sends what waits, letters before values, and deletes only what was
//! acknowledged; takes commands, and acknowledges them once they are on the disk.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use axle_client::client::{Client, Incoming};
use axle_domain::{CommandId, Error, Timestamp, limit};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::agent::Shared;
use crate::queue::{Incoming as Command, Taken};
use crate::time_text::parse_time;

/// Messages that wait for their acknowledgement at one time.
const WINDOW: usize = 8;
/// A connection that owes an answer so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest silence of ours, whatever the server grants: middleboxes forget.
const PING_PAUSE_MAX: Duration = Duration::from_secs(50);
/// How long the last messages may take when the agent stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the connection is looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Room of a PUBLISH beside topic and payload.
const HEADER_BYTES_MAX: usize = 16;

/// Why a session is over.
pub(crate) enum Ended {
    /// All was sent that could be, and goodbye said.
    Drained,
    /// The network, or the server.
    Lost(io::Error),
    /// The queue: the agent cannot go on.
    Failed(Error),
}

/// What waits for its acknowledgement.
#[derive(Clone, Copy)]
enum Flight {
    Letter(i64),
    Batch(i64),
}

/// A connection's state.
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    flights: BTreeMap<u16, Flight>,
    last_letter: i64,
    last_batch: i64,
    /// Whether values are sent before they fill a message.
    is_due: bool,
    has_delivered: bool,
}

impl<'a> Session<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            flights: BTreeMap::new(),
            last_letter: 0,
            last_batch: 0,
            is_due: true,
            has_delivered: false,
        }
    }

    /// Whether the server acknowledged anything.
    pub(crate) fn has_delivered(&self) -> bool {
        self.has_delivered
    }

    /// Serves until the connection is lost, or until `drain` and all was sent.
    pub(crate) async fn serve(&mut self, mut client: Client, drain: &CancellationToken) -> Ended {
        match self.go(&mut client, drain).await {
            Ok(()) => {
                client.close().await;
                Ended::Drained
            }
            Err(ended) => ended,
        }
    }

    async fn go(&mut self, client: &mut Client, drain: &CancellationToken) -> Result<(), Ended> {
        client.subscribe(&self.shared.settings.topic("c", "#"));
        let ping_pause = match client.keep_alive() {
            Duration::ZERO => PING_PAUSE_MAX,
            granted => (granted / 2).min(PING_PAUSE_MAX),
        };
        let every = self.shared.settings.send_every;
        let mut due = tokio::time::interval_at(Instant::now() + every, every);
        due.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut looks = tokio::time::interval(LOOK_PAUSE);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut spoken, mut owed): (Instant, Option<Instant>) = (Instant::now(), None);
        let mut drain_until: Option<Instant> = None;
        self.tell_loss().await?;
        loop {
            let is_empty = self.fill(client).await?;
            if client.unsent_bytes() > 0 {
                spoken = Instant::now();
                owed = owed.or(Some(spoken));
            }
            let flushed = tokio::time::timeout(PATIENCE, client.flush()).await;
            flushed.map_err(io::Error::from).and_then(|done| done).map_err(Ended::Lost)?;
            if drain_until.is_some() && is_empty && self.flights.is_empty() {
                return Ok(());
            }
            tokio::select! {
                incoming = client.next() => {
                    let incoming = incoming.map_err(Ended::Lost)?;
                    self.take(incoming, client).await?;
                    owed = (!self.flights.is_empty()).then(Instant::now);
                }
                () = self.shared.outbox.notified() => {}
                _now = due.tick() => {
                    self.is_due = true;
                    self.tell_loss().await?;
                }
                now = looks.tick() => {
                    if owed.is_some_and(|since| now.duration_since(since) > PATIENCE) {
                        return Err(Ended::Lost(io::ErrorKind::TimedOut.into()));
                    }
                    if now.duration_since(spoken) > ping_pause {
                        client.ping();
                    }
                }
                () = drain.cancelled(), if drain_until.is_none() => {
                    self.is_due = true;
                    drain_until = Some(Instant::now() + DRAIN_TIME_MAX);
                }
                () = sleep_until(drain_until) => return Ok(()),
            }
        }
    }

    /// Publishes as much as may be in flight; says whether nothing is left to publish.
    async fn fill(&mut self, client: &mut Client) -> Result<bool, Ended> {
        let window = WINDOW.min(usize::from(client.receive_max()));
        while self.flights.len() < window {
            let after = self.last_letter;
            let letter = self.shared.store.run(move |queue| queue.next_letter(after)).await;
            if let Some(letter) = letter.map_err(Ended::Failed)? {
                self.last_letter = letter.number;
                let id = client.publish(&letter.topic, letter.payload.as_bytes());
                self.flights.insert(id, Flight::Letter(letter.number));
                continue;
            }
            let (after, is_due) = (self.last_batch, self.is_due);
            let now = self.shared.clock.read();
            let batch =
                self.shared.store.run(move |queue| queue.next_batch(after, now, is_due)).await;
            let Some(batch) = batch.map_err(Ended::Failed)? else {
                self.is_due = false;
                return Ok(true);
            };
            self.last_batch = batch.number;
            let topic = self.shared.settings.topic("t", &batch.stream);
            let length = topic.len() + batch.payload.len() + HEADER_BYTES_MAX;
            if batch.count == 0 {
                self.forget(batch.number, false).await?;
            } else if length > client.packet_bytes_max() {
                error!(length, values = batch.count, "the server takes no message so long");
                self.forget(batch.number, true).await?;
            } else {
                let id = client.publish(&topic, &batch.payload);
                self.flights.insert(id, Flight::Batch(batch.number));
            }
        }
        Ok(false)
    }

    async fn forget(&self, number: i64, is_lost: bool) -> Result<(), Ended> {
        let forget = self.shared.store.run(move |queue| match is_lost {
            true => queue.lose_batch(number),
            false => queue.delete_batch(number),
        });
        forget.await.map_err(Ended::Failed)?;
        self.shared.room.notify_one();
        Ok(())
    }

    async fn take(&mut self, incoming: Incoming, client: &mut Client) -> Result<(), Ended> {
        match incoming {
            Incoming::Acked(id, code) => {
                let is_refused = code >= 0x80;
                if is_refused {
                    // By the standard it must not be sent again.
                    error!(code, "the server will never take a message of ours");
                }
                self.has_delivered |= !is_refused;
                match self.flights.remove(&id) {
                    Some(Flight::Letter(number)) => {
                        let delete =
                            self.shared.store.run(move |queue| queue.delete_letter(number));
                        delete.await.map_err(Ended::Failed)?;
                    }
                    Some(Flight::Batch(number)) => self.forget(number, is_refused).await?,
                    None => {}
                }
            }
            Incoming::Message { topic, payload, id } => {
                self.take_command(&topic, &payload).await?;
                client.acknowledge(id);
            }
            Incoming::Subscribed(code) if code >= 0x80 => {
                warn!(code, "the server does not let this device hear its commands");
            }
            Incoming::Subscribed(_) | Incoming::Other => {}
        }
        Ok(())
    }

    /// Puts a command on the disk, once however often it comes.
    async fn take_command(&mut self, topic: &str, payload: &[u8]) -> Result<(), Ended> {
        let Some(command) = self.read_command(topic, payload) else {
            warn!("a message came that is no command");
            return Ok(());
        };
        let (device, now) = (self.shared.settings.device.clone(), self.shared.clock.read());
        let id = command.id.clone();
        let taken = self.shared.store.run(move |queue| queue.take(&device, &command, now)).await;
        match taken.map_err(Ended::Failed)? {
            Taken::New => {
                info!(command.id = %id, "command received");
                self.shared.commands.notify_one();
            }
            Taken::Known => info!(command.id = %id, "command came again and is not repeated"),
            Taken::Refused => warn!(command.id = %id, "command refused"),
        }
        Ok(())
    }

    fn read_command(&self, topic: &str, payload: &[u8]) -> Option<Command> {
        let rest = topic.strip_prefix(&self.shared.settings.topic("c", ""))?;
        let (id, name) = rest.split_once('/')?;
        let id = CommandId::parse(id).ok()?;
        let wire: WireCommand<'_> = serde_json::from_slice(payload).unwrap_or_default();
        let told = wire.payload.map_or("null", RawValue::get);
        let is_small = told.len() <= limit::COMMAND_PAYLOAD_BYTES_MAX;
        Some(Command {
            id,
            name: name.to_owned(),
            payload: if is_small { told.to_owned() } else { String::new() },
            // A command that cannot be read whole has no deadline either, and is refused.
            deadline: wire.deadline.and_then(parse_deadline).filter(|_| is_small),
            is_dry_run: wire.dry_run,
        })
    }

    async fn tell_loss(&self) -> Result<(), Ended> {
        let (device, now) = (self.shared.settings.device.clone(), self.shared.clock.read());
        let told = self.shared.store.run(move |queue| queue.report_loss(&device, now)).await;
        let lost = told.map_err(Ended::Failed)?;
        if lost > 0 {
            warn!(values = lost, "values were lost while the queue was full; the server is told");
            self.shared.loss_told();
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
struct WireCommand<'a> {
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

fn parse_deadline(text: String) -> Option<Timestamp> {
    parse_time(&text)
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
