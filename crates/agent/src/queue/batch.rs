//! Messages out of values. Which values a message has, and by which clock their times are read, is
//! written down before it is first sent; from then on it is composed the same again, whatever
//! happens in between.

use axle_domain::{Error, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

use super::{Queue, begin, failed};
use crate::clock::Reading;
use crate::payload::{self, Claim, Claimed};

/// Most values of one message.
const SAMPLES_MAX: i64 = 500;
/// A message is closed when its values reach this; one more fits into any packet.
const BATCH_BYTES_SOFT: usize = 32 * 1024;
/// A wall clock that differs by more from what it showed then was set in between.
const SET_MIN: i64 = 5_000_000;

/// How the times of a message came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The values brought them.
    Own = 0,
    /// We stamped them.
    Stamped = 1,
    /// Nobody knows them.
    Unknown = 2,
}

/// A message of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) number: i64,
    pub(crate) stream: String,
    pub(crate) payload: Vec<u8>,
    /// How many values.
    pub(crate) count: usize,
}

struct Stored {
    sequence: i64,
    stream: String,
    boot: i64,
    since_boot: i64,
    time: Option<i64>,
    is_own: bool,
    body: String,
}

struct Batch {
    number: i64,
    first: i64,
    last: i64,
    form: Form,
    boot: i64,
    boot_at: Option<i64>,
}

impl Queue {
    /// The next message after a number. A new one is closed when it is full, when what follows
    /// cannot be part of it, or when it `is_due`.
    pub(crate) fn next_batch(
        &mut self,
        after: i64,
        now: Reading,
        is_due: bool,
    ) -> Result<Option<Outgoing>, Error> {
        if let Some(batch) = self.find_batch(after).map_err(failed)? {
            return self.compose(&batch, now).map(Some).map_err(failed);
        }
        let closed = self.close_batch(now, is_due).map_err(failed)?;
        closed.map(|batch| self.compose(&batch, now)).transpose().map_err(failed)
    }

    fn find_batch(&self, after: i64) -> rusqlite::Result<Option<Batch>> {
        self.connection
            .prepare_cached(
                "SELECT number, first, last, form, boot, boot_at FROM batch WHERE number > ?1
                 ORDER BY number LIMIT 1",
            )?
            .query_row([after], |row| {
                Ok(Batch {
                    number: row.get(0)?,
                    first: row.get(1)?,
                    last: row.get(2)?,
                    form: match row.get(3)? {
                        0 => Form::Own,
                        1 => Form::Stamped,
                        _ => Form::Unknown,
                    },
                    boot: row.get(4)?,
                    boot_at: row.get(5)?,
                })
            })
            .optional()
    }

