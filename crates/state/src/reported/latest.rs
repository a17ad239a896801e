//! Latest values: the hot path. Thousands of upserts a call, in the order of their key, so that
//! neighbours meet on one page.

use axle_domain::{DeviceId, FieldKey, LatestValue, OwnedValue, Timestamp};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};

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
        let value = match row.get_ref(3)? {
            ValueRef::Real(number) => OwnedValue::Float(number),
            ValueRef::Integer(number) => OwnedValue::Bool(number != 0),
            ValueRef::Text(_) => OwnedValue::Text(row.get(3)?),
            ValueRef::Null | ValueRef::Blob(_) => {
                return Err(corrupt(format!("a latest value of `{device}` has no type")));
            }
        };
        Ok(LatestValue {
            device: device.clone(),
            field: FieldKey(row.get(0)?),
            value,
            time: Timestamp(row.get(1)?),
            received_at: Timestamp(row.get(2)?),
        })
    })?;
    Ok((values.collect::<Result<_, Failure>>()?, last_seen.map(Timestamp)))
}
