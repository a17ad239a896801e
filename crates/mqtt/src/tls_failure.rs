//! Why a TLS handshake failed, in words.

use std::io::{Error as IoError, ErrorKind};

use axle_domain::limit;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use rustls_pki_types::CertificateDer;

use crate::journal::{Why, cut};
use crate::witness::Seen;

const RENEW: &str = "Issue a new one: axle device add ID --renew, and put it on the device.";

/// What the first bytes of a connection say, where they are not TLS.
pub(crate) fn plain_text(first: &[u8]) -> Option<Why> {
    let (code, what, next) = match first {
        [] | [0x16, ..] => return None,
        [0x10, ..] => (
            "tls.plain_mqtt",
            "the client speaks MQTT without TLS on a port with TLS",
            "Switch TLS on in the client (mqtts://), and give it ca.crt, its certificate and key.",
        ),
        [b'P', b'R', b'O', b'X', b'Y', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..] => (
            "tls.proxy_header",
            "a load balancer speaks the PROXY protocol from an address that is not trusted",
            "Name the load balancer's address in mqtt.trusted_proxies.",
        ),
        [b'G' | b'P' | b'H' | b'D' | b'O', b'A'..=b'Z', ..] => (
            "tls.plain_http",
            "the client speaks HTTP without TLS on the port for MQTT with TLS",
            "Browsers and apps use the port of http.listen; devices connect here with mqtts://.",
        ),
        [b'S', b'S', b'H', b'-', ..] => {
            ("tls.plain_ssh", "the client speaks SSH", "Connect to the port of your SSH server.")
        }
        [0x80, _, 0x01, ..] => {
            ("tls.too_old", "the client speaks SSL 2", "The client must speak TLS 1.2 or 1.3.")
        }
        _ => (
            "tls.not_tls",
            "the first bytes are not TLS",
            "The client must speak TLS 1.2 or 1.3, then MQTT.",
        ),
    };
    Some(Why::new(code, format!("{what} (it began with {})", hexadecimal(first)), next))
}

/// Why the handshake was not done in time.
pub(crate) fn late(first: &[u8]) -> Why {
    let seconds = limit::HANDSHAKE_TIME_MAX.as_secs();
    let reason = match first {
        [] => format!("the client sent nothing for {seconds} s"),
        _ => format!("the TLS handshake was not done within {seconds} s"),
    };
    let next = "Check the network between device and server: packets are lost, or the client \
                waits for the server to speak first.";
    Why::new("tls.timeout", reason, next)
}

