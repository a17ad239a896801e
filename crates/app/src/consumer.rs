//! Programs that follow the log: reading from anywhere, and positions that retention respects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Clock, ConsumerRegistry, EventLog, Machine, Record};
use axle_domain::{
    Consumer, ConsumerName, Error, Kind, Offset, Source, Timestamp, TopicFilter, limit,
};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::app::Ports;
use crate::retention::{Floor, Follower, FollowerSigns, Holder, bytes_from};

/// Share of the log's disk, in percent, below which free room no consumer holds anything any more.
const FREE_PERCENT_MIN: u64 = 8;
/// What is read of the log at a time.
const READ_BYTES: usize = 1024 * 1024;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest record that is kept.
    First,
    /// The next record that comes.
    Next,
    /// A record.
    Offset(Offset),
    /// The first record that came at a moment or later.
    Time(Timestamp),
}

/// Which messages a reader wants; everything where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Topics that match.
    pub topic: Option<TopicFilter>,
    /// Of one door. The door's own counts come only where they are asked for.
    pub source: Option<Source>,
    /// Of one device.
    pub device: Option<String>,
}

impl Selection {
    /// Whether a record is wanted.
    #[must_use]
    pub fn takes(&self, record: &Record) -> bool {
        let message = record.message();
        let is_source = match self.source {
            Some(source) => source == message.source,
            None => message.source != Source::Door,
        };
        is_source
            && self.device.as_deref().is_none_or(|device| device == message.device)
            && self.topic.as_ref().is_none_or(|filter| filter.contains(message.topic))
    }
}

/// How much a reader takes at once, and how long it waits for anything at all.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// Most messages.
    pub messages_max: usize,
    /// Longest wait for the first message.
    pub wait: Duration,
}

/// What a reader gets.
#[derive(Debug)]
pub struct Page {
    /// The messages, in the order of the log.
    pub records: Vec<Record>,
    /// Where to read on: behind what was looked through.
    pub next: Offset,
}

/// How long and how much a consumer may hold.
#[derive(Clone, Copy, Debug)]
pub struct HoldLimits {
    /// A consumer that is behind and has not moved for longer is lost.
    pub idle_max: Duration,
    /// A consumer that is further behind than this is lost.
    pub bytes_max: u64,
}

/// The desk of consumers.
pub struct Consumers {
    log: Arc<dyn EventLog>,
    registry: Arc<dyn ConsumerRegistry>,
    machine: Arc<dyn Machine>,
    clock: Arc<dyn Clock>,
    floor: Arc<Floor>,
    /// One change of a consumer at a time, so that floor and registry say the same.
    changing: tokio::sync::Mutex<()>,
}

impl Consumers {
    /// Reads what is registered. The log keeps what they need from here on.
    pub(crate) async fn open(ports: &Ports) -> Result<Self, Error> {
        let Ports { log, consumers: registry, machine, clock, .. } = ports.clone();
        let listed = registry.list_consumers().await?;
        let mut holding: BTreeMap<_, _> = listed
            .into_iter()
            .filter(Consumer::holds)
            .map(|consumer| (Follower::Consumer(consumer.name), consumer.position))
            .collect();
        let oldest = ports.client_sessions.oldest_needed().await?;
        holding.insert(Follower::Sessions, oldest);
        let floor = Arc::new(Floor::new(Arc::clone(&log), holding));
        Ok(Self { log, registry, machine, clock, floor, changing: tokio::sync::Mutex::default() })
    }

    /// Says from where on MQTT sessions need the log; `None` when they need nothing of it.
    pub fn put_sessions(&self, from: Option<Offset>) {
        match from {
            Some(from) => drop(self.floor.hold(Follower::Sessions, from)),
            None => self.floor.let_go(&Follower::Sessions),
        }
    }

    pub(crate) fn floor(&self) -> Arc<Floor> {
        Arc::clone(&self.floor)
    }

    fn hold(&self, name: &ConsumerName, position: Offset) -> Offset {
        self.floor.hold(Follower::Consumer(name.clone()), position)
    }

    fn let_go(&self, name: &ConsumerName) {
        self.floor.let_go(&Follower::Consumer(name.clone()));
    }

    /// Registers a consumer that begins somewhere; nothing from there on is forgotten.
    ///
    /// # Errors
    /// `Conflict` for a name that is taken or one consumer too many, `NotFound`
    /// (`log.position_gone`, `log.position_unknown`) for a place that is not in the log.
    pub async fn create(&self, name: ConsumerName, from: From) -> Result<Consumer, Error> {
        let _changing = self.changing.lock().await;
        if self.registry.find_consumer(&name).await?.is_some() {
            let message = format!("consumer `{name}` exists already: choose another name");
            return Err(Error::new(Kind::Conflict, "consumer.exists", message));
        }
        let position = self.locate(from).await?;
        let held = self.hold(&name, position);
        let now = self.clock.now();
        let consumer = Consumer {
            name: name.clone(),
            // The oldest may have gone while it was being found.
            position: if from == From::First { held } else { position },
            created_at: now,
            moved_at: now,
            lost_at: None,
        };
        let created = match self.kept(consumer.position) {
            Ok(()) => self.registry.create_consumer(consumer.clone()).await,
            Err(gone) => Err(gone),
        };
        if let Err(error) = created {
            self.let_go(&name);
            return Err(error);
        }
        Ok(consumer)
    }

