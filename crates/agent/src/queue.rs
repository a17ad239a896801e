//! What must survive: values until they are acknowledged, answers until they are acknowledged,
//! and which commands were begun. One SQLite file, synced with every commit.
//!
//! 1. What a function here returned from is on the disk, or an error was returned.
//! 2. A value leaves when its message was acknowledged, or as the oldest when there is no room;
//!    what left so is counted in the same transaction.
//! 3. A message that was composed has the same rows however often it is composed again.
//! 4. A command that was started is never started again.

mod batch;
mod command;
mod letter;
mod position;

use std::path::Path;

use axle_domain::{Error, Kind, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::clock::Reading;
use crate::value::Sample;

pub(crate) use command::{Incoming, Order, Taken};
pub(crate) use position::Position;

/// `AXLG`: tells our file from any other SQLite file.
const APPLICATION_ID: u32 = 0x4158_4c47;
const VERSION: u32 = 1;
/// What a value costs beside its text.
const SAMPLE_BYTES: i64 = 64;
/// A clock that went back by less is being adjusted; by more, it was set.
const ADJUSTED_MAX: i64 = 10_000_000;
/// Old samples that are looked at in one go when room is made.
const DROP_STRETCH: i64 = 256;

/// What is on the disk.
pub(crate) struct Queue {
    connection: Connection,
    boot: i64,
    bytes: i64,
    bytes_max: i64,
    stream: String,
    /// Distance between two stamps, so that equal values in one moment stay two rows.
    grain: i64,
}

/// What became of values that were to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How far the stamps have run ahead of the clock, in microseconds.
    pub(crate) ahead: i64,
    /// Old values that had to go.
    pub(crate) dropped: i64,
}

impl Queue {
    /// Opens the file, or makes it; commands that were started before have ended now.
    pub(crate) fn open(path: &Path, of: &QueueOf<'_>) -> Result<Self, Error> {
        let opened = || -> rusqlite::Result<(Connection, u32, u32)> {
            let connection = Connection::open(path)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            let owner = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            Ok((connection, version, owner))
        };
        let (connection, version, owner) = opened().map_err(failed)?;
        let shown = path.display();
        if version > VERSION || (version > 0 && owner != APPLICATION_ID) {
            let message =
                format!("{shown} is of a newer agent or another program: version {version}");
            return Err(Error::new(Kind::Conflict, "agent.queue_version", message));
        }
        let mut queue = Self {
            connection,
            boot: 0,
            bytes: 0,
            bytes_max: i64::try_from(of.bytes_max).unwrap_or(i64::MAX),
            stream: of.stream.to_owned(),
            grain: if of.stream == "energy" { 1000 } else { 1 },
        };
        queue.set_up(version, of.boot).map_err(failed)?;
        queue.end_interrupted(of.device)?;
        Ok(queue)
    }

    fn set_up(&mut self, version: u32, boot: &str) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -4096;
             PRAGMA journal_size_limit = 8388608;",
        )?;
        let transaction = self.connection.transaction()?;
        if version == 0 {
            transaction.execute_batch(include_str!("queue/layout.sql"))?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.execute("INSERT OR IGNORE INTO boot (id) VALUES (?1)", [boot])?;
        self.boot =
            transaction.query_row("SELECT number FROM boot WHERE id = ?1", [boot], |r| r.get(0))?;
        // Boots that nothing speaks of any more.
        transaction.execute(
            "DELETE FROM boot WHERE number < ?1 - 100
             AND number NOT IN (SELECT boot FROM sample)",
            [self.boot],
        )?;
        self.bytes = transaction.query_row(
            "SELECT coalesce(sum(length(CAST(body AS BLOB)) + ?1), 0) FROM sample",
            [SAMPLE_BYTES],
            |row| row.get(0),
        )?;
        transaction.commit()
    }

    /// Keeps values, stamps those that brought no time, and notes how far their file was read.
    pub(crate) fn keep(
        &mut self,
        samples: &[Sample],
        position: Option<&Position>,
        now: Reading,
    ) -> Result<Kept, Error> {
        self.keep_all(samples, position, now).map_err(failed)
    }

    fn keep_all(
        &mut self,
        samples: &[Sample],
        position: Option<&Position>,
        now: Reading,
    ) -> rusqlite::Result<Kept> {
        let transaction = begin(&mut self.connection)?;
        let mut stamps = Stamps::read(&transaction, self.boot, now, self.grain)?;
        let mut bytes = self.bytes;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO sample (stream, boot, since_boot, time, is_own, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for sample in samples {
                let (time, since_boot) = match sample.time {
                    Some(time) => (Some(time.micros()), now.since_boot),
                    None => stamps.next(),
                };
                let is_own = sample.time.is_some();
                let row = params![self.stream, self.boot, since_boot, time, is_own, sample.body];
                insert.execute(row)?;
                bytes += sample_bytes(sample);
            }
        }
        stamps.write(&transaction, self.boot)?;
        if let Some(position) = position {
            position.write(&transaction)?;
        }
        let dropped = make_room(&transaction, &mut bytes, self.bytes_max)?;
        transaction.commit()?;
        self.bytes = bytes;
        let ahead = stamps.since_boot.saturating_sub(now.since_boot);
        Ok(Kept { ahead, dropped })
    }

    /// Whether so many bytes more would push old values out.
    pub(crate) fn is_full(&self, more: i64) -> bool {
        // What can never fit may go in when nothing else is there.
        self.bytes > 0 && self.bytes + more > self.bytes_max
    }

    /// Values that wait.
    pub(crate) fn count(&self) -> Result<i64, Error> {
        let counted =
            self.connection.query_row("SELECT count(*) FROM sample", [], |row| row.get(0));
        counted.map_err(failed)
    }

    /// Adds to a number that outlives restarts.
    pub(crate) fn add(&mut self, name: &str, count: i64) -> Result<(), Error> {
        let transaction = begin(&mut self.connection).map_err(failed)?;
        add(&transaction, name, count).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// Such a number.
    pub(crate) fn number(&self, name: &str) -> Result<i64, Error> {
        Ok(number(&self.connection, name).map_err(failed)?.unwrap_or(0))
    }
}

