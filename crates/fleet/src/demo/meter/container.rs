//! The energy container, a measurement at a time.
//!
//! ```text
//! message Measurement { string name = 1; string device_id = 2; double energy = 3; int64 ts = 4; }
//! message Container   { string token = 1; repeated Measurement measurements = 2; uint32 seq = 3; }
//! ```

/// Appends a measurement of a socket: what is measured, which socket, and the value.
pub(super) fn write((name, socket, value): (&str, &str, f64), time_ms: i64, out: &mut Vec<u8>) {
    let mut measurement = Vec::with_capacity(48);
    text(1, name.as_bytes(), &mut measurement);
    text(2, socket.as_bytes(), &mut measurement);
    measurement.push(0x19);
    measurement.extend_from_slice(&value.to_le_bytes());
    measurement.push(0x20);
    varint(time_ms.cast_unsigned(), &mut measurement);
    text(2, &measurement, out);
}

fn text(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}
