//! The registry in memory: who may connect. Asked after every handshake and at every delivery, so
//! it never waits for a disk or a database.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use axle_domain::{
    Application, ApplicationName, Certificate, Device, DeviceId, DeviceStatus, Error, Fingerprint,
    Kind, Timestamp, TokenHash,
};

use crate::token::hash;

/// What a TLS handshake has proved about a client.
#[derive(Clone, Debug)]
pub struct PresentedCertificate {
    /// Which certificate; the client holds its key.
    pub fingerprint: Fingerprint,
    /// The device that it names: SAN URI `axle:device:<id>`, else CN; `None` if it names nothing.
    pub names: Option<String>,
}

#[derive(Default)]
struct Entries {
    devices: HashMap<DeviceId, DeviceStatus>,
    /// Bound device and from when on the certificate is revoked.
    certificates: HashMap<Fingerprint, (DeviceId, Option<Timestamp>)>,
    /// Certificates that are revoked from a moment on that may be ahead.
    ending: BTreeSet<(Timestamp, Fingerprint)>,
    applications: BTreeMap<ApplicationName, Arc<Application>>,
    /// Those among them that have a token.
    tokens: HashMap<TokenHash, Arc<Application>>,
}

/// Devices and certificates as the gateway sees them.
#[derive(Default)]
pub struct Registry {
    entries: RwLock<Entries>,
}

impl Registry {
    /// Fills the registry from the state.
    #[must_use]
    pub fn load(devices: &[Device], certificates: &[Certificate]) -> Self {
        let registry = Self::default();
        devices.iter().for_each(|device| registry.put_device(device));
        certificates.iter().for_each(|certificate| registry.put_certificate(certificate));
        registry
    }

    /// Takes over an entry.
    pub fn put_device(&self, device: &Device) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.devices.insert(device.id.clone(), device.status);
    }

    /// Takes over a certificate.
    pub fn put_certificate(&self, certificate: &Certificate) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let entry = (certificate.device.clone(), certificate.revoked_at);
        entries.certificates.insert(certificate.fingerprint, entry);
        if let Some(at) = certificate.revoked_at {
            entries.ending.insert((at, certificate.fingerprint));
        }
    }

    /// Whom a certificate speaks for. The binding of a fingerprint goes before the name that the
    /// certificate carries.
    ///
    /// # Errors
    /// `Denied`, with the reason in words: certificate revoked, unknown or revoked device, no name.
    pub fn authenticate(
        &self,
        presented: &PresentedCertificate,
        now: Timestamp,
    ) -> Result<DeviceId, Error> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let device = match entries.certificates.get(&presented.fingerprint) {
            Some((_, Some(revoked_at))) if *revoked_at <= now => {
                let message = format!("certificate {} is revoked", presented.fingerprint);
                return Err(Error::new(Kind::Denied, "certificate.revoked", message));
            }
            Some((device, _)) => device.clone(),
            None => named(presented)?,
        };
        check_active(&entries, &device)?;
        Ok(device)
    }

    /// The application that a token belongs to.
    ///
    /// # Errors
    /// `Denied`, when there is none.
    pub fn authenticate_token(&self, secret: &[u8]) -> Result<Arc<Application>, Error> {
        let found = std::str::from_utf8(secret).ok().and_then(|secret| {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            entries.tokens.get(&hash(secret)).cloned()
        });
        found.ok_or_else(|| {
            let message = "the password is no token of an application";
            Error::new(Kind::Denied, "application.token_unknown", message)
        })
    }

    /// The application that a certificate names and that has this certificate.
    ///
    /// # Errors
    /// `Denied`: the application is unknown, or has no such certificate any more.
    pub fn authenticate_application(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
    ) -> Result<Arc<Application>, Error> {
        match self.find_application(name) {
            Some(application) if application.certificates.contains(fingerprint) => Ok(application),
            Some(_) => {
                let message = format!("certificate {fingerprint} is none of application `{name}`");
                Err(Error::new(Kind::Denied, "certificate.revoked", message))
            }
            None => {
                let message = format!("application `{}` is not known", name.escape_debug());
                Err(Error::new(Kind::Denied, "application.unknown", message))
            }
        }
    }

    /// The application of that name.
    #[must_use]
    pub fn find_application(&self, name: &str) -> Option<Arc<Application>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.applications.get(name).cloned()
    }

    /// All applications, by name.
    #[must_use]
    pub fn applications(&self) -> Vec<Arc<Application>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.applications.values().cloned().collect()
    }

    /// Whether any client may come with a token instead of a certificate.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.entries.read().unwrap_or_else(PoisonError::into_inner).tokens.is_empty()
    }

    /// Takes over an application.
    pub fn put_application(&self, application: &Arc<Application>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let name = application.name.clone();
        let old = entries.applications.insert(name, Arc::clone(application));
        if let Some(token) = old.and_then(|old| old.token) {
            entries.tokens.remove(&token);
        }
        if let Some(token) = application.token {
            entries.tokens.insert(token, Arc::clone(application));
        }
    }

    /// Forgets an application.
    pub fn remove_application(&self, name: &ApplicationName) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let old = entries.applications.remove(name);
        if let Some(token) = old.and_then(|old| old.token) {
            entries.tokens.remove(&token);
        }
    }

    /// Whether a device may connect or be delivered to now.
    ///
    /// # Errors
    /// `Denied`: the device is unknown or revoked.
    pub fn check(&self, device: &DeviceId) -> Result<(), Error> {
        check_active(&self.entries.read().unwrap_or_else(PoisonError::into_inner), device)
    }

    /// The certificates whose end has come since this was asked last.
    #[must_use]
    pub fn take_ended(&self, now: Timestamp) -> Vec<Fingerprint> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let mut ended = Vec::new();
        while let Some((at, fingerprint)) = entries.ending.first().copied()
            && at <= now
        {
            entries.ending.pop_first();
            ended.push(fingerprint);
        }
        ended
    }

    /// The device that a certificate is bound to, revoked or not.
    #[must_use]
    pub fn bound(&self, fingerprint: &Fingerprint) -> Option<DeviceId> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.certificates.get(fingerprint).map(|(device, _)| device.clone())
    }

    /// Whether a device is registered, whatever its status.
    #[must_use]
    pub fn knows(&self, device: &str) -> bool {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.devices.contains_key(device)
    }

    /// How many devices are registered.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).devices.len()
    }
}

