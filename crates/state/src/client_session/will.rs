//! Wills of sessions that outlive their connection.

use std::collections::BTreeMap;

use axle_domain::{ClientSession, Timestamp, Will};
use rusqlite::{Connection, params};

use super::{number, stored};
use crate::failure::Failure;

/// All wills, by session.
pub(super) fn list(connection: &Connection) -> Result<BTreeMap<u64, Will>, Failure> {
    let mut statement = connection.prepare(
        "SELECT session, connected_at, delay_seconds, topic, content_type, properties, payload,
           qos, is_retained
         FROM client_will",
    )?;
    let wills = statement.query_and_then([], |row| {
        let will = Will {
            connected_at: Timestamp(row.get(1)?),
            delay_seconds: row.get(2)?,
            topic: row.get(3)?,
            content_type: row.get(4)?,
            properties: row.get::<_, Vec<u8>>(5)?.into(),
            payload: row.get::<_, Vec<u8>>(6)?.into(),
            qos: row.get(7)?,
            is_retained: row.get(8)?,
        };
        Ok((number(row, 0)?, will))
    })?;
    wills.collect()
}

/// Makes the will of a session what it is now.
pub(super) fn put(connection: &Connection, session: &ClientSession) -> Result<(), Failure> {
    let key = stored(session.number);
    let Some(will) = &session.will else {
        connection.prepare_cached("DELETE FROM client_will WHERE session = ?1")?.execute([key])?;
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO client_will VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            key,
            will.connected_at.0,
            will.delay_seconds,
            will.topic,
            will.content_type,
            &*will.properties,
            &*will.payload,
            will.qos,
            will.is_retained,
        ])?;
    Ok(())
}
