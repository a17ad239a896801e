//! Who signs device certificates.

use crate::{Certificate, DeviceId, Error};

/// A certificate that was just issued.
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
/// 1. The certificate names the device as SAN URI `axle:device:<id>` and as CN, whatever subject
///    the request asks for.
/// 2. The request's own signature is checked: it proves possession of the key.
/// 3. Issuing changes no state; the caller registers the certificate.
pub trait CertificateAuthority: Send + Sync {
    /// Signs a certificate signing request (PEM) for a device.
    ///
    /// # Errors
    /// `Invalid`, when the request cannot be read, its signature is wrong or its key is not
    /// accepted (accepted are ECDSA P-256 and P-384, Ed25519, RSA of 2048 to 4096 bits).
    fn issue(&self, device: &DeviceId, request_pem: &str) -> Result<IssuedCertificate, Error>;

    /// The authority's certificate, PEM.
    fn authority_pem(&self) -> String;
}
