//! Whom a client certificate names.

use axle_app::PresentedCertificate;
use axle_domain::{Fingerprint, Timestamp};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// What the SAN URI of a device certificate begins with.
pub(crate) const DEVICE_URI: &str = "axle:device:";

/// What the SAN URI of an application's certificate begins with.
pub(crate) const APPLICATION_URI: &str = "axle:application:";

/// What a handshake has proved.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// For the registry.
    pub(crate) presented: PresentedCertificate,
    /// The application that the certificate names; it names no device then.
    pub(crate) application: Option<String>,
    /// Start of the certificate's validity.
    pub(crate) not_before: Timestamp,
    /// End of the certificate's validity; the connection ends with it.
    pub(crate) not_after: Timestamp,
}

/// Reads the client's own certificate: SAN URI `axle:device:<id>`, else CN. `None` where it names
/// two of either: what is ambiguous is refused, before anyone picks the wrong one.
pub(crate) fn identify(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let application = uri(&parsed, APPLICATION_URI)?;
    let names = match (uri(&parsed, DEVICE_URI)?, &application) {
        (Some(_), Some(_)) => return None,
        (Some(device), None) => Some(device),
        (None, Some(_)) => None,
        (None, None) => common_name(&parsed)?,
    };
    let fingerprint = fingerprint(certificate);
    let moment = |time: ASN1Time, beyond| {
        Timestamp::from_millis(time.timestamp().saturating_mul(1000)).unwrap_or(Timestamp(beyond))
    };
    Some(Identity {
        presented: PresentedCertificate { fingerprint, names },
        application,
        not_before: moment(parsed.validity().not_before, 0),
        not_after: moment(parsed.validity().not_after, i64::MAX),
    })
}

/// Tells certificates apart.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

/// What follows a prefix in a SAN URI; `None` where two do.
fn uri(certificate: &X509Certificate<'_>, prefix: &str) -> Option<Option<String>> {
    let names = certificate.subject_alternative_name().ok()?;
    let Some(names) = names else { return Some(None) };
    let mut named = names.value.general_names.iter().filter_map(|name| {
        if let GeneralName::URI(uri) = name { uri.strip_prefix(prefix) } else { None }
    });
    one_of(named.next(), named.next())
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<Option<String>> {
    let mut names = certificate.subject().iter_common_name();
    let (first, second) = (names.next(), names.next());
    let text = first.map(|name| name.as_str().ok());
    match text {
        Some(None) => None,
        text => one_of(text.flatten(), second.map(|_| "")),
    }
}

fn one_of(first: Option<&str>, second: Option<&str>) -> Option<Option<String>> {
    if second.is_some() { None } else { Some(first.map(str::to_owned)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn check(uris: &[&str], common_name: Option<&str>, expected: Option<Option<&str>>) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let seen = identify(certificate.der()).map(|identity| identity.presented.names);
        assert_eq!(seen, expected.map(|name| name.map(str::to_owned)), "{uris:?} {common_name:?}");
    }

    #[test]
    fn the_device_uri_goes_before_the_common_name() {
        check(&["axle:device:b-1"], Some("b-2"), Some(Some("b-1")));
        check(&["https://example.org"], Some("b-2"), Some(Some("b-2")));
        check(&[], Some("b-2"), Some(Some("b-2")));
        check(&[], None, Some(None));
    }

    #[test]
    fn a_certificate_that_names_two_devices_names_none() {
        check(&["axle:device:b-1", "axle:device:b-2"], Some("b-1"), None);
        check(&["axle:device:b-1", "axle:application:erp"], None, None);
    }

    #[test]
    fn a_certificate_of_an_application_names_no_device() {
        check(&["axle:application:erp"], Some("b-1"), Some(None));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        assert!(identify(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])).is_none());
    }
}
