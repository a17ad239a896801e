//! Retained messages.

use axle_domain::{Offset, RetainedMessage, Timestamp};
use rusqlite::{Connection, params};

use super::{number, stored};
use crate::failure::Failure;

/// All of them, by topic.
pub(super) fn list(connection: &Connection) -> Result<Vec<RetainedMessage>, Failure> {
    let mut statement = connection.prepare(
        "SELECT topic, log_offset, qos, received_at, publisher, content_type, properties, payload
         FROM retained_message ORDER BY topic",
    )?;
    let messages = statement.query_and_then([], |row| {
        Ok(RetainedMessage {
            topic: row.get(0)?,
            offset: Offset(number(row, 1)?),
            qos: row.get(2)?,
            received_at: Timestamp(row.get(3)?),
            publisher: row.get(4)?,
            content_type: row.get(5)?,
            properties: row.get::<_, Vec<u8>>(6)?.into(),
            payload: row.get::<_, Vec<u8>>(7)?.into(),
        })
    })?;
    messages.collect()
}

/// Takes messages in, in their order; an empty one takes its topic's away.
pub(super) fn put(connection: &Connection, messages: &[RetainedMessage]) -> Result<(), Failure> {
    let mut delete = connection.prepare_cached("DELETE FROM retained_message WHERE topic = ?1")?;
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO retained_message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for message in messages {
        if message.payload.is_empty() {
            delete.execute([&message.topic])?;
            continue;
        }
        put.execute(params![
            message.topic,
            stored(message.offset.0),
            message.qos,
            message.received_at.0,
            message.publisher,
            message.content_type,
            &*message.properties,
            &*message.payload,
        ])?;
    }
    Ok(())
}
