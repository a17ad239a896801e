//! The registry of devices and their certificates.

use async_trait::async_trait;

use crate::{Certificate, Device, DeviceId, Error, Fingerprint, Timestamp};

/// Which devices to list.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    /// Part of the id or the name, any case; empty for all.
    pub search: String,
    /// Only ids after this one, for the next page.
    pub after: Option<DeviceId>,
    /// At most this many.
    pub limit: usize,
}

/// What people say of devices: primary state, never computed from the log.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. A method that fails has changed nothing.
/// 3. Lists are ordered by id.
#[async_trait]
pub trait DeviceRegistry: Send + Sync {
    /// Registers a device.
    ///
    /// # Errors
    /// `Conflict` when the id is taken.
    async fn create_device(&self, device: Device) -> Result<(), Error>;

    /// Replaces the entry of a device whose version is `device.version - 1`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the version is another.
    async fn update_device(&self, device: Device) -> Result<(), Error>;

    /// The device of that id.
    async fn find_device(&self, id: &DeviceId) -> Result<Option<Device>, Error>;

    /// Devices by id.
    async fn list_devices(&self, filter: DeviceFilter) -> Result<Vec<Device>, Error>;

    /// Binds a certificate to its device; again with the same fingerprint changes nothing.
    ///
    /// # Errors
    /// `NotFound` when the device is not registered; `Conflict` when another device has it.
    async fn add_certificate(&self, certificate: Certificate) -> Result<(), Error>;

    /// Marks one certificate of a device, or all of them, as revoked from a moment on, which may
    /// be ahead; returns how many it marked. One that is revoked earlier already stays so.
    async fn revoke_certificates(
        &self,
        device: &DeviceId,
        only: Option<Fingerprint>,
        at: Timestamp,
    ) -> Result<usize, Error>;

    /// The certificates of one device, or of all.
    async fn list_certificates(&self, of: Option<&DeviceId>) -> Result<Vec<Certificate>, Error>;
}
