//! What plants say of devices and components: taking batches in, and deciding on what waits.

mod record;

use std::sync::Arc;

use axle_domain::port::{
    BatchFilter, BatchReceipt, Clock, ComponentRegistry, Decision, FeedBatch, ReviewFilter,
};
use axle_domain::{
    Access, Approval, BatchId, Change, Error, Kind, PlantName, ReviewId, ReviewItem, Timestamp,
    limit,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::app::Ports;
use crate::fleet_map::FleetMap;
use crate::principal::Principal;
use crate::random::random_text;
use crate::registry::Registry;

pub use record::{FeedForm, read as read_record, read_batch};

/// A batch as the HTTP door gives it.
#[derive(Clone, Debug)]
pub struct FeedRequest {
    /// Who says it.
    pub plant: PlantName,
    /// The `Idempotency-Key` header; the body itself stands in for a missing one.
    pub idempotency_key: Option<String>,
    /// How the body is laid out.
    pub form: FeedForm,
    /// The body.
    pub body: Bytes,
    /// Whether to say only what would become of it.
    pub is_dry_run: bool,
}

/// A person's decision as the door gives it.
#[derive(Clone, Debug)]
pub struct ReviewDecision {
    /// Which item.
    pub id: ReviewId,
    /// Whether to let the record in.
    pub is_accepted: bool,
    /// With an acceptance: when whatever stands in the record's way ended.
    pub close_other_at: Option<Timestamp>,
    /// Why; may be empty.
    pub note: String,
}

/// The desk where plants hand in what they know.
pub struct Feeds {
    store: Arc<dyn ComponentRegistry>,
    registry: Arc<Registry>,
    fleet_map: Arc<FleetMap>,
    clock: Arc<dyn Clock>,
}

impl Feeds {
    pub(crate) fn new(ports: &Ports, registry: Arc<Registry>, fleet_map: Arc<FleetMap>) -> Self {
        let store = Arc::clone(&ports.components);
        Self { store, registry, fleet_map, clock: Arc::clone(&ports.clock) }
    }

    /// Takes a batch in and answers once it is durable. The same batch again (same idempotency
    /// key, else same body) gets the same receipt and changes nothing; the flag says so.
    ///
    /// # Errors
    /// `Denied` without the right to speak for the plant; `Invalid` when the body as a whole
    /// cannot be understood; `TooLarge` over [`limit::FEED_RECORDS_MAX`]; `Conflict` when a key
    /// comes with another body; `Busy` when too many records of the plant wait for a person.
    pub async fn accept(
        &self,
        principal: &Principal,
        request: FeedRequest,
    ) -> Result<(BatchReceipt, bool), Error> {
        principal.require(Access::Feed(&request.plant))?;
        let records = read_batch(request.form, &request.body)?;
        let body_hash: String =
            Sha256::digest(&request.body).iter().map(|byte| format!("{byte:02x}")).collect();
        let key = match &request.idempotency_key {
            Some(key) => format!("key:{key}"),
            None => format!("body:{body_hash}"),
        };
        let id = BatchId::parse(&random_text("f", 20)?)?;
        let batch = FeedBatch {
            id: id.clone(),
            plant: request.plant,
            key,
            body_hash,
            by: principal.id(),
            received_at: self.clock.now(),
            records,
            is_dry_run: request.is_dry_run,
        };
        let (receipt, changes) = self.store.accept_batch(batch).await?;
        self.take_over(&changes);
        let is_repeated = receipt.id != id;
        Ok((receipt, is_repeated))
    }

    /// Batches, newest first.
    ///
    /// # Errors
    /// As the component registry.
    pub async fn list_batches(&self, filter: BatchFilter) -> Result<Vec<BatchReceipt>, Error> {
        self.store.list_batches(filter).await
    }

    /// Review items, newest first.
    ///
    /// # Errors
    /// As the component registry.
    pub async fn list_reviews(&self, filter: ReviewFilter) -> Result<Vec<ReviewItem>, Error> {
        self.store.list_reviews(filter).await
    }

    /// One review item.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_review(&self, id: ReviewId) -> Result<ReviewItem, Error> {
        self.store.find_review(id).await?.ok_or_else(|| {
            Error::not_found("review.not_found", format!("review item `{id}` not found"))
        })
    }

    /// Decides on a review item in the name of someone.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was decided before, or when the record still cannot be let
    /// in; `Invalid` when the note is too long or no note at all.
    pub async fn decide(&self, by: &str, decision: ReviewDecision) -> Result<ReviewItem, Error> {
        check_note(&decision.note)?;
        let accept = match decision.is_accepted {
            false => None,
            true => {
                let item = self.get_review(decision.id).await?;
                let record = record::read(&item.record).map_err(|reason| {
                    let message =
                        format!("it cannot be accepted ({}): {}", reason.code, reason.detail);
                    Error::new(Kind::Conflict, "review.refused", message)
                })?;
                Some((record, Approval { close_other_at: decision.close_other_at }))
            }
        };
        let (by, at) = (by.to_owned(), self.clock.now());
        let decision = Decision { id: decision.id, accept, by, at, note: decision.note };
        let (item, changes) = self.store.decide(decision).await?;
        self.take_over(&changes);
        Ok(item)
    }

    /// Lets the registry and the map in memory know devices that are new.
    fn take_over(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Device(device) = change {
                self.registry.put_device(device);
                self.fleet_map.put_device(device);
            }
        }
    }
}

fn check_note(note: &str) -> Result<(), Error> {
    let most = limit::NOTE_BYTES_MAX;
    if note.len() > most {
        let message = format!("the note is at most {most} bytes long");
        let error = Error::invalid("review.note_too_long", message);
        return Err(error.with_limit(most as u64, note.len() as u64));
    }
    if note.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let message = "the note holds a control character";
        return Err(Error::invalid("review.note_invalid", message));
    }
    Ok(())
}