/// Why the handshake failed.
pub(crate) fn failed(error: &IoError, seen: &Seen, first: &[u8]) -> Why {
    if let Some(why) = plain_text(first) {
        return why;
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let Some(inner) = inner else {
        let hung_up = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        if hung_up.contains(&error.kind()) {
            return distrusted("the client hung up within the TLS handshake", seen);
        }
        return Why::new(
            "tls.network",
            format!("the connection failed within the TLS handshake: {error}"),
            "Check the network between device and server.",
        );
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is told in the library's words")]
    match inner {
        TlsError::NoCertificatesPresented => Why::new(
            "tls.no_certificate",
            "the client sent no certificate",
            "Give the client its certificate and key; axle device add ID --out DIR writes them.",
        ),
        TlsError::InvalidCertificate(error) => certificate(error, seen),
        TlsError::AlertReceived(alert) => alerted(*alert, seen),
        TlsError::NoApplicationProtocol => Why::new(
            "tls.alpn",
            "the client asks for another protocol (ALPN) than mqtt",
            "Set the client's ALPN to mqtt, or to nothing.",
        ),
        TlsError::PeerIncompatible(what) => Why::new(
            "tls.incompatible",
            format!("client and server have no TLS version or method in common: {what:?}"),
            "The client must speak TLS 1.2 with AEAD ciphers and ECDHE, or TLS 1.3.",
        ),
        TlsError::InvalidMessage(what) => Why::new(
            "tls.malformed",
            format!("the client sent a TLS message that cannot be read: {what:?}"),
            "Check for a proxy in between that changes bytes; update the client's TLS library.",
        ),
        other => Why::new(
            "tls.failed",
            format!("the TLS handshake failed: {}", cut(&other.to_string())),
            "Update the client's TLS library; try the same with openssl s_client.",
        ),
    }
}

/// The client's certificate did not pass.
fn certificate(error: &CertificateError, seen: &Seen) -> Why {
    let shown = seen.refused.as_ref();
    let issuer = shown.and_then(issuer).unwrap_or_else(|| "an unnamed authority".to_owned());
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is told in the library's words")]
    match error {
        CertificateError::UnknownIssuer => Why::new(
            "tls.unknown_authority",
            format!("the certificate is signed by {issuer}, not by this server's device authority"),
            "Issue one here: axle device add ID --out DIR. A server with a new data directory has \
             a new authority, too.",
        ),
        // The library has checked the chain: what is left is the proof of the key.
        CertificateError::BadSignature if shown.is_none() => Why::new(
            "tls.key_mismatch",
            "the client does not hold the key of the certificate that it shows",
            "Give the client the key that belongs to the certificate: they are written together.",
        ),
        CertificateError::BadSignature => Why::new(
            "tls.other_authority",
            format!("the certificate is signed by another {issuer} than this server's"),
            "It was issued by another axle server, or before this one had its data directory: \
             issue one here with axle device add ID --renew.",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Why::new("tls.expired", validity(shown, "has ended"), RENEW)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Why::new(
            "tls.not_yet_valid",
            validity(shown, "has not begun"),
            "Check the clock of the server, and of the machine that issued the certificate.",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Why::new(
                "tls.wrong_purpose",
                "the certificate is not made for clients (extended key usage clientAuth)",
                RENEW,
            )
        }
        CertificateError::ApplicationVerificationFailure => Why::new(
            "tls.chain_too_large",
            "the client sent more than 4 certificates or 16 KiB of them",
            "Send the device's own certificate alone.",
        ),
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            Why::new(
                "tls.self_signed",
                "the certificate is an authority's own (self-signed), not one of a device",
                "Issue one here: axle device add ID --out DIR.",
            )
        }
        CertificateError::Other(other)
            if format!("{other:?}").contains("UnsupportedCertVersion") =>
        {
            Why::new(
                "tls.certificate_version",
                "the certificate is X.509 version 1, as openssl signs where it is given no \
                 extensions: it must be version 3",
                "Sign it with extensions (openssl x509 -req -extfile FILE), or issue one here: \
                 axle device add ID --out DIR.",
            )
        }
        other => Why::new(
            "tls.certificate_invalid",
            format!("the certificate is not accepted: {}", cut(&format!("{other:?}"))),
            RENEW,
        ),
    }
}

/// The client has said what it does not like.
fn alerted(alert: AlertDescription, seen: &Seen) -> Why {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing of trust")]
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnsupportedCertificate
        // It trusts an authority of the same name with another key.
        | AlertDescription::DecryptError => {
            distrusted(&format!("the client does not trust this server ({alert:?})"), seen)
        }
        _ => Why::new(
            "tls.client_alert",
            format!("the client broke the handshake off with the alert {alert:?}"),
            "Look into the log of the client's TLS library.",
        ),
    }
}

/// The client has left: most often it does not like our certificate.
fn distrusted(what: &str, seen: &Seen) -> Why {
    match &seen.foreign_name {
        Some(name) => Why::new(
            "tls.server_name",
            format!("{what}; it asked for {name}, which the server's certificate does not name"),
            "Connect by a name that the certificate has, or add this one to server.names and \
             start the server again.",
        ),
        None => Why::new(
            "tls.server_distrusted",
            what,
            "Give the client this server's ca.crt (axle device add writes it; GET /api/v1/ca) and \
             check the client's clock.",
        ),
    }
}

fn issuer(certificate: &CertificateDer<'static>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = parsed.issuer().iter_common_name().next()?.as_str().ok()?;
    Some(format!("`{}`", cut(name)))
}

fn validity(certificate: Option<&CertificateDer<'static>>, what: &str) -> String {
    let parsed = certificate.and_then(|it| x509_parser::parse_x509_certificate(it).ok());
    match parsed {
        Some((_, parsed)) => {
            let validity = parsed.validity();
            format!(
                "the certificate's validity {what}: it is from {} to {}",
                validity.not_before, validity.not_after
            )
        }
        None => format!("the certificate's validity {what}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_is_spoken() {
        for (first, code) in [
            (&b"\x10\x0f\x00\x04MQTT"[..], Some("tls.plain_mqtt")),
            (b"GET / HTTP/1.1", Some("tls.plain_http")),
            (b"POST /api", Some("tls.plain_http")),
            (b"SSH-2.0-x", Some("tls.plain_ssh")),
            (b"\x80\x2e\x01\x00\x02", Some("tls.too_old")),
            (b"hello", Some("tls.not_tls")),
            (b"\x16\x03\x01", None),
            (b"", None),
        ] {
            let seen = plain_text(first).map(|why| why.code);
            assert_eq!(seen.as_deref(), code, "{}", first.escape_ascii());
        }
    }

    #[test]
    fn a_name_that_is_not_the_servers_is_named() {
        let alert = TlsError::AlertReceived(AlertDescription::BadCertificate);
        let error = IoError::new(ErrorKind::InvalidData, alert);
        let mut seen = Seen::default();
        assert_eq!(failed(&error, &seen, b"\x16").code, "tls.server_distrusted");
        seen.foreign_name = Some("broker.example.org".to_owned());
        let why = failed(&error, &seen, b"\x16");
        assert_eq!(why.code, "tls.server_name");
        assert!(why.reason.contains("broker.example.org"), "{}", why.reason);
        let gone = IoError::from(ErrorKind::UnexpectedEof);
        assert_eq!(failed(&gone, &Seen::default(), b"\x16").code, "tls.server_distrusted");
    }
}
