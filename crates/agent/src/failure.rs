//! Why there is no connection, in words, and what to do about it.

use std::io;

use axle_client::client::Refused;
use rustls::{AlertDescription, CertificateError};

use crate::clock::Reading;
use crate::settings::Settings;
use crate::time_text::format_time;

/// One line for the log: what is wrong, and the next step.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no words of its own here is told in the library's"
)]
pub(crate) fn explain(error: &io::Error, settings: &Settings, now: Reading) -> String {
    let inner = error.get_ref();
    if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<Refused>()) {
        return refusal(refused, settings);
    }
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return handshake(tls, settings, now);
    }
    let server = &settings.server;
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("nothing listens on {server}: is the server running, is the port right?")
        }
        io::ErrorKind::TimedOut => format!(
            "{server} does not answer: check the network, and that a firewall lets the port through"
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            format!("there is no way to {server}: is this computer online?")
        }
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            format!("{server} closed the connection")
        }
        _ => format!("cannot reach {server}: {error}"),
    }
}

fn refusal(refused: &Refused, settings: &Settings) -> String {
    let device = &settings.device;
    let next = match refused.code {
        0x87 => format!(
            "see `axle device show {device}` on the server: it must be registered and not revoked, \
             and this certificate be its own"
        ),
        0x85 => "the certificate is another device's: check `certificate` and `device`".to_owned(),
        0x98 => format!(
            "an operator withdrew its right to connect; `axle device add {device} --renew` \
             issues a new certificate"
        ),
        0x8e => format!("another program connects as `{device}`: only one may"),
        _ => "it is tried again".to_owned(),
    };
    format!("{refused}; {next}")
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no words of its own here is told in the library's"
)]
fn handshake(error: &rustls::Error, settings: &Settings, now: Reading) -> String {
    let (server, device) = (&settings.server, &settings.device);
    let clock = format_time(now.wall);
    let renew =
        format!("issue one with `axle device add {device} --renew --out DIR` on the server");
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
                "the certificate of {server} was not signed by the authority in `ca`: take ca.crt \
                 from the server's data directory"
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!(
                    "this computer's clock says {clock}, before the server's certificate begins: \
                     it is tried again once the clock is set (`timedatectl` shows it)"
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "the certificate of {server} has ended, or this computer's clock ({clock}) is \
                 ahead: restart the server, which issues a new one, or set the clock"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate of {server} is for other names: add this one to \
                     `server.names` in the server's configuration, or use one that it has"
                )
            }
            other => format!("the certificate of {server} cannot be accepted: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            format!("this device's certificate has ended: {renew}")
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError,
        ) => format!("{server} does not know who signed this device's certificate: {renew}"),
        rustls::Error::InvalidMessage(_) => {
            format!("{server} does not speak TLS: the port of MQTT over TLS is 8883 unless set")
        }
        other => format!("TLS with {server} failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use axle_domain::Timestamp;

    use super::*;
    use crate::AgentArgs;

    #[test]
    fn every_failure_has_words_and_a_next_step() {
        let args = AgentArgs {
            device: Some("home-1".to_owned()),
            server: Some("localhost:8883".to_owned()),
            plain: true,
            read_file: Some("values".into()),
            ..AgentArgs::default()
        };
        let settings = args.settings().unwrap();
        let now = Reading { wall: Timestamp(0), since_boot: 0 };
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let wrong = |error| tls(rustls::Error::InvalidCertificate(error));
        let alert = |alert| tls(rustls::Error::AlertReceived(alert));
        let code = |code| io::Error::other(Refused { code, reason: "so".to_owned() });
        for (error, part) in [
            (wrong(CertificateError::UnknownIssuer), "take ca.crt"),
            (wrong(CertificateError::NotValidYet), "clock says 1970-01-01T00:00:00.000000Z"),
            (wrong(CertificateError::Expired), "restart the server"),
            (wrong(CertificateError::NotValidForName), "`server.names`"),
            (alert(AlertDescription::CertificateExpired), "axle device add home-1 --renew"),
            (alert(AlertDescription::UnknownCA), "axle device add home-1 --renew"),
            (code(0x87), "0x87: so; see `axle device show home-1`"),
            (code(0x8e), "only one may"),
            (code(0x98), "--renew"),
            (code(0x97), "it is tried again"),
            (io::ErrorKind::ConnectionRefused.into(), "nothing listens on localhost:8883"),
            (io::ErrorKind::TimedOut.into(), "does not answer"),
            (io::ErrorKind::NetworkUnreachable.into(), "is this computer online?"),
            (io::ErrorKind::UnexpectedEof.into(), "closed the connection"),
        ] {
            let words = explain(&error, &settings, now);
            assert!(words.contains(part), "{error:?}: {words}");
        }
    }
}