    fn close_batch(&mut self, now: Reading, is_due: bool) -> rusqlite::Result<Option<Batch>> {
        let (this_boot, mut first, mut last) = (self.boot, None, 0);
        let (mut count, mut bytes, mut is_full) = (0, 0, false);
        {
            let mut rows = self.connection.prepare_cached(
                "SELECT sequence, stream, boot, since_boot, time, is_own, body FROM sample
                 WHERE sequence > (SELECT coalesce(max(last), 0) FROM batch)
                 ORDER BY sequence LIMIT ?1",
            )?;
            let mut rows = rows.query([SAMPLES_MAX + 1])?;
            while let Some(row) = rows.next()? {
                let sample = Stored::read(row)?;
                let Some(form) = sample.form(this_boot, now) else { break };
                let key = (sample.stream, sample.boot, form);
                let (_, kind) = first.get_or_insert_with(|| (sample.sequence, key.clone()));
                is_full = *kind != key || count == SAMPLES_MAX || bytes >= BATCH_BYTES_SOFT;
                if is_full {
                    break;
                }
                last = sample.sequence;
                count += 1;
                bytes += sample.body.len();
            }
        }
        let Some((first, (_, boot, form))) = first.filter(|_| is_full || is_due) else {
            return Ok(None);
        };
        let is_ours = boot == this_boot && now.is_plausible() && form == Form::Stamped;
        let boot_at = is_ours.then(|| now.boot_at());
        let transaction = begin(&mut self.connection)?;
        transaction
            .prepare_cached(
                "INSERT INTO batch (first, last, form, boot, boot_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![first, last, form as i64, boot, boot_at])?;
        let number = transaction.last_insert_rowid();
        transaction.commit()?;
        Ok(Some(Batch { number, first, last, form, boot, boot_at }))
    }

    fn compose(&self, batch: &Batch, now: Reading) -> rusqlite::Result<Outgoing> {
        let mut rows = self.connection.prepare_cached(
            "SELECT sequence, stream, boot, since_boot, time, is_own, body FROM sample
             WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence",
        )?;
        let rows = rows.query_map([batch.first, batch.last], Stored::read)?;
        let mut stream = self.stream.clone();
        let mut samples = Vec::new();
        for sample in rows {
            let sample = sample?;
            let time = match batch.form {
                Form::Own => sample.time,
                Form::Stamped => sample.settled(batch.boot_at),
                Form::Unknown => None,
            };
            stream = sample.stream;
            samples.push(Claimed { time: time.map(Timestamp), body: sample.body });
        }
        // The clock of the claims, as it stands now: the server sees how far it is off, however
        // long the message waited.
        let sent_at = batch.boot_at.filter(|_| batch.boot == self.boot);
        let sent_at = sent_at.map(|boot_at| Timestamp(boot_at.saturating_add(now.since_boot)));
        let claim = Claim { number: batch.number, sent_at };
        let payload = payload::compose(&stream, claim, &samples);
        Ok(Outgoing { number: batch.number, stream, payload, count: samples.len() })
    }

    /// A message was acknowledged; says how many values that were.
    pub(crate) fn delete_batch(&mut self, number: i64) -> Result<i64, Error> {
        self.end_batch(number, false).map_err(failed)
    }

    /// A message can never be delivered; says how many values that were.
    pub(crate) fn lose_batch(&mut self, number: i64) -> Result<i64, Error> {
        self.end_batch(number, true).map_err(failed)
    }

    fn end_batch(&mut self, number: i64, is_lost: bool) -> rusqlite::Result<i64> {
        let transaction = begin(&mut self.connection)?;
        let range = transaction
            .query_row("SELECT first, last FROM batch WHERE number = ?1", [number], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        // It may have gone to make room meanwhile.
        let Some((first, last)) = range else { return Ok(0) };
        let (count, bytes): (i64, i64) = transaction.query_row(
            "SELECT count(*), coalesce(sum(length(CAST(body AS BLOB)) + ?3), 0) FROM sample
             WHERE sequence BETWEEN ?1 AND ?2",
            params![first, last, super::SAMPLE_BYTES],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        transaction.execute("DELETE FROM batch WHERE number = ?1", [number])?;
        if is_lost {
            super::add(&transaction, "lost", count)?;
        } else {
            super::add(&transaction, "sent", count)?;
        }
        transaction
            .execute("DELETE FROM sample WHERE sequence BETWEEN ?1 AND ?2", [first, last])?;
        transaction.commit()?;
        self.bytes -= bytes;
        Ok(count)
    }
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sequence: row.get(0)?,
            stream: row.get(1)?,
            boot: row.get(2)?,
            since_boot: row.get(3)?,
            time: row.get(4)?,
            is_own: row.get(5)?,
            body: row.get(6)?,
        })
    }

    /// How its time would come about now; `None`: it waits for the clock to be set.
    fn form(&self, this_boot: i64, now: Reading) -> Option<Form> {
        match (self.is_own, self.time) {
            (true, _) => Some(Form::Own),
            (false, Some(_)) => Some(Form::Stamped),
            // The clock that counted it is gone.
            (false, None) if self.boot != this_boot => Some(Form::Unknown),
            (false, None) => now.is_plausible().then_some(Form::Stamped),
        }
    }

    /// When it was, by what the wall clock showed then, or by the boot where that was wrong.
    fn settled(&self, boot_at: Option<i64>) -> Option<i64> {
        let counted = boot_at.map(|boot_at| boot_at.saturating_add(self.since_boot));
        match (self.time, counted) {
            (Some(shown), Some(counted)) if shown.abs_diff(counted) > SET_MIN.unsigned_abs() => {
                Some(counted)
            }
            (Some(shown), _) => Some(shown),
            (None, counted) => counted,
        }
    }
}
