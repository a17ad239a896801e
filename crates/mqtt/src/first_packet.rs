//! The first packet of a connection: read to its end, or refused with what was wrong about it.

use axle_domain::limit;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::journal::Why;
use crate::packet::Version;
use crate::packet::connect::ConnectRefused;
use crate::packet::header::{self, PacketKind};
use crate::packet::refusal::Refusal;

/// Reads until the first packet is whole: where its body begins and it ends. `Err(None)`: the
/// client went away without a word.
pub(crate) async fn read_connect<S: AsyncRead + Unpin>(
    socket: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<(usize, usize), Option<ConnectRefused>> {
    let silent = |refusal| Some(ConnectRefused { refusal, answer_in: None });
    loop {
        match header::peek(bytes, limit::PACKET_BYTES_BEFORE_CONNECT_MAX) {
            Ok(Some(header)) if header.kind != PacketKind::Connect => {
                return Err(silent(Refusal::NOT_CONNECT));
            }
            Ok(Some(header)) if header.length <= bytes.len() => {
                return Ok((header.body_at, header.length));
            }
            Ok(_) => {}
            Err(Refusal::TOO_LARGE) => return Err(Some(too_large(bytes))),
            Err(Refusal::LENGTH) => return Err(silent(Refusal::LENGTH)),
            Err(_) => return Err(silent(Refusal::NOT_MQTT)),
        }
        match socket.read_buf(bytes).await {
            Ok(count) if count > 0 => {}
            _ if bytes.is_empty() => return Err(None),
            _ => return Err(silent(Refusal::TRAILING)),
        }
    }
}

/// A CONNECT that is too large is answered where it has said its version already.
fn too_large(bytes: &[u8]) -> ConnectRefused {
    let start = bytes.get(..16).unwrap_or(bytes);
    let is_v5 = bytes.first() == Some(&0x10) && start.windows(5).any(|name| name == b"MQTT\x05");
    ConnectRefused { refusal: Refusal::TOO_LARGE, answer_in: is_v5.then_some(Version::V5) }
}

/// Why the first packet was refused, with what it began with.
pub(crate) fn explain(refusal: Refusal, bytes: &[u8]) -> Why {
    let mut why = Why::from(refusal);
    let more = match bytes {
        [0x16, 0x03, ..] => {
            why.code = "mqtt.tls_on_plain_port".to_owned();
            why.next_step =
                "Connect to the port of mqtt.listen, or switch TLS off in the client.".to_owned();
            "the client speaks TLS on the port without TLS".to_owned()
        }
        [b'G' | b'P' | b'H' | b'D' | b'O', b'A'..=b'Z', b'A'..=b'Z' | b' ', ..] => {
            why.code = "mqtt.http_on_mqtt_port".to_owned();
            why.next_step = "Browsers and apps use the port of http.listen.".to_owned();
            "the client speaks HTTP on the port for MQTT".to_owned()
        }
        _ if refusal == Refusal::CONNECT_LATE && bytes.is_empty() => {
            let seconds = limit::CONNECT_TIME_MAX.as_secs();
            format!("{}: not a byte within {seconds} s", refusal.text)
        }
        _ if refusal == Refusal::CONNECT_LATE => {
            let (seconds, count) = (limit::CONNECT_TIME_MAX.as_secs(), bytes.len());
            format!("{}: {count} bytes of it within {seconds} s", refusal.text)
        }
        _ if refusal == Refusal::NOT_CONNECT => {
            format!("{}, not {}", refusal.text, packet_name(bytes))
        }
        _ => {
            let (count, name) = (bytes.len(), packet_name(bytes));
            format!("{}: in {name} of {count} bytes", refusal.text)
        }
    };
    why.reason = more;
    why
}

fn packet_name(bytes: &[u8]) -> &'static str {
    match bytes.first().map(|first| first >> 4) {
        None => "nothing",
        Some(1) => "CONNECT",
        Some(3) => "PUBLISH",
        Some(8) => "SUBSCRIBE",
        Some(12) => "PINGREQ",
        Some(14) => "DISCONNECT",
        Some(15) => "AUTH",
        Some(_) => "a packet of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_wrong_with_the_first_packet() {
        for (refusal, bytes, code, words) in [
            (Refusal::NOT_MQTT, &b"\x16\x03\x01\0"[..], "mqtt.tls_on_plain_port", "speaks TLS"),
            (Refusal::NOT_MQTT, b"GET / ", "mqtt.http_on_mqtt_port", "speaks HTTP"),
            (Refusal::NOT_CONNECT, b"\xc0\0", "mqtt.not_connect_first", "not PINGREQ"),
            (Refusal::CONNECT_LATE, b"", "mqtt.connect_late", "not a byte"),
            (Refusal::CONNECT_LATE, b"\x10\x0f", "mqtt.connect_late", "2 bytes"),
            (Refusal::PROPERTY, b"\x10\x02\0\0", "mqtt.property", "CONNECT of 4 bytes"),
        ] {
            let why = explain(refusal, bytes);
            assert_eq!(why.code, code);
            assert!(why.reason.contains(words), "{}", why.reason);
        }
    }
}
