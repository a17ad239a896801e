//! What simulated devices say: computed from seed, device and sequence number, so that nobody has
//! to remember it. Values are integers with a decimal point put in later, which makes equality
//! exact.

mod container;
mod decimal;
mod quirk;
mod sample;

use crate::Switches;
use crate::clock::rfc3339;
use crate::fault::{self, Failure};
use crate::random::Key;

pub(crate) use container::MEASUREMENTS;
pub(crate) use decimal::write_decimal;
pub(crate) use quirk::{Fate, Quirks};
pub(crate) use sample::FAULT;

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// JSON on the stream `ride`.
    Bike,
    /// JSON on the stream `status`.
    Car,
    /// Energy containers of eleven measurements.
    Meter,
}

/// One value column of a stream, as integers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The column's name.
    pub(crate) name: &'static str,
    /// What its values are.
    pub(crate) kind: ColumnKind,
}

/// What the integers of a column stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// A number with so many decimal places.
    Decimal(u32),
    /// False or true.
    Switch,
    /// The text `1.4.` and the number.
    Firmware,
}

const fn decimal(name: &'static str, places: u32) -> Column {
    Column { name, kind: ColumnKind::Decimal(places) }
}

const RIDE: [Column; 10] = [
    decimal("lat", 6),
    decimal("lon", 6),
    decimal("speed_kmh", 2),
    decimal("altitude_m", 1),
    decimal("battery_pct", 1),
    decimal("power_w", 1),
    decimal("cadence_rpm", 0),
    decimal("heart_rate_bpm", 0),
    decimal("odometer_km", 3),
    decimal("temperature_c", 2),
];
const STATUS: [Column; 7] = [
    decimal("battery_pct", 1),
    decimal("odometer_km", 3),
    decimal("lat", 6),
    decimal("lon", 6),
    decimal("speed_kmh", 2),
    Column { name: "locked", kind: ColumnKind::Switch },
    Column { name: "firmware", kind: ColumnKind::Firmware },
];
const ENERGY: [Column; 1] = [decimal("watts", 1)];

/// Most value columns of a stream.
pub(crate) const CELLS_MAX: usize = 10;
/// The values of one row.
pub(crate) type Cells = [i64; CELLS_MAX];

impl Profile {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bike => "bike",
            Self::Car => "car",
            Self::Meter => "meter",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bike, Self::Car, Self::Meter].into_iter().find(|profile| profile.as_str() == text)
    }

    /// The stream that it publishes to.
    #[must_use]
    pub fn stream(self) -> &'static str {
        match self {
            Self::Bike => "ride",
            Self::Car => "status",
            Self::Meter => "energy",
        }
    }

    /// Rows of one message.
    #[must_use]
    pub fn rows_per_message(self) -> usize {
        match self {
            Self::Bike | Self::Car => 1,
            Self::Meter => MEASUREMENTS,
        }
    }

    /// Values of one message.
    #[must_use]
    pub fn values_per_message(self) -> usize {
        self.rows_per_message() * self.columns().len()
    }

    /// The value columns, in the order of the cells.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Bike => &RIDE,
            Self::Car => &STATUS,
            Self::Meter => &ENERGY,
        }
    }
}

/// The messages of one device on one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    profile: Profile,
    key: Key,
    number: u32,
    base_ms: i64,
    step_ms: i64,
    quirks: Quirks,
}

impl Source {
    /// The messages of the device with a number; message `seq` has the time
    /// `base_ms + seq * step_ms`.
    pub(crate) fn new(
        profile: Profile,
        seed: u64,
        number: u32,
        base_ms: i64,
        step_ms: i64,
    ) -> Self {
        let key = Key::new(seed).named(profile.as_str()).child(u64::from(number));
        let (step_ms, quirks) = (step_ms.max(1), Quirks::default());
        Self { profile, key, number, base_ms, step_ms, quirks }
    }

    /// The same messages, some of which go wrong.
    pub(crate) fn with(self, switches: &Switches) -> Self {
        Self { quirks: Quirks::new(switches, self.key), ..self }
    }

    /// What goes wrong.
    pub(crate) fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// What becomes of a message on purpose.
    #[inline]
    pub(crate) fn fate(&self, seq: u64) -> Fate {
        self.quirks.fate(self.key, seq)
    }

    /// Whether a message is sent twice.
    #[inline]
    pub(crate) fn is_twice(&self, seq: u64) -> bool {
        self.quirks.is_twice(self.key, seq)
    }

    /// Which message is sent at a place of the order, and the other way round.
    #[inline]
    pub(crate) fn place(&self, number: u64) -> u64 {
        self.quirks.place(self.key, number)
    }

    /// The time that a message claims.
    pub(crate) fn claimed_ms(&self, seq: u64) -> i64 {
        self.time_ms(seq) + self.fate(seq).shift_ms() + self.quirks.clock_ahead_ms()
    }

