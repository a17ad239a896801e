//! Batches of plants and decisions on what they left for review: each one transaction, judged
//! record by record by the law of the domain.

pub(crate) mod batch;
mod known;
pub(crate) mod review;

use axle_domain::port::{BatchReceipt, BatchRecord, Decision, FeedBatch, SetAside};
use axle_domain::{
    Approval, Change, Error, FeedRecord, Kind, Reason, ReviewItem, ReviewStatus, Timestamp, judge,
    limit,
};
use rusqlite::Connection;

use crate::component;
use crate::failure::Failure;

/// Takes a batch in, within the transaction of the job.
pub(crate) fn accept(
    connection: &Connection,
    batch: &FeedBatch,
) -> Result<(BatchReceipt, Vec<Change>), Failure> {
    if let Some(receipt) = batch::find(connection, &batch.plant, &batch.key)? {
        if receipt.body_hash == batch.body_hash {
            return Ok((receipt, Vec::new()));
        }
        let message = "this Idempotency-Key came before with another body: use a new key";
        return Err(Error::new(Kind::Conflict, "feed.idempotency_conflict", message).into());
    }
    if !batch.is_dry_run {
        let (receipt, changes) = take(connection, batch)?;
        batch::put(connection, &batch.key, &receipt)?;
        return Ok((receipt, changes));
    }
    connection.execute_batch("SAVEPOINT dry_run")?;
    let taken = take(connection, batch);
    connection.execute_batch("ROLLBACK TO dry_run; RELEASE dry_run")?;
    let (mut receipt, _changes) = taken?;
    for aside in &mut receipt.review {
        aside.review = None;
    }
    Ok((receipt, Vec::new()))
}

fn take(
    connection: &Connection,
    batch: &FeedBatch,
) -> Result<(BatchReceipt, Vec<Change>), Failure> {
    let mut waiting = review::count_waiting(connection, &batch.plant)?;
    let mut receipt = BatchReceipt {
        id: batch.id.clone(),
        plant: batch.plant.clone(),
        body_hash: batch.body_hash.clone(),
        by: batch.by.clone(),
        received_at: batch.received_at,
        accepted: 0,
        unchanged: 0,
        review: Vec::new(),
    };
    let mut made = Vec::new();
    for (record, index) in batch.records.iter().zip(0_u32..) {
        match settle(connection, record, batch.received_at)? {
            Ok(changes) if changes.is_empty() => receipt.unchanged += 1,
            Ok(changes) => {
                receipt.accepted += 1;
                made.extend(changes);
            }
            Err(reason) => {
                let (id, is_new) =
                    review::put(connection, batch, (index, &record.original), &reason)?;
                waiting += u32::from(is_new);
                let Reason { code, detail } = reason;
                let review = Some(id);
                receipt.review.push(SetAside { index, code: code.to_owned(), detail, review });
            }
        }
    }
    if waiting > limit::FEED_REVIEWS_WAITING_MAX && !receipt.review.is_empty() {
        return Err(queue_full(batch, waiting).into());
    }
    Ok((receipt, made))
}

fn queue_full(batch: &FeedBatch, waiting: u32) -> Error {
    let (most, actual) = (u64::from(limit::FEED_REVIEWS_WAITING_MAX), u64::from(waiting));
    let message = format!(
        "more than {most} records of `{}` would wait for a person: decide on those first",
        batch.plant
    );
    Error::new(Kind::Busy, "feed.review_full", message).with_limit(most, actual)
}

/// Judges a record and makes its changes.
fn settle(
    connection: &Connection,
    record: &BatchRecord,
    now: Timestamp,
) -> Result<Result<Vec<Change>, Reason>, Failure> {
    match &record.record {
        Ok(record) => apply(connection, record, now, None),
        Err(reason) => Ok(Err(reason.clone())),
    }
}

fn apply(
    connection: &Connection,
    record: &FeedRecord,
    now: Timestamp,
    approval: Option<&Approval>,
) -> Result<Result<Vec<Change>, Reason>, Failure> {
    let known = known::gather(connection, record)?;
    let judged = judge(record, &known, now, approval);
    for change in judged.iter().flatten() {
        component::apply(connection, change)?;
    }
    Ok(judged)
}

/// Decides on a review item, within the transaction of the job.
pub(crate) fn decide(
    connection: &Connection,
    decision: &Decision,
) -> Result<(ReviewItem, Vec<Change>), Failure> {
    let id = decision.id;
    let item = review::find(connection, id)?.ok_or_else(|| {
        Error::not_found("review.not_found", format!("review item `{id}` not found"))
    })?;
    if let Some(decided) = &item.decided {
        let status = item.status.as_str();
        let message = format!("review item `{id}` was {status} by {} before", decided.by);
        return Err(Error::new(Kind::Conflict, "review.decided", message).into());
    }
    let (status, changes) = match &decision.accept {
        None => (ReviewStatus::Rejected, Vec::new()),
        Some((record, approval)) => {
            let changes = apply(connection, record, decision.at, Some(approval))?;
            let refused = |reason: Reason| {
                let message = format!("it cannot be accepted ({}): {}", reason.code, reason.detail);
                Error::new(Kind::Conflict, "review.refused", message)
            };
            (ReviewStatus::Accepted, changes.map_err(refused)?)
        }
    };
    review::settle(connection, decision, status)?;
    let item = review::find(connection, id)?;
    let item = item.ok_or_else(|| Error::internal("review.lost", "the review item is gone"))?;
    Ok((item, changes))
}
