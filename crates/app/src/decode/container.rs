//! The protobuf container of the `energy` stream, decoded in place:
//!
//! ```text
//! message Measurement { string name = 1; string device_id = 2; double energy = 3; int64 ts = 4; }
//! message Container   { string token = 1; repeated Measurement measurements = 2; uint32 seq = 3; }
//! ```
//!
//! `ts` is epoch milliseconds, `energy` watts; the publishing device is the household and
//! `device_id` the socket. A generated decoder would own each of the 22 strings of a container;
//! this one borrows them, since meters are most of the traffic. Unknown fields are skipped, as
//! protobuf asks; groups are refused.

use axle_domain::Timestamp;

use super::sample::{Context, Sample, Spot, text};
use super::{Decoded, Fault};

/// Most measurements of one container.
const MEASUREMENTS_MAX: usize = 10_000;

/// One field of a protobuf message: its number and its value.
enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Reads protobuf fields one after another; never allocates.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate() {
            if index == 10 || (index == 9 && *byte > 1) {
                return Err(broken("a varint is longer than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(broken("it ends within a varint"))
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let Some((taken, rest)) = taken else {
            return Err(broken("a length points beyond the end"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > 0x1fff_ffff {
            return Err(broken("a field number is out of range"));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.take(8)?.try_into().unwrap_or_default()),
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            _ => return Err(broken("groups are not accepted")),
        };
        Ok(Some((number, wire)))
    }
}

fn broken(detail: &str) -> Fault {
    Fault::new("payload.invalid", format!("no valid protobuf container: {detail}"))
}

fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, Fault> {
    std::str::from_utf8(bytes).map_err(|_error| broken(&format!("`{name}` is no UTF-8")))
}

/// Decodes a container; each measurement becomes a row. The container is checked as a whole
/// before its first row, so that a torn one is set aside whole.
pub(super) fn decode_container(
    context: Context<'_>,
    sink: &mut dyn FnMut(Decoded<'_>),
) -> Result<(), Fault> {
    let mut measurements = Vec::with_capacity(16);
    let mut fields = Fields { rest: context.message.payload };
    loop {
        let from = fields.rest;
        let Some((number, wire)) = fields.next()? else { break };
        match (number, wire) {
            (1, Wire::Bytes(token)) => {
                utf8("token", token)?;
            }
            (2, Wire::Bytes(bytes)) => {
                if measurements.len() >= MEASUREMENTS_MAX {
                    let detail = format!("more than {MEASUREMENTS_MAX} measurements");
                    return Err(Fault::new("payload.too_many_records", detail));
                }
                // With its tag and length, one measurement is a container by itself.
                let length = from.len() - fields.rest.len();
                let payload = from.get(..length).unwrap_or_default();
                measurements.push((read_measurement(bytes)?, payload));
            }
            (3, Wire::Varint(_)) => {}
            (1..=3, _) => return Err(broken("a field has the wrong wire type")),
            _ => {}
        }
    }
    if measurements.is_empty() {
        return Err(Fault::new("payload.empty", "the container holds no measurements"));
    }
    let mut sample = Sample::new(context.schema);
    let sent_at = context.message.sent_at;
    for (index, (measurement, payload)) in measurements.iter().enumerate() {
        sample.clear();
        let result = fill(context, measurement, &mut sample)
            .and_then(|()| context.row(&sample, sent_at, sink));
        if let Err(fault) = result {
            context.set_aside(Spot { index, payload, sent_at }, fault, sink);
        }
    }
    Ok(())
}

#[derive(Default)]
struct Measurement<'a> {
    name: &'a str,
    socket: &'a str,
    watts: f64,
    ts: Option<i64>,
}

fn read_measurement(bytes: &[u8]) -> Result<Measurement<'_>, Fault> {
    let mut measurement = Measurement::default();
    let mut fields = Fields { rest: bytes };
    while let Some((number, wire)) = fields.next()? {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => measurement.name = utf8("name", bytes)?,
            (2, Wire::Bytes(bytes)) => measurement.socket = utf8("device_id", bytes)?,
            (3, Wire::Fixed64(bytes)) => measurement.watts = f64::from_le_bytes(bytes),
            (4, Wire::Varint(value)) => measurement.ts = Some(value.cast_signed()),
            (1..=4, _) => return Err(broken("a field has the wrong wire type")),
            _ => {}
        }
    }
    Ok(measurement)
}

fn fill<'a>(
    context: Context<'_>,
    measurement: &Measurement<'a>,
    sample: &mut Sample<'a>,
) -> Result<(), Fault> {
    if let Some(ts) = measurement.ts {
        let time = Timestamp::from_millis(ts);
        let wrong = || Fault::new("time.format", "`ts` must be epoch milliseconds");
        sample.time = Some(time.ok_or_else(wrong)?);
    }
    let keys = [text("device_id", measurement.socket)?, text("name", measurement.name)?];
    for (slot, key) in sample.keys.iter_mut().zip(keys) {
        *slot = key;
    }
    let value = context.number(0, measurement.watts)?;
    if let Some(slot) = sample.values.first_mut() {
        *slot = Some(value);
    }
    Ok(())
}
