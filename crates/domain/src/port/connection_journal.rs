//! Where connection events are kept.

use std::net::IpAddr;

use async_trait::async_trait;

use crate::{ConnectionEvent, DeviceId, Error, Fingerprint};

/// Which connection events to list; all that are given must fit.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Only of this device.
    pub device: Option<DeviceId>,
    /// Only with this certificate.
    pub fingerprint: Option<Fingerprint>,
    /// Only from this address.
    pub address: Option<IpAddr>,
    /// At most this many.
    pub limit: usize,
}

/// The last connection events of each device and each address.
///
/// 1. *Never in the way.* `record` waits for nothing and fails never: a connection does not become
///    slower or end because its event cannot be kept.
/// 2. *Repeats gather.* An event for which [`ConnectionEvent::gather`] says yes adds to the newest
///    one of its cause instead of becoming another.
/// 3. *Bounded.* At most [`crate::limit::CONNECTION_EVENTS_PER_KEY_MAX`] events are kept of a
///    device that was proved, at most [`crate::limit::CONNECTION_EVENTS_PROVED_MAX`] of all such;
///    as many of an address with the others, at most
///    [`crate::limit::CONNECTION_EVENTS_UNPROVED_MAX`] of all others; and at most
///    [`crate::limit::CONNECTION_EVENTS_IN_MEMORY_MAX`] that no flush has reached. Beyond, the
///    oldest go and are counted: strangers cannot push out what a device's owner looks for.
/// 4. *At once.* `list_connections` sees every event that was recorded before.
/// 5. *Newest first*, by the time at which an event happened last.
/// 6. *Durable by `flush`*: what was recorded before is kept when it returns. A crash loses what
///    came after the last one.
#[async_trait]
pub trait ConnectionJournal: Send + Sync {
    /// Takes an event.
    fn record(&self, event: ConnectionEvent);

    /// Events, newest first.
    async fn list_connections(
        &self,
        filter: ConnectionFilter,
    ) -> Result<Vec<ConnectionEvent>, Error>;

    /// Makes what was recorded durable.
    async fn flush_connections(&self) -> Result<(), Error>;

    /// Events that were dropped because of the bounds, since the journal was opened.
    fn dropped_connections(&self) -> u64;
}