    /// The message of a claimed time in microseconds, given its fate; `None` for a time that no
    /// message of that fate claims.
    pub(crate) fn seq_of_claimed(&self, micros: i64, fate: Fate) -> Option<u64> {
        let shift_ms = fate.shift_ms() + self.quirks.clock_ahead_ms();
        let seq = self.seq_of_micros(micros.checked_sub(shift_ms.checked_mul(1000)?)?)?;
        Some(seq).filter(|seq| self.fate(*seq).shift_ms() == fate.shift_ms())
    }

    /// What a message of the fate `Fault` tells of.
    pub(crate) fn failure(&self, seq: u64) -> Option<&'static Failure> {
        fault::of_bike(self.key.child(0xfa17).share(seq))
    }

    /// The kind of device.
    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// The time of a message, milliseconds since the epoch.
    #[inline]
    pub(crate) fn time_ms(&self, seq: u64) -> i64 {
        self.base_ms.saturating_add(self.step_ms.saturating_mul(seq.cast_signed()))
    }

    /// The message of a time in microseconds; `None` for a time that no message has.
    pub(crate) fn seq_of_micros(&self, micros: i64) -> Option<u64> {
        let since = micros.checked_sub(self.base_ms.checked_mul(1000)?)?;
        let step = self.step_ms.checked_mul(1000)?;
        if since < 0 || since % step != 0 { None } else { u64::try_from(since / step).ok() }
    }

    /// The key of a row: which socket; 0 for streams without key columns.
    pub(crate) fn socket(&self, row: usize) -> String {
        container::socket(self.number, row)
    }

    /// The row of a socket.
    pub(crate) fn row_of_socket(&self, socket: &str) -> Option<usize> {
        (0..MEASUREMENTS).find(|row| self.socket(*row) == socket)
    }

    /// The values of a row of a message.
    #[inline]
    pub(crate) fn cells(&self, seq: u64, row: usize) -> Cells {
        match self.profile {
            Profile::Bike => sample::ride(self.key, seq),
            Profile::Car => sample::status(self.key, seq),
            Profile::Meter => {
                let mut cells = [0; CELLS_MAX];
                cells[0] = container::watts(self.key, seq, row);
                cells
            }
        }
    }

    /// Writes the payload of a message as it would be if nothing went wrong.
    pub(crate) fn write_payload(&self, seq: u64, out: &mut Vec<u8>) {
        self.write_at(seq, self.time_ms(seq), out);
    }

    fn write_at(&self, seq: u64, time_ms: i64, out: &mut Vec<u8>) {
        match self.profile {
            Profile::Bike | Profile::Car => {
                sample::write(self.profile.columns(), &self.cells(seq, 0), time_ms, out);
            }
            Profile::Meter => container::write(self.number, time_ms, self.key, seq, out),
        }
    }

    /// Writes the payload of a message that is sent now, with what goes wrong; a device whose
    /// clock is wrong says what it shows.
    pub(crate) fn write_message(&self, seq: u64, now_ms: i64, out: &mut Vec<u8>) {
        let (fate, time_ms) = (self.fate(seq), self.claimed_ms(seq));
        let ahead_ms = self.quirks.clock_ahead_ms();
        let is_json = self.profile != Profile::Meter || fate == Fate::Fault;
        let begin = out.len();
        if ahead_ms != 0 && is_json {
            out.extend_from_slice(b"{\"sent_at\":\"");
            out.extend_from_slice(rfc3339(now_ms + ahead_ms).as_bytes());
            out.extend_from_slice(b"\",\"samples\":[");
        }
        // As much of a torn message arrives as tells which one it is.
        let least = out.len() + br#"{"time":"#.len() + 14;
        match self.failure(seq).filter(|_| fate == Fate::Fault) {
            Some(failure) => sample::write_failure(failure, time_ms, out),
            None => self.write_at(seq, time_ms, out),
        }
        if ahead_ms != 0 && is_json {
            out.extend_from_slice(b"]}");
        }
        if fate == Fate::Torn {
            let drawn = self.key.child(0x7042);
            let kept = if is_json {
                let more = out.len().saturating_sub(least + 1) as u64;
                least + usize::try_from(drawn.below(seq, more)).unwrap_or(0)
            } else {
                begin + container::torn_at(drawn.below(seq, MEASUREMENTS as u64 - 1))
            };
            out.truncate(kept);
        }
    }

    /// A payload of the same length for every message, to be patched by [`Source::patch`]; `None`
    /// where lengths differ.
    pub(crate) fn template(&self) -> Option<Vec<u8>> {
        if self.profile != Profile::Meter || self.quirks.any() {
            return None;
        }
        let mut template = Vec::with_capacity(512);
        self.write_payload(0, &mut template);
        Some(template)
    }

    /// Makes the payload of a template that of a message.
    #[inline]
    pub(crate) fn patch(&self, seq: u64, template: &mut [u8]) {
        container::patch(self.time_ms(seq), self.key, seq, template);
    }
}

