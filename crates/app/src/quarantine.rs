//! What was set aside: looking at it, mending it, sending it in again.

use std::sync::Arc;

use axle_domain::port::{Clock, EventLog, ReportedState};
use axle_domain::{
    DeviceId, Envelope, Error, Kind, Message, Offset, QuarantineCount, QuarantineFilter,
    QuarantineId, QuarantineItem, QuarantineState, Schemas, Source, Timestamp, limit,
};

use crate::decode::{Decoded, decode};

/// What a person mends before a replay.
#[derive(Clone, Debug, Default)]
pub struct Mend {
    /// Stands in for the payload: a JSON sample (or message, where a whole one was set aside).
    pub payload: Option<String>,
    /// Stands in for the sender's clock; its difference to the time of arrival corrects the time.
    pub sent_at: Option<Timestamp>,
}

/// The quarantine desk.
pub struct Quarantine {
    log: Arc<dyn EventLog>,
    reported: Arc<dyn ReportedState>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
}

impl Quarantine {
    pub(crate) fn new(
        log: Arc<dyn EventLog>,
        reported: Arc<dyn ReportedState>,
        clock: Arc<dyn Clock>,
        schemas: Arc<Schemas>,
    ) -> Self {
        Self { log, reported, clock, schemas }
    }

    /// Items, newest first.
    ///
    /// # Errors
    /// As the state.
    pub async fn list(
        &self,
        device: Option<&DeviceId>,
        before: Option<QuarantineId>,
        limit: usize,
    ) -> Result<Vec<QuarantineItem>, Error> {
        let device = device.cloned();
        self.search(QuarantineFilter { device, before, limit, ..QuarantineFilter::default() }).await
    }

    /// Items of what is asked, newest first.
    ///
    /// # Errors
    /// As the state.
    pub async fn search(&self, filter: QuarantineFilter) -> Result<Vec<QuarantineItem>, Error> {
        let limit = filter.limit.min(limit::PAGE_ITEMS_MAX);
        self.reported.list_quarantined(QuarantineFilter { limit, ..filter }).await
    }

    /// How many items there are of each code.
    ///
    /// # Errors
    /// As the state.
    pub async fn counts(&self) -> Result<Vec<QuarantineCount>, Error> {
        self.reported.count_quarantined().await
    }

    /// One item.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: QuarantineId) -> Result<QuarantineItem, Error> {
        self.reported.find_quarantined(id).await?.ok_or_else(|| {
            Error::not_found("quarantine.not_found", format!("quarantine item `{id}` not found"))
        })
    }

    /// Sends an item in again, mended or after its cause was mended. Returns its new place in
    /// the log, once it is durable; the item is marked when the projection has passed there.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it was replayed before, or when it would be set aside again
    /// (nothing changes then, and the message says why); `Busy`, `Unavailable`.
    pub async fn replay(&self, id: QuarantineId, mend: Mend) -> Result<Offset, Error> {
        let item = self.get(id).await?;
        if item.state == QuarantineState::Replayed {
            let message = format!("quarantine item `{id}` was replayed before");
            return Err(Error::new(Kind::Conflict, "quarantine.replayed", message));
        }
        let is_cut = item.payload.len() >= limit::QUARANTINE_PAYLOAD_BYTES_MAX;
        if is_cut && mend.payload.is_none() {
            let message = format!(
                "quarantine item `{id}` is kept in part only: send the mended payload with it"
            );
            return Err(Error::new(Kind::Conflict, "quarantine.cut", message));
        }
        let origin = id.to_string();
        let content_type = content_type(&item, &mend);
        let message = Message {
            source: Source::Replay,
            device: &item.device,
            topic: &item.topic,
            content_type,
            payload: mend.payload.as_ref().map_or(&item.payload, |payload| payload.as_bytes()),
            received_at: item.received_at,
            connected_at: item.received_at,
            sent_at: mend.sent_at.or(item.sent_at),
            replayed_at: Some(self.clock.now()),
            origin: &origin,
            envelope: Envelope::default(),
        };
        self.check(&message)?;
        let offset = self.log.append(&message)?;
        self.log.durable(offset).await?;
        Ok(offset)
    }

    /// Refuses what would be set aside again.
    fn check(&self, message: &Message<'_>) -> Result<(), Error> {
        let mut fault = None;
        decode(&self.schemas, Offset(0), message, &mut |decoded| {
            if let Decoded::SetAside(aside) = decoded {
                fault.get_or_insert(format!("{}: {}", aside.code, aside.detail));
            }
        });
        match fault {
            None => Ok(()),
            Some(fault) => {
                let message = format!("it would be set aside again: {fault}");
                Err(Error::new(Kind::Conflict, "quarantine.still_faulty", message))
            }
        }
    }
}

/// A line of NDJSON, and whatever a person wrote, is plain JSON.
fn content_type<'a>(item: &'a QuarantineItem, mend: &Mend) -> &'a str {
    if mend.payload.is_some() || item.content_type.starts_with("application/x-ndjson") {
        return "application/json";
    }
    &item.content_type
}
