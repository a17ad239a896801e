//! From a signing request to the certificate of a device or an application.

use std::time::Duration;

use axle_domain::port::{CertificateSubject, SignedCertificate};
use axle_domain::{ApplicationName, DeviceId, Error, Fingerprint, Timestamp};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use sha2::{Digest, Sha256};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::identity::{APPLICATION_URI, DEVICE_URI};

/// How long a device's certificate is valid.
const LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
/// In microseconds.
pub(super) const HOUR: i64 = 3600 * 1_000_000;
/// No request of an accepted key comes near this.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
const CURVE_P256: &str = "1.2.840.10045.3.1.7";
const CURVE_P384: &str = "1.3.132.0.34";

/// A new ECDSA P-256 key (PKCS#8, PEM) and a signing request (PEM) that names the device.
///
/// # Errors
/// `Internal`, when the machine has no randomness.
pub fn new_key_and_request(device: &DeviceId) -> Result<(String, String), Error> {
    key_and_request(&CertificateSubject::Device(device.clone()))
}

/// As [`new_key_and_request`], for a backend application or a claim.
///
/// # Errors
/// `Internal`, when the machine has no randomness.
pub fn new_application_request(name: &ApplicationName) -> Result<(String, String), Error> {
    key_and_request(&CertificateSubject::Application(name.clone()))
}

fn key_and_request(subject: &CertificateSubject) -> Result<(String, String), Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(our_mistake)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    name(&mut params, subject)?;
    let request = params.serialize_request(&key).and_then(|request| request.pem());
    Ok((key.serialize_pem(), request.map_err(our_mistake)?))
}

/// Signs a request. Only its key is taken over; the subject is ours to say.
pub(super) fn sign(
    issuer: &Issuer<'static, KeyPair>,
    subject: &CertificateSubject,
    request_pem: &str,
    now: Timestamp,
) -> Result<SignedCertificate, Error> {
    if request_pem.len() > REQUEST_BYTES_MAX {
        let (limit, actual) = (REQUEST_BYTES_MAX as u64, request_pem.len() as u64);
        let message = format!("a signing request is at most {limit} bytes");
        return Err(
            Error::invalid("certificate.request_too_large", message).with_limit(limit, actual)
        );
    }
    let der = CertificateSigningRequestDer::from_pem_slice(request_pem.as_bytes())
        .map_err(|_error| refused("it is not PEM with a CERTIFICATE REQUEST"))?;
    let (_, parsed) =
        X509CertificationRequest::from_der(&der).map_err(|_error| refused("it is not PKCS#10"))?;
    let key = &parsed.certification_request_info.subject_pki;
    check_key(key)?;
    // This checks the request's signature: whoever asks holds the key.
    let mut request = CertificateSigningRequestParams::from_der(&der)
        .map_err(|error| refused(&error.to_string()))?;
    request.params = client_params(subject, now)?;
    let signed = request.signed_by(issuer).map_err(our_mistake)?;
    let (_, issued) = x509_parser::parse_x509_certificate(signed.der())
        .map_err(|error| Error::internal("certificate.unreadable", error.to_string()))?;
    if issued.public_key().raw != key.raw {
        return Err(refused("sign it with SHA-256 for a P-256 key and SHA-384 for a P-384 key"));
    }
    Ok(SignedCertificate {
        fingerprint: Fingerprint(Sha256::digest(signed.der()).into()),
        not_before: timestamp(issued.validity().not_before),
        not_after: timestamp(issued.validity().not_after),
        pem: signed.pem(),
    })
}

/// Reads a client's certificate of another authority.
pub(super) fn read(pem: &str) -> Result<SignedCertificate, Error> {
    let bad = |reason: &str| {
        let message = format!("the certificate is not acceptable: {reason}");
        Error::invalid("certificate.invalid", message)
    };
    if pem.len() > REQUEST_BYTES_MAX {
        return Err(bad(&format!("it is at most {REQUEST_BYTES_MAX} bytes")));
    }
    let mut found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let (Some(Ok(der)), None) = (found.next(), found.next()) else {
        return Err(bad("it is not PEM with one CERTIFICATE"));
    };
    let (_, parsed) =
        x509_parser::parse_x509_certificate(&der).map_err(|_error| bad("it is not X.509"))?;
    if parsed.basic_constraints().ok().flatten().is_some_and(|it| it.value.ca) {
        return Err(bad("it is of an authority: put that into the trust folder"));
    }
    Ok(SignedCertificate {
        fingerprint: Fingerprint(Sha256::digest(&der).into()),
        not_before: timestamp(parsed.validity().not_before),
        not_after: timestamp(parsed.validity().not_after),
        pem: pem.to_owned(),
    })
}

fn client_params(subject: &CertificateSubject, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    name(&mut params, subject)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    // A device's clock may be a little behind ours when it checks its own certificate.
    set_validity(&mut params, now.shifted(-HOUR), now.after(LIFE));
    Ok(params)
}

fn name(params: &mut CertificateParams, subject: &CertificateSubject) -> Result<(), Error> {
    let (prefix, name) = match subject {
        CertificateSubject::Device(device) => (DEVICE_URI, device.as_str()),
        CertificateSubject::Application(name) => (APPLICATION_URI, name.as_str()),
        CertificateSubject::Unbound => return Ok(()),
    };
    // X.520 ends a common name at 64 characters; a longer id stands in the SAN alone. The name
    // of an application stands there alone too: a common name would name a device.
    if name.len() <= 64 && prefix == DEVICE_URI {
        let common_name = DnValue::Utf8String(name.to_owned());
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    let uri = format!("{prefix}{name}");
    let uri = uri.try_into().map_err(our_mistake)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    Ok(())
}

fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Error> {
    const FORMS: &str = "use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits";
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let is_accepted = match key.parsed() {
        Ok(PublicKey::EC(_)) => {
            curve.is_some_and(|curve| [CURVE_P256, CURVE_P384].contains(&&*curve.to_id_string()))
        }
        Ok(PublicKey::RSA(rsa)) => (2048..=4096).contains(&rsa.key_size()),
        _ => key.algorithm.algorithm.to_id_string() == "1.3.101.112",
    };
    if is_accepted { Ok(()) } else { Err(refused(&format!("its key is not accepted: {FORMS}"))) }
}

/// What tells a key from others, for people.
pub(super) fn short_name(key: &KeyPair) -> String {
    let digest = Sha256::digest(key.subject_public_key_info());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// 16 random octets, positive and without a leading zero.
pub(super) fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal("random.unavailable", error.to_string()))?;
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

/// Sets the validity of a certificate, in whole seconds.
pub(super) fn set_validity(params: &mut CertificateParams, from: Timestamp, to: Timestamp) {
    let since_epoch =
        |at: Timestamp| Duration::from_secs(u64::try_from(at.micros() / 1_000_000).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(from);
    params.not_after = epoch + since_epoch(to);
}

pub(super) fn timestamp(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_millis(time.timestamp().saturating_mul(1000)).unwrap_or_default()
}

fn refused(reason: &str) -> Error {
    Error::invalid(
        "certificate.request_invalid",
        format!("the signing request is not acceptable: {reason}"),
    )
}

pub(super) fn our_mistake(error: rcgen::Error) -> Error {
    Error::internal("authority.failed", "the certificate could not be made").with_source(error)
}
