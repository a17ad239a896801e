//! Receipts of batches: kept for ninety days, and pruned a few at a time.

use axle_domain::port::{BatchFilter, BatchReceipt, SetAside};
use axle_domain::{BatchId, Error, PlantName, ReviewId, Timestamp};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, corrupt};

const BATCH: &str = "SELECT id, plant, body_hash, sent_by, received_at, accepted, unchanged, review
    FROM feed_batch";
/// How long a repeated batch gets its old receipt, in microseconds.
const AGE_MAX: i64 = 90 * 24 * 3600 * 1_000_000;
/// Receipts that a new one deletes at most, so that the law of age catches up.
const PRUNED_PER_ADDED: i64 = 4;

/// A record that was set aside, as the receipt keeps it.
#[derive(Serialize, Deserialize)]
struct StoredAside {
    index: u32,
    code: String,
    detail: String,
    review: Option<u64>,
}

/// Keeps a receipt under its key.
pub(super) fn put(
    connection: &Connection,
    key: &str,
    receipt: &BatchReceipt,
) -> Result<(), Failure> {
    let review: Vec<StoredAside> = receipt
        .review
        .iter()
        .map(|aside| StoredAside {
            index: aside.index,
            code: aside.code.clone(),
            detail: aside.detail.clone(),
            review: aside.review.map(|id| id.0),
        })
        .collect();
    let review = serde_json::to_string(&review).map_err(|error| {
        Error::internal("feed.receipt", "a receipt cannot be written").with_source(error)
    })?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO feed_batch
         (id, plant, key, body_hash, sent_by, received_at, accepted, unchanged, review)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        receipt.id.as_str(),
        receipt.plant.as_str(),
        key,
        receipt.body_hash,
        receipt.by,
        receipt.received_at.0,
        receipt.accepted,
        receipt.unchanged,
        review,
    ])?;
    let mut statement = connection.prepare_cached(
        "DELETE FROM feed_batch WHERE number IN
         (SELECT number FROM feed_batch WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)",
    )?;
    statement.execute([receipt.received_at.shifted(-AGE_MAX).0, PRUNED_PER_ADDED])?;
    Ok(())
}

/// The receipt of a key.
pub(super) fn find(
    connection: &Connection,
    plant: &PlantName,
    key: &str,
) -> Result<Option<BatchReceipt>, Failure> {
    let sql = format!("{BATCH} WHERE plant = ?1 AND key = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([plant.as_str(), key])?;
    rows.next()?.map(receipt).transpose()
}

/// Receipts, newest first.
pub(crate) fn list(
    connection: &Connection,
    filter: &BatchFilter,
) -> Result<Vec<BatchReceipt>, Failure> {
    let of_plant = if filter.plant.is_some() { "plant = ?1" } else { "?1 IS NULL" };
    let sql = format!("{BATCH} WHERE {of_plant} ORDER BY number DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let plant = filter.plant.as_ref().map(PlantName::as_str);
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    statement.query_and_then(params![plant, limit], receipt)?.collect()
}

fn receipt(row: &Row<'_>) -> Result<BatchReceipt, Failure> {
    let (id, plant, review): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(7)?);
    let review: Vec<StoredAside> = serde_json::from_str(&review)
        .map_err(|_error| corrupt(format!("the receipt of batch `{id}` cannot be read")))?;
    let review = review.into_iter().map(|aside| SetAside {
        index: aside.index,
        code: aside.code,
        detail: aside.detail,
        review: aside.review.map(ReviewId),
    });
    Ok(BatchReceipt {
        review: review.collect(),
        id: BatchId::parse(&id).map_err(|error| corrupt(error.message))?,
        plant: PlantName::parse(&plant).map_err(|error| corrupt(error.message))?,
        body_hash: row.get(2)?,
        by: row.get(3)?,
        received_at: Timestamp(row.get(4)?),
        accepted: row.get(5)?,
        unchanged: row.get(6)?,
    })
}
