//! Registering devices, binding certificates to them, and withdrawing both.

use std::sync::Arc;

use axle_domain::port::{
    CertificateAuthority, Clock, DeviceFilter, DeviceLink, DeviceRegistry, IssuedCertificate,
    Visibility,
};
use axle_domain::{
    Certificate, Device, DeviceId, DeviceStatus, Error, Fingerprint, Kind, Timestamp, limit,
};
use tracing::info;

use crate::fleet_map::FleetMap;
use crate::principal::device_not_found;
use crate::registry::Registry;

/// What one says to register a device.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceId,
    /// What people call it; may be empty.
    pub name: String,
    /// What it is; may be empty.
    pub kind: String,
}

/// What one may change of a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceChange {
    /// A new name.
    pub name: Option<String>,
    /// A new kind.
    pub kind: Option<String>,
    /// A new model.
    pub model: Option<String>,
    /// Only if the entry has this version still.
    pub if_version: Option<u64>,
}

/// The registry's desk.
pub struct Devices {
    store: Arc<dyn DeviceRegistry>,
    registry: Arc<Registry>,
    fleet_map: Arc<FleetMap>,
    authority: Arc<dyn CertificateAuthority>,
    link: Arc<dyn DeviceLink>,
    clock: Arc<dyn Clock>,
}

