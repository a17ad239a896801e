//! Answers and events: whole messages that wait for their acknowledgement.

use axle_domain::{DeviceId, Error};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::{Queue, begin, failed, moment, number, put};
use crate::clock::Reading;
use crate::time_text::format_time;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) number: i64,
    pub(crate) topic: String,
    pub(crate) payload: String,
}

impl Queue {
    /// The next letter after a number.
    pub(crate) fn next_letter(&self, after: i64) -> Result<Option<Letter>, Error> {
        let found = || {
            self.connection
                .prepare_cached(
                    "SELECT number, topic, payload FROM letter WHERE number > ?1
                     ORDER BY number LIMIT 1",
                )?
                .query_row([after], |row| {
                    Ok(Letter { number: row.get(0)?, topic: row.get(1)?, payload: row.get(2)? })
                })
                .optional()
        };
        found().map_err(failed)
    }

    /// A letter has arrived.
    pub(crate) fn delete_letter(&mut self, number: i64) -> Result<(), Error> {
        let deleted = self.connection.execute("DELETE FROM letter WHERE number = ?1", [number]);
        deleted.map(|_count| ()).map_err(failed)
    }

    /// Keeps a letter.
    pub(crate) fn post(&mut self, topic: &str, payload: &str) -> Result<(), Error> {
        post(&self.connection, topic, payload).map_err(failed)
    }

    /// Makes an event, and a row of `fault`, of the values that had to go; says how many.
    pub(crate) fn report_loss(&mut self, device: &DeviceId, now: Reading) -> Result<i64, Error> {
        let bytes_max = self.bytes_max;
        let mut report = || -> rusqlite::Result<i64> {
            let lost = number(&self.connection, "lost")?.unwrap_or(0);
            if lost == 0 {
                return Ok(0);
            }
            let transaction = begin(&mut self.connection)?;
            let time = |name| number(&transaction, name).map(|at| moment(at).map(format_time));
            let (from, to) = (time("lost_from")?, time("lost_to")?);
            let now = now.is_plausible().then(|| format_time(now.wall));
            let event = json!({
                "time": now, "lost": lost, "from": from, "to": to,
                "reason": "the queue was full", "queue_bytes_max": bytes_max,
            });
            let topic = format!("v1/d/{device}/e/values_lost");
            post(&transaction, &topic, &event.to_string())?;
            let mut message = format!("{lost} values were lost: the queue was full");
            if let (Some(from), Some(to)) = (from, to) {
                message.push_str(&format!("; they were from {from} to {to}"));
            }
            let mut fault = json!({
                "code": "agent.values_lost", "severity": "warning", "component": "agent",
                "message": message,
            });
            if let (Some(now), Some(fault)) = (now, fault.as_object_mut()) {
                fault.insert("time".to_owned(), now.into());
            }
            post(&transaction, &format!("v1/d/{device}/t/fault"), &fault.to_string())?;
            put(&transaction, "lost", 0)?;
            transaction
                .execute("DELETE FROM meta WHERE name IN ('lost_from', 'lost_to')", params![])?;
            transaction.commit()?;
            Ok(lost)
        };
        report().map_err(failed)
    }
}

pub(super) fn post(connection: &Connection, topic: &str, payload: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO letter (topic, payload) VALUES (?1, ?2)")?
        .execute([topic, payload])?;
    Ok(())
}
