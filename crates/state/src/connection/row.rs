//! The rows of connection events.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use axle_domain::port::ConnectionFilter;
use axle_domain::{
    ConnectionEvent, ConnectionOutcome, DeviceId, Fingerprint, ProtocolVersion, RefusalStage,
    Timestamp, limit,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use crate::device::{device_id, signed};
use crate::failure::{Failure, corrupt};

const EVENT: &str = "SELECT first_at, at, count, device, is_proved, fingerprint, address, protocol,
    client_id, outcome, stage, lasted, received, sent, code, reason, next_step
    FROM connection_event";

/// Writes events under their numbers and keeps the bounds; returns how many had to go.
pub(super) fn put(
    connection: &Connection,
    events: &[(u64, ConnectionEvent)],
) -> Result<u64, Failure> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO connection_event (number, first_at, at, count, device, is_proved, fingerprint,
         address, protocol, client_id, outcome, stage, lasted, received, sent, code, reason,
         next_step)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
         ON CONFLICT (number) DO UPDATE SET first_at = excluded.first_at, at = excluded.at,
         count = excluded.count, protocol = excluded.protocol, lasted = excluded.lasted,
         received = excluded.received, sent = excluded.sent, reason = excluded.reason,
         next_step = excluded.next_step",
    )?;
    let (mut devices, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for (number, event) in events {
        let address = event.address.to_string();
        let (lasted, received, sent) = match event.outcome {
            ConnectionOutcome::Disconnected { lasted, received, sent } => {
                let lasted = i64::try_from(lasted.as_micros()).unwrap_or(i64::MAX);
                (Some(lasted), Some(signed(received)), Some(signed(sent)))
            }
            ConnectionOutcome::Connected | ConnectionOutcome::Refused { .. } => (None, None, None),
        };
        statement.execute(params![
            signed(*number),
            event.first_at.0,
            event.at.0,
            signed(event.count),
            event.device.as_ref().map(DeviceId::as_str),
            event.is_proved,
            event.fingerprint.map(|print| print.0),
            address,
            event.protocol.map(ProtocolVersion::as_str),
            event.client_id,
            event.outcome.as_str(),
            event.outcome.stage().map(RefusalStage::as_str),
            lasted,
            received,
            sent,
            event.code,
            event.reason,
            event.next_step,
        ])?;
        match &event.device {
            Some(device) if event.is_proved => devices.insert(device.as_str().to_owned()),
            _ => addresses.insert(address),
        };
    }
    let mut trimmed = 0;
    for device in devices {
        trimmed += trim(connection, "is_proved = 1 AND device = ?2", &device)?;
    }
    for address in addresses {
        trimmed += trim(connection, "is_proved = 0 AND address = ?2", &address)?;
    }
    trimmed += trim_class(connection, true, limit::CONNECTION_EVENTS_PROVED_MAX)?;
    trimmed += trim_class(connection, false, limit::CONNECTION_EVENTS_UNPROVED_MAX)?;
    Ok(trimmed)
}

fn trim(connection: &Connection, of: &str, key: &str) -> Result<u64, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "DELETE FROM connection_event WHERE number IN (SELECT number FROM connection_event
         WHERE {of} ORDER BY at DESC, number DESC LIMIT -1 OFFSET ?1)"
    ))?;
    let most = signed(limit::CONNECTION_EVENTS_PER_KEY_MAX as u64);
    let count = statement.execute(params![most, key])?;
    Ok(count as u64)
}

fn trim_class(connection: &Connection, is_proved: bool, most: usize) -> Result<u64, Failure> {
    let mut statement =
        connection.prepare_cached("SELECT count(*) FROM connection_event WHERE is_proved = ?1")?;
    let count: i64 = statement.query_row([is_proved], |row| row.get(0))?;
    let excess = count.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
    if excess <= 0 {
        return Ok(0);
    }
    let mut statement = connection.prepare_cached(
        "DELETE FROM connection_event WHERE number IN (SELECT number FROM connection_event
         WHERE is_proved = ?1 ORDER BY at, number LIMIT ?2)",
    )?;
    Ok(statement.execute(params![is_proved, excess])? as u64)
}

