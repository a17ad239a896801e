//! The energy container: one household, eleven sockets, 470 bytes.
//!
//! ```text
//! message Measurement { string name = 1; string device_id = 2; double energy = 3; int64 ts = 4; }
//! message Container   { string token = 1; repeated Measurement measurements = 2; uint32 seq = 3; }
//! ```
//!
//! Every container has the same length (power is never 0, which protobuf would leave out), so a
//! template is patched instead of being written again.

use crate::random::Key;

/// Measurements of one container.
pub(crate) const MEASUREMENTS: usize = 11;

const NAME: &[u8] = b"power";
/// `token` with its tag and length.
const TOKEN_BYTES: usize = 38;
/// One measurement with its tag and length.
const MEASUREMENT_BYTES: usize = 39;
/// From the start of a measurement to its double: tag and length, name, socket, tag.
const WATTS_AT: usize = 2 + 7 + 14 + 1;
/// To its time: the double and a tag further.
const TIME_AT: usize = WATTS_AT + 8 + 1;
/// Bytes of a time in milliseconds as varint, from 2004 to 2109.
const TIME_BYTES: usize = 6;

/// The name of a socket of a household.
pub(super) fn socket(number: u32, row: usize) -> String {
    format!("h{:06}-s{row:03}", number % 1_000_000)
}

/// Power at a socket in tenths of a watt, 50 to 35,000.
#[inline]
pub(super) fn watts(key: Key, seq: u64, row: usize) -> i64 {
    let key = key.child(row as u64);
    let level = 150 + key.below(u64::MAX, 25_000).cast_signed();
    level + key.wave(seq, 7, 9000, 50)
}

fn sequence(seq: u64) -> u64 {
    1000 + (seq & 0xfff)
}

/// Writes a container.
pub(super) fn write(number: u32, time_ms: i64, key: Key, seq: u64, out: &mut Vec<u8>) {
    let token = format!("4f1c2a9e-77d0-4b3c-9a51-0000{number:08x}");
    text(1, token.as_bytes(), out);
    for row in 0..MEASUREMENTS {
        out.push(0x12);
        out.push(u8::try_from(MEASUREMENT_BYTES - 2).unwrap_or(0));
        text(1, NAME, out);
        text(2, socket(number, row).as_bytes(), out);
        out.push(0x19);
        out.extend_from_slice(&energy(key, seq, row));
        out.push(0x20);
        out.extend_from_slice(&varint::<TIME_BYTES>(time_ms.cast_unsigned()));
    }
    out.push(0x18);
    out.extend_from_slice(&varint::<2>(sequence(seq)));
}

/// Makes a container that of another message of the same household.
#[inline]
pub(super) fn patch(time_ms: i64, key: Key, seq: u64, container: &mut [u8]) {
    let time = varint::<TIME_BYTES>(time_ms.cast_unsigned());
    let Some(body) = container.get_mut(TOKEN_BYTES..) else { return };
    let mut measurements = body.chunks_exact_mut(MEASUREMENT_BYTES);
    for (row, measurement) in measurements.by_ref().take(MEASUREMENTS).enumerate() {
        if let Some(slot) = measurement.get_mut(WATTS_AT..WATTS_AT + 8) {
            slot.copy_from_slice(&energy(key, seq, row));
        }
        if let Some(slot) = measurement.get_mut(TIME_AT..) {
            slot.copy_from_slice(&time);
        }
    }
    if let Some(slot) = measurements.into_remainder().get_mut(1..) {
        slot.copy_from_slice(&varint::<2>(sequence(seq)));
    }
}

/// Where a container is torn: some way into a measurement, the first one left whole.
pub(super) fn torn_at(measurements: u64) -> usize {
    let whole = 1 + usize::try_from(measurements).unwrap_or(0).min(MEASUREMENTS - 2);
    TOKEN_BYTES + MEASUREMENT_BYTES * whole + 10
}

/// The time of the first measurement of a container, or of a measurement alone, milliseconds.
pub(super) fn time_ms_of(bytes: &[u8]) -> Option<i64> {
    let measurement = match bytes.first()? {
        0x0a => bytes.get(TOKEN_BYTES..)?,
        _ => bytes,
    };
    let time = measurement.get(TIME_AT..TIME_AT + TIME_BYTES)?;
    let value = time.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some(value.cast_signed())
}

#[inline]
fn energy(key: Key, seq: u64, row: usize) -> [u8; 8] {
    (watts(key, seq, row) as f64 / 10.0).to_le_bytes()
}

fn text(field: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text);
}

/// A varint of exactly `N` bytes; the value must need that many.
#[inline]
fn varint<const N: usize>(mut value: u64) -> [u8; N] {
    let mut bytes = [0x80; N];
    for byte in &mut bytes {
        *byte |= u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
    }
    if let Some(last) = bytes.last_mut() {
        *last &= 0x7f;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use crate::content::{MEASUREMENTS, Profile, Source};

    fn container(seq: u64) -> (Source, Vec<u8>) {
        let source = Source::new(Profile::Meter, 1, 1, 1_790_000_000_000, 1000);
        let mut bytes = Vec::new();
        source.write_payload(seq, &mut bytes);
        (source, bytes)
    }

    #[test]
    fn has_the_bytes_of_the_wire_format() {
        let (source, bytes) = container(2);
        assert_eq!(bytes.len(), 470);
        assert_eq!(&bytes[..38], b"\x0a\x244f1c2a9e-77d0-4b3c-9a51-000000000001");
        let mut first = b"\x12\x25\x0a\x05power\x12\x0ch000001-s000\x19".to_vec();
        let watts = source.cells(2, 0)[0] as f64 / 10.0;
        first.extend_from_slice(&watts.to_le_bytes());
        // 1,790,000,002,000 as varint.
        first.extend_from_slice(b"\x20\xd0\xe7\xc1\xa2\x8c\x34");
        assert_eq!(&bytes[38..77], first);
        assert_eq!(&bytes[38 + 39 * MEASUREMENTS..], b"\x18\xea\x07");
    }

    #[test]
    fn patching_is_writing_again() {
        let (source, _) = container(0);
        let mut template = source.template().unwrap();
        for seq in [0, 1, 127, 128, 4095, 4096, 3_000_000] {
            source.patch(seq, &mut template);
            assert_eq!(template, container(seq).1, "{seq}");
        }
    }

    #[test]
    fn power_is_never_zero() {
        let source = Source::new(Profile::Meter, 9, 4, 0, 1);
        for seq in 0..20_000 {
            let tenths = source.cells(seq, (seq % 11) as usize)[0];
            assert!((50..=35_000).contains(&tenths), "{tenths}");
        }
    }

    #[test]
    fn a_socket_leads_back_to_its_row() {
        let (source, _) = container(0);
        assert_eq!(source.socket(3), "h000001-s003");
        assert_eq!(source.row_of_socket("h000001-s010"), Some(10));
        assert_eq!(source.row_of_socket("h000001-s011"), None);
    }
}
