//! Commands: taken once, started once, ended once.

use axle_domain::{CommandId, DeviceId, Error, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;

use super::letter::post;
use super::{Queue, begin, failed};
use crate::clock::Reading;

/// Commands that may wait for their turn.
const WAITING_MAX: i64 = 100;
/// Commands that are remembered.
const KEPT_MAX: i64 = 10_000;
/// So long after its deadline a command that has ended is forgotten: should it come again, it is
/// refused for being late.
const KEPT_AFTER_DEADLINE: i64 = 24 * 3600 * 1_000_000;

const WAITS: i64 = 0;
const STARTED: i64 = 1;
const ENDED: i64 = 2;

/// A command as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub(crate) id: CommandId,
    pub(crate) name: String,
    /// JSON.
    pub(crate) payload: String,
    /// `None`: it said none that can be read.
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) is_dry_run: bool,
}

/// A command whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: i64,
    pub(crate) id: CommandId,
    pub(crate) name: String,
    pub(crate) payload: String,
    pub(crate) deadline: Timestamp,
    pub(crate) is_dry_run: bool,
}

/// What became of a command that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It waits for its turn.
    New,
    /// It came before: it waits, runs, or its answer is sent once more.
    Known,
    /// It was refused; the answer waits.
    Refused,
}

impl Queue {
    /// Takes a command, once however often it comes.
    pub(crate) fn take(
        &mut self,
        device: &DeviceId,
        command: &Incoming,
        now: Reading,
    ) -> Result<Taken, Error> {
        self.take_once(device, command, now).map_err(failed)
    }

    fn take_once(
        &mut self,
        device: &DeviceId,
        command: &Incoming,
        now: Reading,
    ) -> rusqlite::Result<Taken> {
        let transaction = begin(&mut self.connection)?;
        let known: Option<Option<String>> = transaction
            .query_row("SELECT reply FROM command WHERE id = ?1", [command.id.as_str()], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(reply) = known {
            if let Some(reply) = reply {
                repeat(&transaction, &topic(device, command.id.as_str()), &reply)?;
            }
            transaction.commit()?;
            return Ok(Taken::Known);
        }
        if now.is_plausible() {
            let before = now.wall.micros() - KEPT_AFTER_DEADLINE;
            transaction.execute(
                "DELETE FROM command WHERE state = ?1 AND deadline < ?2",
                params![ENDED, before],
            )?;
        }
        let count = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
        let kept = count("SELECT count(*) FROM command")?;
        let waiting = count("SELECT count(*) FROM command WHERE state < 2")?;
        // What cannot be remembered must not be executed: it might come again.
        if kept >= KEPT_MAX || waiting >= WAITING_MAX {
            let reply = rejected("the device has too many commands to see to");
            repeat(&transaction, &topic(device, command.id.as_str()), &reply)?;
            transaction.commit()?;
            return Ok(Taken::Refused);
        }
        let refusal =
            command.deadline.is_none().then(|| rejected("the command has no readable deadline"));
        transaction.execute(
            "INSERT INTO command (id, name, payload, deadline, is_dry_run, state, reply)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                command.id.as_str(),
                command.name,
                command.payload,
                command.deadline.unwrap_or(now.wall).micros(),
                command.is_dry_run,
                if refusal.is_some() { ENDED } else { WAITS },
                refusal,
            ],
        )?;
        if let Some(refusal) = &refusal {
            post(&transaction, &topic(device, command.id.as_str()), refusal)?;
        }
        transaction.commit()?;
        Ok(if refusal.is_some() { Taken::Refused } else { Taken::New })
    }

    /// The command whose turn it is.
    pub(crate) fn next_order(&self) -> Result<Option<Order>, Error> {
        let next = self
            .connection
            .query_row(
                "SELECT number, id, name, payload, deadline, is_dry_run FROM command
                 WHERE state = ?1 ORDER BY number LIMIT 1",
                [WAITS],
                |row| {
                    let id: String = row.get(1)?;
                    let order = |id| {
                        Ok::<_, rusqlite::Error>(Order {
                            number: row.get(0)?,
                            id,
                            name: row.get(2)?,
                            payload: row.get(3)?,
                            deadline: Timestamp(row.get(4)?),
                            is_dry_run: row.get(5)?,
                        })
                    };
                    CommandId::parse(&id).ok().map(order).transpose()
                },
            )
            .optional();
        next.map(Option::flatten).map_err(failed)
    }

    /// Notes that a command is being executed, before it is.
    pub(crate) fn start(&mut self, number: i64) -> Result<(), Error> {
        let started = self.connection.execute(
            "UPDATE command SET state = ?2 WHERE number = ?1 AND state = ?3",
            params![number, STARTED, WAITS],
        );
        match started.map_err(failed)? {
            1 => Ok(()),
            _ => Err(Error::internal("agent.command_started", "a command was started before")),
        }
    }

    /// Notes how a command ended, and posts the answer.
    pub(crate) fn end(
        &mut self,
        device: &DeviceId,
        order: &Order,
        reply: &str,
    ) -> Result<(), Error> {
        let mut ended = || -> rusqlite::Result<()> {
            let transaction = begin(&mut self.connection)?;
            end(&transaction, &topic(device, order.id.as_str()), order.number, reply)?;
            transaction.commit()
        };
        ended().map_err(failed)
    }

    /// Ends what a crash or a power cut interrupted. Whether it was done nobody knows, so it is
    /// not done again, and the answer says so.
    pub(super) fn end_interrupted(&mut self, device: &DeviceId) -> Result<(), Error> {
        let mut ended = || -> rusqlite::Result<()> {
            let transaction = begin(&mut self.connection)?;
            let started: Vec<(i64, String)> = transaction
                .prepare("SELECT number, id FROM command WHERE state = ?1")?
                .query_map([STARTED], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            for (number, id) in started {
                let reply = json!({
                    "status": "failed", "reason": "interrupted; not executed again",
                });
                end(&transaction, &topic(device, &id), number, &reply.to_string())?;
            }
            transaction.commit()
        };
        ended().map_err(failed)
    }
}

fn end(connection: &Connection, topic: &str, number: i64, reply: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE command SET state = ?2, reply = ?3, payload = '' WHERE number = ?1",
        params![number, ENDED, reply],
    )?;
    post(connection, topic, reply)
}

/// Posts an answer, unless it waits already.
fn repeat(connection: &Connection, topic: &str, reply: &str) -> rusqlite::Result<()> {
    let waits: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM letter WHERE topic = ?1 AND payload = ?2)",
        [topic, reply],
        |row| row.get(0),
    )?;
    if waits { Ok(()) } else { post(connection, topic, reply) }
}

fn rejected(reason: &str) -> String {
    json!({ "status": "rejected", "reason": reason }).to_string()
}

fn topic(device: &DeviceId, id: &str) -> String {
    format!("v1/d/{device}/c/{id}/r")
}
