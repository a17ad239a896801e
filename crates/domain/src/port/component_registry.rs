//! The registry of components, and the way in for what plants say of devices and components.

use async_trait::async_trait;

use crate::{
    Approval, BatchId, Change, Component, ComponentStatus, DeviceId, Error, FeedRecord,
    Installation, KindName, PlantName, Reason, ReviewId, ReviewItem, ReviewStatus, Serial,
    Timestamp,
};

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// As it came, JSON, to be kept where it waits for a person.
    pub original: String,
    /// What it says, or why it says nothing that could be understood.
    pub record: Result<FeedRecord, Reason>,
}

/// A batch of a plant.
#[derive(Clone, Debug)]
pub struct FeedBatch {
    /// Its id.
    pub id: BatchId,
    /// Who sent it.
    pub plant: PlantName,
    /// Recognises it when it comes again.
    pub key: String,
    /// SHA-256 of its body, hexadecimal.
    pub body_hash: String,
    /// The token that it came with.
    pub by: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Its records, in order.
    pub records: Vec<BatchRecord>,
    /// Whether to say only what would become of it.
    pub is_dry_run: bool,
}

/// A record of a batch that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// Why, as a code.
    pub code: String,
    /// Why, in words.
    pub detail: String,
    /// Under which number; `None` in a dry run.
    pub review: Option<ReviewId>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReceipt {
    /// Its id.
    pub id: BatchId,
    /// Who sent it.
    pub plant: PlantName,
    /// SHA-256 of its body, hexadecimal.
    pub body_hash: String,
    /// The token that it came with.
    pub by: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Records that changed the registry.
    pub accepted: u32,
    /// Records that were known already.
    pub unchanged: u32,
    /// Records that wait for a person.
    pub review: Vec<SetAside>,
}

/// A person's decision on a review item.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Which item.
    pub id: ReviewId,
    /// The record again, understood, and what the person vouches for; `None` rejects it.
    pub accept: Option<(FeedRecord, Approval)>,
    /// Who decides.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub note: String,
}

/// Which review items to list.
#[derive(Clone, Debug, Default)]
pub struct ReviewFilter {
    /// Only of this plant.
    pub plant: Option<PlantName>,
    /// Only with this status.
    pub status: Option<ReviewStatus>,
    /// Only older ones than this, for the next page.
    pub before: Option<ReviewId>,
    /// At most this many.
    pub limit: usize,
}

/// Which batches to list.
#[derive(Clone, Debug, Default)]
pub struct BatchFilter {
    /// Only of this plant.
    pub plant: Option<PlantName>,
    /// At most this many.
    pub limit: usize,
}

/// Which components to list.
#[derive(Clone, Debug, Default)]
pub struct ComponentFilter {
    /// Only of this kind.
    pub kind: Option<KindName>,
    /// Only with this status.
    pub status: Option<ComponentStatus>,
    /// Only serials after this one, for the next page.
    pub after: Option<Serial>,
    /// At most this many.
    pub limit: usize,
}

/// Components, where they sit and sat, and what waits for a person.
///
/// 1. *One transaction.* A batch with its receipt, and a decision with its changes, are durable
///    together when the method returns, or nothing of them happened.
/// 2. *The law.* Records are judged by [`crate::judge`], in order, each against everything that
///    the records before it have changed.
/// 3. *Once.* A batch whose plant and key are known changes nothing and gets its old receipt.
/// 4. *Aside.* A record with a reason changes nothing and becomes a review item; the same record
///    of the same plant that waits already keeps the item it has.
/// 5. *A dry run* changes nothing at all and answers the same.
/// 6. *One decision.* An item is decided once. An acceptance that the law refuses changes nothing.
/// 7. Lists are ordered: components by serial, installations by start, review items and batches
///    newest first.
#[async_trait]
pub trait ComponentRegistry: Send + Sync {
    /// Takes a batch in. Returns the changes it made, for whoever keeps the registry in memory.
    ///
    /// # Errors
    /// `Conflict` (`feed.idempotency_conflict`) when the key came before with another body;
    /// `Busy` (`feed.review_full`) when too many records of the plant wait.
    async fn accept_batch(&self, batch: FeedBatch) -> Result<(BatchReceipt, Vec<Change>), Error>;

    /// Batches, newest first.
    async fn list_batches(&self, filter: BatchFilter) -> Result<Vec<BatchReceipt>, Error>;

    /// Decides on a review item; returns it as it is now, with the changes that were made.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was decided before (`review.decided`), or when the law still
    /// refuses the record (`review.refused`, with the reason).
    async fn decide(&self, decision: Decision) -> Result<(ReviewItem, Vec<Change>), Error>;

    /// One review item.
    async fn find_review(&self, id: ReviewId) -> Result<Option<ReviewItem>, Error>;

    /// Review items, newest first.
    async fn list_reviews(&self, filter: ReviewFilter) -> Result<Vec<ReviewItem>, Error>;

    /// One component.
    async fn find_component(&self, serial: &Serial) -> Result<Option<Component>, Error>;

    /// Components by serial.
    async fn list_components(&self, filter: ComponentFilter) -> Result<Vec<Component>, Error>;

    /// Where a component sits and sat.
    async fn installations_of(&self, serial: &Serial) -> Result<Vec<Installation>, Error>;

    /// What sits and sat in a device.
    async fn installations_in(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(Installation, Component)>, Error>;
}
