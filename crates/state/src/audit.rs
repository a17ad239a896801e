//! Compares what the state has learned from the log with what the log says.
//!
//! Where the whole log is there, everything must be equal. Where retention has deleted its
//! beginning, what came before may have left more and newer things behind, never less or older.

use std::path::Path;

use axle_domain::port::{Counters, Projected, UploadReceipt};
use axle_domain::{DeviceId, Error, LatestValue, Offset, QuarantineItem, Reply, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::device::signed;
use crate::failure::Failure;
use crate::{command, database, reported};

/// Findings that are listed; the rest is counted.
const FINDINGS_MAX: usize = 100;
/// Receipts older than this may have been deleted, in microseconds: a day before their time.
const RECEIPT_AGE_MAX: i64 = 6 * 24 * 3600 * 1_000_000;

/// A state that is being compared, as it was when it was opened.
pub struct StateAudit {
    connection: Connection,
    position: Offset,
    counted: Counters,
    quarantined: u64,
    findings: Vec<String>,
    more: u64,
}

impl StateAudit {
    /// Opens the state for reading. Changes nothing.
    ///
    /// # Errors
    /// As [`crate::verify`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = database::open_reader(path)?;
        database::check_version_is_current(&connection)?;
        let begin = || -> Result<Offset, Failure> {
            // One moment for all that follows.
            connection.execute_batch("BEGIN")?;
            reported::position(&connection)
        };
        let position = begin()?;
        Ok(Self {
            connection,
            position,
            counted: Counters::default(),
            quarantined: 0,
            findings: Vec::new(),
            more: 0,
        })
    }

    /// One past the last record that the state knows.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Compares what a stretch of the log has left behind; `newest` is when its last record came.
    ///
    /// # Errors
    /// As the state.
    pub fn take(&mut self, changes: &Projected, newest: Timestamp) -> Result<(), Error> {
        self.counted.add(changes.counted);
        self.quarantined += changes.quarantined.len() as u64;
        let mut check = || -> Result<(), Failure> {
            for item in &changes.quarantined {
                self.item(item)?;
            }
            for receipt in &changes.receipts {
                self.receipt(receipt, newest)?;
            }
            for reply in &changes.replies {
                self.reply(reply)?;
            }
            Ok(())
        };
        Ok(check()?)
    }

    /// Compares what gathers over the log, from `first` on; `is_whole` says that every record
    /// since the beginning was read. Says what differs, one sentence each.
    ///
    /// # Errors
    /// As the state.
    pub fn finish(
        mut self,
        (latest, last_seen): &(Vec<LatestValue>, Vec<(DeviceId, Timestamp)>),
        first: Offset,
        is_whole: bool,
    ) -> Result<Vec<String>, Error> {
        let mut check = || -> Result<(), Failure> {
            self.counters(is_whole)?;
            self.quarantine_count(first, is_whole)?;
            for values in latest.chunk_by(|a, b| a.device == b.device) {
                self.latest(values, is_whole)?;
            }
            for (device, at) in last_seen {
                self.last_seen(device, *at, is_whole)?;
            }
            self.followers(first)?;
            if is_whole {
                let kept = self.count("SELECT count(*) FROM latest", [])?;
                self.equal("latest values", kept, latest.len() as u64);
            }
            Ok(())
        };
        check()?;
        if self.more > 0 {
            self.findings.push(format!("and {} more", self.more));
        }
        Ok(self.findings)
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    fn count<P: rusqlite::Params>(&self, sql: &str, parameters: P) -> Result<u64, Failure> {
        let count: i64 = self.connection.query_row(sql, parameters, |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn equal(&mut self, what: &str, here: u64, replayed: u64) {
        if here != replayed {
            self.find(format!("the state has {here} {what}, a replay of the log {replayed}"));
        }
    }

    fn at_least(&mut self, what: &str, here: u64, replayed: u64) {
        if here < replayed {
            self.find(format!("the state has {here} {what}, a replay of the log {replayed}"));
        }
    }

    fn counters(&mut self, is_whole: bool) -> Result<(), Failure> {
        let (here, replayed) = (reported::counters(&self.connection)?, self.counted);
        let compare = if is_whole { Self::equal } else { Self::at_least };
        compare(self, "stored rows", here.stored, replayed.stored);
        compare(self, "counted things set aside", here.quarantined, replayed.quarantined);
        // Where the log had no room, refusals were counted without a record.
        self.at_least("refused messages", here.rejected, replayed.rejected);
        self.at_least("shed messages", here.shed, replayed.shed);
        Ok(())
    }

    /// Nobody may still need what the log has forgotten.
    fn followers(&mut self, first: Offset) -> Result<(), Failure> {
        let first_kept = [signed(first.0)];
        let waiting = "SELECT count(*) FROM client_queue WHERE log_offset < ?1";
        let waiting = self.count(waiting, first_kept)?;
        if waiting > 0 {
            self.find(format!(
                "{waiting} messages that wait for MQTT sessions are no longer in the log"
            ));
        }
        let behind = "SELECT count(*) FROM consumer WHERE position < ?1 AND lost_at IS NULL";
        let behind = self.count(behind, first_kept)?;
        if behind > 0 {
            self.find(format!("{behind} consumers need records that are no longer in the log"));
        }
        Ok(())
    }

    /// Every item of the replay is there; so the same number means the same items.
    fn quarantine_count(&mut self, first: Offset, is_whole: bool) -> Result<(), Failure> {
        let here = self
            .count("SELECT count(*) FROM quarantine WHERE log_offset >= ?1", [signed(first.0)])?;
        let compare = if is_whole { Self::equal } else { Self::at_least };
        compare(self, "items set aside", here, self.quarantined);
        Ok(())
    }

    fn item(&mut self, item: &QuarantineItem) -> Result<(), Failure> {
        let QuarantineItem { id, device, code, payload, .. } = item;
        match reported::find_quarantined(&self.connection, *id)? {
            None => self.find(format!("item {id} of the quarantine ({code}) is missing")),
            Some(here) if (&here.device, &here.payload) != (device, payload) => {
                self.find(format!("item {id} of the quarantine is not what the log says"));
            }
            Some(_same) => {}
        }
        Ok(())
    }

    fn receipt(&mut self, receipt: &UploadReceipt, newest: Timestamp) -> Result<(), Failure> {
        let UploadReceipt { token, key, upload, received_at, .. } = receipt;
        let is_young = newest.micros_since(*received_at) < RECEIPT_AGE_MAX;
        match reported::find_receipt(&self.connection, token, key)? {
            None if is_young => self.find(format!("the receipt of upload {upload} is missing")),
            // Of two with one key the first stays.
            Some(here) if here.received_at == *received_at && here != *receipt => {
                self.find(format!("the receipt of upload {upload} is not what the log says"));
            }
            None | Some(_) => {}
        }
        Ok(())
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), Failure> {
        let Some(command) = command::find(&self.connection, &reply.command)? else { return Ok(()) };
        if command.device == reply.device && reply.status.is_final() && !command.status().is_final()
        {
            let Reply { command, status, .. } = reply;
            self.find(format!("command {command} waits though it was answered `{status}`"));
        }
        Ok(())
    }

    fn latest(&mut self, values: &[LatestValue], is_whole: bool) -> Result<(), Failure> {
        let Some(first) = values.first() else { return Ok(()) };
        let kept = reported::latest_of_device(&self.connection, &first.device)?;
        for value in values {
            let LatestValue { device, field, time, received_at, .. } = value;
            let is_good = match kept.iter().find(|kept| kept.field == *field) {
                None => false,
                Some(kept) if kept == value => true,
                Some(kept) => !is_whole && value.is_replaced_by(kept.time, kept.received_at),
            };
            if !is_good {
                let field = &field.0;
                self.find(format!(
                    "the latest `{field}` of `{device}` is not the one that came at {received_at} \
                     for {time}"
                ));
            }
        }
        Ok(())
    }

    fn last_seen(
        &mut self,
        device: &DeviceId,
        at: Timestamp,
        is_whole: bool,
    ) -> Result<(), Failure> {
        let here: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT last_seen.time FROM last_seen JOIN device_key
                 ON device_key.key = last_seen.device WHERE device_key.device = ?1",
            )?
            .query_row([device.as_str()], |row| row.get(0))
            .optional()?;
        let is_good = here.is_some_and(|here| here == at.0 || (!is_whole && here > at.0));
        if !is_good {
            self.find(format!("`{device}` was last heard of at {at}, the state says otherwise"));
        }
        Ok(())
    }
}
