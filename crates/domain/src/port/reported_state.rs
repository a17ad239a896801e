//! What is computed from the log and kept in the state: latest values, answers, receipts,
//! quarantine, counts.

use async_trait::async_trait;

use crate::{
    DeviceId, Error, FieldKey, LatestValue, Offset, QuarantineCount, QuarantineFilter,
    QuarantineId, QuarantineItem, Reply, Timestamp, UploadId,
};

/// The law of the door in rows: `received = stored + quarantined + rejected + shed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows that became rows of a stream.
    pub stored: u64,
    /// Samples and messages that were set aside.
    pub quarantined: u64,
    /// Messages that were refused at the door.
    pub rejected: u64,
    /// Messages that were turned away for lack of room.
    pub shed: u64,
}

impl Counters {
    /// All that came to the door.
    #[must_use]
    pub fn received(self) -> u64 {
        self.stored + self.quarantined + self.rejected + self.shed
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.quarantined += other.quarantined;
        self.rejected += other.rejected;
        self.shed += other.shed;
    }

    /// Raises each count to that of `other` where it is less.
    pub fn raise_to(&mut self, other: Self) {
        self.stored = self.stored.max(other.stored);
        self.quarantined = self.quarantined.max(other.quarantined);
        self.rejected = self.rejected.max(other.rejected);
        self.shed = self.shed.max(other.shed);
    }
}

/// The answer that an upload got, to be given again when it is repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadReceipt {
    /// Who uploaded: the token's id.
    pub token: String,
    /// Its idempotency key, or the hash of the body where it gave none.
    pub key: String,
    /// SHA-256 of the decoded body and its parameters, hexadecimal.
    pub body_hash: String,
    /// The upload.
    pub upload: UploadId,
    /// The answer's body, JSON.
    pub answer: String,
    /// When the upload came.
    pub received_at: Timestamp,
}

/// A device that was not heard of for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentDevice {
    /// Which.
    pub device: DeviceId,
    /// When its last message came; `None` if none ever did.
    pub last_seen: Option<Timestamp>,
}

/// What a stretch of the log means for the state.
#[derive(Clone, Debug, Default)]
pub struct Projected {
    /// One past the last record of the stretch.
    pub through: Offset,
    /// The latest value of each field that the stretch touches, one entry a field.
    pub latest: Vec<LatestValue>,
    /// The last message of each device that the stretch touches.
    pub last_seen: Vec<(DeviceId, Timestamp)>,
    /// What was set aside.
    pub quarantined: Vec<QuarantineItem>,
    /// Quarantine items that a replay in this stretch has settled.
    pub replayed: Vec<QuarantineId>,
    /// Receipts of uploads.
    pub receipts: Vec<UploadReceipt>,
    /// Answers to commands.
    pub replies: Vec<Reply>,
    /// What to add to the counts.
    pub counted: Counters,
}

/// The state's projection of the log.
///
/// 1. *One transaction.* `commit` makes all of a stretch and its position durable, or nothing.
/// 2. *Forward only.* A stretch whose `through` is not beyond the position changes nothing.
/// 3. *Latest.* A value replaces a stored one only if [`LatestValue::is_replaced_by`] says so.
/// 4. *Answers.* A reply goes through [`crate::Command::answer`]; one for an unknown command
///    changes nothing.
/// 5. *Quarantine.* An item of a known id changes nothing.
/// 6. *Whole devices.* Pages of `latest_of` follow each other without a gap: each device comes
///    once, with all its values of the fields together.
/// 7. *Damage.* Once `damage` says what of the state is damaged it goes on saying so.
#[async_trait]
pub trait ReportedState: Send + Sync {
    /// One past the last record that the state knows.
    async fn position(&self) -> Result<Offset, Error>;

    /// Applies a stretch of the log.
    async fn commit(&self, projected: Projected) -> Result<(), Error>;

    /// The latest values of a device by field, and when it was last heard of.
    async fn latest(
        &self,
        device: &DeviceId,
    ) -> Result<(Vec<LatestValue>, Option<Timestamp>), Error>;

    /// The latest values of some fields, device by device in an order of the state's own: of at
    /// most so many devices after a given one. Returns the last device that was looked at, to go
    /// on behind it, or `None` at the end. Devices without such values are passed over.
    async fn latest_of(
        &self,
        fields: &[FieldKey],
        after: Option<&DeviceId>,
        devices_max: usize,
    ) -> Result<(Vec<LatestValue>, Option<DeviceId>), Error>;

    /// Quarantined items, newest first.
    async fn list_quarantined(
        &self,
        filter: QuarantineFilter,
    ) -> Result<Vec<QuarantineItem>, Error>;

    /// How many items there are of each code, by code.
    async fn count_quarantined(&self) -> Result<Vec<QuarantineCount>, Error>;

    /// Active devices of the registry that were not heard of since a moment, those that were heard
    /// of last first, then those that never were, at most `limit`; and how many there are in all.
    async fn list_silent(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<(Vec<SilentDevice>, u64), Error>;

    /// One quarantined item.
    async fn find_quarantined(&self, id: QuarantineId) -> Result<Option<QuarantineItem>, Error>;

    /// The receipt of an upload by token and key.
    async fn find_receipt(&self, token: &str, key: &str) -> Result<Option<UploadReceipt>, Error>;

    /// The counts since the beginning.
    async fn counters(&self) -> Result<Counters, Error>;

    /// What is known to be damaged, in words for the operator; `None` while nothing is, and
    /// where nobody looks.
    fn damage(&self) -> Option<String> {
        None
    }
}
