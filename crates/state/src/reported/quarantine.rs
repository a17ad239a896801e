//! Quarantined items. All are kept until a person decides otherwise.

use axle_domain::{
    Offset, QuarantineCount, QuarantineFilter, QuarantineId, QuarantineItem, QuarantineState,
    Timestamp,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::count;
use crate::device::signed;
use crate::failure::{Failure, corrupt};

const ITEM: &str = "SELECT log_offset, item_index, device, topic, stream, content_type, code,
    detail, payload, received_at, sent_at, state FROM quarantine";

const WAITING: &str = "waiting";
const REPLAYED: &str = "replayed";

pub(super) fn add(connection: &Connection, items: &[QuarantineItem]) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO quarantine (log_offset, item_index, device, topic, stream, content_type, code,
         detail, payload, received_at, sent_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (log_offset, item_index) DO NOTHING",
    )?;
    for item in items {
        statement.execute(params![
            signed(item.id.offset.0),
            item.id.index,
            item.device,
            item.topic,
            item.stream,
            item.content_type,
            item.code,
            item.detail,
            item.payload,
            item.received_at.0,
            item.sent_at.map(|time| time.0),
            word(item.state),
        ])?;
    }
    Ok(())
}

pub(super) fn mark_replayed(connection: &Connection, ids: &[QuarantineId]) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE quarantine SET state = ?3 WHERE log_offset = ?1 AND item_index = ?2",
    )?;
    for id in ids {
        statement.execute(params![signed(id.offset.0), id.index, REPLAYED])?;
    }
    Ok(())
}

pub(super) fn list(
    connection: &Connection,
    filter: &QuarantineFilter,
) -> Result<Vec<QuarantineItem>, Failure> {
    let mut sql = format!("{ITEM} WHERE (log_offset, item_index) < (?, ?)");
    let before = filter.before.map_or((i64::MAX, 0), |id| (signed(id.offset.0), id.index));
    let mut keys = vec![Value::Integer(before.0), Value::Integer(i64::from(before.1))];
    let mut demand = |column: &str, text: &str| {
        sql.push_str(&format!(" AND {column} = ?"));
        keys.push(Value::Text(text.to_owned()));
    };
    if let Some(device) = &filter.device {
        demand("device", device.as_str());
    }
    if let Some(code) = &filter.code {
        demand("code", code);
    }
    if let Some(stream) = &filter.stream {
        demand("stream", stream.as_str());
    }
    if let Some(state) = filter.state {
        demand("state", word(state));
    }
    sql.push_str(" ORDER BY log_offset DESC, item_index DESC LIMIT ?");
    keys.push(Value::Integer(i64::try_from(filter.limit).unwrap_or(i64::MAX)));
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_and_then(params_from_iter(keys), item)?.collect()
}

pub(super) fn count_codes(connection: &Connection) -> Result<Vec<QuarantineCount>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT code, count(*) FILTER (WHERE state = ?1), count(*) FILTER (WHERE state = ?2)
         FROM quarantine GROUP BY code ORDER BY code",
    )?;
    let counted = |row: &Row<'_>| {
        Ok(QuarantineCount { code: row.get(0)?, waiting: count(row, 1)?, replayed: count(row, 2)? })
    };
    statement.query_and_then([WAITING, REPLAYED], counted)?.collect()
}

fn word(state: QuarantineState) -> &'static str {
    match state {
        QuarantineState::Waiting => WAITING,
        QuarantineState::Replayed => REPLAYED,
    }
}

pub(super) fn find(
    connection: &Connection,
    id: QuarantineId,
) -> Result<Option<QuarantineItem>, Failure> {
    let sql = format!("{ITEM} WHERE log_offset = ?1 AND item_index = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![signed(id.offset.0), id.index])?;
    rows.next()?.map(item).transpose()
}

fn item(row: &Row<'_>) -> Result<QuarantineItem, Failure> {
    let sent_at: Option<i64> = row.get(10)?;
    let state: String = row.get(11)?;
    Ok(QuarantineItem {
        id: QuarantineId { offset: Offset(count(row, 0)?), index: row.get(1)? },
        device: row.get(2)?,
        topic: row.get(3)?,
        stream: row.get(4)?,
        content_type: row.get(5)?,
        code: row.get(6)?,
        detail: row.get(7)?,
        payload: row.get(8)?,
        received_at: Timestamp(row.get(9)?),
        sent_at: sent_at.map(Timestamp),
        state: match state.as_str() {
            WAITING => QuarantineState::Waiting,
            REPLAYED => QuarantineState::Replayed,
            _ => return Err(corrupt(format!("`{state}` is no state of a quarantined item"))),
        },
    })
}
