//! A stretch of the log, understood: rows by stream, and what the state must learn.

use std::sync::Arc;

use axle_domain::port::{Counters, Projected, Record, UploadReceipt};
use axle_domain::{
    Message, Offset, QuarantineId, QuarantineItem, QuarantineState, Row, RowBatch, Schemas, Source,
    Turned, UploadId, limit,
};

use super::fold::Fold;
use crate::decode::{Decoded, SetAside, decode};
use crate::publish::PublishOrigin;
use crate::upload::{UploadOrigin, Verdicts};

pub(super) struct Stretch<'a> {
    schemas: &'a Schemas,
    store_from: Offset,
    state_from: Offset,
    batches: Vec<RowBatch>,
    /// What the state must learn, but for latest values.
    pub(super) changes: Projected,
}

impl<'a> Stretch<'a> {
    /// Understands records for two projections, each from its own position.
    pub(super) fn new(schemas: &'a Schemas, store_from: Offset, state_from: Offset) -> Self {
        let (batches, changes) = (Vec::new(), Projected::default());
        Self { schemas, store_from, state_from, batches, changes }
    }

    pub(super) fn row_count(&self) -> u64 {
        self.batches.iter().map(|batch| batch.len() as u64).sum()
    }

    /// The rows for the store; their latest values go into the fold.
    pub(super) fn take_batches(&mut self, fold: &mut Fold) -> Vec<RowBatch> {
        // Rows that the state knows already change nothing there: latest only moves forward.
        self.batches.iter().for_each(|batch| fold.batch(batch));
        std::mem::take(&mut self.batches)
    }

    /// Understands one record.
    pub(super) fn take(&mut self, record: &Record, fold: &mut Fold) {
        let message = record.message();
        let for_store = record.offset >= self.store_from;
        let for_state = record.offset >= self.state_from;
        let mut verdicts = (for_state && message.source == Source::Upload).then(Verdicts::default);
        let (mut stored, mut set_aside) = (0, 0);
        let schemas = self.schemas;
        decode(schemas, record.offset, &message, &mut |decoded| {
            if let Some(verdicts) = &mut verdicts {
                verdicts.take(&decoded);
            }
            match decoded {
                Decoded::Row(row) => {
                    if for_store {
                        push(&mut self.batches, schemas, row);
                    } else {
                        // The store has this row; in batches the rest is folded at once.
                        fold.row(row);
                    }
                    stored += 1;
                }
                Decoded::SetAside(aside) => {
                    set_aside += 1;
                    if for_state {
                        self.changes.quarantined.push(item(record.offset, &message, &aside));
                    }
                }
                Decoded::Reply(reply) => {
                    if for_state {
                        self.changes.replies.push(reply);
                    }
                }
                Decoded::Opaque => {}
            }
        });
        if for_state {
            // What the server writes itself is no sign of life, and nothing that came to the door.
            if message.source != Source::Presence {
                fold.seen(message.device, message.received_at);
                let counted = Counters { stored, quarantined: set_aside, ..Counters::default() };
                self.changes.counted.add(counted);
            }
            self.settle(record.offset, &message, verdicts, set_aside);
        }
    }

    /// Notes what an upload, a replay, a publish or a refusal leaves behind.
    fn settle(
        &mut self,
        offset: Offset,
        message: &Message<'_>,
        verdicts: Option<Verdicts>,
        set_aside: u64,
    ) {
        match message.source {
            Source::Upload => self.changes.receipts.extend(receipt(message, verdicts)),
            Source::Replay if set_aside == 0 => {
                self.changes.replayed.extend(QuarantineId::parse(message.origin));
            }
            Source::Service if !message.origin.is_empty() => {
                self.changes.receipts.extend(published(message, offset));
            }
            Source::Door => {
                let Turned { rejected, shed } =
                    Turned::from_payload(message.payload).unwrap_or_default();
                self.changes.counted.add(Counters { rejected, shed, ..Counters::default() });
            }
            Source::Replay | Source::Mqtt | Source::Service | Source::Presence => {}
        }
    }
}

/// Lets a row into the batch of its stream.
fn push(batches: &mut Vec<RowBatch>, schemas: &Schemas, row: &Row<'_>) {
    let is_its = |batch: &&mut RowBatch| std::ptr::eq(&*batch.schema, row.schema);
    if let Some(batch) = batches.iter_mut().rev().find(is_its)
        && !batch.is_full()
    {
        return batch.push(row);
    }
    let Some(schema) = schemas.find(row.schema.name.as_str()) else { return };
    let mut batch = RowBatch::new(Arc::clone(schema));
    batch.push(row);
    batches.push(batch);
}

fn item(offset: Offset, message: &Message<'_>, aside: &SetAside<'_>) -> QuarantineItem {
    let kept = aside.payload.len().min(limit::QUARANTINE_PAYLOAD_BYTES_MAX);
    QuarantineItem {
        id: QuarantineId { offset, index: aside.index },
        device: message.device.to_owned(),
        topic: message.topic.to_owned(),
        stream: aside.stream.to_owned(),
        content_type: message.content_type.to_owned(),
        code: aside.code.to_owned(),
        detail: aside.detail.clone(),
        payload: aside.payload.get(..kept).unwrap_or_default().to_vec(),
        received_at: message.received_at,
        sent_at: aside.sent_at,
        state: QuarantineState::Waiting,
    }
}

fn receipt(message: &Message<'_>, verdicts: Option<Verdicts>) -> Option<UploadReceipt> {
    let origin: UploadOrigin = serde_json::from_str(message.origin).ok()?;
    let upload = UploadId::parse(&origin.upload).ok()?;
    Some(UploadReceipt {
        token: origin.token,
        key: origin.key,
        body_hash: origin.body_hash,
        upload,
        answer: verdicts?.answer(&origin.upload),
        received_at: message.received_at,
    })
}

fn published(message: &Message<'_>, offset: Offset) -> Option<UploadReceipt> {
    let origin: PublishOrigin = serde_json::from_str(message.origin).ok()?;
    Some(UploadReceipt {
        token: origin.token,
        key: origin.key,
        body_hash: origin.hash,
        upload: UploadId::parse(&format!("p{offset}")).ok()?,
        answer: offset.to_string(),
        received_at: message.received_at,
    })
}
