//! Registering devices and obtaining their certificates through the API.

use axle_domain::{DeviceId, Error};

use crate::Doors;

/// A device with its key and certificate.
#[derive(Clone)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The certificate chain, DER.
    pub chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    /// The private key, PKCS#8 DER.
    pub key: std::sync::Arc<Vec<u8>>,
}

/// A number of devices to be registered.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// What they are (`bike`, `car`, `meter`).
    pub kind: String,
    /// Requests under way at one time.
    pub concurrency: usize,
    /// Whether certificates are wanted; without TLS the registration is enough.
    pub with_certificates: bool,
}

impl Enrollment {
    /// Registers the devices and returns them in their order. `progress` hears the number done.
    ///
    /// # Errors
    /// The first error of the API.
    pub async fn run(
        &self,
        doors: &Doors,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Identity>, Error> {
        let _ = (doors, progress);
        std::future::ready(Err(Error::unavailable("x", "x"))).await
    }
}