fn named(presented: &PresentedCertificate) -> Result<DeviceId, Error> {
    let Some(name) = &presented.names else {
        return Err(Error::new(
            Kind::Denied,
            "certificate.names_nobody",
            "the certificate names no device: it needs a SAN URI axle:device:<id> or a CN",
        ));
    };
    DeviceId::parse(name).map_err(|error| Error::new(Kind::Denied, error.code, error.message))
}

fn check_active(entries: &Entries, device: &DeviceId) -> Result<(), Error> {
    match entries.devices.get(device) {
        Some(DeviceStatus::Active) => Ok(()),
        Some(DeviceStatus::Retired) => {
            Err(Error::new(Kind::Denied, "device.retired", format!("device `{device}` is retired")))
        }
        Some(DeviceStatus::Revoked) => {
            Err(Error::new(Kind::Denied, "device.revoked", format!("device `{device}` is revoked")))
        }
        None => Err(Error::new(
            Kind::Denied,
            "device.unknown",
            format!("device `{device}` is not registered: run `axle device add {device}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, status: DeviceStatus) -> Device {
        Device {
            id: DeviceId::parse(id).unwrap(),
            status,
            name: String::new(),
            kind: String::new(),
            model: String::new(),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            version: 1,
        }
    }

    fn certificate(byte: u8, id: &str, is_revoked: bool) -> Certificate {
        Certificate {
            fingerprint: Fingerprint([byte; 32]),
            device: DeviceId::parse(id).unwrap(),
            not_before: Timestamp(0),
            not_after: Timestamp(1),
            revoked_at: is_revoked.then_some(Timestamp(5)),
        }
    }

    #[test]
    fn only_active_devices_with_a_valid_certificate_are_let_in() {
        let registry = Registry::load(
            &[device("b-1", DeviceStatus::Active), device("b-2", DeviceStatus::Revoked)],
            &[certificate(1, "b-1", false), certificate(2, "b-1", true)],
        );
        for (byte, names, expected) in [
            (1, None, Ok("b-1")),
            (1, Some("b-2"), Ok("b-1")),
            (2, Some("b-1"), Err("certificate.revoked")),
            (3, Some("b-1"), Ok("b-1")),
            (3, Some("b-2"), Err("device.revoked")),
            (3, Some("b-3"), Err("device.unknown")),
            (3, Some("b 3"), Err("device.id_invalid")),
            (3, None, Err("certificate.names_nobody")),
        ] {
            let presented = PresentedCertificate {
                fingerprint: Fingerprint([byte; 32]),
                names: names.map(str::to_owned),
            };
            let seen = registry.authenticate(&presented, Timestamp(5));
            let seen = seen.as_ref().map(DeviceId::as_str).map_err(|error| error.code);
            assert_eq!(seen, expected, "{byte} {names:?}");
        }
    }

    #[test]
    fn an_old_certificate_overlaps_a_new_one_until_its_end() {
        let registry = Registry::load(
            &[device("b-1", DeviceStatus::Active)],
            &[certificate(1, "b-1", true), certificate(2, "b-1", false)],
        );
        let seen = |byte, now| {
            let presented =
                PresentedCertificate { fingerprint: Fingerprint([byte; 32]), names: None };
            registry.authenticate(&presented, Timestamp(now)).map_err(|error| error.code).err()
        };
        assert_eq!((seen(1, 4), seen(2, 4)), (None, None), "both are good");
        assert_eq!(registry.take_ended(Timestamp(4)), []);
        assert_eq!((seen(1, 5), seen(2, 5)), (Some("certificate.revoked"), None));
        assert_eq!(registry.take_ended(Timestamp(5)), [Fingerprint([1; 32])]);
        assert_eq!(registry.take_ended(Timestamp(6)), [], "each is told of once");
    }

    #[test]
    fn a_retired_device_is_not_let_in() {
        let registry = Registry::load(&[device("b-1", DeviceStatus::Retired)], &[]);
        let device = DeviceId::parse("b-1").unwrap();
        assert_eq!(registry.check(&device).unwrap_err().code, "device.retired");
    }
}
