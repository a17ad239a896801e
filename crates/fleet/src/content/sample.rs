//! JSON samples of bikes and cars.

use crate::fault::Failure;
use crate::random::Key;

use super::{Cells, Column, ColumnKind, write_decimal};

/// A ride at one moment; one place of the wave is about a second.
pub(super) fn ride(key: Key, seq: u64) -> Cells {
    let wave = |column: u64, period, amplitude, jitter| {
        key.child(column).wave(seq, period, amplitude, jitter)
    };
    let home = |column: u64, bound| key.child(100 + column).below(0, bound).cast_signed();
    [
        52_400_000 + home(0, 200_000) + wave(0, 8, 20_000, 5),
        13_250_000 + home(1, 250_000) + wave(1, 8, 30_000, 5),
        300 + wave(2, 5, 2700, 40).max(0),
        340 + wave(3, 8, 400, 1),
        1000 - (seq % 9000 / 10).cast_signed(),
        wave(5, 4, 2500, 60).max(0),
        40 + wave(6, 5, 50, 2),
        85 + wave(7, 7, 80, 1),
        home(8, 9_000_000) + seq.cast_signed() * 6,
        1200 + wave(9, 10, 1500, 3),
    ]
}

/// A car's status at one moment.
pub(super) fn status(key: Key, seq: u64) -> Cells {
    let wave = |column: u64, period, amplitude, jitter| {
        key.child(column).wave(seq, period, amplitude, jitter)
    };
    let home = |column: u64, bound| key.child(100 + column).below(0, bound).cast_signed();
    [
        1000 - (seq % 9000 / 10).cast_signed(),
        home(1, 90_000_000) + seq.cast_signed() * 400,
        48_000_000 + home(2, 300_000) + wave(2, 6, 60_000, 9),
        11_400_000 + home(3, 400_000) + wave(3, 6, 90_000, 9),
        wave(4, 4, 13_000, 100).max(0),
        key.child(5).below(seq >> 6, 2).cast_signed(),
        (seq >> 12).min(999).cast_signed(),
        0,
        0,
        0,
    ]
}

/// Writes one sample.
pub(super) fn write(columns: &[Column], cells: &Cells, time_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":");
    write_decimal(time_ms, 0, out);
    for (column, cell) in columns.iter().zip(cells) {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(column.name.as_bytes());
        out.extend_from_slice(b"\":");
        match column.kind {
            ColumnKind::Decimal(places) => write_decimal(*cell, places, out),
            ColumnKind::Switch if *cell == 0 => out.extend_from_slice(b"false"),
            ColumnKind::Switch => out.extend_from_slice(b"true"),
            ColumnKind::Firmware => {
                out.extend_from_slice(b"\"1.4.");
                write_decimal(*cell, 0, out);
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

/// Writes what tells of a failure. Its texts need no escapes.
pub(super) fn write_failure(failure: &Failure, time_ms: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":");
    write_decimal(time_ms, 0, out);
    for (name, value) in FAULT.iter().zip(failure.values()) {
        out.extend_from_slice(format!(",\"{name}\":\"{value}\"").as_bytes());
    }
    out.push(b'}');
}

/// The columns of the stream `fault`.
pub(crate) const FAULT: [&str; 4] = ["code", "severity", "component", "message"];

#[cfg(test)]
mod tests {
    use crate::content::{Profile, Source};

    #[test]
    fn is_json_with_the_names_of_the_stream() {
        for profile in [Profile::Bike, Profile::Car] {
            let source = Source::new(profile, 1, 0, 1_790_000_000_000, 1000);
            let mut payload = Vec::new();
            source.write_payload(5, &mut payload);
            let sample: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(sample["time"], 1_790_000_005_000_i64);
            assert_eq!(sample.as_object().unwrap().len(), profile.columns().len() + 1);
            let battery = source.cells(5, 0)[if profile == Profile::Bike { 4 } else { 0 }];
            assert_eq!(sample["battery_pct"].as_f64(), Some(battery as f64 / 10.0));
        }
    }
}
