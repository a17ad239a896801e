//! Registering devices and obtaining their certificates through the API.

use std::sync::Arc;

use axle_domain::{DeviceId, Error};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::Doors;
use crate::api::{Api, Call};

/// A device with its key and certificate.
#[derive(Clone)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The certificate chain, DER; empty without a certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key, PKCS#8 DER; empty without a certificate.
    pub key: Arc<Vec<u8>>,
}

/// A number of devices to be registered.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// What they are (`bike`, `car`, `meter`).
    pub kind: String,
    /// Requests under way at one time; at least 1, at most 16 have an effect.
    pub concurrency: usize,
    /// Whether certificates are wanted; without TLS the registration is enough.
    pub with_certificates: bool,
}

impl Enrollment {
    /// Registers the devices and returns them in their order. `progress` hears the number done.
    /// A device that is registered already is taken as it is.
    ///
    /// # Errors
    /// The first error of the API.
    pub async fn run(
        &self,
        doors: &Doors,
        progress: &(dyn Fn(usize) + Send + Sync),
    ) -> Result<Vec<Identity>, Error> {
        let api = Api::new(&doors.http, &doors.token);
        let enrolled = self.devices.iter().map(|device| self.enroll(&api, device));
        let mut done = stream::iter(enrolled).buffered(self.concurrency.max(1));
        let mut identities = Vec::with_capacity(self.devices.len());
        while let Some(identity) = done.try_next().await? {
            identities.push(identity);
            progress(identities.len());
        }
        Ok(identities)
    }

    async fn enroll(&self, api: &Api, device: &DeviceId) -> Result<Identity, Error> {
        let registered = Registered { device, kind: &self.kind, name: "" };
        enroll(api, &registered, self.with_certificates).await
    }
}

/// A device as the registry is told of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered<'a> {
    /// Its id.
    pub(crate) device: &'a DeviceId,
    /// What it is.
    pub(crate) kind: &'a str,
    /// What people call it.
    pub(crate) name: &'a str,
}

/// Registers a device and obtains a certificate.
pub(crate) async fn enroll(
    api: &Api,
    Registered { device, kind, name }: &Registered<'_>,
    with_certificate: bool,
) -> Result<Identity, Error> {
    let path = format!("/api/v1/devices/{device}");
    let body = json!({ "kind": kind, "name": name });
    let answer = api.call(&Call::json(Method::PUT, &path, &body)).await?;
    if !answer.is_success() && !matches!(answer.status, 409 | 412 | 428) {
        return Err(answer.refusal());
    }
    let device = (*device).clone();
    if !with_certificate {
        return Ok(Identity { device, chain: vec![], key: Arc::default() });
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(our_mistake)?;
    let mut request = CertificateParams::default();
    request.distinguished_name = DistinguishedName::new();
    let request = request.serialize_request(&key).and_then(|request| request.pem());
    let body = json!({ "csr": request.map_err(our_mistake)? });
    let path = format!("/api/v1/devices/{device}/certificates");
    let answer = api.call(&Call::json(Method::POST, &path, &body)).await?.into_json()?;
    let pem = answer.get("certificate").and_then(Value::as_str).unwrap_or_default();
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| {
        Error::internal("api.answer_invalid", format!("the certificate of `{device}`: {error}"))
    })?;
    Ok(Identity { device, chain, key: Arc::new(key.serialize_der()) })
}

fn our_mistake(error: rcgen::Error) -> Error {
    Error::internal("enroll.failed", "the signing request could not be made").with_source(error)
}
