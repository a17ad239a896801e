//! The device certificate authority: made on first start, opened ever after.
//!
//! ```text
//! <data>/ca.key      its key, PKCS#8, mode 0600      <data>/server.key   the listeners' key, 0600
//! <data>/ca.crt      its certificate                 <data>/server.crt   signed by the authority
//! ```

mod files;
mod issue;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{CertificateAuthority, CertificateSubject, Clock, SignedCertificate};
use axle_domain::{Error, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use issue::{new_application_request, new_key_and_request};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the authority's own certificate is valid.
const AUTHORITY_LIFE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Signs device certificates, and the certificate that the device listeners present.
pub struct DeviceAuthority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
    server: server::ServerCertificate,
    clock: Arc<dyn Clock>,
}

impl DeviceAuthority {
    /// Opens the authority of a data directory; makes it where there is none yet. The server
    /// certificate names `localhost`, 127.0.0.1, ::1 and `server_names` (DNS names or addresses);
    /// it is renewed when it names others or ends within 30 days.
    ///
    /// # Errors
    /// `Corrupt` for a file that cannot be read as what it should be or that does not fit its
    /// counterpart, `Unavailable` for one that cannot be read or written at all; both name it.
    pub fn open(
        data_dir: &Path,
        server_names: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let (key_path, certificate_path) = (data_dir.join("ca.key"), data_dir.join("ca.crt"));
        let (key, pem) = match (files::find(&key_path)?, files::find(&certificate_path)?) {
            (Some(key), Some(pem)) => (parse_key(&key_path, &key)?, pem),
            (None, Some(_)) => return Err(missing(&key_path, &certificate_path)),
            // A start that was cut short leaves a key without its certificate.
            (key, None) => {
                let key = match key {
                    Some(key) => parse_key(&key_path, &key)?,
                    None => new_key(&key_path)?,
                };
                let pem = self_signed(&key, clock.now())?;
                files::write(&certificate_path, pem.as_bytes(), files::Access::Everyone)?;
                (key, pem)
            }
        };
        let der = parse_certificate(&certificate_path, &pem)?;
        check_pair(&certificate_path, &der, &key)?;
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|error| files::corrupt(&certificate_path, &error.to_string()))?;
        let server = server::open(data_dir, server_names, &issuer, clock.now())?;
        Ok(Self { issuer, pem, der, server, clock })
    }

    /// The certificate that client certificates must chain to.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    /// The chain that the listeners present: the server certificate, then the authority's.
    #[must_use]
    pub fn server_chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.server.certificate.clone(), self.der.clone()]
    }

    /// What the instance's own certificates are for, and when they end.
    #[must_use]
    pub fn certificate_ends(&self) -> Vec<(String, Timestamp)> {
        let named = [
            ("device listeners", &self.server.certificate),
            ("device certificate authority", &self.der),
        ];
        let end = |(name, der): (&str, &CertificateDer<'_>)| {
            let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
            Some((name.to_owned(), issue::timestamp(parsed.validity().not_after)))
        };
        named.into_iter().filter_map(end).collect()
    }

    /// The key of the server certificate.
    #[must_use]
    pub fn server_key(&self) -> PrivateKeyDer<'static> {
        self.server.key.clone_key()
    }
}

impl CertificateAuthority for DeviceAuthority {
    fn sign(
        &self,
        subject: &CertificateSubject,
        request_pem: &str,
    ) -> Result<SignedCertificate, Error> {
        issue::sign(&self.issuer, subject, request_pem, self.clock.now())
    }

    fn authority_pem(&self) -> String {
        self.pem.clone()
    }
}

fn new_key(path: &Path) -> Result<KeyPair, Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(issue::our_mistake)?;
    files::write(path, key.serialize_pem().as_bytes(), files::Access::Owner)?;
    Ok(key)
}

fn parse_key(path: &Path, pem: &str) -> Result<KeyPair, Error> {
    KeyPair::from_pem(pem).map_err(|error| files::corrupt(path, &error.to_string()))
}

fn parse_certificate(path: &Path, pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| files::corrupt(path, &error.to_string()))
}

fn self_signed(key: &KeyPair, now: Timestamp) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "axle device authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(issue::serial()?);
    issue::set_validity(&mut params, now.shifted(-issue::HOUR), now.after(AUTHORITY_LIFE));
    Ok(params.self_signed(key).map_err(issue::our_mistake)?.pem())
}

/// A certificate that belongs to another key would let nobody in, and nobody would know why.
fn check_pair(path: &Path, certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| files::corrupt(path, &error.to_string()))?;
    if parsed.public_key().raw == key.subject_public_key_info() {
        return Ok(());
    }
    let key_path = path.with_extension("key");
    let reason = format!("it belongs to another key than {}", key_path.display());
    Err(files::corrupt(path, &reason))
}

fn missing(key: &Path, certificate: &Path) -> Error {
    let reason = format!(
        "it is missing, and {} is there: restore it from a backup, or remove both for a new \
         authority that no device knows",
        certificate.display()
    );
    files::corrupt(key, &reason)
}