/// The time that a payload claims, as far as it has arrived, milliseconds.
pub(crate) fn claimed_ms_of(payload: &[u8]) -> Option<i64> {
    if !payload.starts_with(b"{") {
        return container::time_ms_of(payload);
    }
    let name = br#""time":"#;
    let at = payload.windows(name.len()).position(|window| window == name)?;
    let digits = payload.get(at + name.len()..)?;
    let end = digits.iter().position(|b| !b.is_ascii_digit() && *b != b'-');
    let digits = digits.get(..end.unwrap_or(digits.len()))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_leads_back_to_its_message() {
        let source = Source::new(Profile::Bike, 1, 3, 1_790_000_000_000, 7);
        for seq in [0, 1, 99_999] {
            assert_eq!(source.seq_of_micros(source.time_ms(seq) * 1000), Some(seq));
            assert_eq!(source.seq_of_micros(source.time_ms(seq) * 1000 + 1), None);
        }
        assert_eq!(source.seq_of_micros(1_789_999_999_993_000), None);
        assert_eq!(source.seq_of_micros(i64::MIN), None);
    }

    #[test]
    fn what_goes_wrong_leads_back_to_its_message_too() {
        let switches = Switches {
            torn: 0.1,
            late: 0.2,
            future: 0.2,
            faults: 0.1,
            wrong_clock: 0.5,
            ..Switches::default()
        };
        for (number, profile) in
            [Profile::Bike, Profile::Car].into_iter().cycle().take(8).enumerate()
        {
            let number = u32::try_from(number).unwrap();
            let source = Source::new(profile, 2, number, 1_790_000_000_000, 7).with(&switches);
            let mut torn = 0;
            for seq in 0..500 {
                let (fate, claimed_ms) = (source.fate(seq), source.claimed_ms(seq));
                assert_eq!(source.seq_of_claimed(claimed_ms * 1000, fate), Some(seq));
                let mut payload = Vec::new();
                source.write_message(seq, 1_790_000_009_000, &mut payload);
                let time = format!("{{\"time\":{claimed_ms}");
                assert_eq!(claimed_ms_of(&payload), Some(claimed_ms));
                let payload = String::from_utf8(payload).unwrap();
                assert!(payload.contains(&time), "{payload} {time}");
                let is_envelope = payload.starts_with("{\"sent_at\":");
                assert_eq!(is_envelope, source.quirks().clock_ahead_ms() != 0);
                let is_whole = serde_json::from_str::<serde_json::Value>(&payload).is_ok();
                assert_eq!(is_whole, fate != Fate::Torn, "{payload}");
                torn += usize::from(!is_whole);
            }
            assert!((20..90).contains(&torn), "{torn}");
        }
    }

    #[test]
    fn a_torn_container_ends_within_a_measurement() {
        let switches = Switches { torn: 1.0, ..Switches::default() };
        let source = Source::new(Profile::Meter, 2, 1, 1_790_000_000_000, 7).with(&switches);
        for seq in 0..200 {
            let mut payload = Vec::new();
            source.write_message(seq, 0, &mut payload);
            assert_eq!(claimed_ms_of(&payload), Some(source.time_ms(seq)));
            assert!((77 + 10..467).contains(&payload.len()) && (payload.len() - 38) % 39 == 10);
        }
    }

    #[test]
    fn contents_depend_on_seed_device_and_sequence_and_on_nothing_else() {
        let cells =
            |seed, number, seq| Source::new(Profile::Bike, seed, number, 5, 1).cells(seq, 0);
        assert_eq!(cells(1, 2, 3), Source::new(Profile::Bike, 1, 2, 9, 4).cells(3, 0));
        assert_ne!(cells(1, 2, 3), cells(2, 2, 3));
        assert_ne!(cells(1, 2, 3), cells(1, 3, 3));
        assert_ne!(cells(1, 2, 3), cells(1, 2, 4));
    }

    #[test]
    fn every_value_is_one_that_the_schema_takes() {
        let schemas = axle_domain::Schemas::builtin();
        for profile in [Profile::Bike, Profile::Car, Profile::Meter] {
            let schema = schemas.find(profile.stream()).unwrap();
            let source = Source::new(profile, 4, 1, 0, 1);
            for (seq, row) in (0..3000).map(|seq| (seq, (seq % 11) as usize)) {
                let cells = source.cells(seq, row);
                for (column, cell) in profile.columns().iter().zip(cells) {
                    let field = &schema.fields[schema.field(column.name).unwrap()];
                    let (axle_domain::FieldKind::Float { min, max, .. }, ColumnKind::Decimal(p)) =
                        (field.kind, column.kind)
                    else {
                        continue;
                    };
                    let value = cell as f64 / 10_f64.powi(p.cast_signed());
                    assert!((min..=max).contains(&value), "{} {value}", column.name);
                }
            }
        }
    }
}