impl Devices {
    pub(crate) fn new(
        store: Arc<dyn DeviceRegistry>,
        (registry, fleet_map): (Arc<Registry>, Arc<FleetMap>),
        authority: Arc<dyn CertificateAuthority>,
        link: Arc<dyn DeviceLink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, registry, fleet_map, authority, link, clock }
    }

    /// Registers a device.
    ///
    /// # Errors
    /// `Conflict` when the id is taken.
    pub async fn register(&self, new: NewDevice) -> Result<Device, Error> {
        self.register_model(new, String::new()).await
    }

    /// Registers a device of a model.
    ///
    /// # Errors
    /// `Conflict` when the id is taken.
    pub async fn register_model(&self, new: NewDevice, model: String) -> Result<Device, Error> {
        check_text("name", &new.name)?;
        check_text("kind", &new.kind)?;
        check_text("model", &model)?;
        if self.registry.find_application(new.id.as_str()).is_some() {
            let message = format!("`{}` is the name of an application: choose another id", new.id);
            return Err(Error::new(Kind::Conflict, "device.id_of_application", message));
        }
        let now = self.clock.now();
        let device = Device {
            id: new.id,
            status: DeviceStatus::Active,
            name: new.name,
            kind: new.kind,
            model,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        self.store.create_device(device.clone()).await?;
        self.registry.put_device(&device);
        self.fleet_map.put_device(&device);
        Ok(device)
    }

    /// The device of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &DeviceId) -> Result<Device, Error> {
        self.store.find_device(id).await?.ok_or_else(|| device_not_found(id))
    }

    /// Devices by id.
    ///
    /// # Errors
    /// As the registry's store.
    pub async fn list(&self, filter: DeviceFilter) -> Result<Vec<Device>, Error> {
        self.store.list_devices(filter).await
    }

    /// Devices by id, of those that someone may see.
    ///
    /// # Errors
    /// As the registry's store.
    pub async fn list_visible(
        &self,
        visibility: &Visibility,
        filter: DeviceFilter,
    ) -> Result<Vec<Device>, Error> {
        let Visibility::Devices(ids) = visibility else { return self.list(filter).await };
        let search = filter.search.to_lowercase();
        let mut ids: Vec<_> =
            ids.iter().filter(|id| filter.after.as_ref().is_none_or(|after| *id > after)).collect();
        ids.sort();
        ids.dedup();
        let mut devices = Vec::new();
        for id in ids {
            if devices.len() >= filter.limit {
                break;
            }
            let Some(device) = self.store.find_device(id).await? else { continue };
            let texts = [device.id.as_str(), &device.name];
            if texts.iter().any(|text| text.to_lowercase().contains(&search)) {
                devices.push(device);
            }
        }
        Ok(devices)
    }

    /// Changes what people say of a device.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the version is another.
    pub async fn update(&self, id: &DeviceId, change: DeviceChange) -> Result<Device, Error> {
        let mut device = self.get(id).await?;
        if change.if_version.is_some_and(|version| version != device.version) {
            return Err(Error::new(
                Kind::Conflict,
                "device.version_conflict",
                format!("device `{id}` has version {}: read it again", device.version),
            ));
        }
        if let Some(name) = change.name {
            check_text("name", &name)?;
            device.name = name;
        }
        if let Some(kind) = change.kind {
            check_text("kind", &kind)?;
            device.kind = kind;
        }
        if let Some(model) = change.model {
            check_text("model", &model)?;
            device.model = model;
        }
        self.put(device).await
    }

    async fn put(&self, mut device: Device) -> Result<Device, Error> {
        device.version += 1;
        device.updated_at = self.clock.now();
        self.store.update_device(device.clone()).await?;
        self.registry.put_device(&device);
        self.fleet_map.put_device(&device);
        Ok(device)
    }

    /// Signs a certificate for a registered, active device and binds it.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for a revoked device; `Invalid` when the request is not acceptable.
    pub async fn issue_certificate(
        &self,
        id: &DeviceId,
        request_pem: &str,
    ) -> Result<IssuedCertificate, Error> {
        self.get(id).await?;
        self.registry.check(id)?;
        let issued = self.authority.issue(id, request_pem)?;
        self.store.add_certificate(issued.certificate.clone()).await?;
        self.registry.put_certificate(&issued.certificate);
        Ok(issued)
    }

    /// Binds a certificate that another authority has signed to a registered, active device,
    /// whatever it names.
    ///
    /// # Errors
    /// `NotFound`; `Denied` for a revoked device; `Invalid` when the certificate cannot be read;
    /// `Conflict` when another device has it.
    pub async fn bind_certificate(
        &self,
        id: &DeviceId,
        pem: &str,
    ) -> Result<IssuedCertificate, Error> {
        self.get(id).await?;
        self.registry.check(id)?;
        let read = self.authority.read_certificate(pem)?;
        let certificate = Certificate {
            fingerprint: read.fingerprint,
            device: id.clone(),
            not_before: read.not_before,
            not_after: read.not_after,
            revoked_at: None,
        };
        self.store.add_certificate(certificate.clone()).await?;
        // One that is bound and revoked already stays so.
        let bound = self.store.list_certificates(Some(id)).await?;
        let bound = bound.into_iter().find(|it| it.fingerprint == read.fingerprint);
        let certificate = bound.unwrap_or(certificate);
        self.registry.put_certificate(&certificate);
        let authority_pem = self.authority.authority_pem();
        Ok(IssuedCertificate { certificate, pem: read.pem, authority_pem })
    }

    /// Binds a certificate that an authority of somebody else has signed and that was proved in a
    /// handshake; registers its device, if that is new and there is a kind for it.
    ///
    /// # Errors
    /// `Denied` for a device that is unknown and not to be registered, or revoked; `Conflict`
    /// when the id is an application's.
    pub async fn introduce(
        &self,
        certificate: Certificate,
        kind: Option<&str>,
    ) -> Result<(), Error> {
        let id = &certificate.device;
        if let (false, Some(kind)) = (self.registry.knows(id.as_str()), kind) {
            let new = NewDevice { id: id.clone(), name: String::new(), kind: kind.to_owned() };
            match self.register(new).await {
                Ok(device) => info!(device.id = %device.id, "registered at its first connection"),
                // Two connections of it came at once.
                Err(_taken) if self.registry.knows(id.as_str()) => {}
                Err(error) => return Err(error),
            }
        }
        self.registry.check(id)?;
        // Who has a new one every day is let in without an entry for each.
        let bound = self.store.list_certificates(Some(id)).await?;
        if bound.len() < limit::CERTIFICATES_PER_DEVICE_BOUND_MAX {
            self.store.add_certificate(certificate.clone()).await?;
            self.registry.put_certificate(&certificate);
        }
        Ok(())
    }

    /// The certificates of a device.
    ///
    /// # Errors
    /// As the registry's store.
    pub async fn certificates(&self, id: &DeviceId) -> Result<Vec<Certificate>, Error> {
        self.store.list_certificates(Some(id)).await
    }

    /// Revokes one certificate of a device, from a moment on that may be ahead: until then an old
    /// one and a new one overlap. Connections that came with it end then.
    ///
    /// # Errors
    /// `NotFound` for a device or a certificate of it that is not known.
    pub async fn revoke_certificate(
        &self,
        id: &DeviceId,
        fingerprint: Fingerprint,
        from: Option<Timestamp>,
    ) -> Result<Certificate, Error> {
        self.get(id).await?;
        let now = self.clock.now();
        let from = from.map_or(now, |from| from.max(now));
        self.store.revoke_certificates(id, Some(fingerprint), from).await?;
        let certificates = self.store.list_certificates(Some(id)).await?;
        let found = certificates.into_iter().find(|it| it.fingerprint == fingerprint);
        let certificate = found.ok_or_else(|| {
            let message = format!("device `{id}` has no certificate {fingerprint}");
            Error::not_found("certificate.not_found", message)
        })?;
        self.registry.put_certificate(&certificate);
        self.end_certificates();
        Ok(certificate)
    }

    /// Ends the connections whose certificate is revoked from now on. Called every second.
    pub fn end_certificates(&self) {
        for fingerprint in self.registry.take_ended(self.clock.now()) {
            self.link.disconnect_certificate(&fingerprint);
        }
    }

    /// Withdraws a device's right to connect and closes its connections. Its data stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke(&self, id: &DeviceId) -> Result<Device, Error> {
        self.withdraw(id, DeviceStatus::Revoked).await
    }

    /// Takes a device out of service for good: as [`Devices::revoke`]. What is under way for it
    /// the caller ends.
    pub(crate) async fn retire(&self, id: &DeviceId) -> Result<Device, Error> {
        self.withdraw(id, DeviceStatus::Retired).await
    }

    async fn withdraw(&self, id: &DeviceId, status: DeviceStatus) -> Result<Device, Error> {
        let mut device = self.get(id).await?;
        // Who is retired stays so.
        if device.status != status && device.status != DeviceStatus::Retired {
            device.status = status;
            device = self.put(device).await?;
        }
        self.store.revoke_certificates(id, None, self.clock.now()).await?;
        for certificate in self.store.list_certificates(Some(id)).await? {
            self.registry.put_certificate(&certificate);
        }
        self.link.disconnect(id).await;
        Ok(device)
    }

    /// The certificate of the device authority, PEM.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.authority.authority_pem()
    }
}

pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Error> {
    const TEXT_BYTES_MAX: usize = 256;
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("`{field}` is too long: at most {TEXT_BYTES_MAX} bytes");
        let (limit, actual) = (TEXT_BYTES_MAX as u64, text.len() as u64);
        return Err(Error::invalid("device.text_too_long", message).with_limit(limit, actual));
    }
    if text.chars().any(char::is_control) {
        let message = format!("`{field}` holds a control character");
        return Err(Error::invalid("device.text_invalid", message));
    }
    Ok(())
}
