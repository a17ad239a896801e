//! The review queue: records that wait for a person, and those that somebody decided on.

use axle_domain::port::{Decision, FeedBatch, ReviewFilter};
use axle_domain::{
    BatchId, Decided, PlantName, Reason, ReviewId, ReviewItem, ReviewStatus, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::device::signed;
use crate::failure::{Failure, corrupt};

const REVIEW: &str = "SELECT number, plant, batch, item_index, code, detail, record, received_at,
    status, decided_by, decided_at, note FROM review";

/// Sets a record aside; says under which number, and whether that is new.
pub(super) fn put(
    connection: &Connection,
    batch: &FeedBatch,
    (index, record): (u32, &str),
    reason: &Reason,
) -> Result<(ReviewId, bool), Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT number FROM review WHERE plant = ?1 AND record = ?2 AND status = 'waiting'",
    )?;
    let plant = batch.plant.as_str();
    let waiting = statement.query_row([plant, record], |row| number(row, 0)).optional()?;
    if let Some(id) = waiting {
        return Ok((id, false));
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO review (plant, batch, item_index, code, detail, record, received_at, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'waiting')",
    )?;
    let number = statement.insert(params![
        plant,
        batch.id.as_str(),
        index,
        reason.code,
        reason.detail,
        record,
        batch.received_at.0,
    ])?;
    let id = u64::try_from(number).map_err(|_error| corrupt("a review item below zero"))?;
    Ok((ReviewId(id), true))
}

/// How many records of a plant wait.
pub(super) fn count_waiting(connection: &Connection, plant: &PlantName) -> Result<u32, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM review WHERE plant = ?1 AND status = 'waiting'")?;
    Ok(statement.query_row([plant.as_str()], |row| row.get(0))?)
}

/// Notes what a person decided.
pub(super) fn settle(
    connection: &Connection,
    decision: &Decision,
    status: ReviewStatus,
) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE review SET status = ?2, decided_by = ?3, decided_at = ?4, note = ?5
         WHERE number = ?1",
    )?;
    statement.execute(params![
        signed(decision.id.0),
        status.as_str(),
        decision.by,
        decision.at.0,
        decision.note,
    ])?;
    Ok(())
}

/// The item of that number.
pub(crate) fn find(connection: &Connection, id: ReviewId) -> Result<Option<ReviewItem>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{REVIEW} WHERE number = ?1"))?;
    let mut rows = statement.query([signed(id.0)])?;
    rows.next()?.map(item).transpose()
}

/// Items, newest first.
pub(crate) fn list(
    connection: &Connection,
    filter: &ReviewFilter,
) -> Result<Vec<ReviewItem>, Failure> {
    let mut sql = format!("{REVIEW} WHERE number < ?1");
    sql.push_str(if filter.plant.is_some() { " AND plant = ?2" } else { " AND ?2 IS NULL" });
    sql.push_str(if filter.status.is_some() { " AND status = ?3" } else { " AND ?3 IS NULL" });
    sql.push_str(" ORDER BY number DESC LIMIT ?4");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_and_then(
        params![
            filter.before.map_or(i64::MAX, |before| signed(before.0)),
            filter.plant.as_ref().map(PlantName::as_str),
            filter.status.map(ReviewStatus::as_str),
            i64::try_from(filter.limit).unwrap_or(i64::MAX),
        ],
        item,
    )?;
    rows.collect()
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<ReviewId> {
    let number: i64 = row.get(column)?;
    u64::try_from(number)
        .map(ReviewId)
        .map_err(|_error| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn item(row: &Row<'_>) -> Result<ReviewItem, Failure> {
    let (plant, batch): (String, String) = (row.get(1)?, row.get(2)?);
    let status: String = row.get(8)?;
    let decided_at: Option<i64> = row.get(10)?;
    let decided = match decided_at {
        Some(at) => Some(Decided { by: row.get(9)?, at: Timestamp(at), note: row.get(11)? }),
        None => None,
    };
    Ok(ReviewItem {
        id: number(row, 0)?,
        plant: PlantName::parse(&plant).map_err(|error| corrupt(error.message))?,
        batch: BatchId::parse(&batch).map_err(|error| corrupt(error.message))?,
        index: row.get(3)?,
        code: row.get(4)?,
        detail: row.get(5)?,
        record: row.get(6)?,
        received_at: Timestamp(row.get(7)?),
        status: ReviewStatus::parse(&status)
            .ok_or_else(|| corrupt(format!("`{status}` is no status of a review item")))?,
        decided,
    })
}