    /// All consumers, by name.
    ///
    /// # Errors
    /// As the state.
    pub async fn list(&self) -> Result<Vec<Consumer>, Error> {
        self.registry.list_consumers().await
    }

    /// A consumer.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, name: &ConsumerName) -> Result<Consumer, Error> {
        self.registry.find_consumer(name).await?.ok_or_else(|| not_found(name))
    }

    /// Commits a position, forward or back. A lost consumer holds the log again from there on.
    ///
    /// # Errors
    /// `NotFound` for the consumer (`consumer.not_found`), or for a place that is not in the log
    /// (`log.position_gone`, `log.position_unknown`).
    pub async fn commit(&self, name: &ConsumerName, position: Offset) -> Result<Consumer, Error> {
        let _changing = self.changing.lock().await;
        let before = self.get(name).await?;
        self.known(position)?;
        let is_behind = position < before.position || !before.holds();
        if is_behind {
            // Held first: what is there when the answer goes out stays.
            self.hold(name, position);
        }
        let now = self.clock.now();
        let moved = match self.kept(position) {
            Ok(()) => self.registry.move_consumer(name, position, now).await,
            Err(gone) => Err(gone),
        };
        match moved {
            Ok(_) => self.hold(name, position),
            Err(error) => {
                match before.holds() {
                    true => drop(self.hold(name, before.position)),
                    false => self.let_go(name),
                }
                return Err(error);
            }
        };
        Ok(Consumer { position, moved_at: now, lost_at: None, ..before })
    }

    /// Forgets a consumer; retention goes on without it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete(&self, name: &ConsumerName) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        if !self.registry.delete_consumer(name).await? {
            return Err(not_found(name));
        }
        self.let_go(name);
        Ok(())
    }

    /// Declares lost whoever holds too much for too long, and lets retention go on. What was
    /// acknowledged to devices comes before what a program left lying.
    ///
    /// # Errors
    /// As the state.
    pub async fn sweep(&self, limits: HoldLimits) -> Result<(), Error> {
        let durable = self.log.bounds().durable;
        let behind: Vec<Consumer> = self.registry.list_consumers().await?;
        let behind: Vec<Consumer> =
            behind.into_iter().filter(|it| it.holds() && it.position < durable).collect();
        let Some(furthest) = behind.iter().map(|it| it.position).min() else { return Ok(()) };
        let is_disk_full = self.is_disk_full().await;
        let now = self.clock.now();
        for consumer in behind {
            let idle = Duration::from_micros(
                now.0.saturating_sub(consumer.moved_at.0).max(0).unsigned_abs(),
            );
            let bytes = bytes_from(&*self.log, consumer.position);
            let is_in_the_way = consumer.position == furthest
                && consumer.position < self.floor.needed_inside()
                && (bytes > limits.bytes_max || is_disk_full);
            if idle <= limits.idle_max && !is_in_the_way {
                continue;
            }
            let _changing = self.changing.lock().await;
            if self.get(&consumer.name).await? != consumer {
                // It has moved after all.
                continue;
            }
            self.registry.lose_consumer(&consumer.name, now).await?;
            self.let_go(&consumer.name);
            warn!(
                consumer = %consumer.name, offset = consumer.position.0, bytes,
                "a consumer of the log is lost: retention goes on without it"
            );
        }
        Ok(())
    }

    async fn is_disk_full(&self) -> bool {
        let machine = Arc::clone(&self.machine);
        let figures = tokio::task::spawn_blocking(move || machine.figures()).await;
        let disks = figures.map(|figures| figures.disks).unwrap_or_default();
        disks.iter().any(|disk| {
            disk.part == "log" && disk.free_bytes < disk.total_bytes / 100 * FREE_PERCENT_MIN
        })
    }

    /// Who keeps the log from forgetting.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.floor.holder()
    }

    /// All who follow the log beside the projections, the furthest behind first.
    ///
    /// # Errors
    /// As the state.
    pub async fn signs(&self) -> Result<Vec<FollowerSigns>, Error> {
        let consumers = self.registry.list_consumers().await?;
        let mut signs: Vec<_> = consumers.iter().map(|it| self.sign(it)).collect();
        if let Some(position) = self.floor.find(&Follower::Sessions) {
            signs.push(self.signs_at(Follower::Sessions, position));
        }
        signs.sort_by_key(|it| it.position);
        Ok(signs)
    }

    /// How a consumer is.
    #[must_use]
    pub fn sign(&self, consumer: &Consumer) -> FollowerSigns {
        FollowerSigns {
            is_holding: consumer.holds(),
            moved_at: Some(consumer.moved_at),
            ..self.signs_at(Follower::Consumer(consumer.name.clone()), consumer.position)
        }
    }

    fn signs_at(&self, follower: Follower, position: Offset) -> FollowerSigns {
        FollowerSigns {
            follower,
            position,
            lag_records: self.log.bounds().durable.0.saturating_sub(position.0),
            bytes: bytes_from(&*self.log, position),
            is_holding: true,
            moved_at: None,
        }
    }

    /// Reads from a place on: what is there, or what comes first within the wait.
    ///
    /// # Errors
    /// `NotFound` for a place that is gone or not there yet, `Corrupt` for a damaged one; both
    /// name the next offset that can be read.
    pub async fn read(
        &self,
        from: Offset,
        selection: &Selection,
        portion: Portion,
    ) -> Result<Page, Error> {
        self.known(from)?;
        let deadline = Instant::now() + portion.wait;
        let mut page = Page { records: Vec::new(), next: from };
        let (mut bytes, mut seen) = (0, 0);
        loop {
            self.kept(page.next)?;
            let records = match self.log.read(page.next, READ_BYTES).await {
                Ok(records) => records,
                // What was found goes out first; the next read says what is wrong behind it.
                Err(_) if !page.records.is_empty() => return Ok(page),
                Err(error) => return Err(self.kept(page.next).err().unwrap_or(error)),
            };
            if records.is_empty() {
                let waits = page.records.is_empty() && Instant::now() < deadline;
                if !waits {
                    return Ok(page);
                }
                match timeout_at(deadline, self.log.durable(page.next)).await {
                    Ok(durable) => durable?,
                    Err(_elapsed) => return Ok(page),
                }
            }
            for record in records {
                seen += record.payload.len() + record.topic.len();
                page.next = record.offset.next();
                if selection.takes(&record) {
                    bytes += record.payload.len() + record.topic.len();
                    page.records.push(record);
                }
                let is_full = page.records.len() >= portion.messages_max
                    || bytes >= limit::CONSUME_BYTES_MAX
                    || seen >= limit::CONSUME_SCAN_BYTES_MAX;
                if is_full {
                    return Ok(page);
                }
            }
        }
    }

    /// The offset of a place.
    ///
    /// # Errors
    /// `NotFound` for a place that is gone or not there yet.
    pub async fn locate(&self, from: From) -> Result<Offset, Error> {
        let bounds = self.log.bounds();
        match from {
            From::First => Ok(bounds.first),
            From::Next => Ok(bounds.durable),
            From::Offset(offset) => {
                self.known(offset)?;
                self.kept(offset)?;
                Ok(offset)
            }
            From::Time(time) => self.search(time).await,
        }
    }

    /// The first record that came at a moment or later. Where the server's clock went back, one
    /// of those that fit.
    async fn search(&self, time: Timestamp) -> Result<Offset, Error> {
        let bounds = self.log.bounds();
        let (mut low, mut high) = (bounds.first.0, bounds.durable.0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.log.read(Offset(middle), 1).await {
                Ok(records) => match records.first() {
                    Some(record) if record.received_at < time => low = record.offset.0 + 1,
                    Some(_) | None => high = middle,
                },
                Err(error) if error.kind == Kind::Corrupt => {
                    let next_good = error.limit.map_or(middle, |(next_good, _)| next_good);
                    // Damage says nothing of its time: it belongs to what follows.
                    match self.log.read(Offset(next_good), 1).await?.first() {
                        Some(record) if record.received_at < time => low = record.offset.0 + 1,
                        Some(_) | None => high = middle,
                    }
                }
                Err(error) if error.kind == Kind::NotFound => {
                    low = self.log.bounds().first.0.max(low + 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Offset(low))
    }

    /// Refuses a place beyond the end.
    fn known(&self, offset: Offset) -> Result<(), Error> {
        let durable = self.log.bounds().durable;
        if offset <= durable {
            return Ok(());
        }
        let message = format!("offset {offset} is not in the log yet, the next one is {durable}");
        Err(Error::not_found("log.position_unknown", message).with_limit(durable.0, offset.0))
    }

    /// Refuses a place that retention has passed.
    fn kept(&self, offset: Offset) -> Result<(), Error> {
        let first = self.log.bounds().first;
        if offset >= first {
            return Ok(());
        }
        let message = format!(
            "the records from offset {offset} to before {first} are gone: the next offset there \
             is {first}"
        );
        Err(Error::not_found("log.position_gone", message).with_limit(first.0, offset.0))
    }
}

fn not_found(name: &ConsumerName) -> Error {
    Error::not_found("consumer.not_found", format!("consumer `{name}` not found"))
}
