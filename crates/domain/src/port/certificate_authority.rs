//! Who signs certificates of devices and applications.

use crate::{ApplicationName, Certificate, DeviceId, Error, Fingerprint, Timestamp};

/// Whom a certificate is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSubject {
    /// A device.
    Device(DeviceId),
    /// A backend application or a claim.
    Application(ApplicationName),
    /// Nobody yet: the registry binds it to a device later.
    Unbound,
}

/// A certificate that was just signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificate {
    /// Which certificate.
    pub fingerprint: Fingerprint,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub pem: String,
}

/// A device's certificate that was just issued.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// What the registry keeps.
    pub certificate: Certificate,
    /// The certificate, PEM.
    pub pem: String,
    /// The certificate of the authority, PEM.
    pub authority_pem: String,
}

/// The device certificate authority.
///
/// 1. The certificate names a device as SAN URI `axle:device:<id>` and as CN, an application as
///    SAN URI `axle:application:<name>`, whatever subject the request asks for; one without a
///    subject names nobody.
/// 2. The request's own signature is checked: it proves possession of the key.
/// 3. Issuing changes no state; the caller registers the certificate.
pub trait CertificateAuthority: Send + Sync {
    /// Signs a certificate signing request (PEM).
    ///
    /// # Errors
    /// `Invalid`, when the request cannot be read, its signature is wrong or its key is not
    /// accepted (accepted are ECDSA P-256 and P-384, Ed25519, RSA of 2048 to 4096 bits).
    fn sign(
        &self,
        subject: &CertificateSubject,
        request_pem: &str,
    ) -> Result<SignedCertificate, Error>;

    /// The authority's certificate, PEM.
    fn authority_pem(&self) -> String;

    /// Signs a request for a device.
    ///
    /// # Errors
    /// As [`CertificateAuthority::sign`].
    fn issue(&self, device: &DeviceId, request_pem: &str) -> Result<IssuedCertificate, Error> {
        let signed = self.sign(&CertificateSubject::Device(device.clone()), request_pem)?;
        let certificate = Certificate {
            fingerprint: signed.fingerprint,
            device: device.clone(),
            not_before: signed.not_before,
            not_after: signed.not_after,
            revoked_at: None,
        };
        let authority_pem = self.authority_pem();
        Ok(IssuedCertificate { certificate, pem: signed.pem, authority_pem })
    }
}
