//! Receipts of uploads: kept for seven days, a million at most, and pruned a few at a time.

use axle_domain::port::UploadReceipt;
use axle_domain::{Timestamp, UploadId};
use rusqlite::{Connection, Row, params};

use crate::failure::{Failure, corrupt};

/// How long a repeated upload gets its old answer, in microseconds.
const AGE_MAX: i64 = 7 * 24 * 3600 * 1_000_000;
/// Receipts that are kept, whatever their age.
const COUNT_MAX: i64 = 1_000_000;
/// Receipts that one stretch deletes for each that it adds, so that the law of age catches up.
const PRUNED_PER_ADDED: usize = 4;

pub(super) fn add(connection: &Connection, receipts: &[UploadReceipt]) -> Result<(), Failure> {
    let Some(newest) = receipts.iter().map(|receipt| receipt.received_at).max() else {
        return Ok(());
    };
    // Of two uploads with one key the first in the log was the one that got an answer.
    let mut statement = connection.prepare_cached(
        "INSERT INTO receipt (token, key, body_hash, upload, answer, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (token, key) DO NOTHING",
    )?;
    for receipt in receipts {
        statement.execute(params![
            receipt.token,
            receipt.key,
            receipt.body_hash,
            receipt.upload.as_str(),
            receipt.answer,
            receipt.received_at.0,
        ])?;
    }
    let step = receipts.len().saturating_mul(PRUNED_PER_ADDED);
    prune(connection, newest, i64::try_from(step).unwrap_or(i64::MAX))
}

pub(super) fn find(
    connection: &Connection,
    token: &str,
    key: &str,
) -> Result<Option<UploadReceipt>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT token, key, body_hash, upload, answer, received_at FROM receipt
         WHERE token = ?1 AND key = ?2",
    )?;
    let mut rows = statement.query([token, key])?;
    rows.next()?.map(receipt).transpose()
}

fn prune(connection: &Connection, now: Timestamp, step: i64) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM receipt WHERE number IN
         (SELECT number FROM receipt WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
    )?;
    statement.execute(params![now.shifted(-AGE_MAX).0, step])?;
    // Numbers are given in ascending order and the oldest go first: so their span is the count.
    let mut statement = connection.prepare_cached(
        "DELETE FROM receipt WHERE number IN (SELECT number FROM receipt
         WHERE number <= (SELECT max(number) FROM receipt) - ?1 ORDER BY number LIMIT ?2)",
    )?;
    statement.execute([COUNT_MAX, step])?;
    Ok(())
}

fn receipt(row: &Row<'_>) -> Result<UploadReceipt, Failure> {
    let upload = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(UploadReceipt {
        upload: UploadId::parse(upload).map_err(|error| corrupt(error.message))?,
        token: row.get(0)?,
        key: row.get(1)?,
        body_hash: row.get(2)?,
        answer: row.get(4)?,
        received_at: Timestamp(row.get(5)?),
    })
}
