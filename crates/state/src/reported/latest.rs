//! Latest values: the hot path. Thousands of upserts a call, in the order of their key, so that
//! neighbours meet on one page.

use std::collections::HashMap;

use axle_domain::{DeviceId, FieldKey, LatestValue, OwnedValue, Timestamp};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::failure::{Failure, corrupt};
use crate::writer::Writing;

/// Replaces what is not newer. The law of `LatestValue::is_replaced_by`, in SQL.
const PUT: &str = "INSERT INTO latest (device, field, time, received_at, value)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE
    SET time = excluded.time, received_at = excluded.received_at, value = excluded.value
    WHERE excluded.time > time OR (excluded.time = time AND excluded.received_at >= received_at)";

const PUT_LAST_SEEN: &str = "INSERT INTO last_seen (device, time) VALUES (?1, ?2)
    ON CONFLICT DO UPDATE SET time = excluded.time WHERE excluded.time > time";

pub(super) fn put(writing: &mut Writing<'_>, values: Vec<LatestValue>) -> Result<(), Failure> {
    let Writing { connection, keys } = writing;
    let mut keyed = Vec::with_capacity(values.len());
    for value in values {
        let device = keys.device(connection, &value.device)?;
        keyed.push((device, keys.field(connection, &value.field)?, value));
    }
    // Stable: of two entries for one field the later one still comes later.
    keyed.sort_by_key(|(device, field, _value)| (*device, *field));
    let mut statement = connection.prepare_cached(PUT)?;
    for (device, field, LatestValue { value, time, received_at, .. }) in &keyed {
        let value = match value {
            // Not a number by contract, and SQLite has no word for it.
            OwnedValue::Float(number) if number.is_nan() => continue,
            OwnedValue::Float(number) => ValueRef::Real(*number),
            OwnedValue::Bool(truth) => ValueRef::Integer(i64::from(*truth)),
            OwnedValue::Text(text) => ValueRef::Text(text.as_bytes()),
        };
        let value = ToSqlOutput::Borrowed(value);
        statement.execute(params![device, field, time.0, received_at.0, value])?;
    }
    Ok(())
}

pub(super) fn put_last_seen(
    writing: &mut Writing<'_>,
    devices: &[(DeviceId, Timestamp)],
) -> Result<(), Failure> {
    let Writing { connection, keys } = writing;
    let mut keyed = Vec::with_capacity(devices.len());
    for (device, time) in devices {
        keyed.push((keys.device(connection, device)?, time.0));
    }
    keyed.sort_unstable();
    let mut statement = connection.prepare_cached(PUT_LAST_SEEN)?;
    for (device, time) in keyed {
        statement.execute([device, time])?;
    }
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    device: &DeviceId,
) -> Result<(Vec<LatestValue>, Option<Timestamp>), Failure> {
    let mut statement =
        connection.prepare_cached("SELECT key FROM device_key WHERE device = ?1")?;
    let key: Option<i64> = statement.query_row([device.as_str()], |row| row.get(0)).optional()?;
    let Some(key) = key else { return Ok((Vec::new(), None)) };
    let mut statement =
        connection.prepare_cached("SELECT time FROM last_seen WHERE device = ?1")?;
    let last_seen: Option<i64> = statement.query_row([key], |row| row.get(0)).optional()?;
    let mut statement = connection.prepare_cached(
        "SELECT field_key.field, latest.time, latest.received_at, latest.value
         FROM latest JOIN field_key ON field_key.key = latest.field
         WHERE latest.device = ?1 ORDER BY field_key.field",
    )?;
    let values = statement.query_and_then([key], |row| {
        let field = FieldKey(row.get(0)?);
        read(row, device.clone(), field)
    })?;
    Ok((values.collect::<Result<_, Failure>>()?, last_seen.map(Timestamp)))
}

/// Reads an entry of which time, time of arrival and value are the columns 1 to 3.
fn read(row: &Row<'_>, device: DeviceId, field: FieldKey) -> Result<LatestValue, Failure> {
    let value = match row.get_ref(3)? {
        ValueRef::Real(number) => OwnedValue::Float(number),
        ValueRef::Integer(number) => OwnedValue::Bool(number != 0),
        ValueRef::Text(_) => OwnedValue::Text(row.get(3)?),
        ValueRef::Null | ValueRef::Blob(_) => {
            return Err(corrupt(format!("a latest value of `{device}` has no type")));
        }
    };
    let (time, received_at) = (Timestamp(row.get(1)?), Timestamp(row.get(2)?));
    Ok(LatestValue { device, field, value, time, received_at })
}

/// The values of some fields of the devices behind one, in the order of their keys.
pub(super) fn list_of(
    connection: &Connection,
    fields: &[FieldKey],
    after: Option<&DeviceId>,
    devices_max: usize,
) -> Result<(Vec<LatestValue>, Option<DeviceId>), Failure> {
    let mut statement =
        connection.prepare_cached("SELECT key FROM device_key WHERE device = ?1")?;
    let after: Option<i64> = match after {
        Some(after) => statement.query_row([after.as_str()], |row| row.get(0)).optional()?,
        None => None,
    };
    let mut known = HashMap::new();
    let mut statement = connection.prepare_cached("SELECT key FROM field_key WHERE field = ?1")?;
    for field in fields {
        let key: Option<i64> = statement.query_row([&field.0], |row| row.get(0)).optional()?;
        known.extend(key.map(|key| (key, field)));
    }
    let devices = devices(connection, after.unwrap_or(i64::MIN), devices_max)?;
    let (Some(first), Some((last, last_id))) = (devices.first(), devices.last()) else {
        return Ok((Vec::new(), None));
    };
    // One walk through neighboring pages; what is not wanted is passed over here.
    let mut statement = connection.prepare_cached(
        "SELECT field, time, received_at, value, device FROM latest
         WHERE device BETWEEN ?1 AND ?2 ORDER BY device",
    )?;
    let mut rows = statement.query([first.0, *last])?;
    let mut devices_left = devices.iter();
    let mut current = devices_left.next();
    let mut values = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(field) = known.get(&row.get(0)?) else { continue };
        let key: i64 = row.get(4)?;
        while current.is_some_and(|(known, _)| *known < key) {
            current = devices_left.next();
        }
        if let Some((_, device)) = current.filter(|(known, _)| *known == key) {
            values.push(read(row, device.clone(), (*field).clone())?);
        }
    }
    Ok((values, Some(last_id.clone())))
}

/// Devices behind a key, with their keys.
fn devices(
    connection: &Connection,
    after: i64,
    devices_max: usize,
) -> Result<Vec<(i64, DeviceId)>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT key, device FROM device_key WHERE key > ?1 ORDER BY key LIMIT ?2",
    )?;
    let most = i64::try_from(devices_max).unwrap_or(i64::MAX);
    let devices = statement.query_and_then([after, most], |row| {
        let text: String = row.get(1)?;
        let device = DeviceId::parse(&text);
        let device = device.map_err(|_error| corrupt(format!("`{text}` is no device id")))?;
        Ok::<_, Failure>((row.get(0)?, device))
    })?;
    devices.collect()
}