/// Events, newest first. Each class is read by its own index, then both are merged.
pub(super) fn list(
    connection: &Connection,
    filter: &ConnectionFilter,
) -> Result<Vec<ConnectionEvent>, Failure> {
    let mut sql = format!("{EVENT} WHERE is_proved = ?");
    let mut keys = Vec::new();
    if let Some(device) = &filter.device {
        sql.push_str(" AND device = ?");
        keys.push(Value::Text(device.as_str().to_owned()));
    }
    if let Some(fingerprint) = filter.fingerprint {
        sql.push_str(" AND fingerprint = ?");
        keys.push(Value::Blob(fingerprint.0.to_vec()));
    }
    if let Some(address) = filter.address {
        sql.push_str(" AND address = ?");
        keys.push(Value::Text(address.to_string()));
    }
    sql.push_str(" ORDER BY at DESC, number DESC LIMIT ?");
    let most = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut events = Vec::new();
    for is_proved in [1, 0] {
        let first = std::iter::once(Value::Integer(is_proved));
        let keys = first.chain(keys.iter().cloned()).chain([Value::Integer(most)]);
        for found in statement.query_and_then(params_from_iter(keys), event)? {
            events.push(found?);
        }
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events.truncate(filter.limit);
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<ConnectionEvent, Failure> {
    let unknown = |what: &str| corrupt(format!("a connection event has an unknown {what}"));
    let device: Option<String> = row.get(3)?;
    let device = if device.is_some() { Some(device_id(row, 3)?) } else { None };
    let fingerprint: Option<[u8; 32]> = row.get(5)?;
    let address: String = row.get(6)?;
    let protocol: Option<String> = row.get(7)?;
    let protocol = match protocol {
        Some(text) => Some(ProtocolVersion::parse(&text).ok_or_else(|| unknown("protocol"))?),
        None => None,
    };
    Ok(ConnectionEvent {
        first_at: Timestamp(row.get(0)?),
        at: Timestamp(row.get(1)?),
        count: number(row, 2)?,
        device,
        is_proved: row.get(4)?,
        fingerprint: fingerprint.map(Fingerprint),
        address: address.parse::<IpAddr>().map_err(|_error| unknown("address"))?,
        protocol,
        client_id: row.get(8)?,
        outcome: outcome(row)?.ok_or_else(|| unknown("outcome"))?,
        code: row.get(14)?,
        reason: row.get(15)?,
        next_step: row.get(16)?,
    })
}

fn outcome(row: &Row<'_>) -> Result<Option<ConnectionOutcome>, Failure> {
    let word: String = row.get(9)?;
    Ok(match word.as_str() {
        "connected" => Some(ConnectionOutcome::Connected),
        "disconnected" => Some(ConnectionOutcome::Disconnected {
            lasted: Duration::from_micros(number(row, 11)?),
            received: number(row, 12)?,
            sent: number(row, 13)?,
        }),
        "refused" => {
            let stage: String = row.get(10)?;
            RefusalStage::parse(&stage).map(|stage| ConnectionOutcome::Refused { stage })
        }
        _ => None,
    })
}

fn number(row: &Row<'_>, column: usize) -> Result<u64, Failure> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_error| corrupt("a connection event has a negative count"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::ConnectionOutcome;

    #[test]
    fn the_oldest_of_a_class_go_and_the_other_class_stays() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../migrations/0003_connections.sql")).unwrap();
        let event = |number: u8, is_proved| {
            let at = Timestamp(i64::from(number));
            let event = ConnectionEvent {
                first_at: at,
                at,
                count: 1,
                device: None,
                is_proved,
                fingerprint: None,
                address: [127, 0, 0, number].into(),
                protocol: None,
                client_id: String::new(),
                outcome: ConnectionOutcome::Connected,
                code: String::new(),
                reason: String::new(),
                next_step: String::new(),
            };
            (u64::from(number), event)
        };
        let events: Vec<_> = (1..=9).map(|number| event(number, number == 1)).collect();
        put(&connection, &events).unwrap();
        assert_eq!(trim_class(&connection, false, 3).unwrap(), 5);
        assert_eq!(trim_class(&connection, false, 3).unwrap(), 0);
        let filter = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
        let kept: Vec<_> = list(&connection, &filter).unwrap().iter().map(|it| it.at.0).collect();
        assert_eq!(kept, [9, 8, 7, 1]);
    }
}
