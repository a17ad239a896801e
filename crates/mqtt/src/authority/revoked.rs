//! Revocation lists: which certificates their authorities have taken back. A list is checked once,
//! when it is read; whether a certificate stands in it is one look, however long it is.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use axle_domain::{Error, Timestamp};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{files, issue};

/// Largest revocation list.
const LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A list of changes only, and an entry of another authority (RFC 5280 5.2.4, 5.3.3).
const DELTA: &str = "2.5.29.27";
const ENTRY_ISSUER: &str = "2.5.29.29";

/// Serial numbers that were taken back, by the name of their authority. Several lists of one
/// authority add up.
#[derive(Debug, Default)]
pub(crate) struct Revoked(HashMap<Box<[u8]>, HashSet<Box<[u8]>>>);

impl Revoked {
    /// Reads a list; returns when the next one is due.
    pub(super) fn add(
        &mut self,
        path: &Path,
        signers: &[X509Certificate<'_>],
    ) -> Result<Option<Timestamp>, Error> {
        let bad = |reason: &str| files::corrupt(path, reason);
        let der = bytes(path)?;
        let (rest, list) = CertificateRevocationList::from_der(&der)
            .map_err(|error| bad(&format!("it is no revocation list: {error}")))?;
        if !rest.is_empty() {
            return Err(bad("something follows the revocation list"));
        }
        if list.extensions().iter().any(|it| it.oid.to_id_string() == DELTA) {
            return Err(bad("it is a list of changes (delta): a full list is needed"));
        }
        let issuer = list.issuer().as_raw();
        let is_signed = signers.iter().any(|signer| {
            signer.subject().as_raw() == issuer
                && list.verify_signature(signer.public_key()).is_ok()
        });
        if !is_signed {
            let reason = format!("it is signed by `{}`, which is no authority here", list.issuer());
            return Err(bad(&reason));
        }
        let mut serials = HashSet::new();
        for it in list.iter_revoked_certificates() {
            if it.extensions().iter().any(|it| it.oid.to_id_string() == ENTRY_ISSUER) {
                return Err(bad("it holds certificates of other authorities (indirect)"));
            }
            serials.insert(Box::from(it.raw_serial()));
        }
        self.0.entry(Box::from(issuer)).or_default().extend(serials);
        Ok(list.next_update().map(issue::timestamp))
    }

    /// Whether a certificate was taken back. One that cannot be read counts as if it was.
    pub(crate) fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
            return true;
        };
        let serials = self.0.get(parsed.issuer().as_raw());
        serials.is_some_and(|serials| serials.contains(parsed.raw_serial()))
    }
}

/// The list as DER, whichever way it is written.
fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |reason: &str| files::corrupt(path, reason);
    let size = fs::metadata(path).map_err(|error| bad(&error.to_string()))?.len();
    if size > LIST_BYTES_MAX {
        return Err(bad(&format!("a revocation list is at most {LIST_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(path).map_err(|error| bad(&error.to_string()))?;
    if bytes.starts_with(b"-----BEGIN") {
        let list = CertificateRevocationListDer::from_pem_slice(&bytes);
        return list.map(|list| list.to_vec()).map_err(|error| bad(&error.to_string()));
    }
    Ok(bytes)
}