/// What a queue is opened with.
pub(crate) struct QueueOf<'a> {
    pub(crate) device: &'a axle_domain::DeviceId,
    pub(crate) boot: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) bytes_max: u64,
}

/// Gives out stamps, each later than the one before.
struct Stamps {
    now: Reading,
    grain: i64,
    time: i64,
    since_boot: i64,
}

impl Stamps {
    fn read(
        transaction: &Transaction<'_>,
        boot: i64,
        now: Reading,
        grain: i64,
    ) -> rusqlite::Result<Self> {
        let time = number(transaction, "stamp_time")?.unwrap_or(i64::MIN);
        let is_same = number(transaction, "stamp_boot")? == Some(boot);
        let since_boot = number(transaction, "stamp_since_boot")?.filter(|_| is_same);
        Ok(Self { now, grain, time, since_boot: since_boot.unwrap_or(i64::MIN) })
    }

    fn next(&mut self) -> (Option<i64>, i64) {
        self.since_boot = self.now.since_boot.max(self.since_boot.saturating_add(self.grain));
        if !self.now.is_plausible() {
            return (None, self.since_boot);
        }
        let wall = self.now.wall.micros();
        // A clock that was set back is believed at once, and not stretched until it catches up.
        let was_set = self.time.saturating_sub(wall) > ADJUSTED_MAX;
        self.time = if was_set { wall } else { wall.max(self.time.saturating_add(self.grain)) };
        (Some(self.time), self.since_boot)
    }

    fn write(&self, transaction: &Transaction<'_>, boot: i64) -> rusqlite::Result<()> {
        if self.since_boot == i64::MIN {
            return Ok(());
        }
        put(transaction, "stamp_time", self.time)?;
        put(transaction, "stamp_since_boot", self.since_boot)?;
        put(transaction, "stamp_boot", boot)
    }
}

/// Lets the oldest go until the rest fits. A message that was composed goes as a whole, so that
/// its rows never change.
fn make_room(
    transaction: &Transaction<'_>,
    bytes: &mut i64,
    bytes_max: i64,
) -> rusqlite::Result<i64> {
    let mut dropped = 0;
    while *bytes > bytes_max {
        let batch = transaction
            .query_row("SELECT number, last FROM batch ORDER BY number LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let last = match batch {
            Some((number, last)) => {
                transaction.execute("DELETE FROM batch WHERE number = ?1", [number])?;
                last
            }
            None => {
                let (last, count) = oldest_over(transaction, *bytes - bytes_max)?;
                if count == 0 {
                    break;
                }
                last
            }
        };
        let (count, freed) = drop_until(transaction, last)?;
        dropped += count;
        *bytes -= freed;
    }
    Ok(dropped)
}

/// Up to which sample the oldest hold so many bytes, within one stretch; and how many those are.
fn oldest_over(transaction: &Transaction<'_>, wanted: i64) -> rusqlite::Result<(i64, i64)> {
    let mut rows = transaction.prepare_cached(
        "SELECT sequence, length(CAST(body AS BLOB)) FROM sample ORDER BY sequence LIMIT ?1",
    )?;
    let mut rows = rows.query([DROP_STRETCH])?;
    let (mut last, mut count, mut bytes) = (0, 0, 0);
    while let Some(row) = rows.next()? {
        if bytes >= wanted {
            break;
        }
        last = row.get(0)?;
        bytes += SAMPLE_BYTES + row.get::<_, i64>(1)?;
        count += 1;
    }
    Ok((last, count))
}

/// Deletes samples and counts them as lost: how many, and their bytes.
fn drop_until(transaction: &Transaction<'_>, last: i64) -> rusqlite::Result<(i64, i64)> {
    let (count, bytes, from, to) = transaction.query_row(
        "SELECT count(*), coalesce(sum(length(CAST(body AS BLOB)) + ?2), 0), min(time), max(time)
         FROM sample WHERE sequence <= ?1",
        params![last, SAMPLE_BYTES],
        |row| {
            let times: (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, times.0, times.1))
        },
    )?;
    transaction.execute("DELETE FROM sample WHERE sequence <= ?1", [last])?;
    add(transaction, "lost", count)?;
    if let (Some(from), Some(to)) = (from, to) {
        let known = number(transaction, "lost_from")?.unwrap_or(i64::MAX);
        put(transaction, "lost_from", from.min(known))?;
        let known = number(transaction, "lost_to")?.unwrap_or(i64::MIN);
        put(transaction, "lost_to", to.max(known))?;
    }
    Ok((count, bytes))
}

/// What a value costs in the queue.
pub(crate) fn sample_bytes(sample: &Sample) -> i64 {
    SAMPLE_BYTES + i64::try_from(sample.body.len()).unwrap_or(i64::MAX / 2)
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

fn put(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
        .execute(params![name, value])?;
    Ok(())
}

fn add(connection: &Connection, name: &str, count: i64) -> rusqlite::Result<()> {
    put(connection, name, number(connection, name)?.unwrap_or(0).saturating_add(count))
}

/// A failure of the file in the agent's terms.
fn failed(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            Kind::Corrupt
        }
        _ => Kind::Unavailable,
    };
    let message = format!("the agent's file `queue.db` cannot be used: {error}");
    Error::new(kind, "agent.queue", message).with_source(error)
}

/// Microseconds as a moment.
fn moment(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp)
}
