//! The bytes of a message: the protobuf container for `energy`, JSON for every other stream.
//!
//! ```text
//! message Measurement { string name = 1; string device_id = 2; double energy = 3; int64 ts = 4; }
//! message Container   { string token = 1; repeated Measurement measurements = 2; uint32 seq = 3; }
//! ```
//!
//! The same values make the same rows again. In the container that holds for every byte; in JSON
//! all but `sent_at`, which says when the message was sent and is no part of a row.

use axle_domain::Timestamp;
use serde_json::Value;

use crate::time_text::format_time;

/// A value and the time that is claimed for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) time: Option<Timestamp>,
    /// JSON object.
    pub(crate) body: String,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its number, which only grows.
    pub(crate) number: i64,
    /// The clock of its times, now.
    pub(crate) sent_at: Option<Timestamp>,
}

/// Writes the message.
pub(crate) fn compose(stream: &str, claim: Claim, samples: &[Claimed]) -> Vec<u8> {
    if stream == "energy" { container(claim, samples) } else { json(claim, samples).into_bytes() }
}

fn json(claim: Claim, samples: &[Claimed]) -> String {
    let mut text = String::from("{");
    if let Some(sent_at) = claim.sent_at {
        text.push_str(&format!("\"sent_at\":\"{}\",", format_time(sent_at)));
    }
    text.push_str("\"samples\":[");
    for (index, sample) in samples.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match (sample.time, sample.body.strip_prefix('{')) {
            (Some(time), Some(fields)) => {
                text.push_str(&format!("{{\"time\":\"{}\",{fields}", format_time(time)));
            }
            _ => text.push_str(&sample.body),
        }
    }
    text.push_str("]}");
    text
}

fn container(claim: Claim, samples: &[Claimed]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(samples.len() * 48);
    let mut measurement = Vec::with_capacity(64);
    for sample in samples {
        let fields: Value = serde_json::from_str(&sample.body).unwrap_or_default();
        let text = |name: &str| match fields.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        };
        measurement.clear();
        put_bytes(1, text("name").as_bytes(), &mut measurement);
        put_bytes(2, text("socket").as_bytes(), &mut measurement);
        let watts = fields.get("watts").and_then(Value::as_f64).unwrap_or_default();
        measurement.push(3 << 3 | 1);
        measurement.extend(watts.to_le_bytes());
        if let Some(time) = sample.time {
            measurement.push(4 << 3);
            put_varint(time.micros().div_euclid(1000).cast_unsigned(), &mut measurement);
        }
        put_bytes(2, &measurement, &mut bytes);
    }
    bytes.push(3 << 3);
    put_varint(claim.number.cast_unsigned() & u64::from(u32::MAX), &mut bytes);
    bytes
}

fn put_bytes(field: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    put_varint(value.len() as u64, out);
    out.extend(value);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(time: Option<i64>, body: &str) -> Claimed {
        Claimed { time: time.map(Timestamp), body: body.to_owned() }
    }

    #[test]
    fn writes_the_container_of_the_energy_account() {
        let body = r#"{"name":"power","socket":"s-1","watts":12.5}"#;
        let claim = Claim { number: 300, sent_at: Some(Timestamp(0)) };
        let timed = compose("energy", claim, &[claimed(Some(1_735_689_600_123_456), body)]);
        let expected: &[u8] =
            b"\x12\x1c\x0a\x05power\x12\x03s-1\x19\x00\x00\x00\x00\x00\x00\x29\x40\
            \x20\xfb\xc1\xb1\xb3\xc2\x32\x18\xac\x02";
        assert_eq!(timed.len(), expected.len());
        assert_eq!(timed[..24], expected[..24]);
        let bare = compose("energy", claim, &[claimed(None, body)]);
        assert_eq!(bare.len(), timed.len() - 7, "no ts at all, which means the time of arrival");
    }

    #[test]
    fn writes_json_in_batches() {
        let samples =
            [claimed(Some(1_735_689_600_000_001), r#"{"a":1}"#), claimed(None, "{\"b\":2}")];
        let claim = Claim { number: 1, sent_at: Some(Timestamp(1_735_689_600_500_000)) };
        assert_eq!(
            String::from_utf8(compose("status", claim, &samples)).unwrap(),
            r#"{"sent_at":"2025-01-01T00:00:00.500000Z","samples":[{"time":"2025-01-01T00:00:00.000001Z","a":1},{"b":2}]}"#
        );
        let claim = Claim { sent_at: None, ..claim };
        let text = String::from_utf8(compose("status", claim, &samples[1..])).unwrap();
        assert_eq!(text, r#"{"samples":[{"b":2}]}"#);
    }
}
