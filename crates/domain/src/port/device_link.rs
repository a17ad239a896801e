//! The way down to a device.

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;

use crate::{ApplicationName, DeviceId, Fingerprint, Timestamp};

/// A message on its way to a device.
pub struct Receipt {
    /// What the subscription granted: `true` if the device will acknowledge (QoS 1).
    pub is_acknowledged: bool,
    /// How we know that it was written, in words.
    pub evidence: String,
    /// Resolves to the device's acknowledgement, or to an error when the connection ends first.
    /// Never resolves where `is_acknowledged` is false.
    pub delivered: Pin<Box<dyn Future<Output = Result<Acknowledgement, SendError>> + Send>>,
}

/// A device's word that it has a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// When it came.
    pub time: Timestamp,
    /// How we know, in words (`PUBACK of packet 7`).
    pub evidence: String,
}

/// Why a device was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Not connected, or not subscribed to the topic.
    Away,
    /// Its queue is full.
    Busy,
    /// The connection ended before the acknowledgement.
    Lost,
}

/// Reaches the live connections of devices.
///
/// 1. A message goes to a live subscription that matches its topic, or nowhere; it never waits.
/// 2. Messages to one device arrive in the order of `send`.
/// 3. `disconnect` closes the device's connections before it returns; nothing is delivered after.
#[async_trait]
pub trait DeviceLink: Send + Sync {
    /// Writes a message at QoS 1 (or what the subscription grants).
    ///
    /// # Errors
    /// A [`SendError`]; nothing was written then.
    async fn send(
        &self,
        device: &DeviceId,
        topic: String,
        payload: Vec<u8>,
    ) -> Result<Receipt, SendError>;

    /// Whether the device has a live connection, and since when.
    fn online_since(&self, device: &DeviceId) -> Option<Timestamp>;

    /// Every device that has a live connection, in no order, each once at least.
    fn online(&self) -> Vec<DeviceId>;

    /// Ends all connections of a device: its right to connect was withdrawn.
    async fn disconnect(&self, device: &DeviceId);

    /// Ends all connections that came with a certificate: it is revoked.
    fn disconnect_certificate(&self, fingerprint: &Fingerprint);

    /// Ends all connections of a backend application: it was withdrawn.
    fn disconnect_application(&self, name: &ApplicationName);

    /// How many connections are open.
    fn connection_count(&self) -> usize;
}
