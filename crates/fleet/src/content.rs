//! What simulated devices say: computed from seed, device and sequence number, so that nobody has
//! to remember it. Values are integers with a decimal point put in later, which makes equality
//! exact.

mod container;
mod decimal;
mod sample;

use crate::random::Key;

pub(crate) use container::MEASUREMENTS;
pub(crate) use decimal::write_decimal;

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
        Self { profile, key, number, base_ms, step_ms: step_ms.max(1) }
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

    /// Writes the payload of a message.
    pub(crate) fn write_payload(&self, seq: u64, out: &mut Vec<u8>) {
        match self.profile {
            Profile::Bike | Profile::Car => {
                let cells = self.cells(seq, 0);
                sample::write(self.profile.columns(), &cells, self.time_ms(seq), out);
            }
            Profile::Meter => {
                container::write(self.number, self.time_ms(seq), self.key, seq, out);
            }
        }
    }

    /// A payload of the same length for every message, to be patched by [`Source::patch`]; `None`
    /// where lengths differ.
    pub(crate) fn template(&self) -> Option<Vec<u8>> {
        if self.profile != Profile::Meter {
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
