//! The device certificate authority: made on first start, opened ever after.
//!
//! ```text
//! <data>/ca.key      its key, PKCS#8, mode 0600      <data>/server.key   the listeners' key, 0600
//! <data>/ca.crt      its certificate                 <data>/server.crt   signed by the authority
//! ```
//!
//! Whom the listeners believe beside it stands in `trust`; how it gives way to the next one in
//! `replace`.

mod files;
mod issue;
mod replace;
mod revoked;
mod server;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axle_domain::port::{
    CertificateAuthority, CertificateSubject, Clock, IdentityStanding, SignedCertificate,
};
use axle_domain::{Error, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;

pub use issue::{new_application_request, new_key_and_request};
pub use replace::{finish as finish_replacement, replace as replace_authority};
pub(crate) use revoked::Revoked;
pub(crate) use trust::{Anchor, Mandate, Material, Stamp};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long the authority's own certificate is valid.
const AUTHORITY_LIFE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// Signs device certificates, and the certificate that the device listeners present.
pub struct DeviceAuthority {
    data_dir: PathBuf,
    server_names: Vec<String>,
    signer: RwLock<Arc<Signer>>,
    standing: Mutex<IdentityStanding>,
    clock: Arc<dyn Clock>,
}

/// The authority's key and certificate.
struct Signer {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// The certificate of the one before, while that is believed; else empty.
    previous: String,
    der: CertificateDer<'static>,
}

impl DeviceAuthority {
    /// Opens the authority of a data directory; makes it where there is none yet. The server
    /// certificate names `localhost`, 127.0.0.1, ::1 and `server_names` (DNS names or addresses);
    /// it is renewed when it names others or ends within 30 days. One that somebody else has
    /// signed stays as it is.
    ///
    /// # Errors
    /// `Corrupt` for a file that cannot be read as what it should be or that does not fit its
    /// counterpart, `Unavailable` for one that cannot be read or written at all; both name it.
    pub fn open(
        data_dir: &Path,
        server_names: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        replace::complete(data_dir)?;
        let (key_path, certificate_path) = (data_dir.join("ca.key"), data_dir.join("ca.crt"));
        match (files::find(&key_path)?, files::find(&certificate_path)?) {
            (Some(_), Some(_)) => {}
            (None, Some(_)) => return Err(missing(&key_path, &certificate_path)),
            // A start that was cut short leaves a key without its certificate.
            (key, None) => {
                let key = match key {
                    Some(key) => parse_key(&key_path, &key)?,
                    None => new_key(&key_path)?,
                };
                let pem = self_signed(&key, "axle device authority", clock.now())?;
                files::write(&certificate_path, pem.as_bytes(), files::Access::Everyone)?;
            }
        }
        let authority = Self {
            data_dir: data_dir.to_owned(),
            server_names: server_names.to_vec(),
            signer: RwLock::new(Arc::new(Signer::read(data_dir)?)),
            standing: Mutex::default(),
            clock,
        };
        authority.renew_server_certificate()?;
        Ok(authority)
    }

    fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The certificate that client certificates must chain to.
    #[must_use]
    pub fn root(&self) -> CertificateDer<'static> {
        self.signer().der.clone()
    }

    /// Reads the files of a listener anew, and the authority's own.
    ///
    /// # Errors
    /// `Corrupt`, naming the file and what is wrong with it; then everything stays as it was.
    pub(crate) fn reload(&self) -> Result<Material, Error> {
        let read = Signer::read(&self.data_dir)
            .and_then(|signer| Ok((signer, trust::read(&self.data_dir)?)));
        let (signer, material) = read?;
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(signer);
        let standing = IdentityStanding { ends: material.ends.clone(), fault: None };
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
        Ok(material)
    }

    /// Says why the files as they are now cannot be used.
    pub(crate) fn note_fault(&self, fault: &str) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.fault = Some(fault.to_owned());
    }

    /// How the files of a listener are now.
    pub(crate) fn stamp(&self) -> Stamp {
        trust::stamp(&self.data_dir)
    }

    /// Signs a new server certificate, if there is none, or ours does not name what it should or
    /// ends within 30 days.
    ///
    /// # Errors
    /// As [`DeviceAuthority::open`].
    pub(crate) fn renew_server_certificate(&self) -> Result<(), Error> {
        let (signer, now) = (self.signer(), self.clock.now());
        let before = replace::listener_issuer(&self.data_dir)?;
        let issuer = before.as_ref().unwrap_or(&signer.issuer);
        server::ensure(&self.data_dir, &self.server_names, issuer, now)
    }
}

impl Signer {
    fn read(data_dir: &Path) -> Result<Self, Error> {
        let (key_path, path) = (data_dir.join("ca.key"), data_dir.join("ca.crt"));
        let missing = |path: &Path| files::corrupt(path, "it is missing");
        let key = files::find(&key_path)?.ok_or_else(|| missing(&key_path))?;
        files::protect(&key_path)?;
        let pem = files::find(&path)?.ok_or_else(|| missing(&path))?;
        let (issuer, der) = parse_issuer((&key_path, &key), (&path, &pem))?;
        let previous = files::find(&data_dir.join("ca.previous.crt"))?.unwrap_or_default();
        Ok(Self { issuer, pem, previous, der })
    }
}

/// How the identity of a data directory stands, whoever has it open.
///
/// # Errors
/// `Corrupt`, naming the file and what is wrong with it.
pub fn authority_standing(data_dir: &Path) -> Result<IdentityStanding, Error> {
    let material = trust::read(data_dir)?;
    Ok(IdentityStanding { ends: material.ends, fault: None })
}

impl CertificateAuthority for DeviceAuthority {
    fn sign(
        &self,
        subject: &CertificateSubject,
        request_pem: &str,
    ) -> Result<SignedCertificate, Error> {
        issue::sign(&self.signer().issuer, subject, request_pem, self.clock.now())
    }

    fn read_certificate(&self, pem: &str) -> Result<SignedCertificate, Error> {
        issue::read(pem)
    }

    fn authority_pem(&self) -> String {
        let signer = self.signer();
        format!("{}{}", signer.pem, signer.previous)
    }

    fn standing(&self) -> IdentityStanding {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// An authority by the paths and texts of its key and its certificate.
fn parse_issuer(
    (key_path, key): (&Path, &str),
    (path, pem): (&Path, &str),
) -> Result<(Issuer<'static, KeyPair>, CertificateDer<'static>), Error> {
    let (key, der) = (parse_key(key_path, key)?, parse_certificate(path, pem)?);
    check_pair(path, &der, &key)?;
    let issuer = Issuer::from_ca_cert_der(&der, key)
        .map_err(|error| files::corrupt(path, &error.to_string()))?;
    Ok((issuer, der))
}

/// What a certificate of a file says.
fn parsed<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = x509_parser::parse_x509_certificate(der);
    parsed.map(|(_, it)| it).map_err(|error| files::corrupt(path, &error.to_string()))
}

fn self_signed(key: &KeyPair, name: &str, now: Timestamp) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    // One below it: the authority that it replaces.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(issue::serial()?);
    issue::set_validity(&mut params, now.shifted(-issue::HOUR), now.after(AUTHORITY_LIFE));
    Ok(params.self_signed(key).map_err(issue::our_mistake)?.pem())
}

/// A certificate that belongs to another key would let nobody in, and nobody would know why.
fn check_pair(path: &Path, certificate: &CertificateDer<'_>, key: &KeyPair) -> Result<(), Error> {
    if parsed(path, certificate)?.public_key().raw == key.subject_public_key_info() {
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
